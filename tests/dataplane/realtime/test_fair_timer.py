"""Time in which the event loop did not listen does not count against a peer, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from dataplane.realtime.fair_timer import FairTimer


class Clock:
    """As much of an event loop as a timer needs. It stands still at times."""

    def __init__(self, stalls: dict[float, float]) -> None:
        self.now = 0.0
        self._stalls = stalls
        self._asked: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, act: Callable[[], None]) -> Clock:
        assert self._asked is None, "one timer at a time"
        self._asked = (when, act)
        return self

    def cancel(self) -> None:
        self._asked = None

    def run(self, until: float) -> None:
        """What is due is called, unless the loop stands still: then once it goes on."""
        while self._asked is not None and self._asked[0] <= until:
            when, act = self._asked
            self.now = next((end for begin, end in self._stalls.items() if begin <= when < end), when)
            self._asked = None
            act()


@pytest.mark.parametrize(
    ("stalls", "when"),
    [
        ({}, 4.0),
        ({1.05: 1.25}, 4.0),  # a look that is 0.05 s late is not late
        ({1.05: 2.05}, 4.85),  # it would have looked at 1.2: late by 0.85
        ({3.95: 4.95}, 5.15),  # at the very end: what came meanwhile is read
        ({1.05: 2.05, 3.1: 4.1}, 5.7),
        ({1.05: 60.0}, 60.0),  # so long that nobody is waited for any more
        ({0.1: 3.0, 3.1: 6.0}, 6.8),  # forgiven once: not for ever
    ],
)
def test_when_it_acts(stalls: dict[float, float], when: float) -> None:
    clock, acted = Clock(stalls), list[float]()
    FairTimer(cast("asyncio.AbstractEventLoop", clock), 4.0, lambda: acted.append(clock.now))
    clock.run(100.0)
    assert acted == [pytest.approx(when)]


def test_one_that_is_cancelled_never_acts() -> None:
    clock, acted = Clock({1.0: 3.0}), list[float]()
    waiting = FairTimer(cast("asyncio.AbstractEventLoop", clock), 4.0, lambda: acted.append(clock.now))
    clock.run(3.5)
    waiting.cancel()
    clock.run(100.0)
    assert not acted
