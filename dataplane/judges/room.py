"""Room for questions: so many are under way, and of one caller no more than a share of them, so that nobody fills it
alone. Whoever finds none waits, in the order of asking."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataplane.metering.usage import Caller

AT_ONCE = 256
"""Questions that may be under way."""
SHARE = AT_ONCE // 4
"""Of one caller; all who have no key are one."""
WAITING = 1024
"""Questions of one caller that may be under way or wait."""


class Full(Exception):
    """So much of one caller waits that nothing more may."""


class Room:
    """Of one guardrail."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        self._shares: dict[Caller, asyncio.Semaphore] = {}
        self._claims: Counter[Caller] = Counter()
        """What is under way, or waits."""

    @property
    def empty(self) -> bool:
        return not self._claims

    @asynccontextmanager
    async def taken(self, caller: Caller) -> AsyncIterator[None]:
        """Wait for room for one question, and have it. Raises Full."""
        if self._claims[caller] >= WAITING:
            raise Full
        self._claims[caller] += 1
        try:
            async with self._shares.setdefault(caller, asyncio.Semaphore(SHARE)), self._room:
                yield
        finally:
            self._claims[caller] -= 1
            if not self._claims[caller]:
                del self._claims[caller], self._shares[caller]
