"""The port by itself: what is under way when it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataplane.errors import Refusal
from dataplane.http.client import Answer, Writer, refuse
from dataplane.http.listener import places
from dataplane.http.message import Request
from dataplane.http.port import Port
from dataplane.process.files import Files
from dataplane.services import Limits
from tests.dataplane.realtime.wires import until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@asynccontextmanager
async def asked(port: Port) -> AsyncIterator[asyncio.StreamReader]:
    """A port that has been sent one request."""
    port.start(await places("127.0.0.1"), 0, None)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(GET)
    try:
        yield reader
    finally:
        writer.close()
        await port.stop(0.01)
        await port.closed()


async def test_what_is_cancelled_writes_down_what_it_used() -> None:
    noted: list[str] = []

    async def serve(_: Request) -> Answer:
        try:
            return await asyncio.Future()
        finally:
            await asyncio.sleep(0.05)
            noted.append("so much")

    port = Port(serve, Limits(), Files(), lambda _: None)
    async with asked(port) as reader:
        await until(lambda: port.requests, "the request is under way")
        await port.stop(0.01)
        assert noted == ["so much"]
        assert (port.requests, port.open) == (0, False)
        assert await reader.read() == b""


async def test_an_answer_of_the_last_moment_closes_its_connection() -> None:
    go_on = asyncio.Event()

    async def serve(request: Request) -> Answer:
        await go_on.wait()
        return await refuse(request, Limits(), Refusal("shutting_down", "Too late."), "id")

    port = Port(serve, Limits(), Files(), lambda _: None)
    async with asked(port) as reader:
        await until(lambda: port.requests, "the request is under way")
        stopping = asyncio.create_task(port.stop(10))
        await asyncio.sleep(0)
        go_on.set()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        await stopping
    assert head.startswith(b"HTTP/1.1 503 Shutting down\r\n")
    assert b"connection: close" in head.lower()
    assert b'"shutting_down"' in body


async def test_who_came_just_before_the_port_was_closed_may_ask() -> None:
    async def serve(request: Request) -> Answer:
        return await Writer(request, Limits(), 200, [], length=2).end(b"ok")

    port = Port(serve, Limits(), Files(), lambda _: None)
    port.start(await places("127.0.0.1"), 0, None)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    await until(lambda: port.connections, "it is accepted")
    before = port.requests
    port.close()
    assert (before, port.requests) == (0, 1)
    writer.write(GET.replace(b"a\r\n", b"a\r\nConnection: close\r\n"))
    assert (await reader.read()).endswith(b"ok")
    await until(lambda: not port.requests, "it has asked")
    writer.close()
    await port.stop(0.01)
    await port.closed()


async def test_what_was_answered_is_sent_before_the_port_is_closed() -> None:
    """The client is slow to take it: the end of the process would cut it off."""
    said, answered = b"x" * 32_000_000, asyncio.Event()

    async def serve(request: Request) -> Answer:
        answered.set()
        return await Writer(request, Limits(), 200, [], length=len(said)).end(said)

    port = Port(serve, Limits(), Files(), lambda _: None)
    async with asked(port) as reader:
        await answered.wait()
        await port.stop(0.01)
        closed = asyncio.create_task(port.closed())
        await asyncio.sleep(0)
        assert not closed.done()
        assert (await reader.read()).endswith(b"\r\n\r\n" + said)
        await asyncio.wait_for(closed, 5)
