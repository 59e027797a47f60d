"""A WebSocket client without a library: cheap enough for thousands, and free to break every rule."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from collections import deque
from collections.abc import Sequence
from typing import cast

from websockets.utils import apply_mask

from tests.dataplane import rig

FIN, TEXT, BINARY, CLOSE, PING, PONG = 0x80, 0x1, 0x2, 0x8, 0x9, 0xA
KEY = b"\x0f\xa1\x3c\x55"
_RESET = struct.pack("ii", 1, 0)
_ROOM = 1024 * 1024

Event = dict[str, object]


class Gone(Exception):
    """The connection is no more; `code` is that of the Close frame before, 1006 without one, 1005 of an empty one."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def frame(first: int, payload: bytes) -> bytes:
    """A masked frame; `first` is its first byte."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, length)
    return head + KEY + apply_mask(payload, KEY)


def upgrade(host: str, path: str, key: str = rig.CLIENT_KEY) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        f"Authorization: Bearer {key}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Line(asyncio.Protocol):
    """One connection. Ping and Close are answered as they should be, unless `mute`."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._data = bytearray()
        self._parts = bytearray()
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.head = b""
        """Of the answer to the handshake."""
        self.mute = False
        self.lost = False
        self.close: int | None = None
        """The code of the Close frame that came."""
        self.received = 0
        """Bytes behind the head."""
        self.sent = 0
        """Bytes behind the handshake."""
        self.said = 0
        """Messages that were sent."""
        self._said_close = False
        self.reads = True
        """Does it take what comes?"""

    @classmethod
    async def open(cls, port: int, request: bytes, *, window: int = 0) -> Line:
        """Connect, and ask for an upgrade. `window`: bytes that are taken while nobody reads."""
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        _, line = await loop.create_connection(lambda: cls(request), sock=sock)
        return line

    # -- what asyncio calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.reads:  # a sip
            self.transport.pause_reading()
        self._data += data
        if self.head:
            self.received += len(data)
        elif not self._read_head():
            return
        while self._read_frame():
            pass
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._wake()

    # -- reading -----------------------------------------------------------------------------------------------

    def stop_reading(self, sip: float = 0.0) -> None:
        """Take nothing more, or, every `sip` seconds, what one read takes."""
        self.reads = False
        if self.lost:
            return
        self.transport.pause_reading()
        if sip:
            asyncio.get_running_loop().call_later(sip, self._sip, sip)

    def _sip(self, again: float) -> None:
        if not (self.reads or self.lost):
            self.transport.resume_reading()
            asyncio.get_running_loop().call_later(again, self._sip, again)

    def read_on(self) -> None:
        """Take everything again, fast."""
        if not (self.reads or self.lost):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            self.transport.resume_reading()
        self.reads = True

    def _read_head(self) -> bool:
        head, end, rest = bytes(self._data).partition(b"\r\n\r\n")
        if end:
            self.head, self.received = head, len(rest)
            self._data = bytearray(rest)
            self._wake()
        return bool(end) and self.status == 101

    def _read_frame(self) -> bool:
        data = self._data
        if len(data) < 2:
            return False
        length, start = data[1] & 0x7F, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            if len(data) < start:
                return False
            length = int.from_bytes(data[2:start], "big")
        if len(data) < start + length:
            return False
        first, payload = data[0], bytes(data[start : start + length])
        del data[: start + length]
        self._take(first, payload)
        return True

    def _take(self, first: int, payload: bytes) -> None:
        match first & 0x0F:
            case 0x8:
                self.close = int.from_bytes(payload[:2], "big") if payload else 1005
                if not self.mute:
                    self.say_close(payload[:2])
            case 0x9:
                if not (self.mute or self._said_close):
                    self.write(frame(FIN | PONG, payload))
            case 0xA:
                pass
            case _:
                self._parts += payload
                if first & FIN:
                    self._messages.append(bytes(self._parts))
                    self._parts.clear()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    @property
    def status(self) -> int:
        return int(self.head[9:12])

    def field(self, name: str) -> str:
        """A header field of the answer; empty if there is none."""
        lines = (line.decode().partition(":") for line in self.head.split(b"\r\n"))
        return next((value.strip() for key, _, value in lines if key.lower() == name), "")

    async def answered(self) -> int:
        """The status of the answer; 0 where the connection ended without one."""
        while not self.head and not self.lost:
            await self._more()
        return self.status if self.head else 0

    async def body(self) -> Event:
        """The JSON of an answer that is no upgrade."""
        length = int(self.field("content-length") or 0)
        while len(self._data) < length and not self.lost:
            await self._more()
        found = json.loads(bytes(self._data[:length]) or b"{}")
        assert isinstance(found, dict)
        return found

    async def recv(self) -> bytes:
        """The next message. Raises Gone."""
        while not self._messages:
            if self.close is not None or self.lost:
                raise Gone(self.close or 1006)
            await self._more()
        return self._messages.popleft()

    async def gone(self) -> int:
        """Read to the end of the connection; the code of the Close frame, 1006 without one."""
        while not self.lost:
            await self._more()
        return self.close or 1006

    async def closed(self) -> int:
        """Read to the Close frame, or to the end without one: its code."""
        while self.close is None and not self.lost:
            await self._more()
        return self.close or 1006

    # -- writing -----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.sent += len(data)
            self._transport.write(data)

    async def send(self, text: str) -> None:
        """A text message."""
        self.said += 1
        self.write(frame(FIN | TEXT, text.encode()))

    def send_pieces(self, text: str, cuts: Sequence[int]) -> None:
        """A text message in fragments, cut at these bytes, with a Ping between any two."""
        self.said += 1
        payload, ping = text.encode(), frame(FIN | PING, b"?")
        edges = [0, *sorted(cuts), len(payload)]
        pieces = [payload[a:b] for a, b in itertools.pairwise(edges)]
        last = len(pieces) - 1
        frames = [frame((TEXT if i == 0 else 0) | (FIN if i == last else 0), piece) for i, piece in enumerate(pieces)]
        self.write(ping.join(frames))

    def say_close(self, payload: bytes) -> None:
        """Once: the first word holds."""
        if not self._said_close:
            self._said_close = True
            self.write(frame(FIN | CLOSE, payload))

    # -- leaving -----------------------------------------------------------------------------------------------

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def hang_up(self) -> None:
        """End the connection behind what was written, without a Close."""
        self.transport.close()

    def reset(self) -> None:
        """Vanish: the other end gets a TCP reset."""
        if not self.lost and not self.transport.is_closing():
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
