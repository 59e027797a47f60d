"""Work in slices, beside everything else that the loop has to do."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from dataplane.slices import SLICE, Slices

T = TypeVar("T")


async def gently(work: Slices[T]) -> T:
    """Do it, and let the loop go round at each pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


async def let_go(parts: list[object]) -> None:
    """Free parts of a table that nobody else has, and empty the list: in one go it would hold up the loop."""
    while parts:
        del parts[-SLICE:]
        await asyncio.sleep(0)
