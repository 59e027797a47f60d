"""An install without its chart: replicas of the controller as processes of this machine, and pods that are but objects.

A gateway runs as a process of this machine, too, with the token of such a pod, and so is to the controller what it
would be in a cluster.
"""

from __future__ import annotations

import json
import re
import time
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import processes
import yaml
from cluster.access import Cluster
from processes import TIDEGATE, Process

NAME = "tidegate"
LABELS = {
    "app.kubernetes.io/name": "tidegate",
    "app.kubernetes.io/instance": NAME,
    "app.kubernetes.io/component": "dataplane",
}
PATIENCE_S = 60.0
"""That something takes at most which should take a second: the machine may be busy."""


@dataclass
class Install:
    """What the chart would make in `namespace`."""

    cluster: Cluster
    namespace: str
    folder: Path
    replicas: list[Process] = field(default_factory=list)
    gateways: list[Process] = field(default_factory=list)

    def prepare(self, **settings: object) -> None:
        """The settings, and the account of gateways."""
        install = {"name": NAME, "namespace": self.namespace, "instance": NAME}
        self.settings.write_text(yaml.safe_dump({"install": install, **settings}))
        self.cluster.kubectl("create", "serviceaccount", "-n", self.namespace, f"{NAME}-dataplane")

    @property
    def settings(self) -> Path:
        return self.folder / "settings.yaml"

    def controller(
        self, name: str, kubeconfig: Path | None = None, *, pod: str = "", listen: str = "127.0.0.1:0"
    ) -> Process:
        """Start a replica, and wait until it listens. `pod`: its own, where that is not its name. `ports`: tables,
        admin."""
        command = [TIDEGATE, "controller", "--config", self.settings, "--listen", listen]
        command += ["--admin", "127.0.0.1:0", "--kubeconfig", kubeconfig or self.cluster.kubeconfig]
        process = processes.start(name, [*command, "--log-format", "json"], self.folder, POD_NAME=pod or name)
        self.replicas.append(process)
        process.wait_for(lambda: '"event":"controlling"' in process.text())
        tables = re.search(r'"tables":"wss://([^"]+)"', process.text())
        admin = re.search(r'"admin":"http://([^"]+)"', process.text())
        assert tables
        assert admin
        process.ports |= {"tables": tables[1], "admin": admin[1]}
        return process

    def ca(self) -> Path:
        """A file with what gateways trust controllers by."""
        ca = self.folder / "ca.crt"
        read = ("get", "configmap", "-n", self.namespace, f"{NAME}-ca", "--ignore-not-found")
        until(lambda: self.cluster.kubectl(*read, "-o", "name"))
        ca.write_text(self.cluster.kubectl(*read, "-o", r"jsonpath={.data.ca\.crt}"))
        return ca

    def gateway(self, name: str, *replicas: Process | str, options: tuple[str | Path, ...] = ()) -> Process:
        """A gateway that dials these replicas or addresses, in a pod of its own; it has a table. `ports`: url,
        admin."""
        token = self.pod(name)
        command: list[str | Path] = [TIDEGATE, "dataplane", "--controller-ca", self.ca(), "--token-file", token]
        for each in replicas:
            command += ["--controller", each if isinstance(each, str) else each.ports["tables"]]
        command += options
        command += ["--pod", name, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json"]
        command += [
            "--drain-lame-duck",
            "0s",
            "--drain-patience",
            "0s",
            "--drain-closing",
            "0s",
            "--drain-linger",
            "0s",
        ]
        process = processes.start(name, command, self.folder)
        self.gateways.append(process)
        pattern = re.compile(r'"url":"http://([\d.:]+)","admin":"http://([\d.:]+)"')
        process.wait_for(lambda: pattern.search(process.text()))
        found = pattern.search(process.text())
        assert found
        process.ports = {"url": found[1], "admin": found[2]}
        return process

    def end(self) -> None:
        """End what runs. Fails where a replica has ended by itself, or has said a traceback."""
        for process in (*self.gateways, *self.replicas):
            process.stop()
        for process in (*self.gateways, *self.replicas):
            processes.assert_quiet(process.text(), process.name)

    def leader(self) -> Process:
        """The replica that leads; one is started where none runs."""
        if not any(each.popen.poll() is None for each in self.replicas):
            self.controller(f"replica-{len(self.replicas)}")
        running = {each.name: each for each in self.replicas if each.popen.poll() is None}
        until(lambda: self.holder() in running, self.holder)
        return running[self.holder()]

    def holder(self) -> str:
        """Who leads, as the Lease says."""
        args = ("get", "lease", "-n", self.namespace, f"{NAME}-controller", "--ignore-not-found")
        return self.cluster.kubectl(*args, "-o", "jsonpath={.spec.holderIdentity}")

    def address_of(self, namespace: str, gateway: str, port: int) -> str:
        """Where gateways listen for a port of a Gateway, as its Service says."""

        def found() -> list[int]:
            services = self.cluster.get("services", "-n", self.namespace)["items"]
            assert isinstance(services, list)
            ours = [each for each in services if _is_for(each, f"{namespace}/{gateway}")]
            return [each["targetPort"] for one in ours for each in one["spec"]["ports"] if each["port"] == port]

        until(found, lambda: f"no Service for port {port} of Gateway {namespace}/{gateway}")
        return f"127.0.0.1:{found()[0]}"

    def pod(self, name: str) -> Path:
        """A gateway's pod, which is ready as far as the cluster knows; a file with its token."""
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": self.namespace, "labels": LABELS},
                "spec": {
                    "serviceAccountName": f"{NAME}-dataplane",
                    "containers": [{"name": "gateway", "image": "none"}],
                    "automountServiceAccountToken": False,
                },
            }
        )
        self.set_ready(name, "True")
        bound = ("--bound-object-kind", "Pod", "--bound-object-name", name)
        token = self.cluster.token(self.namespace, f"{NAME}-dataplane", "--audience", "tidegate-controller", *bound)
        file = self.folder / f"{name}.token"
        file.touch(mode=0o600)
        file.write_text(token)
        return file

    def set_ready(self, pod: str, ready: str, since: str = "2026-01-01T00:00:00Z") -> None:
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": since}
        patch = json.dumps({"status": {"phase": "Running", "conditions": [condition]}})
        args = ("patch", "pod", "-n", self.namespace, pod, "--subresource=status", "--type=merge", "-p", patch)
        self.cluster.kubectl(*args)

    def delete_pod(self, name: str) -> None:
        self.cluster.kubectl("delete", "pod", "-n", self.namespace, name, "--force", "--grace-period=0")


