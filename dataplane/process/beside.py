"""What is done beside the traffic, and nobody waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import structlog

MOST = 256
"""At a time; what comes beyond is left undone."""

log = structlog.get_logger("tidegate")


class Beside:
    """Owns its tasks until the process stops."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._doing: set[asyncio.Task[None]] = set()

    def do(self, work: Coroutine[None, None, None]) -> bool:
        """Begin it; False: it is left undone, since too much is under way."""
        if len(self._doing) >= self._most:
            work.close()
            return False
        task = asyncio.get_running_loop().create_task(self._done(work))
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)
        return True

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._doing:
            task.cancel()
        await asyncio.gather(*self._doing, return_exceptions=True)

    async def _done(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:
            log.exception("what was done beside the traffic failed")
