"""What pages tell their readers to type in a cluster, from top to bottom, on an API server of their own: one deletes
the CRDs. There is no node, so nothing there may wait for a pod. And examples/cluster, as it is written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.access import Cluster
from cluster.control_plane import ControlPlane
from cluster.programs import BIN

from tests.docs.pages import ROOT, Block, blocks, pages

BEFORE: dict[str, tuple[str, ...]] = {
    "README.md": (),
    "docs/install.md": (),
    "docs/kubernetes.md": ("README.md",),
    "docs/security.md": ("README.md",),
    "docs/troubleshooting.md": ("README.md",),
}
"""Pages, and those that their readers have followed before."""
EXAMPLES = ROOT / "examples" / "cluster"
NAMESPACE = "ai"


def typed(page: str) -> list[Block]:
    """Its commands; those of kind `console` need a node, and e2e/test_walkthrough.py types them."""
    return [block for block in blocks(ROOT / page) if (block.kind, block.words) == ("sh", ("cluster",))]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In which commands find what they name."""
    for name in ("charts", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    with ControlPlane(tmp_path / "plane") as plane:
        (tmp_path / "kubeconfig").symlink_to(plane.kubeconfig)
        yield tmp_path


def test_every_page_with_such_commands_is_here() -> None:
    found = {str(page.relative_to(ROOT)) for page in pages() if typed(str(page.relative_to(ROOT)))}
    assert found == BEFORE.keys()


@pytest.mark.parametrize("page", BEFORE)
def test_every_command_works(page: str, folder: Path) -> None:
    for block in (block for each in (*BEFORE[page], page) for block in blocks(ROOT / each)):
        if block.file:
            (folder / block.file).write_text(block.text)
        if (block.kind, block.words) == ("sh", ("cluster",)):
            run(block, folder)


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
    assert done.returncode == 0, f"{block.place}:\n{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.mark.usefixtures("tidegate_crds", "gateway_api")
def test_the_examples_are_stored(cluster: Cluster) -> None:
    try:
        for folder in (EXAMPLES, EXAMPLES / "gateway-api"):
            cluster.kubectl("apply", "-f", folder)
            cluster.kubectl("diff", "-f", folder)
        assert "voice-routed" in cluster.kubectl("get", "tgb", "-n", NAMESPACE, "-o", "name")
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=60s")
