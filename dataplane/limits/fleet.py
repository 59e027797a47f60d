"""Tallies that processes count together: asked for in the store, and told to it.

One script at a time is under way for each tally, so that its answers come in order; all that is wanted meanwhile goes
into the next one. What was used is counted in memory first and told as soon as may be: nobody waits for that, and
nothing is lost while the store is away, since what it is told are totals.

The first script that fails tells that the store is away. From then on nobody waits for it, until a heartbeat gets
through again; then it is told all totals anew. So it is where a heartbeat finds that the store has forgotten the last
one.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Protocol

import structlog

from dataplane.limits import script
from dataplane.limits.budget import Exceeded, Unavailable
from dataplane.limits.tally import Ask, Short, Taken, Tally

BATCH = 64
"""Asks of one script."""
AT_ONCE = 16
"""Scripts at a time; the store's connections are as many."""
PROBE = 1.0
HEARTBEATS = 5
"""Seconds between two heartbeats while the store does not answer, and how many times that while it does."""
REFILL = 2.0
"""Seconds in which the others tell a store that has lost its memory their totals anew, after they saw it go; until then
it is not asked."""
LONGEST = 1.0
"""Seconds that whoever asks waits at most, what others ask before it included: a store that is slow is none."""
SETTLED = 60.0
"""Seconds that the store has answered, or been known, until everybody who is still there has told it so."""
REFRESH = 0.5
"""Seconds in which the others are heard of all tallies, for whoever wants to see them."""
FAREWELL = 1.0
"""Seconds for the last totals."""
AHEAD = 0.02
"""Seconds by which the store's clock may differ before it is followed."""
_TRIES = 3

log = structlog.get_logger("tidegate")


class StoreFailed(Exception):
    """The store could not be asked. The message has no key, and no address with a password."""


class Store(Protocol):
    """Runs the script."""

    async def run(self, key: str, arguments: Sequence[str | int]) -> object:
        """Raises StoreFailed, in some tenths of a second at most."""

    async def close(self) -> None:
        """Let its connections go."""


class Line:
    """What is to be said about one tally."""

    __slots__ = ("busy", "dirty", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[Ask, asyncio.Future[Taken]]] = deque()
        self.dirty = False
        """Has something changed that the store was not told?"""
        self.busy: asyncio.Task[None] | None = None

    def next(self) -> list[tuple[Ask, asyncio.Future[Taken]]]:
        """What the next script asks for."""
        some = [self.waiting.popleft() for _ in range(min(BATCH, len(self.waiting)))]
        return [(ask, answer) for ask, answer in some if not answer.done()]