def _is_for(service: dict[str, dict[str, dict[str, str]]], gateway: str) -> bool:
    return service["metadata"].get("annotations", {}).get("tidegate.dev/gateway") == gateway


def conditions(cluster: Cluster, namespace: str, name: str, kind: str = "tgb") -> dict[str, dict[str, object]]:
    """Of an object, by type. Of a Policy those of its first ancestor."""
    status = cluster.get(kind, "-n", namespace, name).get("status") or {}
    assert isinstance(status, dict)
    if ancestors := status.get("ancestors"):
        status = ancestors[0]
    return {each["type"]: each for each in status.get("conditions", [])}


def reasons(cluster: Cluster, namespace: str, name: str, kind: str = "tgb") -> dict[str, str]:
    """`True` or `False` and the reason, by type of condition."""
    return {
        type_: f"{each['status']} {each['reason']}"
        for type_, each in conditions(cluster, namespace, name, kind).items()
    }


def until(said: Callable[[], object], what: Callable[[], object] = lambda: "it is not so") -> None:
    """Wait until it is so. Fails with `what` where that takes too long."""
    deadline = time.monotonic() + PATIENCE_S
    while not said():
        assert time.monotonic() < deadline, f"after {PATIENCE_S:g} s: {what()}"
        time.sleep(0.1)


def ready(process: Process) -> bool:
    """Whether a replica hands out tables."""
    try:
        return processes.fetch(f"http://{process.ports['admin']}/readyz") == "ready\n"
    except urllib.error.HTTPError:
        return False


def metric(process: Process, name: str) -> float:
    """Of a replica's admin port; labels are part of the name."""
    text = processes.fetch(f"http://{process.ports['admin']}/metrics")
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found, f"{name} is not in:\n{text}"
    return float(found[1])
