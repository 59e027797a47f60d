"""Work that would hold up a loop, as a generator that pauses wherever it may be interrupted and returns the result.

So it knows nothing of loops, and is done in one go where nobody waits; `process.gently` does it beside a loop.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Slices = Generator[None, None, T]

SLICE = 50
"""Entries of a table between two pauses: some tenths of a millisecond."""


def at_once(work: Slices[T]) -> T:
    """Do it without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
