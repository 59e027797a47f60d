"""Everybody whose connection is to end when its access is revoked, and the looking after that.

Connections with one access (the same key, route and Backend) are looked at once. It is done after each change of the
table, and every half second besides, since keys and tokens expire while nothing changes; in slices, and those who must
go leave a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from dataplane.errors import Refusal
from dataplane.process.gently import gently
from dataplane.process.pace import Pace
from dataplane.process.pulse import Every
from dataplane.revocation import Access, Ways, why_revoked
from dataplane.slices import SLICE, Slices, at_once
from dataplane.snapshot import Snapshot

LOOK = 0.5
"""Seconds between two looks."""

End = Callable[[str], None]
"""Ends a connection, with what its client is told."""

log = structlog.get_logger("tidegate")


class Revocations:
    """`snapshot` is what is served now, `now` the clock in seconds since the epoch, `pace` that of ends."""

    def __init__(self, snapshot: Callable[[], Snapshot], now: Callable[[], float], pace: Pace) -> None:
        self._snapshot = snapshot
        self._now = now
        self._pace = pace
        self._watched: dict[Access, set[End]] = {}
        self._ways: tuple[Snapshot, Ways] | None = None
        """Of the last snapshot that was looked at."""
        self._finding = asyncio.Lock()
        """Held by whoever finds those of a newer one, for all who need them."""
        self._timer: Every | None = None
        self._task: asyncio.Task[None] | None = None
        """Looks."""
        self._again = False
        """Is it to look once more?"""

    async def prepare(self, began: Snapshot) -> None:
        """What is to be done before `check`: where the table has changed, all ways of the new one are found, in slices
        (of 5,000 routes that takes some 20 ms), once for all who ask."""
        if self._snapshot() is not began:
            await self._find()

    def check(self, access: Access, began: Snapshot) -> None:
        """Raises Refusal access_revoked where it does not stand any more: for what was admitted by the snapshot that it
        `began` with, and is about to begin. While that one is served, nothing but time has revoked it."""
        snapshot, expires = self._snapshot(), access.proof.expires
        if snapshot is began and (expires is None or self._now() < expires):
            return
        if why := why_revoked(access, at_once(self._known(snapshot)), snapshot.callers, self._now()):
            raise Refusal("access_revoked", why)

    def watch(self, access: Access, end: End) -> None:
        """Have a connection ended when its access is revoked. To be called right after `check`."""
        self._watched.setdefault(access, set()).add(end)

    def forget(self, access: Access, end: End) -> None:
        """It has ended by itself, or will."""
        ends = self._watched.get(access)
        if ends is not None:
            ends.discard(end)
            if not ends:
                del self._watched[access]

    def start(self) -> None:
        """Look, from now on until `stop`."""
        self._timer = Every(LOOK, lambda _: self.changed())

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def changed(self) -> None:
        """The table is another one, or time has gone by: look."""
        if not self._watched:
            self._ways = None
            return
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while self._again:
            self._again = False
            try:
                await self._find()
                await gently(self.look())
            except Exception:  # the next look may do better
                log.exception("looking for revoked access failed")

    def look(self) -> Slices[None]:
        """End all connections whose access is revoked."""
        snapshot = self._snapshot()
        ways = yield from self._known(snapshot)
        for count, access in enumerate(list(self._watched), 1):
            if why := why_revoked(access, ways, snapshot.callers, self._now()):
                self._end(access, why)
            if count % SLICE == 0:
                yield

    def _end(self, access: Access, why: str) -> None:
        ends = self._watched.pop(access, set())
        log.info("access is revoked", route=access.route, backend=access.backend, connections=len(ends), reason=why)
        for end in ends:
            self._pace.later(partial(end, why))

    async def _find(self) -> None:
        async with self._finding:
            while self._ways is None or self._ways[0] is not self._snapshot():
                await gently(self._known(self._snapshot()))

    def _known(self, snapshot: Snapshot) -> Slices[Ways]:
        if self._ways is None or self._ways[0] is not snapshot:
            self._ways = snapshot, (yield from Ways.of(snapshot.table))
        return self._ways[1]
