"""The lock files: hashes for everything, no word of where packages come from.

Locked files carry no dates, so what keeps a resolver from silently going back years is a lower bound on each direct
dependency, and that the locks hold to it.
"""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from bench.machine import LIBRARIES

ROOT = Path(__file__).parents[2]
LOCKS = {path.name: path for path in (ROOT / "requirements").glob("*.txt")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DIRECT = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *chain.from_iterable(PROJECT["project"]["optional-dependencies"].values()),
    *chain.from_iterable(PROJECT["dependency-groups"].values()),
]
PINNED = re.compile(r"^([a-z0-9-]+)==([^ ;]+)")
HASHED = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_a_pin_or_a_hash(name: str) -> None:
    lines = LOCKS[name].read_text("utf-8").splitlines()
    assert lines
    assert [line for line in lines if not HASHED.fullmatch(line) and not re.search(r"==.+ \\$", line)] == []
    assert [line for line in lines if "://" in line or line.startswith("-")] == []


@pytest.mark.parametrize("requirement", DIRECT)
def test_direct_dependencies_have_a_lower_bound(requirement: str) -> None:
    assert re.match(r"[A-Za-z0-9-]+(\[[a-z,]+\])?\s*(>=|==)", requirement)


@pytest.mark.parametrize("name", ["run.txt", "controller.txt", "dataplane.txt"])
def test_what_runs_is_tested_in_the_same_version(name: str) -> None:
    assert _pins(name).items() <= _pins("dev.txt").items()


def test_gateways_do_without_what_only_the_controller_needs() -> None:
    assert _pins("controller.txt").keys() - _pins("run.txt").keys() >= {"kopf", "kubernetes"}


def test_what_benchmarks_tell_the_version_of_is_locked() -> None:
    """They stop where it is not installed."""
    assert set(LIBRARIES) <= _pins("run.txt").keys()


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_to_the_lower_bounds(name: str) -> None:
    """If not, `make lock` was not run after pyproject.toml had changed."""
    pins = _pins(name)
    for requirement in DIRECT:
        package, bound = re.findall(r"^([A-Za-z0-9-]+)(?:\[[a-z,]+\])?\s*(?:>=|==)([\w.]+)", requirement)[0]
        # The clients of the end-to-end tests want an older websockets: it is not theirs to choose.
        if package in pins and not (name == "e2e.txt" and package == "websockets"):
            assert _version(pins[package]) >= _version(bound), requirement


def _pins(name: str) -> dict[str, str]:
    found = (PINNED.match(line) for line in LOCKS[name].read_text("utf-8").splitlines())
    return {pin[1]: pin[2] for pin in found if pin}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))
