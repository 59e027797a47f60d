"""What becomes of a controller when the API server goes away, and when its storage is put back to what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest
from cluster.control_plane import ControlPlane
from controllers import Install, conditions, metric, ready, until
from processes import Process

BACKEND = {
    "apiVersion": "tidegate.dev/v1alpha1",
    "kind": "Backend",
    "spec": {"providers": [{"name": "openai", "openai": {}, "auth": {"passthrough": {}}}], "expose": {}},
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of its own, whatever KUBECONFIG says: it is broken here."""
    with ControlPlane(tmp_path_factory.mktemp("broken")) as plane:
        plane.install_crds()
        yield plane


@pytest.fixture(scope="module")
def install(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Install]:
    plane.kubectl("create", "namespace", "install")
    install = Install(plane, "install", tmp_path_factory.mktemp("install"))
    install.prepare()
    yield install
    install.end()


@pytest.fixture(scope="module")
def controller(install: Install) -> Process:
    process = install.leader()
    until(lambda: ready(process))
    return process


def backend(plane: ControlPlane, name: str, **expose: object) -> None:
    document = {**BACKEND, "metadata": {"name": name, "namespace": "default"}}
    plane.apply({**document, "spec": {**BACKEND["spec"], "expose": expose}})  # type: ignore[dict-item]


def routes(gateway: Process) -> list[str]:
    """What a gateway serves."""
    table = json.loads(processes.fetch(f"http://{gateway.ports['admin']}/table"))
    return [route["name"] for route in table["routes"]]


def is_observed(plane: ControlPlane, name: str, generation: int) -> bool:
    accepted = conditions(plane, "default", name).get("Accepted")
    return accepted is not None and accepted["observedGeneration"] == generation


def test_an_api_server_that_is_away(plane: ControlPlane, install: Install, controller: Process) -> None:
    backend(plane, "before")
    gateway = install.gateway("gateway", controller)
    until(lambda: len(routes(gateway)) == 1, lambda: routes(gateway))
    server = plane.programs["kube-apiserver"]
    failures = metric(controller, 'tidegate_controller_api_failures_total{for="lease"}')
    server.kill()
    until(lambda: metric(controller, 'tidegate_controller_api_failures_total{for="lease"}') > failures)
    until(lambda: metric(controller, "tidegate_controller_leader") == 0)  # it cannot know whether another leads
    assert ready(controller)
    assert len(routes(gateway)) == 1
    server.start()
    server.wait_for(plane.ready, "is not ready")
    for generation in range(2, 5):  # more than the lists that follow an outage would tell
        backend(plane, "before", hostnames=[f"v{generation}.example.com"])
        until(lambda wanted=generation: is_observed(plane, "before", wanted))  # type: ignore[misc]


def test_a_storage_that_is_put_back(plane: ControlPlane, install: Install, controller: Process, tmp_path: Path) -> None:
    """Nobody tells of what is gone: there is no event for it, and versions count from before again."""
    gateway = install.gateways[0]
    etcd, server = plane.programs["etcd"], plane.programs["kube-apiserver"]
    backend(plane, "turned")
    until(lambda: any("turned" in name for name in routes(gateway)), lambda: routes(gateway))
    server.kill()
    etcd.stop()
    shutil.copytree(plane.folder / "etcd", tmp_path / "kept")
    etcd.start()
    server.start()
    server.wait_for(plane.ready, "is not ready")
    backend(plane, "after")
    until(lambda: any("after" in name for name in routes(gateway)), lambda: routes(gateway))
    backend(plane, "turned", hostnames=["not.allowed.example.com"])
    until(lambda: not any("turned" in name for name in routes(gateway)), lambda: routes(gateway))
    server.kill()
    etcd.stop()
    shutil.rmtree(plane.folder / "etcd")
    shutil.copytree(tmp_path / "kept", plane.folder / "etcd")
    etcd.start()
    server.start()
    server.wait_for(plane.ready, "is not ready")
    assert "after" not in plane.kubectl("get", "tgb")
    until(lambda: not any("after" in name for name in routes(gateway)), lambda: routes(gateway))
    until(lambda: any("turned" in name for name in routes(gateway)), lambda: routes(gateway))
    backend(plane, "later")
    until(lambda: is_observed(plane, "later", 1))
