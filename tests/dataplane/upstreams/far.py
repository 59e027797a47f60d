"""The far end of an upstream connection, and requests to it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

from dataplane.http.headers import Fields
from dataplane.process.files import Files
from dataplane.services import Services
from dataplane.table import Provider, Timeouts
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.response import Response
from dataplane.upstreams.send import send
from dataplane.upstreams.target import BY_NAME, Reach

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PLAIN = ssl.create_default_context()


class Far:
    """One connection, as its server sees it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        """From 1, in the order in which they came."""
        self.reader, self.writer = reader, writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body, as they were sent."""
        head = await self.head()
        if b"transfer-encoding: chunked" in head:
            return head, await self.reader.readuntil(b"0\r\n\r\n")
        _, found, length = head.partition(b"content-length: ")
        return head, await self.reader.readexactly(int(length.partition(b"\r\n")[0])) if found else b""

    async def says(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ended(self) -> None:
        """Until the gateway has closed it."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """Runs a script for each connection."""

    def __init__(self, script: Callable[[Far], Awaitable[None]]) -> None:
        self.script = script
        self.url = ""
        self.connections = 0
        self.requests: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.faults: list[BaseException] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self.script(Far(self.connections, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:
            self.faults.append(error)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(script: Callable[[Far], Awaitable[None]], tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls, limit=2**20)
    scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
    server.url = f"{scheme}://{host}:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
        assert not server.faults


@asynccontextmanager
async def pooled(tls: ssl.SSLContext = PLAIN) -> AsyncIterator[Pool]:
    """A pool that leaves nothing behind."""
    pool = Pool(AddressPolicy(allow_loopback=True), files=Files(), tls=tls)
    try:
        yield pool
    finally:
        async with asyncio.timeout(5):
            await pool.close()
    assert not pool._all
    assert not pool._idle
    assert not [task for task in asyncio.all_tasks() if "dataplane/upstreams/connection.py" in repr(task)]


DESTINATION = Destination(Provider(name="openai", kind="openai", url="http://a"), "", "")


async def asked(
    pool: Pool,
    url: str,
    method: str = "POST",
    body: bytes | AsyncIterator[bytes] | None = b"hi",
    fields: Fields | None = None,
    timeouts: Timeouts | None = None,
    reach: Reach = BY_NAME,
) -> Response:
    services = cast("Services", SimpleNamespace(pool=pool))
    timeouts = timeouts or Timeouts(response=5, idle=5)
    return await send(services, DESTINATION, timeouts, method, url + "/v1/x", fields or [], body, reach=reach)


async def body_of(response: Response) -> bytes:
    return b"".join([piece async for piece in response])


async def said(pool: Pool, url: str, method: str = "POST", body: bytes | AsyncIterator[bytes] | None = b"hi") -> bytes:
    """The body of an answer."""
    return await body_of(await asked(pool, url, method, body))


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


def answering(*answers: bytes) -> Callable[[Far], Awaitable[None]]:
    """Gives these answers, the last one again and again."""

    async def script(far: Far) -> None:
        said: Iterable[bytes] = answers
        for answer in said:
            await far.request()
            await far.says(answer)
        while True:
            await far.request()
            await far.says(answers[-1])

    return script
