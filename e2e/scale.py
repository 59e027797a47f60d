"""A large cluster: how long controllers and gateways take with it, and what they need.

`python -m scale` prints its figures as one line of JSON, for `make bench-apply`; see docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import controllers
import processes
from cluster.access import Cluster
from cluster.client import OURS, Body, Client
from cluster.control_plane import ControlPlane
from cluster.programs import free_ports
from controllers import Install, metric, ready, until
from processes import UPSTREAM_KEY, Process

AT_ONCE = 8
"""Requests of the API server, while objects are made."""
RULES = 2
"""Of an HTTPRoute."""
LOOK_S = 0.005
USED_S = 60.0
"""A change that takes longer is never used."""
SETTLES_S = 3.0
"""Without a status written for so long, all are."""
PATIENCE_S = 600.0
"""For one of the steps: the machine may be busy."""
CHANGING = "changing"
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: tidegate
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  targetRefs:
  - {group: gateway.networking.k8s.io, kind: Gateway, name: edge}
  - {group: tidegate.dev, kind: Backend, name: changing}
  authentication: {mode: None}
"""


@dataclass
class Change:
    """Seconds that a change took, and what for."""

    total: float
    """From the start of `kubectl apply` to the first request that is answered by it."""
    apply: float
    """What kubectl took of it."""
    compile: float
    load: float
    """From the offer to the gateway's answer that it serves it."""


@dataclass
class Scale:
    cluster: Cluster
    install: Install
    simulator: Process
    namespace: str
    changes: int = 0
    port: int = field(default_factory=lambda: free_ports(1)[0])
    """Of the controller."""

    def fill(self, backends: int, rules: int) -> float:
        """Make so many Backends, and HTTPRoutes with so many rules. Seconds."""
        began = time.monotonic()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}}
        self._apply(json.dumps({**secret, "stringData": {"Authorization": UPSTREAM_KEY}}), GATEWAY, self._changing(0))
        home = f"{OURS}/namespaces/{self.namespace}/backends"
        routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{self.namespace}/httproutes"
        wanted = [(home, self._backend(f"b{number}", expose=None)) for number in range(backends)]
        wanted += [(routes, route(number, backends)) for number in range(rules // RULES)]
        shares = [wanted[first::AT_ONCE] for first in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._create, shares))
        return time.monotonic() - began

    def controller(self) -> Process:
        return self.install.controller(
            f"controller-{len(self.install.replicas)}", pod="controller", listen=f"127.0.0.1:{self.port}"
        )

    def gateway(self) -> Process:
        return self.install.gateway(f"gateway-{len(self.install.gateways)}", f"127.0.0.1:{self.port}")

    def change(self, controller: Process, gateway: Process) -> Change:
        """Change a Backend with kubectl, and wait until a gateway uses it."""
        self.changes += 1
        document, before = self._changing(self.changes), spent(controller)
        began = time.monotonic()
        self._apply(document)
        applied = time.monotonic() - began
        self._wait_for_use(gateway)
        total = time.monotonic() - began
        until(lambda: spent(controller)[1] > before[1])  # the gateway's answer may be on its way
        compiled, loaded = (after - before for after, before in zip(spent(controller), before, strict=True))
        return Change(total, applied, compiled, loaded)

    def settle(self, controller: Process) -> None:
        """Wait until all statuses are written."""
        written, since = -1.0, time.monotonic()
        while time.monotonic() < since + SETTLES_S:
            now = metric(controller, "tidegate_controller_status_writes_total")
            if now != written:
                written, since = now, time.monotonic()
            time.sleep(0.2)

    def _wait_for_use(self, gateway: Process) -> None:
        connection = HTTPConnection(gateway.ports["url"], timeout=USED_S)
        body = json.dumps({"model": f"v{self.changes}", "messages": [{"role": "user", "content": "Hello"}]})
        deadline = time.monotonic() + USED_S
        while True:
            path = f"/{self.namespace}/{CHANGING}/v1/chat/completions"
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status == 200:
                connection.close()
                return
            assert answer.status == 404, said
            assert time.monotonic() < deadline, said
            time.sleep(LOOK_S)

    def _changing(self, number: int) -> str:
        models = [{"name": f"v{number}", "targets": [{"provider": "simulated", "model": "gpt-4o"}]}]
        return json.dumps(self._backend(CHANGING, expose={}, models=models))

    def _backend(self, name: str, **spec: object) -> Body:
        provider = {
            "name": "simulated",
            "openai": {},
            "url": f"{self.simulator.ports['url']}/v1",
            "auth": {"secretRef": {"name": "key"}},
        }
        given = {field: value for field, value in spec.items() if value is not None}
        return {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "Backend",
            "metadata": {"name": name},
            "spec": {"providers": [provider], **given},
        }

    def _create(self, wanted: list[tuple[str, Body]]) -> None:
        client = Client(self.cluster.kubeconfig)
        for path, body in wanted:
            client.create(path, body)
        client.close()

    def _apply(self, *texts: str) -> None:
        self.cluster.kubectl("apply", "--server-side", "-n", self.namespace, "-f", "-", input="\n---\n".join(texts))


def route(number: int, backends: int) -> Body:
    def rule(place: int) -> Body:
        backend = f"b{(RULES * number + place) % backends}"
        return {
            "matches": [{"path": {"type": "PathPrefix", "value": f"/{place}"}}],
            "backendRefs": [{"group": "tidegate.dev", "kind": "Backend", "name": backend}],
        }

    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": f"r{number}"},
        "spec": {
            "parentRefs": [{"name": "edge"}],
            "hostnames": [f"r{number}.example.com"],
            "rules": [rule(place) for place in range(RULES)],
        },
    }


