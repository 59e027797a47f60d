"""A client of the WebSocket mode that says exactly what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.dataplane.rig import CLIENT_KEY, Rig

Json = dict[str, Any]
ENDS = ("response.completed", "response.incomplete", "response.failed", "error")


@dataclass
class Talk:
    socket: ClientConnection

    async def say(self, **body: object) -> None:
        """A `response.create`."""
        await self.socket.send(orjson.dumps({"type": "response.create", **body}).decode())

    async def event(self) -> Json:
        """The next one."""
        async with asyncio.timeout(5):
            said: Json = orjson.loads(await self.socket.recv())
            return said

    async def until(self, *kinds: str) -> Json:
        """The next one of these types."""
        while (event := await self.event())["type"] not in kinds:
            pass
        return event

    async def asks(self, **body: object) -> Json:
        """The event that ends what is asked: of an error, that; else the response."""
        await self.say(**body)
        event = await self.until(*ENDS)
        found: Json = event["error"] if event["type"] == "error" else event["response"]
        return found

    async def closed(self) -> tuple[int, str]:
        """How it ends."""
        async with asyncio.timeout(10):
            try:
                while True:
                    await self.socket.recv()
            except ConnectionClosed:
                return self.socket.close_code or 0, self.socket.close_reason or ""


@asynccontextmanager
async def talking(rig: Rig, key: str = CLIENT_KEY, query: str = "", **options: Any) -> AsyncIterator[Talk]:
    url = rig.url.replace("http", "ws", 1) + "/v1/responses" + query
    headers = {"Authorization": f"Bearer {key}"}
    async with connect(url, additional_headers=headers, proxy=None, compression=None, **options) as socket:
        yield Talk(socket)


@asynccontextmanager
async def provider_of(handler: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """The URL of a provider that does this with each connection."""
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        [listening] = server.sockets
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def made(kind: str, name: str, **fields: object) -> str:
    """An event about a response."""
    response = {"id": name, "object": "response", "model": "gpt-5", **fields}
    return orjson.dumps({"type": f"response.{kind}", "response": response}).decode()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)
