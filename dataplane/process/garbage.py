"""Collections of cyclic garbage, which stop the loop: kept away from what tables are made of.

A table of 5,000 routes is 300,000 objects. A full collection looks through them for 0.2 s, and never finds anything. So
they are set aside (`gc.freeze`) once they are there, and while they are made nothing is collected. With them goes
everything that is alive at that moment. What of it becomes garbage later, some 150 objects of each session that was
live, is collected as soon as nobody is served.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MANY = 500
"""Parts of a table: fewer are left to collections as everything else is."""
YOUNG = 10_000
"""Objects that are new when the new ones are looked through. By Python's 700 that is every second request, to find
nothing: what a request leaves is not cyclic."""


class Garbage:
    """One for the process. `idle` says whether nobody is served, so that nobody is held up."""

    def __init__(self, idle: Callable[[], bool]) -> None:
        self._idle = idle
        self._owed = False

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
                self._owed = True
                gc.freeze()
                gc.enable()
                self.look()

    def look(self) -> None:
        """Collect what was set aside and has become garbage, if there may be any and nobody is held up."""
        if self._owed and self._idle():
            self._owed = False
            set_aside()


def set_aside() -> None:
    """Collect all garbage, and set aside what is left: when a process has started, it is there to stay. From now on
    collections are rarer."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
