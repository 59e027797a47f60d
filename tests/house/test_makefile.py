"""The Makefile explains itself, and stays small."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def test_every_target_is_in_the_help_and_there_are_few() -> None:
    phony = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split()
    said = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\S+)", said, re.MULTILINE) == phony
    assert len(phony) <= 15


def test_all_generators_are_run() -> None:
    """Whatever can check its output with `--check` is in the list of the Makefile."""
    listed = set(re.findall(r"^GENERATORS := (.*)$", MAKEFILE, re.MULTILINE)[0].split())
    packages = ("crds", "controller", "dataplane", "simulator", "tidegate", "charts")
    sources = (path for package in packages for path in (ROOT / package).rglob("*.py"))
    able = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sources
        if "[--check]" in path.read_text("utf-8") and "__main__" in path.read_text("utf-8")
    }
    assert able == listed
