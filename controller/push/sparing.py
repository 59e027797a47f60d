"""Lines of the log that anybody who can connect could bring about: no more than so many in a while. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LINES: Final = 20
"""In one window; further ones are counted."""
WINDOW: Final = 60.0
"""Seconds."""


@dataclass(slots=True)
class Sparing:
    """Decides about each line whether it is written."""

    _ends: float = float("-inf")
    _written: int = 0
    _left_out: int = 0

    def left_out(self, now: float) -> int | None:
        """How many were left out before this one, which is to be written; None: it is left out, too."""
        if now >= self._ends:
            self._ends, self._written = now + WINDOW, 0
        if self._written >= LINES:
            self._left_out += 1
            return None
        self._written += 1
        before, self._left_out = self._left_out, 0
        return before
