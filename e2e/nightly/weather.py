"""Bad networks: a TCP proxy that gives each connection a fate. It delays, throttles, cuts (by FIN or RST), goes silent
with both ends open, or flips a bit.

What it has carried towards the side that called is kept as text, so that others can say what arrived there.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close becomes a reset
SETTLES_S = 0.5
"""Before a reset nothing is carried for so long, so that what was carried has been read."""
PIECE = 16 * 1024

FATES: Mapping[str, int] = {
    "fair": 40,
    "delayed": 12,
    "throttled": 8,
    "ended": 10,
    "reset": 10,
    "silent": 8,
    "deaf": 6,
    "mute": 6,
    "stuck": 4,
    "garbled": 6,
}
"""Each with its weight. `silent`: what is sent vanishes, and nobody is told of an end; `deaf`: so only towards the one
that called, `mute`: only from there; `stuck`: nothing more is taken."""
CUT = frozenset({"ended", "reset", "silent", "deaf", "stuck"})


@dataclass
class Connection:
    """One that was carried."""

    fate: str
    back: bytearray = field(default_factory=bytearray)
    """What the calling side was sent."""
    pieces: list[tuple[int, float]] = field(default_factory=list)
    """How much that was, and when, in seconds since the epoch."""
    struck: bool = False
    """Has its fate come? Until then all is fair."""


@dataclass
class Weather:
    """The proxy; `connections` are all that it has had."""

    rng: Random
    keep: bool
    """Is what came back kept?"""
    address: str = ""
    """Where it listens, as HOST:PORT."""
    connections: list[Connection] = field(default_factory=list)
    _host: str = ""
    _port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def lead_to(self, url: str) -> str:
        """Carry connections there; the address to call instead."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        return f"http://{self.address}"

    def counts(self) -> Counter[str]:
        return Counter(each.fate for each in self.connections)

    def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A new connection."""
        self._own(asyncio.create_task(self._take(reader, writer)))

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry it, to its end."""
        fate = self.rng.choices([*FATES], [*FATES.values()])[0]
        connection = Connection(fate)
        self.connections.append(connection)
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._own(strikes := asyncio.create_task(self._strike(connection, [writer, far_writer])))
        ways = (
            self._carry(connection, reader, far_writer, back=False),
            self._carry(connection, far_reader, writer, back=True),
        )
        try:
            await asyncio.gather(*ways)
        finally:
            strikes.cancel()
            for each in (writer, far_writer):
                each.transport.abort()

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _strike(self, connection: Connection, writers: list[asyncio.StreamWriter]) -> None:
        """The fate comes at a random moment."""
        await asyncio.sleep(self.rng.expovariate(1 / 3))
        connection.struck = True
        if connection.fate == "ended":
            for writer in writers:
                writer.close()
        elif connection.fate == "reset":
            await asyncio.sleep(SETTLES_S)
            for writer in writers:
                raw: socket.socket = writer.get_extra_info("socket")
                with suppress(OSError):  # it has just ended by itself
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()

    async def _carry(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, back: bool
    ) -> None:
        """One direction. An end that comes is passed on, in that direction alone."""
        with suppress(ConnectionError):
            while data := await reader.read(PIECE):
                data = await self._weathered(connection, data, back=back)
                if not data:
                    continue
                writer.write(data)
                if back and self.keep:
                    connection.back += data
                    connection.pieces.append((len(connection.back), time.time()))
                await writer.drain()
        if not self._holds(connection, back=back) and not writer.transport.is_closing():
            with suppress(OSError, RuntimeError):
                writer.write_eof()

    async def _weathered(self, connection: Connection, data: bytes, *, back: bool) -> bytes:
        match connection.fate:
            case "delayed":
                await asyncio.sleep(self.rng.random() * 0.3)
            case "throttled":
                await asyncio.sleep(len(data) / 50_000)
            case "reset" if connection.struck:
                return b""
            case "stuck" if connection.struck:
                await asyncio.Event().wait()
            case "garbled" if connection.struck and self.rng.random() < 0.2:
                place = self.rng.randrange(len(data))
                return data[:place] + bytes((data[place] ^ (1 << self.rng.randrange(8)),)) + data[place + 1 :]
        return b"" if self._holds(connection, back=back) else data

    @staticmethod
    def _holds(connection: Connection, *, back: bool) -> bool:
        """Does nothing pass this way any more, though both ends are open?"""
        return connection.struck and connection.fate in ("silent", "deaf" if back else "mute")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def weather(rng: Random, *, keep: bool = False) -> AsyncIterator[Weather]:
    """The proxy, which is yet to be told where it leads."""
    made = Weather(rng, keep)
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.address = "{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield made
    finally:
        server.close()
        await made.stop()
