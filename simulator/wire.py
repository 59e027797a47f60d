"""What goes out on a WebSocket, frame by frame, as well or as badly as a scenario says: I/O.

Frames are written here and not by a library, since none of them breaks a message apart, or breaks the rules, on
request. Source: RFC 6455, section 5.2; a server's frames are not masked.
"""

import asyncio
import socket as sockets
import struct
from contextlib import suppress

from aiohttp import web

from simulator.scenarios import Options

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FIN, _CONTINUATION, _TEXT, _BINARY, _PING = 0x80, 0x0, 0x1, 0x2, 0x9
_GARBAGE = b"\x83\x02??"  # an opcode that is reserved
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 s; makes a close a reset
_ARRIVE_S = 1.0  # how long what was sent may take to arrive before a reset
_SMALL = 4096  # bytes that the kernel takes from a peer that nobody listens to


class Wire:
    """The sending half of a connection that was upgraded."""

    def __init__(self, request: web.Request, options: Options) -> None:
        self._request = request
        self._piece = int(options.number("fragments")) if "fragments" in options else 0
        self._drip = int(options.number("drip")) if "drip" in options else 0

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    async def send(self, message: bytes) -> None:
        """A text message; returns when there is room for another."""
        await self._write(self._in_pieces(message) if self._piece else _frame(_FIN | _TEXT, message))

    async def send_audio(self, data: bytes) -> None:
        """A binary message."""
        await self._write(_frame(_FIN | _BINARY, data))

    async def ping(self) -> None:
        """A PING."""
        await self._write(_frame(_FIN | _PING, b"ping"))

    async def garble(self) -> None:
        """What no server may send."""
        await self._write(_GARBAGE)

    async def freeze(self, seconds: float) -> None:
        """Leave the peer alone with its connection, then reset it."""
        if (transport := self._request.transport) is not None:
            transport.pause_reading()
            transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, _SMALL)
        await asyncio.sleep(seconds)
        self._abort()

    def hang_up(self) -> None:
        """End the connection behind what was sent."""
        if (transport := self._request.transport) is not None:
            transport.close()

    async def reset(self) -> None:
        """End it by a TCP reset, once the peer's kernel has what was sent: a reset would overtake it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ARRIVE_S):
                while _on_its_way(self._request.transport):  # noqa: ASYNC110  (the kernel tells nobody)
                    await asyncio.sleep(0.0005)
        self._abort()

    def _abort(self) -> None:
        if (transport := self._request.transport) is not None and not transport.is_closing():
            transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RESET)
            transport.abort()

    def _in_pieces(self, message: bytes) -> bytes:
        starts = range(0, max(1, len(message)), self._piece)
        frames = [
            _frame(_TEXT if start == 0 else _CONTINUATION, message[start : start + self._piece]) for start in starts
        ]
        frames[-1] = bytes([frames[-1][0] | _FIN]) + frames[-1][1:]
        return _frame(_FIN | _PING, b"between").join(frames)

    async def _write(self, data: bytes) -> None:
        step = self._drip or len(data)
        for start in range(0, len(data), step):
            if (transport := self._request.transport) is None or transport.is_closing():
                return
            transport.write(data[start : start + step])
            await self._request.writer.drain()
            if self._drip:
                await asyncio.sleep(0)  # the other side reads each drop by itself


def _on_its_way(transport: asyncio.Transport | None) -> bool:
    """Whether something was sent that the peer's kernel has not confirmed (Linux; elsewhere nobody says)."""
    if transport is None or transport.is_closing():
        return False
    if transport.get_write_buffer_size() or fcntl is None:
        return bool(transport.get_write_buffer_size())
    left = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    return any(left)


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload
