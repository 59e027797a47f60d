"""Namespaces that are followed one by one, through a real client, and what that leaves for other calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from controller import following
from controller.api import Api, connect
from controller.following import LISTS_AT_ONCE, Following
from controller.kinds import LEASE
from controller.mirror import Mirror, Scope

PATIENCE_S = 20.0
MANY = 150


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "FIRST_PAUSE_S", 0.01)


@dataclass
class Server:
    """An API server with nothing in it, that keeps watches open."""

    watches: int = 0
    lists: int = 0
    most_lists: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    odd: bool = False
    """Does the next watch begin with what is no object?"""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return await self._listed()
        response = web.StreamResponse()
        await response.prepare(request)
        if self.odd:
            self.odd = False
            await response.write(b'{"type": "ADDED", "object": 5}\n')
        self.watches += 1
        if self.watches == MANY:
            self.enough.set()
        await self.over.wait()
        return response

    async def _listed(self) -> web.Response:
        self.lists += 1
        self.most_lists = max(self.lists, self.most_lists)
        await asyncio.sleep(0.01)  # a network
        self.lists -= 1
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})


@asynccontextmanager
async def served(server: Server, folder: Path) -> AsyncIterator[Api]:
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "clusters": [{"name": "here", "cluster": {"server": f"http://{host}:{port}"}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                "current-context": "here",
            }
        )
    )
    api = await connect(kubeconfig)
    try:
        yield api
    finally:
        server.over.set()
        await api.close()
        await runner.cleanup()


async def test_however_many_namespaces_are_followed_calls_are_answered(tmp_path: Path) -> None:
    """The Lease's, above all: a leader that cannot renew it leads no more."""
    server, mirror = Server(), Mirror()
    async with served(server, tmp_path) as api:
        found = Following(api, mirror, lambda: None, lambda: None)
        found.want({Scope("Service", f"n{number}") for number in range(MANY)})
        async with asyncio.timeout(PATIENCE_S):
            await server.enough.wait()
            assert await api.get(LEASE, "here", "lease") is not None
        assert found.whole
        assert server.most_lists <= LISTS_AT_ONCE
        await found.stop()


async def test_what_nobody_has_thought_of_ends_no_namespace_for_ever(tmp_path: Path) -> None:
    server, mirror = Server(odd=True), Mirror()
    async with served(server, tmp_path) as api:
        found = Following(api, mirror, lambda: None, lambda: None)
        found.want({Scope("Service", "ai")})
        async with asyncio.timeout(PATIENCE_S):
            while server.watches < 2:
                await asyncio.sleep(0.005)
        assert found.failed == 1
        await found.stop()
