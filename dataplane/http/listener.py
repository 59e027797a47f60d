"""A listening socket that can rest: it stays open, and who connects meanwhile waits in the kernel.

Loops know no such thing. To them a server is closed, and a new one is made for what is, by a copy of its descriptor,
the same socket.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
from collections.abc import Callable
from contextlib import suppress

from dataplane.http.connection import Connection

_BACKLOG = 4096
TO_ASK = 0.5
"""Seconds for who was accepted last to say what for."""
TICK = 0.05
"""Seconds between two looks at whether the rest may end."""


class Listener:
    """Makes a connection of each that it accepts. `tls_time`: seconds that a client has for the TLS handshake."""

    def __init__(self, make: Callable[[], Connection], ssl: tls.SSLContext | None, tls_time: float) -> None:
        self._make = make
        self._ssl = ssl
        self._tls_time = tls_time if ssl else None
        self._servers: list[asyncio.Server] = []
        self._rest: asyncio.Task[None] | None = None
        self._open = False
        self._late: set[asyncio.Task[object]] = set()
        """Of those that were accepted when it was closed: until they had time to ask for something."""

    @property
    def open(self) -> bool:
        """May clients connect? While it rests, too: they wait."""
        return self._open

    @property
    def late(self) -> int:
        """How many were accepted only when it was closed, and may be about to ask for something."""
        return len(self._late)

    async def start(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Listen; port 0 takes a free one: the port. Raises OSError if the address is taken, which with `reuse_port` it
        is not by others who say so, too."""
        server = await asyncio.get_running_loop().create_server(
            self._make,
            host,
            port,
            ssl=self._ssl,
            ssl_handshake_timeout=self._tls_time,
            backlog=_BACKLOG,
            reuse_port=reuse_port or None,
        )
        self._servers, self._open = [server], True
        return int(server.sockets[0].getsockname()[1])

    def rest(self, until: Callable[[], bool]) -> None:
        """Accept nothing until that is so."""
        if self._open and self._rest is None:
            self._rest = asyncio.get_running_loop().create_task(self._resting(until))

    def close(self) -> None:
        """Accept who is connected already, and nothing more. While it rests, who waits is refused."""
        self._open = False
        if self._rest is not None:
            self._rest.cancel()
        for server in self._servers:
            for sock in server.sockets:
                self._accept_waiting(sock.dup())
            server.close()

    async def closed(self) -> None:
        """Wait until it is closed."""
        if self._rest is not None:
            await asyncio.wait([self._rest])
        if self._late:
            await asyncio.wait(self._late)
        for server in self._servers:
            await server.wait_closed()

    def _accept_waiting(self, sock: socket.socket) -> None:
        """The kernel has connected them. With its socket, it would cut them off."""
        loop = asyncio.get_running_loop()
        with sock, suppress(OSError):  # BlockingIOError: that was the last
            sock.setblocking(False)
            while True:
                accepted, _ = sock.accept()
                task = loop.create_task(self._made(accepted))
                self._late.add(task)
                task.add_done_callback(self._late.discard)

    async def _made(self, accepted: socket.socket) -> None:
        with suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make, accepted, ssl=self._ssl, ssl_handshake_timeout=self._tls_time
            )
            await asyncio.sleep(TO_ASK)

    async def _resting(self, until: Callable[[], bool]) -> None:
        kept: list[socket.socket] = [sock.dup() for server in self._servers for sock in server.sockets]
        while self._servers:
            self._servers.pop().close()
        try:
            while not until():  # noqa: ASYNC110  (descriptors set no event when they are closed)
                await asyncio.sleep(TICK)
            while kept:
                self._servers.append(await self._again(kept[-1]))
                kept.pop()
        finally:
            self._rest = None
            for sock in kept:
                sock.close()

    async def _again(self, sock: socket.socket) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(
            self._make, sock=sock, ssl=self._ssl, ssl_handshake_timeout=self._tls_time, backlog=_BACKLOG
        )
