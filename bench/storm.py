"""`make bench-storm`: two thousand clients connect at once, as they do when a network comes back.

Some live sessions talk all the while. What is told: how many were let in, and what became of the others; how long it
took until all of them had a session that talks; what one costs the gateway; and how long messages of the live sessions
are on their way, beside the storm and without it. The gateway has core 0; generators and upstreams have core 1, so that
what they take themselves is in the times, too. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.changes import LIVE, Result, mapping, serving
from bench.quick import QUERY, build, free_port, running

STORM = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: storm}}
spec:
  providers:
  - {{name: upstream, custom: {{}}, url: "http://127.0.0.1:{port}/v1", auth: {{secretRef: {{name: bench}}}}}}
  routes: {{/v1/realtime: Realtime}}
  expose: {{pathPrefix: /storm}}
"""
AT_ONCE = 1_000_000
"""Connections a second."""
BREAKS_AFTER_S = 3.0
"""From the beginning of the live sessions' measurement until the storm breaks."""
LASTS_S = 3.0
"""How long they talk when all are there."""


@dataclass
class Round:
    """One storm, and the live sessions beside it and without it."""

    calm: Result
    beside: Result
    storm: Result
    refusals: Counter[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=50, help="that are live when it breaks")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the live sessions' measurement")
    options = parser.parse_args()
    generator, upstreams, port = build(), [free_port(), free_port()], free_port()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:  # gateways end before their files
        folder = Path(name)
        folder.joinpath("live.yaml").write_text(LIVE.format(port=upstreams[0]))
        folder.joinpath("storm.yaml").write_text(STORM.format(port=upstreams[1]))
        for upstream, rate in zip(upstreams, ("10", "1"), strict=True):
            command = [generator, "upstream", "--port", str(upstream), "--cpu", "1", "--down-bytes", "1024"]
            stack.enter_context(running([*command, "--down-rate", rate], upstream))
        gateway = stack.enter_context(serving(folder, port))
        Log(gateway)
        rounds = []
        for _ in range(options.rounds):
            paced = [generator, "ws", "--port", str(port), "--cpu", "1", "--up-bytes", "1024"]
            live = [
                *paced, "--path", QUERY, "--stats-port", str(upstreams[0] + 1), "--sessions", str(options.sessions),
                "--up-rate", "10", "--duration", str(options.seconds),
            ]  # fmt: skip
            storm = [
                *paced, "--path", f"/storm{QUERY}", "--stats-port", str(upstreams[1] + 1), "--verbose",
                "--sessions", str(options.clients), "--ramp", str(AT_ONCE), "--up-rate", "1",
                "--warmup", "0", "--duration", str(LASTS_S), "--proxy-pid", str(gateway.pid),
            ]  # fmt: skip
            rounds.append(one(live, storm))
            say(rounds[-1], options.clients)
    report(rounds)


def one(live: list[str], storm: list[str]) -> Round:
    calm, _ = ended(started(live))
    beside = started(live)
    time.sleep(1 + BREAKS_AFTER_S)  # the ramp and the warm-up of the live ones
    result, refused = ended(started(storm))
    left = Counter(re.findall(r"handshake refused: HTTP/1\.1 (\d{3} [^\r\n]*)", refused))
    return Round(calm, ended(beside)[0], result, left)


class Log:
    """Reads what the gateway logs, so that it can go on, and tells what is no usual line."""

    def __init__(self, gateway: subprocess.Popen[str]) -> None:
        threading.Thread(target=self._read, args=(gateway,), daemon=True).start()

    def _read(self, gateway: subprocess.Popen[str]) -> None:
        assert gateway.stdout
        for line in gateway.stdout:
            if '"level":"warning"' in line or '"level":"error"' in line:
                print(f"the gateway says: {line.strip()}", flush=True)


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[Result, str]:
    """What a generator found, and what it complained of."""
    out, complaints = process.communicate(timeout=180)
    if process.returncode:
        sys.exit(f"{process.args!r} ended with {process.returncode}: {complaints}")
    result: Result = json.loads(out)
    return result, complaints


def say(found: Round, clients: int) -> None:
    storm = found.storm
    print(
        f"{storm['opened']} of {clients} were let in; all answered after {storm['ramp_s']} s; "
        f"refused: {dict(found.refusals) or 'nobody'}; "
        f"other failures: {others(failures(storm), found.refusals) or 'none'}; "
        f"live sessions' failures: {failures(found.beside) or 'none'}",
        flush=True,
    )


def failures(result: Result) -> dict[str, int]:
    return {kind: int(count) for kind, count in mapping(result["errors"]).items() if count}


def others(errors: dict[str, int], refusals: Counter[str]) -> dict[str, int]:
    """Failures that are no HTTP answer: nobody was told why."""
    unexplained = {**errors, "handshake": errors.get("handshake", 0) - refusals.total()}
    return {kind: count for kind, count in unexplained.items() if count}


def report(rounds: list[Round]) -> None:
    def median(values: list[float]) -> float:
        return statistics.median(values)

    def number(result: Result, name: str) -> float:
        value = result[name]
        assert isinstance(value, int | float)
        return value

    talk = [mapping(each.storm["setup_us"]) for each in rounds]
    print(f"\nuntil all talk, s: {median([number(each.storm, 'ramp_s') for each in rounds]):.2f}")
    print(f"until one talks, ms: p50 {median([t['p50'] for t in talk]) / 1e3:.0f}, "
          f"p99 {median([t['p99'] for t in talk]) / 1e3:.0f}, max {max(t['max'] for t in talk) / 1e3:.0f}")  # fmt: skip
    print(f"CPU for one session's set-up, ms: {median([number(each.storm, 'setup_cpu_ms') for each in rounds]):.2f} "
          "(with what the live ones took meanwhile)")  # fmt: skip
    print("\n| live sessions | p50 ms | p99 ms | p99.9 ms | max ms |\n|---|---|---|---|---|")
    for title, runs in (
        ("without a storm", [each.calm for each in rounds]),
        ("beside it", [each.beside for each in rounds]),
    ):
        cells = [median([mapping(run["down_lat_us"])[name] for run in runs]) for name in ("p50", "p99", "p999", "max")]
        print(f"| {title} | {' | '.join(f'{cell / 1e3:.2f}' for cell in cells)} |")


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main()
