"""Collections of cyclic garbage, which stop the loop: kept away from what is there to stay.

A full collection looks through all that is alive: 0.2 s for a table of 5,000 routes (300,000 objects), 60 ms for 2,000
sessions (150 objects each). It hardly ever finds anything, since what ends here leaves no cycles behind, and storms of
clients bring one after the other. So what survived a full collection is set aside (`gc.freeze`), and the next one looks
at what is new. Tables are set aside as soon as they are there, and while they are made nothing is collected.

What was set aside and becomes garbage, and is a cycle after all, is collected as soon as nobody is served, and at the
latest after OVERDUE seconds.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

FULL = 2
"""The generation of a full collection."""
SMALL = 5000, 2, 2
"""Thresholds: a full collection comes after some 20,000 new objects, and takes some milliseconds. The new ones are
looked through at 5,000; by Python's 700 that would be with every second request, to find nothing."""
MANY = 500
"""Parts of a table: fewer are left to collections as everything else is."""
OVERDUE = 3600.0
"""Seconds."""


class Garbage:
    """One for the process. `idle` says whether nobody is served, so that nobody is held up; `now` is any clock that
    never goes back, in seconds."""

    def __init__(self, idle: Callable[[], bool], now: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._now = now
        self._owed_since: float | None = None
        """When something was first set aside of what has not been looked at since."""
        self._usual = gc.get_threshold()

    def start(self) -> None:
        """Set aside from now on what survives a full collection."""
        gc.callbacks.append(self._collected)
        gc.set_threshold(*SMALL)

    def stop(self) -> None:
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)
            gc.set_threshold(*self._usual)

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        if phase == "stop" and info["generation"] == FULL:
            self._set_aside()

    def _set_aside(self) -> None:
        gc.freeze()
        if self._owed_since is None:
            self._owed_since = self._now()

    @contextmanager
    def kept_away(self) -> Iterator[Callable[[int], None]]:
        """While a table is made; the block says each time how many more parts it has got."""
        parts = 0

        def growing(by: int) -> None:
            nonlocal parts
            parts += by
            if parts > MANY:
                gc.disable()

        try:
            yield growing
        finally:
            if parts > MANY:
                self._set_aside()
                gc.enable()
                self.look()

    def look(self) -> None:
        """Collect what was set aside and has become garbage, if there may be any and nobody is held up."""
        if self._owed_since is not None and (self._idle() or self._now() - self._owed_since >= OVERDUE):
            set_aside()
            self._owed_since = None


def set_aside() -> None:
    """Collect all garbage, and set aside what is left: when a process has started, it is there to stay."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
