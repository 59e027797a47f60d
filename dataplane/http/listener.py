"""A listening socket: few connections are accepted in one turn of the loop, so that a storm of clients keeps those who
talk already waiting for no longer than one of them takes; and it can rest, while who connects waits in the kernel.

A loop's own servers accept all who wait at once, and know no rest.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl as tls
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress

from dataplane.http.connection import Connection
from dataplane.http.proxied import Introductions
from dataplane.upstreams.connect import keep_alive

AT_ONCE = 4
"""Connections that are accepted in one turn of the loop. What each of them asks for may cost a millisecond."""
_BACKLOG = 4096
TO_ASK = 0.5
"""Seconds for who was accepted last, when it was closed or just before, to say what for."""
Place = tuple[int, tuple[object, ...]]
"""Where a socket can listen: address family, and address with any port."""
TICK = 0.05
"""Seconds between two looks at whether the rest may end."""


class Listener:
    """`make` is given the descriptor of each connection that was accepted, and the address that its PROXY header names,
    if it has one (`introductions` reads it). `tls_time`: seconds that a client has for the TLS handshake."""

    def __init__(
        self,
        make: Callable[[int, str], Connection],
        ssl: tls.SSLContext | None,
        tls_time: float,
        introductions: Introductions | None = None,
    ) -> None:
        self._make = make
        self._introductions = introductions
        self._ssl = ssl
        self._tls_time = tls_time
        self._sockets: list[socket.socket] = []
        self._looking: asyncio.TimerHandle | None = None
        """While it rests."""
        self._making: set[asyncio.Task[None]] = set()
        """Connections whose PROXY header or TLS handshake is under way, or that are just being made."""
        self._late: set[asyncio.Task[None]] = set()
        """Of those that were accepted when it was closed: until they had time to ask for something."""
        self._newest = -TO_ASK
        """When a connection was last accepted."""

    @property
    def open(self) -> bool:
        """May clients connect? While it rests, too: they wait."""
        return bool(self._sockets)

    @property
    def late(self) -> int:
        """How many were accepted only when it was closed, or are just being made since, and may be about to ask for
        something."""
        return 0 if self._sockets else len(self._late) + len(self._making)

    @property
    def just_closed(self) -> bool:
        """Had who was accepted last no time to ask for something before it was closed, nor since?"""
        return not self._sockets and asyncio.get_running_loop().time() - self._newest < TO_ASK

    def start(self, at: Sequence[Place], port: int, *, reuse_port: bool = False) -> int:
        """Listen; port 0 takes a free one: the port. Raises OSError if the address is taken, which with `reuse_port` it
        is not by others who say so, too."""
        try:
            for family, address in at:
                where = (address[0], port, *address[2:])
                self._sockets.append(_listening(family, where, reuse_port=reuse_port))
                port = int(self._sockets[-1].getsockname()[1])  # the same for all
        except OSError:
            self._shut()
            raise
        self._watch()
        return port

    def speak(self, ssl: tls.SSLContext | None) -> None:
        """With who is accepted from now on."""
        self._ssl = ssl

    def rest(self, until: Callable[[], bool]) -> None:
        """Accept nothing until that is so."""
        if self._sockets and self._looking is None:
            self._unwatch()
            self._look_later(until)

    def close(self) -> None:
        """Accept who is connected already, and nothing more. While it rests, who waits is refused."""
        if self._looking is None:
            self._unwatch()
            for sock in self._sockets:
                with suppress(OSError):
                    while (accepted := _accepted(sock)) is not None:
                        self._own(self._late, self._asked(accepted))
        else:
            self._looking.cancel()
            self._looking = None
        self._shut()

    async def closed(self) -> None:
        """Wait until it is closed."""
        while left := self._late | self._making:
            await asyncio.wait(left)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(AT_ONCE):
            if self._looking is not None:
                return
            try:
                accepted = _accepted(sock)
            except OSError:  # whole systems run out of descriptors, too
                self.rest(lambda: True)
                return
            if accepted is None:
                return
            self._newest = asyncio.get_running_loop().time()
            self._own(self._making, self._made(accepted))

    def _own(self, tasks: set[asyncio.Task[None]], making: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(making)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _made(self, accepted: socket.socket) -> None:
        with suppress(OSError):  # it has left, or does not speak TLS, or is not introduced
            source = await self._introductions.source(accepted) if self._introductions else ""
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make(accepted.fileno(), source),
                accepted,
                ssl=self._ssl,
                ssl_handshake_timeout=self._tls_time if self._ssl else None,
            )

    async def _asked(self, accepted: socket.socket) -> None:
        await self._made(accepted)
        await asyncio.sleep(TO_ASK)

    def _watch(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    def _unwatch(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)

    def _look_later(self, until: Callable[[], bool]) -> None:
        self._looking = asyncio.get_running_loop().call_later(TICK, self._look, until)

    def _look(self, until: Callable[[], bool]) -> None:
        if until():
            self._looking = None
            self._watch()
        else:
            self._look_later(until)

    def _shut(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets = []


async def places(host: str) -> list[Place]:
    """Where `host` is, without a port yet. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _listening(family: int, address: tuple[object, ...], *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name == "posix":  # elsewhere it would let two have the same address
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        keep_alive(sock)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{address[0]}:{address[1]}: {os.strerror(error.errno or 0)}") from None
    return sock


def _accepted(sock: socket.socket) -> socket.socket | None:
    """The next of those who wait; None where nobody does. Raises OSError where the system has no descriptor left."""
    while True:
        try:
            accepted, _ = sock.accept()
        except ConnectionAbortedError:  # it has left already
            continue
        except BlockingIOError:
            return None
        accepted.setblocking(False)
        return accepted
