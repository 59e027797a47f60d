"""When a peer is late. To set it anew for each request costs no timer: one is running, and looks when it is due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `late` when the seconds that were given last have passed."""

    __slots__ = ("_due", "_late", "_loop", "_seconds", "_timer", "_timer_due")

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Callable[[], None]) -> None:
        self._loop = loop
        self._late = late
        self._seconds = 0.0
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        """When the timer looks; never after `_due`."""

    def give(self, seconds: float) -> None:
        """From now on."""
        self._seconds, self._due = seconds, self._loop.time() + seconds
        if self._timer is None or self._due < self._timer_due:
            self._stop_timer()
            self._look_at(self._due)

    def renew(self) -> None:
        """Once more the seconds that were given last, which are not over."""
        self._due = self._loop.time() + self._seconds

    def lift(self) -> None:
        """There is none, until the next is given."""
        self._due = None

    def stop(self) -> None:
        """For good; whom it was for is not kept."""
        self._due, self._late = None, _nobody
        self._stop_timer()

    def _look_at(self, when: float) -> None:
        self._timer, self._timer_due = self._loop.call_at(when, self._look), when

    def _look(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._loop.time() < self._due:
            self._look_at(self._due)
        else:
            self._due = None
            self._late()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nobody() -> None:
    """Whom a deadline is for that has been stopped."""
