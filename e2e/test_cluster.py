"""A real API server: it comes up, knows Tidegate's kinds and those of Gateway API, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cluster.access import Cluster
from cluster.control_plane import ControlPlane
from cluster.programs import Ended

BACKEND = """
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {name: voice}
spec:
  providers:
  - name: openai
    openai: {}
    auth: {secretRef: {name: openai-secret}}
"""
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: shared}
spec:
  gatewayClassName: tidegate
  listeners: [{name: http, port: 80, protocol: HTTP}]
"""


def test_it_serves_the_version_that_is_pinned(cluster: Cluster) -> None:
    assert '"gitVersion": "v1.' in cluster.kubectl("get", "--raw", "/version")


@pytest.mark.usefixtures("tidegate_crds")
def test_a_backend_is_stored(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=BACKEND)
    assert "voice" in cluster.kubectl("get", "tgb", "-n", namespace)


@pytest.mark.usefixtures("tidegate_crds")
def test_a_mistake_is_refused_in_our_words(cluster: Cluster, namespace: str) -> None:
    two_kinds = BACKEND.replace("openai: {}", "openai: {}\n    custom: {}")
    said = cluster.refused("apply", "--server-side", "-n", namespace, "-f", "-", input=two_kinds)
    assert "set exactly one of openai, azure, xai, custom, for example openai: {}" in said


@pytest.mark.usefixtures("gateway_api")
def test_gateway_api_is_there(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=GATEWAY)
    assert "shared" in cluster.kubectl("get", "gateways", "-n", namespace, "-o", "name")


@pytest.mark.usefixtures("tidegate_crds")
def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster) -> None:
    with cluster.namespace() as name:
        cluster.kubectl("apply", "--server-side", "-n", name, "-f", "-", input=BACKEND)
    cluster.kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=60s")
    assert "NotFound" in cluster.refused("get", "namespace", name)


def test_others_may_do_what_rbac_says(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "role", "reader", "-n", namespace, "--verb=list", "--resource=configmaps")
    bind = ("create", "rolebinding", "reader", "-n", namespace, "--role=reader")
    cluster.kubectl(*bind, "--user=anna", f"--serviceaccount={namespace}:default")
    for kubeconfig in (cluster.user("anna"), cluster.service_account(namespace, "default")):
        listing = cluster.kubectl("get", "configmaps", "-n", namespace, "-o", "name", kubeconfig=kubeconfig)
        assert listing == "configmap/kube-root-ca.crt\n"
        assert "Forbidden" in cluster.refused("get", "secrets", "-n", namespace, kubeconfig=kubeconfig)


def test_stopping_leaves_no_process(tmp_path: Path) -> None:
    with ControlPlane(tmp_path / "plane"):
        assert len(_processes_of(tmp_path)) == 3
    assert _processes_of(tmp_path) == []


def test_what_ends_by_itself_is_named_with_its_last_lines(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "plane").start()
    manager = plane.programs["kube-controller-manager"]
    os.kill(manager.pid, signal.SIGKILL)
    ended = r"(?s)kube-controller-manager ended by itself with -9\. Its log ends:\n.+"
    with pytest.raises(Ended, match=ended):
        manager.wait_for(lambda: False, "")
    with pytest.raises(Ended, match=ended):
        plane.kubectl("get", "nonsense")
    with pytest.raises(Ended, match=ended):
        plane.stop()
    assert _processes_of(tmp_path) == []


def test_a_control_plane_that_does_not_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "plane")
    plane.address = "192.0.2.1"  # of the network for documentation: no machine has it
    with pytest.raises(Ended, match=r"(?s)kube-apiserver ended by itself with 1\..*cannot assign requested address"):
        plane.start()
    assert _processes_of(tmp_path) == []


def _processes_of(folder: Path) -> list[str]:
    """The command lines that name the folder."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(file.read_text().replace("\0", " "))
        except OSError:
            continue  # it has just ended
    return [line for line in lines if str(folder) in line]
