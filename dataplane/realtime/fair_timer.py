"""A timer that holds no peer to account for time in which the event loop did not listen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICKS = 20
"""How often it is looked, in the time that was asked for, whether the loop was late."""
SHORTEST = 0.1
"""Seconds from one look to the next, at least, and by how much the loop may be late."""


class FairTimer:
    """Calls `act` after so many seconds, unless it is cancelled. Seconds in which the loop was busy with something
    else, or the machine with somebody else, are added, since what the peer said or took meanwhile is still to be read;
    but no more of them than were asked for."""

    __slots__ = ("_act", "_due", "_handle", "_left", "_loop", "_spare", "_tick")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, act: Callable[[], None]) -> None:
        self._loop = loop
        self._act = act
        self._left = self._spare = seconds
        """Seconds that are to come, and those by which the loop may still be late."""
        self._tick = max(SHORTEST, seconds / TICKS)
        self._arm()

    def cancel(self) -> None:
        self._handle.cancel()

    def _arm(self) -> None:
        step = min(self._tick, self._left)
        self._left -= step
        self._due = self._loop.time() + step
        self._handle = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        late = self._loop.time() - self._due
        if SHORTEST < late <= self._spare:
            self._spare -= late
            self._left = max(self._left, self._tick)
        else:
            self._left -= late
        if self._left > 0:
            self._arm()
        else:
            act, self._act = self._act, _nothing  # its handle and it hold each other: whoever it was for is not held
            act()


def _nothing() -> None:
    """What is done by a timer that has fired."""
