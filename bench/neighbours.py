"""The load that other benchmarks measure beside their own: realtime sessions at a pace, and what to serve them with."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.loads import QUERY
from bench.processes import OTHERS_CPU

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


def load(generator: str, port: int, pid: int, upstream: int, sessions: int, seconds: float) -> dict[str, float]:
    """Sessions with ten messages a second in each direction: CPU per message, and the median and p99 of the time that
    the provider's take, in microseconds. Ends the benchmark if anything went wrong."""
    command = [
        generator, "ws", "--port", str(port), "--path", QUERY, "--cpu", str(OTHERS_CPU), "--sessions", str(sessions),
        "--up-rate", "10", "--up-bytes", "5120", "--ramp", "200", "--warmup", "1", "--duration", str(seconds),
        "--proxy-pid", str(pid), "--stats-port", str(upstream + 1),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    result = json.loads(done.stdout)
    errors = {kind: count for kind, count in result["errors"].items() if count}
    if errors or result["open_end"] != sessions:
        sys.exit(f"the run on port {port} had errors, so its figures mean nothing: {errors}, {result['open_end']} open")
    latency = result["down_lat_us"]
    return {"cpu_us_msg": result["cpu_us_msg"], "p50": latency["p50"], "p99": latency["p99"]}
