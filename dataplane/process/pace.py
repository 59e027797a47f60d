"""Work that comes in storms, done a little in each turn of the loop, so that those who talk have their turn, too.

When two thousand clients come at once, or leave, the system tells of all of them at once. To begin a session takes some
tenths of a millisecond, to settle one takes another; to do that for all of them in one turn would keep every other
session waiting for as long as it takes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

AT_ONCE = 4
"""Pieces of work in one turn of the loop."""


class Pace:
    """Does pieces of work in their order: the first few of a turn at once, the others in turns to come."""

    def __init__(self) -> None:
        self._share: float = AT_ONCE
        self._waiting: deque[Callable[[], None]] = deque()
        self._done = 0
        """In this turn, or since it was last full."""
        self._turning = False
        """Is the end of the turn waited for?"""

    @property
    def full(self) -> bool:
        """Must what comes now wait?"""
        return self._done >= self._share or bool(self._waiting)

    def do(self, work: Callable[[], None]) -> None:
        """Now, if this turn has room for it."""
        if self.full:
            self.later(work)
        else:
            self._done += 1
            if self._done == self._share:  # while there is room, nobody need know when a turn is over
                self._turn_later()
            work()

    def later(self, work: Callable[[], None]) -> None:
        """In a turn to come."""
        self._waiting.append(work)
        self._turn_later()

    async def turn(self) -> None:
        """Wait until a piece of work may be done; at once, if this turn has room for it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.do(lambda: _come(turn))
        if not turn.done():
            await turn

    def hurry(self) -> None:
        """From now on there is nobody to share with: all that waits is done in one turn."""
        self._share = float("inf")

    def _turn_later(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning, self._done = False, 0
        for _ in range(len(self._waiting)):
            if self._done >= self._share:
                break
            self._done += 1
            self._turn_later()  # first: a piece that fails fails alone
            self._waiting.popleft()()


def _come(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # who waited may have been cancelled
        turn.set_result(None)
