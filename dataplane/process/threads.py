"""What takes long to work out, and would hold up the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MOST = 2
"""At a time; more wait, each with whoever asks."""

T = TypeVar("T")


class Threads:
    """Owns them until the process stops."""

    def __init__(self, most: int = MOST) -> None:
        self._room = asyncio.Semaphore(most)
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="aside")

    async def run(self, work: Callable[[], T]) -> T:
        """What it returns, from a thread."""
        async with self._room:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def stop(self) -> None:
        """Take nothing more; what is under way is let go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
