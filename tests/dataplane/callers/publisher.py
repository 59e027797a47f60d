"""A real HTTP server on loopback that publishes a key set, and can fail to."""

from __future__ import annotations

import asyncio
from types import TracebackType

from aiohttp import web


class Publisher:
    """Counts what it is asked. Say what it answers at any time; `hanging` requests are answered when it is cleared."""

    def __init__(self, body: str = '{"keys": []}') -> None:
        self.body: str | bytes = body
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.requests: list[web.Request] = []
        self.free = asyncio.Event()
        """Are requests answered, or do they hang?"""
        self.free.set()
        self._heard = asyncio.Condition()

    async def __aenter__(self) -> Publisher:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/jwks.json"

    async def heard(self, times: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(10), self._heard:
            await self._heard.wait_for(lambda: self.asked >= times)

    async def _answer(self, request: web.Request) -> web.Response:
        async with self._heard:
            self.asked += 1
            self.requests.append(request)
            self._heard.notify_all()
        await self.free.wait()
        body = self.body.encode() if isinstance(self.body, str) else self.body
        return web.Response(status=self.status, body=body, headers=self.headers)
