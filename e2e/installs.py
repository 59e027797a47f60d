"""Tidegate on a whole node, by its charts and images; the provider is a pod of the simulator."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TypedDict

import books
import processes
import yaml
from books import Book
from cluster.access import Cluster
from cluster.node import Node
from cluster.programs import BIN
from processes import ROOT

SYSTEM = "tidegate-system"
NAMESPACE = "ai"
PROVIDER = "provider"
PROVIDER_KEY = "put-the-key-of-your-provider-here"
CALLER_KEY = "put-what-openssl-rand-hex-24-says-here"
"""As examples/cluster has them."""
SIMULATOR = f"simulator.{PROVIDER}.svc:9100"
BASE = f"http://tidegate.{SYSTEM}.svc/{NAMESPACE}/voice/v1"
GATEWAYS = "app.kubernetes.io/component=dataplane"
CONTROLLERS = "app.kubernetes.io/component=controller"

IMAGES = ("controller", "dataplane", "client")
"""Made by images/build; the last one has the OpenAI SDK, and nothing of ours."""
VERSION: str = yaml.safe_load((ROOT / "charts" / "tidegate" / "Chart.yaml").read_text())["appVersion"]
PASSING = ("Event", "EndpointSlice", "Endpoints", "Lease", "NodeMetrics", "PodMetrics")
"""Kinds whose objects come and go by themselves. Those of EndpointSlices go with their Services, a moment later."""


class Turn(TypedDict):
    said: str
    tokens: int


class Said(TypedDict):
    """What e2e/client/call.py prints."""

    chat: Turn
    realtime: list[Turn]


TURNS_OF_A_CALL = 3


def image(name: str) -> str:
    return f"tidegate-{name}:{VERSION}"


def load_images(node: Node) -> None:
    """Give the node all of them under the names that the chart has for them, as if a registry had."""
    for name in IMAGES:
        node.load_image(ROOT / ".cache" / "images" / f"{name}.tar", f"docker.io/library/{image(name)}")


def run_simulator(cluster: Cluster) -> None:
    """The provider's double, in a namespace of its own."""
    cluster.kubectl("create", "namespace", PROVIDER)
    command = ("tidegate", "simulate", "--listen", "0.0.0.0:9100", "--key", PROVIDER_KEY)
    made = ("create", "deployment", "simulator", "-n", PROVIDER, f"--image={image('dataplane')}", "--port=9100")
    cluster.kubectl(*made, "--", *command)
    cluster.kubectl("expose", "deployment", "simulator", "-n", PROVIDER)
    cluster.kubectl("rollout", "status", "deployment/simulator", "-n", PROVIDER, "--timeout=90s")


def point_to_simulator(cluster: Cluster, backend: str = "voice") -> None:
    """What examples/cluster calls OpenAI is the simulator then."""
    url = [{"op": "add", "path": "/spec/providers/0/url", "value": f"http://{SIMULATOR}/v1"}]
    cluster.kubectl("patch", "tgb", backend, "-n", NAMESPACE, "--type=json", "-p", json.dumps(url))


def run_client(
    cluster: Cluster, name: str = "client", hosts: dict[str, str] | None = None, trusts: Path | None = None
) -> None:
    """A pod with the OpenAI SDK and the scripts of e2e/client. `hosts` are names by address, `trusts` a certificate."""
    files = [f"--from-file={file}" for file in (ROOT / "e2e" / "client", trusts) if file]
    cluster.kubectl("create", "configmap", name, "-n", NAMESPACE, *files)
    container = {
        "name": "client",
        "image": image("client"),
        "args": ["/scripts/keep.py"],
        "env": [{"name": "SSL_CERT_FILE", "value": f"/scripts/{trusts.name}"}] if trusts else [],
        "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}],
    }
    spec = {
        "containers": [container],
        "volumes": [{"name": "scripts", "configMap": {"name": name}}],
        "hostAliases": [{"ip": address, "hostnames": [host]} for address, host in (hosts or {}).items()],
    }
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
    cluster.kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", f"pod/{name}", "--timeout=90s")


