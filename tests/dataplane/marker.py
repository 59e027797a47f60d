"""A provider that counts: which requests reached it, and whether anything did that is none.

It reads HTTP/1.1 as strictly as it can be read, with a reader of its own (no library's leniency hides anything), and
needs nothing but Python, so that the end-to-end tests use it too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from typing import Self

LINE = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.1")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CREATED = b'{"type":"session.created","session":{"model":"gpt-realtime"}}'
REFUSES = b"/v1/echo/refuses"
"""A path on which no upgrade is made."""
NEVER = {b"x-trailer", b"content_length", b"transfer_encoding"}
"""Fields that stand where only a reader that errs takes them for a request's."""

Fields = dict[bytes, bytes]


class Unreadable(Exception):
    """What came is no request that a strict reader takes."""


class Marker:
    """Answers every request with its own target; takes WebSockets, says nothing on them but the first event of a
    realtime session, and ends them when what looks like a head has come."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        """Targets of the requests that came, noted when the head is there."""
        self.faults: list[bytes] = []
        """What came and was no request, or held what never may go on."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                await self._answer(reader, writer)
        except Unreadable as error:
            self.faults.append(error.args[0])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the gateway has left
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, fields = _head(await reader.readuntil(b"\r\n\r\n"))
        self.seen.append(target.decode())
        if b"upgrade" in fields and target.partition(b"?")[0] != REFUSES:
            await self._tunnel(reader, writer, target, fields)
        await _body(reader, fields)
        body = target if method != b"HEAD" else b""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), body))
        await writer.drain()

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: bytes, fields: Fields
    ) -> None:
        accept = base64.b64encode(hashlib.sha1(fields.get(b"sec-websocket-key", b"") + GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        if target.startswith(b"/v1/realtime"):
            writer.write(b"\x81%c" % len(CREATED) + CREATED)
        await reader.readuntil(b"\r\n\r\n")  # what follows every payload has come
        raise ConnectionResetError


def _head(data: bytes) -> tuple[bytes, bytes, Fields]:
    """Method, target and fields of a request. Raises Unreadable."""
    first, *lines = data.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line, matches = LINE.fullmatch(first), [FIELD.fullmatch(each) for each in lines]
    if line is None or None in matches:
        raise Unreadable(data)
    fields = [(match[1].lower(), match[2]) for match in matches if match]
    for once in (b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection"):
        if sum(name == once for name, _ in fields) > 1:
            raise Unreadable(data)
    named = dict(fields)
    if (b"content-length" in named and b"transfer-encoding" in named) or b"host" not in named:
        raise Unreadable(data)
    if named.keys() & NEVER:
        raise Unreadable(data)
    return line[1], line[2], named


async def _body(reader: asyncio.StreamReader, fields: Fields) -> None:
    """Read a body to its end. Raises Unreadable."""
    length, coding = fields.get(b"content-length", b"0"), fields.get(b"transfer-encoding")
    if not re.fullmatch(rb"\d{1,10}", length) or coding not in (None, b"chunked"):
        raise Unreadable(length if coding is None else coding)
    if coding is None:
        await reader.readexactly(int(length))
        return
    size = 1
    while size:
        line = await reader.readuntil(b"\r\n")
        match = CHUNK.fullmatch(line)
        if match is None:
            raise Unreadable(line)
        size = int(match[1], 16)
        if (await reader.readexactly(size + 2))[-2:] != b"\r\n":
            raise Unreadable(line)
