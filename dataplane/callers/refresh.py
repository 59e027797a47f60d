"""Keeps the keys of issuers fresh: they are fetched when a table names their URL, now and then, and when a token names
a key that is not known. Nobody's loading waits for it, and whoever waits for a key does not wait long.

An outage keeps the keys that are known, for as long as it lasts: to refuse everybody because an identity provider is
away for a while would make its outage ours. It is in the log when it begins and when it is over, and in the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress

import structlog

from dataplane.callers.fetch import NotFetched
from dataplane.callers.keys import KeySource
from dataplane.jwks import KeysRead

EVERY = 600.0
"""Seconds between two fetches, more or less, so that not all gateways ask at once."""
SOONEST = 10.0
"""Seconds between two fetches that unknown keys ask for: anybody can make one up."""
PATIENCE = 3.0
"""Seconds that one request waits for newer keys."""
AT_ONCE = 16
"""Fetches at a time of what one namespace names: that may be any number of URLs, of servers that never answer. Others
do not wait for them; what several namespaces name waits for neither."""
_RETRIES = (1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""Seconds until it is tried again, after each failure in a row; the last ones again and again."""

log = structlog.get_logger("tidegate")

Fetch = Callable[[str], Awaitable[KeysRead]]
Tell = Callable[[str, str], None]
"""Counts a fetch: its URL, and `fetched` or `failed`."""


class Refresher:
    """Owns a task for each URL, from `follow` to `close`. `rand` gives numbers in [0, 1)."""

    def __init__(self, fetch: Fetch, tell: Tell, rand: Callable[[], float]) -> None:
        self._fetch, self._tell, self._rand = fetch, tell, rand
        self._rooms: dict[frozenset[str], asyncio.Semaphore] = {}
        self._tenants: Mapping[str, Collection[str]] = {}
        self._followed: dict[str, _Follower] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def follow(self, sources: Mapping[str, KeySource], tenants: Mapping[str, Collection[str]]) -> None:
        """Keep these fresh from now on, and no others. `tenants`: the namespaces that name each URL."""
        if self._closed:
            return
        self._tenants = tenants
        rooms = {*map(frozenset, tenants.values())}
        self._rooms = {each: self._rooms.get(each) or asyncio.Semaphore(AT_ONCE) for each in rooms}
        for url, follower in list(self._followed.items()):
            if sources.get(url) is not follower.source:
                self._end(self._followed.pop(url))
        for url, source in sources.items():
            if url not in self._followed:
                self._followed[url] = _Follower(source, self._in_turn, self._tell, self._rand)

    async def refreshed(self, url: str) -> None:
        """Wait for newer keys, if there may be any by now: not longer than `PATIENCE`."""
        if follower := self._followed.get(url):
            await follower.refreshed()

    async def close(self) -> None:
        """End all of it."""
        self._closed = True
        while self._followed:
            self._end(self._followed.popitem()[1])
        if self._ending:
            await asyncio.wait(self._ending)

    async def _in_turn(self, url: str) -> KeysRead:
        async with self._rooms[frozenset(self._tenants[url])]:
            return await self._fetch(url)

    def _end(self, follower: _Follower) -> None:
        task = follower.task
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        task.cancel()


class _Follower:
    """The keys of one URL."""

    def __init__(self, source: KeySource, fetch: Fetch, tell: Tell, rand: Callable[[], float]) -> None:
        self.source = source
        self._fetch, self._tell, self._rand = fetch, tell, rand
        self._loop = asyncio.get_running_loop()
        self._wanted = asyncio.Event()
        self._under_way: asyncio.Event | None = None
        """Set when the fetch that is under way has ended."""
        self._last = float("-inf")
        self._failures = 0
        self._complaints: tuple[str, ...] = ()
        self.task = self._loop.create_task(self._run())

    async def refreshed(self) -> None:
        if self._under_way is None:
            if self._loop.time() - self._last < SOONEST:
                return
            self._under_way = asyncio.Event()
            self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._under_way.wait()

    async def _run(self) -> None:
        while True:
            ended = self._under_way = self._under_way or asyncio.Event()
            self._wanted.clear()
            try:
                await self._once()
            finally:
                self._under_way = None
                ended.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause()):
                    await self._wanted.wait()

    async def _once(self) -> None:
        self._last = self._loop.time()
        try:
            read = await self._fetch(self.source.url)
            self.source.take(read.keys)
        except NotFetched as error:
            self._failed(str(error))
        except Exception as error:  # whatever it is, it is tried again
            self._failed(f"{type(error).__name__}: {error}")
        else:
            self._fetched(read)

    def _pause(self) -> float:
        """Some tenth more or less than usual."""
        usual = _RETRIES[min(self._failures, len(_RETRIES)) - 1] if self._failures else EVERY
        return usual * (0.9 + 0.2 * self._rand())

    def _failed(self, why: str) -> None:
        self._tell(self.source.url, "failed")
        self._failures += 1
        if self._failures == 1:
            meanwhile = "the keys that are known stay in use" if self.source.known else "its tokens are answered 503"
            log.warning("keys of an issuer cannot be fetched", url=self.source.url, error=why, meanwhile=meanwhile)

    def _fetched(self, read: KeysRead) -> None:
        self._tell(self.source.url, "fetched")
        if self._failures:
            log.info("keys of an issuer are fetched again", url=self.source.url, failures=self._failures)
        self._failures = 0
        if read.problems != self._complaints:
            self._complaints = read.problems
            for problem in read.problems:
                log.warning("a key of an issuer cannot be used", url=self.source.url, error=problem)
