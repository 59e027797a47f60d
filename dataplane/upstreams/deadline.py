"""One deadline that moves with every request, without a timer for each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `expired` when the time that was last set has come.

    A deadline is set several times per request and hardly ever reached. So the timer is left to run when it moves
    to later, and looks again when it fires."""

    __slots__ = ("_at", "_expired", "_fires", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop, self._expired = loop, expired
        self._at: float | None = None
        self._fires = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """From now."""
        at = self._loop.time() + seconds
        self._at = at
        if self._timer is None or at < self._fires:
            self._arm(at)

    def clear(self) -> None:
        """There is none until the next `set`."""
        self._at = None

    def stop(self) -> None:
        """For good: nothing is kept alive for the timer's sake."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._arm(self._at)
        else:
            self._at = None
            self._expired()