class Fleet:
    """The other processes, as far as they are known. `tell`: is told of each request to the store how many seconds it
    took; None: it failed."""

    def __init__(
        self,
        store: Store,
        tell: Callable[[float | None], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.up = True
        """Does the store answer? Until somebody has asked, so it is said."""
        self.ahead = 0.0
        """Seconds by which the store's clock is ahead of ours."""
        self._store = store
        self._tell = tell
        self._now = now
        self._process = secrets.token_hex(8)
        self._seq = count(1)
        self._lines: dict[Tally, Line] = {}
        """Of tallies that something is to be said about, or under which something is set aside."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tallies: Callable[[], Iterable[Tally]] = tuple
        self._beating: asyncio.Task[None] | None = None
        self._refilled = 0.0
        """When a store that had lost its memory, since `_since`, has heard everybody."""
        self._beaten = False
        self._since = now()
        """From when on the store has answered, and forgotten nothing."""

    def start(self, tallies: Callable[[], Iterable[Tally]]) -> None:
        """Begin to beat. `tallies`: all that are counted together."""
        self._tallies = tallies
        self._beating = asyncio.create_task(self._beat(), name="limits-heartbeat")

    async def stop(self) -> None:
        """Tell the last totals, for a second at most, and let go of the store."""
        beating, self._beating = self._beating, None
        if beating is None:
            return
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        if tasks := [line.busy for line in self._lines.values() if line.busy]:
            await asyncio.wait(tasks, timeout=FAREWELL)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self.up = False
        await self._store.close()

    async def take(self, tally: Tally, ask: Ask) -> Taken:
        """Take it, if there is room among all. Raises Exceeded, Unavailable."""
        if not self.up or self._refilling:
            raise Unavailable
        answer: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        line = self._line(tally)
        line.waiting.append((ask, answer))
        self._work(tally, line)
        try:
            async with asyncio.timeout(LONGEST):
                return await answer
        except (asyncio.CancelledError, TimeoutError) as error:
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                answer.result().undo()
                self.changed(tally)
            if isinstance(error, TimeoutError):
                raise Unavailable from None
            raise

    def changed(self, tally: Tally) -> None:
        """Its totals are to be told."""
        line = self._line(tally)
        line.dirty = True
        if self.up:
            self._work(tally, line)

    async def refresh(self) -> bool:
        """Hear what the others have of all tallies, for half a second at most. Were all heard of?"""
        if not self.up:
            return False
        try:
            async with asyncio.timeout(REFRESH):
                await self._tell_each()
                if busy := [line.busy for line in self._lines.values() if line.busy]:
                    await asyncio.wait(busy)
        except TimeoutError:
            return False
        return self.up and not self._refilling

    @property
    def _refilling(self) -> bool:
        """Do others still tell a store that has lost its memory? A clock that is set back does not make that last."""
        return self._since <= self._now() < self._refilled

    def owes(self, tally: Tally) -> bool:
        """Is there something about it that the store was not told?"""
        return tally in self._lines

    # -- one tally ---------------------------------------------------------------------------------------------

    def _line(self, tally: Tally) -> Line:
        line = self._lines.get(tally)
        if line is None:
            line = self._lines[tally] = Line()
        return line

    def _work(self, tally: Tally, line: Line) -> None:
        if line.busy is None:
            line.busy = asyncio.create_task(self._say(tally, line))

    async def _say(self, tally: Tally, line: Line) -> None:
        """Until there is nothing more to be said."""
        try:
            while self.up and (line.waiting or line.dirty):
                async with self._slots:
                    if self.up:  # it may have been a long wait
                        await self._script(tally, line)
        finally:
            line.busy = None
            self._refuse(line)
            if not line.dirty and not tally.reserves:
                self._lines.pop(tally, None)

    def _refuse(self, line: Line) -> None:
        while line.waiting:
            _, answer = line.waiting.popleft()
            if not answer.done():
                answer.set_exception(Unavailable())

    async def _script(self, tally: Tally, line: Line) -> None:
        """One script, with all that is wanted now."""
        wanted = line.next()
        line.dirty = False
        try:
            reply = await self._run(tally, [ask for ask, _ in wanted])
        except BaseException as error:
            line.dirty = True
            for _, answer in wanted:
                if not answer.done():
                    answer.set_exception(Unavailable())
            if not isinstance(error, StoreFailed):
                raise
            self._failed(error)
            return
        for (ask, answer), granted in zip(wanted, reply.granted, strict=True):
            self._settle(tally, line, ask, answer, granted=granted == "1")

    def _settle(self, tally: Tally, line: Line, ask: Ask, answer: asyncio.Future[Taken], *, granted: bool) -> None:
        now = self._now() + self.ahead
        if granted:
            taken = tally.take(ask, now)
            if answer.done():  # whoever asked has left
                taken.undo()
                line.dirty = True
            else:
                answer.set_result(taken)
        elif not answer.done():
            counted = tally.count(ask[0].limit, now)
            short = tally.short(ask, now) or Short(ask[0], counted.all_used, counted.all_reserved, counted.window)
            answer.set_exception(Exceeded(short))

    async def _run(self, tally: Tally, asks: Sequence[Ask]) -> script.Reply:
        """Raises StoreFailed."""
        for _ in range(_TRIES):
            now = self._now()
            for ask in asks:
                for want in ask:
                    tally.count(want.limit, now + self.ahead)
            fold = now - self._since > SETTLED
            sent = script.told(self._process, next(self._seq), tally, asks, now + self.ahead, fold=fold)
            reply = await self._ask(script.key(tally.policy, tally.subject), sent.arguments)
            if reply.status == "ok":
                script.heard(sent, reply)
                return reply
        raise StoreFailed("its clock and ours do not agree")

    async def _ask(self, key: str, arguments: Sequence[str | int]) -> script.Reply:
        """Raises StoreFailed."""
        began = time.monotonic()
        try:
            reply = script.reply(await self._store.run(key, arguments))
        except (ValueError, TypeError) as error:
            raise StoreFailed(str(error)) from None
        ahead = reply.now - self._now()
        if reply.status == "stale" or abs(ahead - self.ahead) > AHEAD:
            self.ahead = ahead
        self._tell(time.monotonic() - began)
        return reply

    # -- the store ---------------------------------------------------------------------------------------------

    def _failed(self, error: StoreFailed) -> None:
        self._tell(None)
        if self.up:
            self.up = False
            log.warning("the store of limits cannot be asked: what whenStoreFails says holds", error=str(error))

    async def _beat(self) -> None:
        """For as long as there is a gateway: see whether the store is there, and remembers."""
        while True:
            await self._heartbeat()
            for _ in range(HEARTBEATS):
                await asyncio.sleep(PROBE)
                if not self.up:
                    break

    async def _heartbeat(self) -> None:
        try:
            await self._look()
        except StoreFailed as error:
            self._failed(error)
        except Exception as error:  # of ours: without heartbeats the store would be given up for good
            log.exception("a heartbeat of the limits' store failed")
            self._failed(StoreFailed(type(error).__name__))

    async def _look(self) -> None:
        """Raises StoreFailed."""
        arguments = (self._process, next(self._seq), int(4 * HEARTBEATS * PROBE * 1000), script.KEEP_MS, 0, 0, 0)
        reply = await self._ask(f"{script.PREFIX}:process:{self._process}", arguments)
        forgotten = not reply.found and (self._beaten or not self.up)
        if forgotten or not self.up:
            await self._tell_all(forgotten=forgotten)
        self._beaten = True
        for tally in [each for each in self._lines if each.reserves]:
            self.changed(tally)

    async def _tell_all(self, *, forgotten: bool) -> None:
        """The store is back, or has lost its memory: it is told everything anew. Those who saw it go tell it at once,
        the others with their next heartbeat."""
        self._since = self._now()
        if forgotten:
            self._refilled = self._since + (REFILL + HEARTBEATS * PROBE if self.up else REFILL)
        log.info("the store of limits has lost its memory" if self.up else "the store of limits answers")
        self.up = True
        await self._tell_each()

    async def _tell_each(self) -> None:
        """Tell the totals of all tallies, some at a time."""
        for number, tally in enumerate(self._tallies()):
            self.changed(tally)
            if number % AT_ONCE == AT_ONCE - 1:
                line = self._line(tally)
                if line.busy:
                    await asyncio.wait([line.busy])
