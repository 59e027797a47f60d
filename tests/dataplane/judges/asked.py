"""A real HTTP server on loopback that is asked about texts, and can fail to answer."""

from __future__ import annotations

import asyncio
from types import TracebackType

import orjson
from aiohttp import web


class Asked:
    """Say what it answers at any time: `statuses` one after the other, and 200 when they are used up. What it is asked
    hangs while `free` is not set."""

    def __init__(self, answer: object = None) -> None:
        self.answer: object = answer or {"action": "pass"}
        """JSON; bytes as they are."""
        self.statuses: list[int] = []
        self.requests: list[web.Request] = []
        self.bodies: list[object] = []
        self.free = asyncio.Event()
        self.free.set()
        self._heard = asyncio.Condition()

    async def __aenter__(self) -> Asked:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/judge"

    async def heard(self, times: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(10), self._heard:
            await self._heard.wait_for(lambda: len(self.requests) >= times)

    async def _answer(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        async with self._heard:
            self.requests.append(request)
            self.bodies.append(body)
            self._heard.notify_all()
        await self.free.wait()
        said = self.answer if isinstance(self.answer, bytes) else orjson.dumps(self.answer)
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, body=said)
