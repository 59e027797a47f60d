"""A cluster with two replicas of a controller, a gateway, and a user who talks through it all the while; what can be
done to them, and what is asked of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import books
import controllers
import processes
from cluster.client import OURS, Client
from cluster.control_plane import ControlPlane
from cluster.programs import free_ports
from controllers import Install, ready, until
from faults import Talk
from processes import UPSTREAM_KEY, Process

ONE, TWO = "one", "two"
TALKED = "gpt-realtime"
"""The model of the session; others are asked for other things."""
OPEN = """
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {name: open}
spec:
  targetRefs: [{group: tidegate.dev, kind: Backend, name: NAME}]
  authentication: {mode: None}
"""


@dataclass
class Stand:
    """A cluster with two replicas of a controller, a gateway, and a user who talks through it."""

    plane: ControlPlane
    install: Install
    simulator: Process
    replicas: dict[str, Process] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=lambda: dict(zip((ONE, TWO), free_ports(2), strict=True)))
    book: books.Book = field(default_factory=Counter)
    """Of gateways that are no more."""
    talk: Talk = field(init=False)

    def up(self, *pods: str) -> None:
        """Have these replicas run, and no others. They are ready."""
        for pod in self.replicas.keys() - set(pods):
            self.kill(pod)
        for pod in pods:
            if pod not in self.replicas:
                self.start(pod)
        until(lambda: all(ready(self.replicas[pod]) for pod in pods))

    def start(self, pod: str) -> None:
        """Start a replica, where it was before."""
        name = f"{pod}-{len(self.install.replicas)}"
        self.replicas[pod] = self.install.controller(name, pod=pod, listen=f"127.0.0.1:{self.ports[pod]}")

    def kill(self, pod: str) -> None:
        self.replicas.pop(pod).kill()

    @property
    def gateway(self) -> Process:
        return self.install.gateways[0]

    def gone(self, gateway: Process) -> None:
        """End a gateway."""
        self.book += booked(gateway)
        gateway.stop()

    def begin(self, namespace: str) -> None:
        """Have all of it run; the user talks to a Backend of this namespace."""
        self.up(ONE, TWO)
        apply(self.plane, namespace, backend(self, "voice"), SECRET, opened("voice"))
        self.install.gateway("gateway-1", *(f"127.0.0.1:{port}" for port in self.ports.values()))
        until(lambda: self.served() == {f"{namespace}/voice"})
        self.talk = Talk(f"ws://{self.gateway.ports['url']}/{namespace}/voice/v1/realtime?model={TALKED}")

    def balance(self) -> None:
        """The session ends. Fails where it was cut before, or a turn of it or anything else was not counted."""
        turns = self.talk.end()
        ledger = processes.fetch(f"{self.simulator.ports['url']}/_ledger")
        assert sum(record["request_model"] == TALKED for record in records(self.gateway)) == turns
        until(
            lambda: booked(self.gateway) + self.book == books.of_ledger(ledger),
            lambda: (booked(self.gateway), self.book, books.of_ledger(ledger)),
        )

    def tidy(self) -> None:
        """Delete all pods but that of the gateway."""
        args = ("-n", self.install.namespace, "--field-selector", f"metadata.name!={self.gateway.name}")
        self.plane.kubectl("delete", "pods", *args, "--force", "--grace-period=0")

    def client(self) -> Client:
        return Client(self.plane.kubeconfig)

    def declared(self) -> set[str]:
        listed: Any = self.plane.get("tgb", "-A")
        return {f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in listed["items"]}

    def served(self, gateway: Process | None = None) -> set[str]:
        return {each["name"] for each in shown(gateway or self.gateway)["backends"]}

    def converges(self) -> None:
        """Wait until all that is declared is served, nothing else is, and every Backend says so of its generation."""
        until(lambda: self.served() == self.declared(), lambda: self.served() ^ self.declared())
        until(lambda: not self.unprogrammed(), self.unprogrammed)

    def unprogrammed(self) -> list[object]:
        listed: Any = self.plane.get("tgb", "-A")
        return [
            (each["metadata"]["name"], each["metadata"]["generation"], each.get("status"))
            for each in listed["items"]
            if programmed(each) != (each["metadata"]["generation"], True)
        ]


def backend(stand: Stand, name: str, **spec: object) -> dict[str, Any]:
    provider = {
        "name": "simulated",
        "openai": {},
        "url": f"{stand.simulator.ports['url']}/v1",
        "auth": {"secretRef": {"name": "key"}},
    }
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name},
        "spec": {"providers": [provider], "expose": {}, **spec},
    }


def secret(key: str) -> str:
    return json.dumps(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"Authorization": key}}
    )


SECRET = secret(UPSTREAM_KEY)


def opened(name: str, policy: str = "open") -> str:
    """A Policy that lets everybody use a Backend."""
    return OPEN.replace("open", policy).replace("NAME", name)


def apply(plane: ControlPlane, namespace: str, *documents: object) -> None:
    texts = [each if isinstance(each, str) else json.dumps(each) for each in documents]
    plane.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input="\n---\n".join(texts))


def backends_of(namespace: str, name: str = "") -> str:
    return f"{OURS}/namespaces/{namespace}/backends" + (f"/{name}" if name else "")


def moved(number: int) -> dict[str, Any]:
    """A change of a Backend, to be found again by `place_of`."""
    return {"spec": {"models": [{"name": f"v{number}", "targets": [{"provider": "simulated"}]}]}}


def place_of(gateway: Process, backend: str) -> int:
    """Which change of a Backend a gateway serves; -1: none."""
    for each in shown(gateway)["backends"]:
        if each["name"] == backend and each["models"]:
            return int(each["models"][0].removeprefix("v"))
    return -1


def programmed(backend: Any) -> tuple[int, bool]:
    """Of which generation it is said, and what."""
    for each in (backend.get("status") or {}).get("conditions", []):
        if each["type"] == "Programmed":
            return each["observedGeneration"], each["status"] == "True"
    return 0, False


def shown(gateway: Process) -> Any:
    """The table that a gateway serves."""
    return json.loads(processes.fetch(f"http://{gateway.ports['admin']}/table"))


def metrics(gateway: Process) -> str:
    return processes.fetch(f"http://{gateway.ports['admin']}/metrics")


def booked(gateway: Process) -> books.Book:
    return books.of_metrics(metrics(gateway))


def records(gateway: Process) -> list[Any]:
    """Of its turns."""
    lines = [json.loads(line) for line in gateway.text().splitlines() if line.startswith("{")]
    return [line for line in lines if line.get("event") == "turn"]


def condition_is(stand: Stand, namespace: str, name: str, expected: str, naming: str = "") -> str:
    """Wait until Programmed is so, and its message names someone; the message."""

    def found() -> Any:
        return controllers.conditions(stand.plane, namespace, name)["Programmed"]

    until(lambda: f"{found()['status']} {found()['reason']}" == expected and naming in found()["message"], found)
    return str(found()["message"])
