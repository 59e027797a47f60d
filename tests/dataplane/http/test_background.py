"""Responses of the background are counted once, as long as they are remembered."""

from __future__ import annotations

from dataplane.http.background import Background
from dataplane.table import Provider
from dataplane.upstreams.choose import Destination

PROVIDER = Provider(name="a", kind="openai", url="https://a.example/v1")
HERE, OTHERWISE = Destination(PROVIDER, "fast", "gpt-5"), Destination(PROVIDER, "gpt-5", "gpt-5")


def test_once_and_as_it_was_begun() -> None:
    known = Background()
    known.begun("r1", HERE)
    assert known.ended("r1", OTHERWISE) is HERE
    assert known.ended("r1", OTHERWISE) is None


def test_one_of_another_process_is_counted_once_too() -> None:
    known = Background()
    assert known.ended("r1", OTHERWISE) is OTHERWISE
    assert known.ended("r1", OTHERWISE) is None


def test_the_oldest_is_forgotten_first() -> None:
    known = Background(most=2)
    for name in ("r1", "r2"):
        known.begun(name, HERE)
    assert known.ended("r1", OTHERWISE) is HERE  # which makes it the newest
    known.begun("r3", HERE)
    assert known.ended("r2", OTHERWISE) is OTHERWISE
    assert known.ended("r3", OTHERWISE) is HERE
