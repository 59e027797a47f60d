"""What a provider says, lane by lane: while somebody is asked about what is said on one, the others go on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from dataplane.dialogue import messages
from dataplane.dialogue.socket import Message

MOST = 1024 * 1024
"""Bytes that wait; whoever brings more waits itself."""


class Strands:
    """Of one connection."""

    def __init__(self, act: Callable[[Message], Awaitable[None]]) -> None:
        """`act`: what is done with each message, those of a lane one after the other. Raises nothing."""
        self._act = act
        self._waiting: dict[str, deque[Message]] = {}
        self._acting: dict[str, asyncio.Task[None]] = {}
        self._bytes = 0
        self._less = asyncio.Event()

    async def put(self, lane: str, message: Message) -> None:
        """It is the lane's turn after what came before."""
        while self._bytes >= MOST or (lane not in self._waiting and len(self._waiting) >= messages.LANES):
            self._less.clear()
            await self._less.wait()
        self._bytes += len(message.data)
        if lane in self._waiting:
            self._waiting[lane].append(message)
        else:
            self._waiting[lane] = deque([message])
            self._acting[lane] = asyncio.create_task(self._run(lane))

    async def empty(self) -> None:
        """Wait until nothing waits."""
        while self._acting:
            await asyncio.wait(self._acting.values())

    async def stop(self) -> None:
        """Leave undone what waits."""
        acting = list(self._acting.values())
        for task in acting:
            task.cancel()
        await asyncio.gather(*acting, return_exceptions=True)

    async def _run(self, lane: str) -> None:
        waiting = self._waiting[lane]
        try:
            while waiting:
                await self._act(waiting[0])
                self._bytes -= len(waiting.popleft().data)
                self._less.set()
        finally:
            del self._waiting[lane], self._acting[lane]
            self._less.set()
