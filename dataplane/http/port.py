"""The port that clients connect to: its socket, the connections that came from it, the requests that are under way."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Awaitable, Callable

from aiohttp import web

from dataplane.errors import Refusal
from dataplane.http.client import Answer
from dataplane.http.connection import Connection
from dataplane.services import Limits

_BACKLOG = 4096
_MOMENT = 0.01
"""Seconds; to aiohttp, 0 would be for ever."""
_LAST_WORDS = 1.0
"""Seconds for what was cancelled to write down what it used."""


class Port:
    """`serve` answers requests, `refused` is told of what was none."""

    def __init__(
        self,
        serve: Callable[[web.BaseRequest], Awaitable[Answer]],
        limits: Limits,
        refused: Callable[[Refusal], None],
    ) -> None:
        self.number = 0
        self.lasting = True
        """Whether a connection may be used for another request."""
        self._handler = serve
        self._limits = limits
        self._refused = refused
        self._tasks: set[asyncio.Task[object]] = set()
        """Of the requests that are under way."""
        self._web: web.Server | None = None
        self._listener: asyncio.Server | None = None

    @property
    def open(self) -> bool:
        """Whether new connections are accepted."""
        return self._listener is not None and self._listener.is_serving()

    @property
    def requests(self) -> int:
        """How many are under way."""
        return len(self._tasks)

    async def start(self, host: str, port: int, ssl: tls.SSLContext | None) -> None:
        """Listen; port 0 takes a free one, `number` says which. Raises OSError if the address is taken."""
        loop, limits = asyncio.get_running_loop(), self._limits
        server = self._web = web.Server(self._serve)
        self._listener = await loop.create_server(
            lambda: Connection(server, loop, limits, self._refused, lambda: self.lasting),
            host,
            port,
            ssl=ssl,
            ssl_handshake_timeout=limits.head_time if ssl else None,
            backlog=_BACKLOG,
        )
        self.number = int(self._listener.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Accept nothing more. Who connects now is refused by the system, which load balancers take as a hint to try
        another; connections that are open stay."""
        if self._listener:
            self._listener.close()

    async def stop(self, grace: float) -> None:
        """Close the port and all connections. Requests have `grace` seconds to finish, and are cancelled then."""
        self.close()
        self.lasting = False
        if self._web:
            self._web.pre_shutdown()  # idle connections need not be waited for
            await self._over(grace)
            await self._web.shutdown(_MOMENT)
            await self._over(_LAST_WORDS)

    async def _over(self, seconds: float) -> None:
        """Wait until no request is under way, for so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def closed(self) -> None:
        """Wait until all sockets are closed, those of connections that were taken over included."""
        if self._listener:
            await self._listener.wait_closed()

    async def _serve(self, request: web.BaseRequest) -> Answer:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            return await self._handler(request)
        finally:
            self._tasks.discard(task)
