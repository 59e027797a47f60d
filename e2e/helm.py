"""Helm without a cluster: what the charts render, and what they refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml
from processes import ROOT

CHART = ROOT / "charts" / "tidegate"
CRDS_CHART = ROOT / "charts" / "tidegate-crds"
BUILT = ROOT / ".cache" / "cluster" / "bin" / "helm"
"""Made by e2e/run."""
NAMESPACE = "tidegate-system"
KUBERNETES = "1.36.2"

Document = dict[str, object]


class Refused(Exception):
    """What Helm said when it failed."""


def run(*arguments: str | Path) -> str:
    """What `helm` prints. Raises Refused."""
    program = BUILT if BUILT.exists() else shutil.which("helm")
    assert program, "helm is needed: e2e/run builds it"
    with tempfile.TemporaryDirectory() as folder:
        home = dict.fromkeys(("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"), folder)
        command = [str(program), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ | home)
    if done.returncode:
        raise Refused(done.stderr or done.stdout)
    return done.stdout


def template(*arguments: str | Path, release: str = "tidegate", chart: Path = CHART) -> str:
    """The manifests of a chart, its tests included."""
    return run("template", release, chart, "--namespace", NAMESPACE, "--kube-version", KUBERNETES, *arguments)


def parsed(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]
