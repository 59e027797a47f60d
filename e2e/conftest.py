"""What every test has: a gateway and a simulator as processes of their own, new for each file of tests.

When a file is done, the two must agree on every token, end cleanly when they are asked to, and have said no key.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import books
import installs
import processes
import pytest
from cluster.access import Cluster
from cluster.control_plane import ControlPlane
from cluster.node import Node as WholeNode
from processes import CACHE, CLIENT_KEY, ROOT, Process

NO_NODE = "NODE=1, as root on Linux, runs what needs a whole node"
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what no node was there for, where nobody overlooks it."""
    left_out = [report for report in terminalreporter.getreports("skipped") if NO_NODE in str(report.longrepr)]
    if left_out:
        files = sorted({report.nodeid.partition("::")[0] for report in left_out})
        terminalreporter.section("LEFT OUT", red=True)
        terminalreporter.line(f"{len(left_out)} tests of {', '.join(files)}: {NO_NODE}")


@dataclass
class Stack:
    """A gateway in front of a simulator. `base` is what an SDK calls base_url."""

    gateway: Process
    simulator: Process
    same_books: bool = True
    """Must the gateway have metered what the simulator billed? Not where there is another provider."""

    @property
    def host(self) -> str:
        return self.gateway.ports["url"]

    @property
    def base(self) -> str:
        return f"http://{self.host}/v1"

    @property
    def realtime(self) -> str:
        return f"ws://{self.host}/v1/realtime"

    def metrics(self) -> str:
        return processes.fetch(f"http://{self.gateway.ports['admin']}/metrics")

    def ledger(self) -> str:
        return processes.fetch(f"{self.simulator.ports['url']}/_ledger")

    def admin(self, path: str) -> str:
        return processes.fetch(f"http://{self.gateway.ports['admin']}{path}")

    def close(self) -> None:
        """End both, and look at what they leave."""
        try:
            self._look()
        finally:
            ended = {process.name: process.stop() for process in (self.gateway, self.simulator)}
        assert set(ended.values()) == {0}, f"exit codes {ended}:\n{self.gateway.text()}"
        for process in (self.gateway, self.simulator):
            processes.assert_quiet(process.text(), f"the log of the {process.name}")

    def _look(self) -> None:
        for path in ("/metrics", "/table", "/sessions"):
            processes.assert_quiet(self.admin(path), path)
        if self.same_books:
            self.gateway.wait_for(lambda: books.of_metrics(self.metrics()) == books.of_ledger(self.ledger()))


def start_stack(folder: Path, *options: str | Path, provider: str = "openai", **upstreams: str) -> Stack:
    """A gateway and a simulator of one's own, of this provider. `upstreams` are further addresses in gateway.yaml."""
    simulator = processes.start_simulator(folder, provider)
    try:
        nowhere = dict.fromkeys(("ECHO", "REFLECTOR", "MOCK"), NOWHERE)
        addresses = nowhere | {"SIMULATOR": simulator.ports["url"]} | upstreams
        return Stack(processes.start_gateway(folder, addresses, *options), simulator)
    except BaseException:
        simulator.kill()
        raise


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of this file of tests."""
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    running = start_stack(folder)
    yield running
    running.close()


@pytest.fixture(scope="session")
def node() -> Node:
    return Node()


class Node:
    """Runs the scripts of e2e/node, which find their packages in the cache."""

    folder = CACHE / "node"

    def __init__(self) -> None:
        for script in (ROOT / "e2e" / "node").glob("*.mjs"):
            shutil.copy(script, self.folder)

    def run(self, script: str, *arguments: str, **environment: str) -> list[str]:
        """The lines that the script prints. Fails where it fails."""
        command = ["node", str(self.folder / script), *arguments]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": _path(), "KEY": CLIENT_KEY, **environment},
        )
        assert done.returncode == 0, f"{script} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout.splitlines()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that KUBECONFIG names, or else an API server of our own. It has none of our objects at first."""
    folder = tmp_path_factory.mktemp("cluster")
    if named := os.environ.get("KUBECONFIG"):
        yield Cluster(Path(named), folder)
        return
    with ControlPlane(folder) as plane:
        yield plane


@pytest.fixture(scope="session")
def whole_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeNode]:
    """A cluster with a node that runs pods; only where NODE is set."""
    if not os.environ.get("NODE"):
        pytest.skip(NO_NODE)
    with WholeNode(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="session")
def images(whole_node: WholeNode) -> dict[str, str]:
    """The names of Tidegate's images, which the node has: of the "controller", the "dataplane" and the "client"."""
    installs.load_images(whole_node)
    return {name: installs.image(name) for name in installs.IMAGES}


@pytest.fixture(scope="session")
def tidegate_crds(cluster: Cluster) -> None:
    """Backends and Policies can be stored."""
    cluster.install_crds()


@pytest.fixture(scope="session")
def gateway_api(cluster: Cluster) -> None:
    """Gateways, HTTPRoutes and ReferenceGrants can be stored."""
    cluster.install_gateway_api()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """One for each test, deleted afterwards."""
    with cluster.namespace() as name:
        yield name


def _path() -> str:
    found = shutil.which("node")
    assert found, "Node is needed"
    return f"{Path(found).parent}:/usr/bin:/bin"