def call(cluster: Cluster, base: str = BASE, pod: str = "client") -> Said:
    """What e2e/client/call.py prints in that pod. Raises Failed."""
    command = ("python3", "/scripts/call.py", base, CALLER_KEY)
    said: Said = json.loads(cluster.kubectl("exec", "-n", NAMESPACE, pod, "--", *command))
    return said


def assert_quiet(text: str, where: str) -> None:
    """No key and no traceback."""
    for key in (PROVIDER_KEY, CALLER_KEY):
        assert key not in text, f"a key is in {where}"
    processes.assert_quiet(text, where)


def pods(cluster: Cluster, selector: str = GATEWAYS) -> list[str]:
    """Names of those that there are, also of those that end."""
    names = ("-o", "jsonpath={.items[*].metadata.name}")
    return cluster.kubectl("get", "pods", "-n", SYSTEM, "-l", selector, *names).split()


def metrics(cluster: Cluster, pod: str, port: int = 9090) -> str:
    return cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{SYSTEM}/pods/{pod}:{port}/proxy/metrics")


def ledger(cluster: Cluster) -> str:
    """What the provider has billed."""
    return cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{PROVIDER}/services/simulator:9100/proxy/_ledger")


class Readings:
    """What the gateways have counted since the beginning: of each pod what was read last, also when it is gone."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._books: dict[str, Book] = {}

    def book(self) -> Book:
        for pod in pods(self._cluster):
            try:
                self._books[pod] = books.of_metrics(metrics(self._cluster, pod))
            except AssertionError:
                continue  # it has ended just now, or does not answer yet
        return sum(self._books.values(), Book())

    def agree(self) -> bool:
        """Has the provider billed exactly that?"""
        return self.book() == books.of_ledger(ledger(self._cluster))


def everything(cluster: Cluster) -> set[str]:
    """All objects of the cluster: kind, namespace and name."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    columns = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name"
    found = cluster.kubectl("get", ",".join(kinds), "-A", "--no-headers", "-o", columns)
    return {" ".join(line.split()) for line in found.splitlines() if line.split()[0] not in PASSING}


def await_leavers(cluster: Cluster) -> None:
    """Until the namespaces of earlier tests, which were only told to go, are gone with all that is in them."""
    found = cluster.kubectl("get", "namespaces", "-o", "name", "--field-selector=status.phase=Terminating").split()
    if found:
        cluster.kubectl("wait", "--for=delete", *found, "--timeout=120s")


def typed(cluster: Cluster, text: str, folder: Path = ROOT, code: int = 0) -> str:
    """What the commands print, typed in a folder by somebody who administrates the cluster. They end with `code`."""
    own = {name: str(cluster.folder / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ | own | {"KUBECONFIG": str(cluster.kubeconfig), "PATH": f"{BIN}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, f"$ {text}\nends with {done.returncode}:\n{done.stdout}"
    return done.stdout


def conditions(cluster: Cluster, kind: str, name: str, namespace: str = NAMESPACE) -> dict[str, str]:
    """`True` or `False`, and why, by type."""
    said = cluster.kubectl("get", kind, name, "-n", namespace, "-o", "jsonpath={.status}")
    status = json.loads(said or "{}")
    status = status["ancestors"][0] if status.get("ancestors") else status
    return {each["type"]: f"{each['status']} {each['reason']}" for each in status.get("conditions", [])}


def sweep(cluster: Cluster) -> None:
    """Whatever is there of it, delete it."""
    for release in ("tidegate", "tidegate-crds"):
        cluster.helm("uninstall", release, "-n", SYSTEM, "--ignore-not-found")
    kinds = ("backends.tidegate.dev", "policies.tidegate.dev")
    cluster.kubectl("delete", "crd", *kinds, "--ignore-not-found")
    cluster.kubectl("delete", "gatewayclass", "tidegate", "--ignore-not-found")
    # Not by themselves: Kubernetes looks after a namespace as seldom as its pods have grace.
    for namespace in (NAMESPACE, PROVIDER, SYSTEM):
        cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--force", "--grace-period=0")
    namespaces = ("namespace", NAMESPACE, PROVIDER, SYSTEM, "--ignore-not-found", "--timeout=120s")
    cluster.kubectl("delete", *namespaces)