def spent(controller: Process) -> tuple[float, float]:
    """Seconds for compiling, and until gateways have answered that they serve it; all so far."""
    text = processes.fetch(f"http://{controller.ports['admin']}/metrics")
    names = ("compile_seconds_sum", 'answer_seconds_sum{answer="holds"}')
    found = [re.search(rf"^tidegate_controller_{re.escape(name)} (\S+)$", text, re.MULTILINE) for name in names]
    compiled, answered = (float(each[1]) if each else 0.0 for each in found)
    return compiled, answered


def rss(process: Process) -> int:
    """Megabytes, of the process and of those that it has started."""
    pids = [process.popen.pid]
    for pid in pids:
        pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in pids]
    return sum(int(re.findall(r"^VmRSS:\s+(\d+)", text, re.MULTILINE)[0]) for text in texts) // 1024


def served(gateway: Process) -> tuple[int, int]:
    """How many Backends and routes."""
    table: Any = json.loads(processes.fetch(f"http://{gateway.ports['admin']}/table"))
    return len(table["backends"]), len(table["routes"])


@contextmanager
def scaled(cluster: Cluster, folder: Path) -> Iterator[Scale]:
    """An install in a cluster that has the CRDs."""
    with ExitStack() as stack:
        simulator = processes.start_simulator(folder)
        stack.callback(simulator.stop)
        namespace, home = (stack.enter_context(cluster.namespace(name)) for name in ("install", "scale"))
        install = Install(cluster, namespace, folder)
        stack.callback(install.end)
        install.prepare(upstreams={"allow": [{"namespaces": {}, "networks": ["127.0.0.0/8"]}]})
        yield Scale(cluster, install, simulator, home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", type=int, required=True)
    parser.add_argument("--rules", type=int, required=True)
    parser.add_argument("--changes", type=int, required=True)
    options = parser.parse_args()
    processes.STARTS_S = controllers.PATIENCE_S = PATIENCE_S
    with tempfile.TemporaryDirectory() as name, ControlPlane(Path(name) / "plane") as plane:
        plane.install_crds()
        plane.install_gateway_api()
        folder = Path(name) / "install"
        folder.mkdir()
        with scaled(plane, folder) as scale:
            print(json.dumps(figures(scale, options.backends, options.rules, options.changes)), flush=True)


def figures(scale: Scale, backends: int, rules: int, changes: int) -> dict[str, object]:
    filled = scale.fill(backends, rules)
    first = scale.controller()  # it makes what gateways trust controllers by
    until(lambda: ready(first))
    first.kill()
    began = time.monotonic()
    controller = scale.controller()
    gateway = scale.gateway()
    started = time.monotonic() - began
    scale.settle(controller)
    settled = time.monotonic() - began
    made = [scale.change(controller, gateway) for _ in range(changes + 1)][1:]
    return {
        "backends": backends,
        "rules": rules,
        "filled_s": filled,
        "started_s": started,
        "settled_s": settled,
        "changes": [vars(each) for each in made],
        "controller_mb": rss(controller),
        "gateway_mb": rss(gateway),
        "served": served(gateway),
    }


if __name__ == "__main__":
    main()
