"""A receiver of usage records on loopback, which answers as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

PATIENCE = 10.0
"""Seconds after which what a test waits for will not come."""

Answer = int | tuple[int, dict[str, str]] | str
"""A status, with headers or without; `hang`, or `cut` for a connection that ends in the middle."""


@dataclass
class Got:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in json.loads(self.body)["records"]]


@dataclass
class Receiver:
    """`answers` are given in turn, and 200 when there are none left."""

    answers: deque[Answer] = field(default_factory=deque)
    got: list[Got] = field(default_factory=list)
    port: int = 0
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/usage"

    @property
    def ids(self) -> list[str]:
        """Of all records that came, as often as they came."""
        return [each for request in self.got for each in request.ids]

    async def requests(self, count: int) -> list[Got]:
        """Wait until so many came."""
        async with asyncio.timeout(PATIENCE), self._came:
            await self._came.wait_for(lambda: len(self.got) >= count)
        return self.got

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        async with self._came:
            self.got.append(Got(dict(request.headers), body))
            self._came.notify_all()
        answer = self.answers.popleft() if self.answers else 200
        if answer == "hang":
            await self._over.wait()
        if isinstance(answer, str):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=headers, text="Bearer of no news")

    @asynccontextmanager
    async def open(self, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
        app = web.Application()
        app.router.add_post("/usage", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls, reuse_address=True).start()
        self.port = int(runner.addresses[0][1])
        try:
            yield self
        finally:
            self._over.set()
            await runner.cleanup()
