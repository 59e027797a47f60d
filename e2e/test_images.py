"""Both images: they run as nobody, write nothing, and hold what they need and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.node import Node

TARGETS = ("controller", "dataplane")
ROOT = Path(__file__).parent.parent
OPERATORS = ("kopf", "kubernetes")
LOOK = """
import importlib.util, json, os, pathlib
wanted = ("kopf", "kubernetes", "aiohttp", "pip", "tidegate")
try:
    pathlib.Path("/opt/tidegate/written").write_text("")
    writes = True
except OSError as error:
    writes = error.strerror
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "writes": writes,
    "has": [name for name in wanted if importlib.util.find_spec(name)],
    "settings": [name for name in ("/etc/pip.conf", "/etc/apt/sources.list") if os.path.exists(name)],
}))
"""


@pytest.fixture(scope="module")
def place(whole_node: Node) -> Iterator[str]:
    with whole_node.namespace() as name:
        yield name


@pytest.mark.parametrize("target", TARGETS)
def test_it_says_its_version(whole_node: Node, images: dict[str, str], place: str, target: str) -> None:
    version = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    said = _run(whole_node, place, f"{target}-version", images[target], {"args": ["--version"]})
    assert said.split()[-1] == version.split('"')[1]


@pytest.mark.parametrize("target", TARGETS)
def test_it_holds_what_it_needs_and_writes_nothing(
    whole_node: Node, images: dict[str, str], place: str, target: str
) -> None:
    seen = json.loads(_run(whole_node, place, f"{target}-look", images[target], {"command": ["python", "-c", LOOK]}))
    assert seen == {
        "user": [65532, 65532],
        "writes": "Read-only file system",
        "has": [*(OPERATORS if target == "controller" else ()), "aiohttp", "tidegate"],
        "settings": [],
    }


def _run(node: Node, namespace: str, name: str, image: str, what: dict[str, list[str]]) -> str:
    """What a pod prints that runs as a careful cluster asks for, without a user of its choice."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": name, "image": image, "imagePullPolicy": "Never", "securityContext": security, **what}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    node.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
    status = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}"
    node.kubectl("wait", "-n", namespace, f"--for={status}", f"pod/{name}", "--timeout=60s")
    said = node.kubectl("logs", "-n", namespace, name)
    assert node.kubectl("get", "pod", "-n", namespace, name, "-o", status) == "0", said
    return said
