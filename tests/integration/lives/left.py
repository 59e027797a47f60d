"""What is left when all is over: nothing must be."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataplane.realtime.live import LiveSession


def alive(kind: type) -> int:
    """How many objects of a class there are."""
    gc.collect()
    return sum(isinstance(each, kind) for each in gc.get_objects())


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """What happens inside leaves no task, no timer of the gateway's and no session, and no exception that nobody
    caught."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    tasks = asyncio.all_tasks()
    yield
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - tasks:
            await asyncio.sleep(0.01)
    assert alive(LiveSession) == 0
    assert _timers(loop) == []
    assert complaints == []


def _timers(loop: asyncio.AbstractEventLoop) -> list[object]:
    """The gateway's that are still set (known on asyncio's own loop alone)."""
    found = [timer._callback for timer in getattr(loop, "_scheduled", []) if not timer.cancelled()]
    return [each for each in found if str(getattr(each, "__module__", "")).startswith("dataplane")]
