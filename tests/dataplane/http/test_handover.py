"""Taking a connection away from HTTP: nothing is lost, nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from dataplane.http.client import Answer, ClientGone, Writer, body
from dataplane.http.connection import Connection
from dataplane.http.handover import take_over
from dataplane.http.listener import places
from dataplane.http.message import Request
from dataplane.http.port import Port
from dataplane.process.files import Files
from dataplane.process.room import Room
from dataplane.services import Limits

HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


class Echo(asyncio.Protocol):
    """Sends back what it gets; notes how it ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()


class Server:
    def __init__(self) -> None:
        self.echo = Echo()
        self.dialled = asyncio.Event()
        self.asked = asyncio.Event()
        self.failed: list[Exception] = []
        self.requests: list[Request] = []
        self.port = Port(self.serve, Limits(), Files(), lambda _: None)

    async def serve(self, request: Request) -> Answer:
        if request.head.method == "POST":
            said = await body(request, Limits(), Room())
            return await Writer(request, Limits(), 200, [], length=len(said)).end(said)
        self.requests.append(request)
        self.asked.set()
        await self.dialled.wait()
        try:
            return take_over(request, HEAD, self.echo)
        except ClientGone as error:
            self.failed.append(error)
            return Answer(499)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    server.port.start(await places("127.0.0.1"), 0, None)
    try:
        yield server
    finally:
        await server.port.stop(0.1)
        await server.port.closed()


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("before", [b"", POST])
async def test_what_came_before_the_answer_comes_first(size: int, before: bytes) -> None:
    """Glued to the request, and during the dial, even so much that reading is paused."""
    early, late = random.Random(size).randbytes(size), b"late"
    gc.collect()  # connections that other tests left, in the tracebacks of what they raised
    async with serving() as server, asyncio.timeout(5):
        idle = asyncio.all_tasks()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port.number)
        writer.write(before + UPGRADE + early[: size // 2])
        await server.asked.wait()
        writer.write(early[size // 2 :])
        await asyncio.sleep(0.01)
        server.dialled.set()
        if before:
            assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(len(HEAD)) == HEAD
        assert await reader.readexactly(size) == early
        writer.write(late)
        assert await reader.readexactly(len(late)) == late
        assert server.port.connections == 0
        assert asyncio.all_tasks() - idle == set()
        server.requests.clear()
        assert not [each for each in gc.get_objects() if isinstance(each, Connection)]
        writer.close()
        await server.echo.ended.wait()


async def test_a_client_that_left_during_the_dial() -> None:
    async with serving() as server, asyncio.timeout(5):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port.number)
        writer.write(UPGRADE)
        await server.asked.wait()
        writer.close()
        while not server.requests[-1].connection.gone:
            await asyncio.sleep(0.005)
        server.dialled.set()
        while not server.failed:
            await asyncio.sleep(0.005)
        assert not server.echo.ended.is_set()
