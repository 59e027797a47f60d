"""`make bench-changes`: what a thousand configuration changes cost the live sessions of a gateway with 5,000 routes.

The same paced load of realtime sessions is measured in turn without any change, and while one Backend is changed again
and again, each time as soon as the change before is in use. The figures are how long messages are on their way, from
client to upstream and back, and how long a change takes from the file to its use. The gateway, with all that belongs to
it, has core 0; generator and upstream have core 1. A pair of runs in which the host took time from the cores is made
again. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.judge import flat
from bench.processes import listens
from bench.quick import CONFIG, QUERY, build, free_port, running

Result = dict[str, object]
"""What the generator prints."""

STOLEN = 0.5
"""Percent of one core that the host may take in a run: a tenth of a second of twenty, which all wait for."""
LATER_MS = 20.0
"""No message may be so much later than the latest of the runs without changes."""
A_FILE = 100
"""Backends in one file."""
LONGEST_S = 60.0
"""A change that takes longer ends the run."""

LIVE = CONFIG.replace("routes: {{", "expose: {{pathPrefix: /}}\n  routes: {{")
OTHER = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: other-{number}, namespace: others}}
spec:
  providers:
  - {{name: upstream, custom: {{}}, url: "http://127.0.0.1:9/v1", auth: {{secretRef: {{name: upstream}}}}}}
  models:
  - name: voice
    targets: [{{provider: upstream, model: "{model}"}}]
    price: {{inputAudio: "32", outputAudio: "64"}}
  routes: {{/v1/realtime: Realtime, /v1/chat/completions: Completions}}
  expose: {{hostnames: [other-{number}.example.com]}}
"""
POLICY = """
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: others-{number}, namespace: others}}
spec:
  targetRefs: [{targets}]
  authentication: {{mode: Required, keys: [{{secretRef: {{name: callers}}, team: team-{number}}}]}}
  transformation: {{request: {{set: [{{name: x-team, value: "${{caller.team}}"}}]}}}}
"""
SECRETS = """
apiVersion: v1
kind: Secret
metadata: {name: upstream, namespace: others}
stringData: {Authorization: sk-other}
---
apiVersion: v1
kind: Secret
metadata: {name: callers, namespace: others}
stringData: {app: a-key-of-some-caller}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=1000)
    parser.add_argument("--routes", type=int, default=5000)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0, help="of one run; there are as many as it takes")
    options = parser.parse_args()
    generator, upstream, port = build(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:  # gateways end before their files
        folder = Path(name)
        write(folder, upstream, options.routes)
        stack.enter_context(running([generator, "upstream", "--port", str(upstream), "--cpu", "1"], upstream))
        gateway = stack.enter_context(serving(folder, port))
        changes = Changes(folder, gateway)
        changes.one()  # the first starts the process that compiles
        figures = Figures()
        while figures.changes < options.changes:
            before = len(changes.took)
            without = load(generator, port, gateway.pid, upstream, options.sessions, options.seconds)
            with changes:
                under = load(generator, port, gateway.pid, upstream, options.sessions, options.seconds)
            figures.take(without, under, len(changes.took) - before)
    figures.report(changes.took)


def write(folder: Path, upstream: int, routes: int) -> None:
    """The Backend that is used, and all the others."""
    folder.joinpath("live.yaml").write_text(LIVE.format(port=upstream))
    folder.joinpath("secrets.yaml").write_text(SECRETS)
    change(folder, "first")
    for first in range(1, routes, A_FILE):
        numbers = range(first, min(first + A_FILE, routes))
        texts = [OTHER.format(number=number, model="gpt-realtime") for number in numbers]
        for few in range(0, len(numbers), 10):
            targets = [f"{{group: tidegate.dev, kind: Backend, name: other-{n}}}" for n in numbers[few : few + 10]]
            texts.append(POLICY.format(number=numbers[few], targets=", ".join(targets)))
        folder.joinpath(f"others-{first}.yaml").write_text("---".join(texts))


def change(folder: Path, model: str) -> None:
    """As editors do it: another file in the place of the one before."""
    new = folder / "changing.new"
    new.write_text(OTHER.format(number=0, model=model))
    new.rename(folder / "changing.yaml")


@contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A gateway on core 0, whose log can be read."""
    command = [
        sys.executable, "-m", "tidegate", "serve", "-f", str(folder),
        "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--log-format", "json",
    ]  # fmt: skip
    pin = ["taskset", "-c", "0"] if shutil.which("taskset") else []
    with subprocess.Popen([*pin, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            if not listens(port, process, 60.0):
                sys.exit(f"the gateway does not listen on port {port}")
            yield process
        finally:
            process.terminate()
            process.wait(15)


class Changes:
    """Makes one change after the other while the block runs; `took`: seconds from each to its use."""

    def __init__(self, folder: Path, gateway: subprocess.Popen[str]) -> None:
        self.took: list[float] = []
        self._folder, self._gateway = folder, gateway
        self._used, self._over = threading.Event(), threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def one(self) -> None:
        self._used.clear()
        began = time.monotonic()
        change(self._folder, f"gpt-realtime-{len(self.took)}")
        if not self._used.wait(LONGEST_S):
            print(f"a change was not in use after {LONGEST_S:.0f} s", file=sys.stderr, flush=True)
            os._exit(1)  # from any thread
        self.took.append(time.monotonic() - began)

    def __enter__(self) -> None:
        self._over.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            self.one()

    def _read(self) -> None:
        assert self._gateway.stdout
        for line in self._gateway.stdout:
            if '"reloaded"' in line:
                self._used.set()


def load(generator: str, port: int, pid: int, upstream: int, sessions: int, seconds: float) -> Result:
    """Paced sessions, each with ten messages a second either way; the upstream's own pace is that, too."""
    command = [
        generator, "ws", "--port", str(port), "--path", QUERY, "--cpu", "1", "--sessions", str(sessions),
        "--up-rate", "10", "--ramp", "200", "--warmup", "1", "--duration", str(seconds),
        "--proxy-pid", str(pid), "--stats-port", str(upstream + 1),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 120)
    result: Result = json.loads(done.stdout)
    errors = {kind: count for kind, count in mapping(result["errors"]).items() if count}
    if errors or result["open_end"] != sessions:
        sys.exit(f"the run had errors, so its figures mean nothing: {errors}, {result['open_end']} open\n{done.stderr}")
    return result


def mapping(value: object) -> dict[str, float]:
    assert isinstance(value, dict)
    return value


@dataclass
class Figures:
    without: list[Result] = field(default_factory=list)
    under: list[Result] = field(default_factory=list)
    changes: int = 0
    """Under which the runs were made that count."""
    disturbed: int = 0
    """Pairs that do not."""

    def take(self, without: Result, under: Result, changes: int) -> None:
        """A pair of runs, and how they went."""
        stolen = max(sum(flat(run)[f"core_steal_pct.{core}"] for core in (0, 1)) for run in (without, under))
        if stolen > STOLEN:
            self.disturbed += 1
        else:
            self.without.append(without)
            self.under.append(under)
            self.changes += changes
        latest = (f"{worst([run], 'max') / 1000:.1f}" for run in (without, under))
        mark = f"; does not count: the host took {stolen:.1f} % of a core" if stolen > STOLEN else ""
        print(
            f"{self.changes} changes; latest message, ms: {' without, '.join(latest)} under changes{mark}", flush=True
        )

    def report(self, took: list[float]) -> None:
        print("\n| sessions | p50 ms | p99 ms | p99.9 ms | max ms |\n|---|---|---|---|---|")
        for title, runs in (("without changes", self.without), ("under changes", self.under)):
            cells = (f"{worst(runs, name) / 1000:.2f}" for name in ("p50", "p99", "p999", "max"))
            print(f"| {title} | {' | '.join(cells)} |")
        later = (worst(self.under, "max") - worst(self.without, "max")) / 1000
        print(f"\nthe latest message under changes is {later:.1f} ms later; {LATER_MS:.0f} are allowed")
        print(f"{self.changes} changes in {len(self.under)} pairs of runs; {self.disturbed} pairs more were disturbed")
        first, *others = took
        print(
            f"a change is in use after {statistics.median(others) * 1000:.0f} ms (median of {len(others)}; "
            f"at most {max(others) * 1000:.0f} ms; the first, which starts a process, {first * 1000:.0f} ms)"
        )


def worst(runs: list[Result], name: str) -> float:
    """Microseconds: the larger of both directions; of several runs the median, of their maxima the maximum."""
    values = [max(mapping(run[way])[name] for way in ("down_lat_us", "up_lat_us")) for run in runs]
    return max(values) if name == "max" else statistics.median(values)


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
