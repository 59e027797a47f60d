"""A whole node: pods run on it and find each other as in any cluster, and nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.access import Failed
from cluster.machine import delete_groups
from cluster.node import PROBE, Node
from cluster.programs import BIN

SERVER = f"""
apiVersion: v1
kind: Pod
metadata: {{name: server, labels: {{app: server}}}}
spec:
  containers:
  - name: server
    image: {PROBE}
    args: [serve, ":8080", greetings from the server]
    readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: server}}
spec:
  selector: {{app: server}}
  ports: [{{port: 80, targetPort: 8080}}]
"""
CLIENT = f"""
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  containers:
  - name: client
    image: {PROBE}
    args: [serve, ":8080", greetings from the client]
    volumeMounts: [{{name: token, mountPath: /tokens}}]
  terminationGracePeriodSeconds: 0
  volumes:
  - name: token
    projected: {{sources: [{{serviceAccountToken: {{audience: someone, path: token, expirationSeconds: 600}}}}]}}
"""


@pytest.fixture(scope="module")
def pods(whole_node: Node) -> Iterator[str]:
    """A namespace with a pod that serves, behind a Service, and another that asks."""
    with whole_node.namespace() as name:
        whole_node.kubectl("apply", "-n", name, "-f", "-", input=f"{SERVER}\n---\n{CLIENT}")
        whole_node.kubectl("wait", "-n", name, "--for=condition=Ready", "pod/server", "pod/client", "--timeout=60s")
        yield name


def test_a_service_answers_by_its_name(whole_node: Node, pods: str) -> None:
    for host in ("server", f"server.{pods}.svc", f"server.{pods}.svc.cluster.local"):
        said = whole_node.kubectl("exec", "-n", pods, "client", "--", "probe", "get", f"http://{host}")
        assert said == "greetings from the server"


def test_the_node_itself_reaches_services(whole_node: Node, pods: str) -> None:
    address = whole_node.kubectl("get", "service", "server", "-n", pods, "-o", "jsonpath={.spec.clusterIP}")
    assert whole_node.run(BIN / "probe", "get", f"http://{address}") == ("greetings from the server")


def test_a_projected_token_tells_of_its_pod(whole_node: Node, pods: str) -> None:
    token = whole_node.kubectl("exec", "-n", pods, "client", "--", "probe", "cat", "/tokens/token")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["someone"]},
    }
    said = whole_node.kubectl("create", "-f", "-", "-o", "json", input=json.dumps(review))
    status = json.loads(said)["status"]
    assert status["authenticated"] is True
    assert status["user"]["username"] == f"system:serviceaccount:{pods}:default"
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["client"]


def test_logs_are_read_and_nothing_leads_out(whole_node: Node, pods: str) -> None:
    assert whole_node.kubectl("logs", "-n", pods, "client") == ""
    with pytest.raises(AssertionError, match="Network is unreachable"):
        whole_node.run("ip", "route", "get", "192.0.2.1")


@pytest.mark.usefixtures("whole_node")
def test_stopping_leaves_nothing(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        name = node.machine.name
        link = Path("/sys/class/net") / name.replace("-", "")
        assert link.exists()
        assert len(_processes_of(name)) >= 2  # CoreDNS, and what holds its pod
    _assert_gone(name, link)


@pytest.mark.usefixtures("whole_node")
def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    seen: list[str] = []

    class Broken(Node):
        def _run_dns(self) -> None:
            seen.append(self.machine.name)
            raise Failed("no DNS")

    with pytest.raises(Failed, match="no DNS"):
        Broken(tmp_path / "node").start()
    _assert_gone(seen[0], Path("/sys/class/net") / seen[0].replace("-", ""))


@pytest.mark.usefixtures("whole_node")
def test_it_dies_with_who_started_it(tmp_path: Path) -> None:
    code = "import sys, time\nfrom pathlib import Path\nfrom cluster.node import Node\n"
    code += "print(Node(Path(sys.argv[1])).start().machine.name, flush=True)\ntime.sleep(600)\n"
    command = [sys.executable, "-c", code, str(tmp_path / "node")]
    here = str(Path(__file__).parent)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": here}) as starter:
        assert starter.stdout is not None
        name = starter.stdout.readline().strip()
        starter.send_signal(signal.SIGKILL)
    link = Path("/sys/class/net") / name.replace("-", "")
    deadline = time.monotonic() + 20
    while link.exists() or _processes_of(name):
        assert time.monotonic() < deadline, f"{name} lives on"
        time.sleep(0.1)
    assert delete_groups(name)


def _assert_gone(name: str, link: Path) -> None:
    assert not link.exists()
    assert _processes_of(name) == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/{name}")) == []
    assert "tidegate" not in Path("/proc/self/mounts").read_text()


def _processes_of(name: str) -> list[int]:
    """Those in the control groups of a node: what runs in its pods."""
    groups = Path("/sys/fs/cgroup").glob(f"**/{name}/**/cgroup.procs")
    return sorted({int(pid) for file in groups for pid in file.read_text().split()})
