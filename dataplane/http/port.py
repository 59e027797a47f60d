"""The port that clients connect to: its socket, the connections that came from it, the requests that are under way."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable, Coroutine, Sequence

from dataplane.errors import Refusal
from dataplane.http.client import Answer
from dataplane.http.connection import Connection, Front
from dataplane.http.listener import Listener, Place
from dataplane.http.message import Request
from dataplane.http.proxied import Introductions
from dataplane.http.proxies import NO_PROXY, Proxies
from dataplane.process.files import Files
from dataplane.routing import OWN_PORT
from dataplane.services import Limits

_MOMENT = 0.01
"""Seconds between two looks at whether all is closed."""
_LAST_WORDS = 1.0
"""Seconds for what was cancelled to write down what it used."""


class Port:
    """`serve` answers requests, `refused` is told of what was none; `files` says whether there is room for a
    connection, `proxies` which of them begin with a PROXY header. `known_as`: by which number routes know it."""

    def __init__(
        self,
        serve: Callable[[Request], Coroutine[None, None, Answer]],
        limits: Limits,
        files: Files,
        refused: Callable[[Refusal], None],
        proxies: Proxies = NO_PROXY,
        known_as: int = OWN_PORT,
    ) -> None:
        self.number = 0
        self.secure = False
        """Is it with TLS?"""
        self.lasting = True
        """Whether a connection may be used for another request."""
        self._limits = limits
        self._files = files
        self._front = Front(serve, limits, refused, self._lasts, known_as)
        self._introductions = Introductions(proxies, limits.head_time) if proxies.protocol else None
        self._listener: Listener | None = None

    @property
    def open(self) -> bool:
        """Whether new connections are accepted."""
        return self._listener is not None and self._listener.open

    @property
    def requests(self) -> int:
        """How many are under way, or about to be: of who was accepted when the port was closed, or just before."""
        about_to_be = 0
        if self._listener:
            new = sum(connection.new for connection in self._front.connections) if self._listener.just_closed else 0
            about_to_be = max(new, self._listener.late)
        return len(self._front.tasks) + about_to_be

    @property
    def connections(self) -> int:
        """How many there are that nobody has taken over."""
        return len(self._front.connections)

    def start(self, at: Sequence[Place], port: int, ssl: tls.SSLContext | None, *, reuse_port: bool = False) -> None:
        """Listen; port 0 takes a free one, `number` says which. Raises OSError if the address is taken."""
        self._listener = Listener(self._accepted, ssl, self._limits.head_time, self._introductions)
        self.number = self._listener.start(at, port, reuse_port=reuse_port)
        self.secure = ssl is not None

    def speak(self, ssl: tls.SSLContext | None) -> None:
        """With TLS, or without, on connections that come from now on."""
        if self._listener:
            self._listener.speak(ssl)
        self.secure = ssl is not None

    def _accepted(self, descriptor: int, source: str) -> Connection:
        """What serves a connection that was just accepted. One that should not be here is answered, and must be quick;
        before all of the reserve goes that way, no more are accepted."""
        if descriptor >= self._files.brink and self._listener:
            self._listener.rest(lambda: self._files.next() < self._files.brink)
        return Connection(self._front, source, welcome=self._files.may_have(descriptor))

    def _lasts(self) -> bool:
        return self.lasting and not self._files.short

    def close(self) -> None:
        """Accept nothing more. Who connects now is refused by the system, which load balancers take as a hint to try
        another; connections that are open stay."""
        if self._listener:
            self._listener.close()

    async def stop(self, grace: float) -> None:
        """Close the port and all connections. Requests have `grace` seconds to finish, and are cancelled then."""
        self.close()
        self.lasting = False
        for connection in list(self._front.connections):
            if connection.idle:
                connection.close()
        await self._over(grace)
        for task in self._front.tasks:
            task.cancel()
        await self._over(_LAST_WORDS)
        for connection in list(self._front.connections):
            connection.close()

    async def _over(self, seconds: float) -> None:
        """Wait until no request is under way, for so long at most."""
        if self._front.tasks:
            await asyncio.wait(self._front.tasks, timeout=seconds)

    async def closed(self) -> None:
        """Wait until the port is closed, and all connections that nobody has taken over: what was answered is sent."""
        if self._listener:
            await self._listener.closed()
        while self._front.connections:  # noqa: ASYNC110  (it is for the end of the process alone)
            await asyncio.sleep(_MOMENT)
