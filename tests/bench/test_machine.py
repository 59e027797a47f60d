"""What is said of the machine and of what was measured on it."""

from __future__ import annotations

from bench.machine import LIBRARIES, made


def test_versions_are_told_of_what_is_installed() -> None:
    here = made()
    assert {"Python", *LIBRARIES} <= here.versions.keys()
    assert all(here.versions[name] for name in LIBRARIES)
    assert here.commit
