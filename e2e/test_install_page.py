"""What docs/install.md tells its reader to type, from top to bottom, on an API server of its own: it deletes the CRDs.
There is no node, so nothing there may wait for a pod. And examples/cluster, as it is written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.access import Cluster
from cluster.control_plane import ControlPlane
from cluster.programs import BIN
from processes import ROOT

from tests.docs.pages import Block, blocks

PAGE = ROOT / "docs" / "install.md"
EXAMPLES = ROOT / "examples" / "cluster"
NAMESPACE = "ai"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Path]:
    """A folder in which the page's commands find what they name."""
    for name in ("charts", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    for block in blocks(PAGE):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    with ControlPlane(tmp_path / "plane") as plane:
        (tmp_path / "kubeconfig").symlink_to(plane.kubeconfig)
        yield tmp_path


def test_every_command_works(page: Path) -> None:
    typed = [block for block in blocks(PAGE) if block.words == ("cluster",)]
    assert len(typed) >= 6
    for block in typed:
        run(block, page)


def run(block: Block, folder: Path) -> None:
    own = {name: str(folder / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "HOME")}
    done = subprocess.run(
        ["bash", "-euc", block.text],
        cwd=folder,
        env=os.environ | own | {"KUBECONFIG": str(folder / "kubeconfig"), "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"docs/install.md:{block.line}:\n{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.usefixtures("tidegate_crds", "gateway_api")
def test_the_examples_are_stored(cluster: Cluster) -> None:
    try:
        for folder in (EXAMPLES, EXAMPLES / "gateway-api"):
            cluster.kubectl("apply", "-f", folder)
            cluster.kubectl("diff", "-f", folder)
        assert "voice-routed" in cluster.kubectl("get", "tgb", "-n", NAMESPACE, "-o", "name")
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
