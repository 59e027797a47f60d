"""`make bench-quick`: what one relayed realtime message costs, against a C relay and a naive aiohttp relay.

All relays take the same paced load from the same generator, interleaved round by round; each has core 0, the
generator and the upstream core 1. The figure is the relay's own CPU time per relayed message (both directions
counted); ratios within a round travel to other machines, absolute values do not. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "bench"
QUERY = "/v1/realtime?model=gpt-realtime"
CONFIG = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: bench}}
spec:
  providers:
  - {{name: upstream, custom: {{}}, url: "http://127.0.0.1:{port}/v1", auth: {{secretRef: {{name: bench}}}}}}
  routes: {{/v1/realtime: Realtime}}
---
apiVersion: v1
kind: Secret
metadata: {{name: bench}}
stringData: {{Authorization: sk-bench}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    generator = build()
    upstream = free_port()
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.enter_context(running([generator, "upstream", "--port", str(upstream), "--cpu", "1"], upstream))
        config = Path(folder, "bench.yaml")
        config.write_text(CONFIG.format(port=upstream))
        relays: dict[str, Callable[[str], list[str]]] = {
            "C relay": lambda port: [generator, "relay", "--port", port, "--upstream-port", str(upstream)],
            "Tidegate": lambda port: [
                sys.executable, "-m", "tidegate", "serve", "-f", str(config),
                "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0", "--log-format", "json",
            ],
            "naive aiohttp": lambda port: [
                sys.executable, str(HERE / "naive.py"), "--port", port, "--upstream", f"ws://127.0.0.1:{upstream}",
            ],
        }  # fmt: skip
        ports = {name: free_port() for name in relays}
        pids = {
            name: stack.enter_context(running(command(str(ports[name])), ports[name], cpu=0))
            for name, command in relays.items()
        }
        rounds = []
        for number in range(options.rounds):
            results = {
                name: load(generator, ports[name], pids[name], upstream, options.sessions, options.seconds)
                for name in relays
            }
            rounds.append(results)
            shown = ", ".join(f"{name} {result['cpu_us_msg']:.1f}" for name, result in results.items())
            print(f"round {number + 1}: CPU µs per message: {shown}", flush=True)
    report(rounds)


def report(rounds: list[dict[str, dict[str, float]]]) -> None:
    def ratios(base: str) -> list[float]:
        return [each["Tidegate"]["cpu_us_msg"] / each[base]["cpu_us_msg"] for each in rounds]

    for base in ("C relay", "naive aiohttp"):
        values = ratios(base)
        print(
            f"Tidegate / {base}: {statistics.median(values):.2f} (from {min(values):.2f} to {max(values):.2f}, "
            f"{len(values)} rounds)"
        )


def load(generator: str, port: int, pid: int, upstream: int, sessions: int, seconds: float) -> dict[str, float]:
    command = [
        generator, "ws", "--port", str(port), "--path", QUERY, "--cpu", "1", "--sessions", str(sessions),
        "--up-rate", "10", "--down-rate", "10", "--up-bytes", "5120", "--down-bytes", "6144", "--ramp", "200",
        "--warmup", "1", "--duration", str(seconds), "--proxy-pid", str(pid), "--stats-port", str(upstream + 1),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    result = json.loads(done.stdout)
    errors = {kind: count for kind, count in result["errors"].items() if count}
    if errors or result["open_end"] != sessions:
        sys.exit(f"the run on port {port} had errors, so its figures mean nothing: {errors}, {result['open_end']} open")
    latency = result["down_lat_us"]
    return {"cpu_us_msg": result["cpu_us_msg"], "p50": latency["p50"], "p99": latency["p99"]}


def build() -> str:
    """The load generator, compiled once."""
    source, target = HERE / "loadgen" / "lg.c", CACHE / "lg"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or sys.exit("bench needs a C compiler and OpenSSL's headers (libssl-dev)")
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", target, source, "-lssl", "-lcrypto", "-lm"], check=True)
    return str(target)


@contextmanager
def running(command: list[str], port: int, cpu: int | None = None) -> Iterator[int]:
    """A process that listens on a port, pinned to a core."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
    with subprocess.Popen([*pin, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for(port, process)
            yield process.pid
        finally:
            process.terminate()
            process.wait(15)


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            sys.exit(f"{process.args!r} ended: {process.stderr.read() if process.stderr else ''}")
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    os.chdir(HERE.parent)
    main()
