"""Connections to upstreams that wait for another request."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable

from dataplane.process.files import Files
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.connect import dial
from dataplane.upstreams.connection import Connection
from dataplane.upstreams.egress import EgressProxy
from dataplane.upstreams.target import Origin

_IDLE_S = 15.0  # shorter than most servers keep theirs
_IDLE_MOST = 256
"""To one origin. Those above it are closed: a peak is over."""


class Pool:
    """The newest idle connection is taken first, so that after a peak the others grow old and end. An address was
    checked when it was dialled."""

    def __init__(
        self,
        addresses: AddressPolicy,
        *,
        files: Files,
        tls: ssl.SSLContext,
        egress: EgressProxy | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._addresses, self._files, self._tls, self._rand = addresses, files, tls, rand
        self._egress = egress
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._closed: asyncio.Event | None = None

    def idle(self, origin: Origin) -> Connection | None:
        """One that is there, if there is one."""
        waiting = self._idle.get(origin)
        while waiting:
            connection = waiting.pop()
            if connection.open:
                return connection
        return None

    async def fresh(self, origin: Origin, seconds: float) -> Connection:
        """Another one. Raises what `connect.dial` raises."""
        _, connection = await dial(
            origin.url,
            lambda: Connection(origin, self._ended),
            reach=origin.reach,
            rand=self._rand,
            addresses=self._addresses,
            files=self._files,
            timeout=seconds,
            tls=self._tls,
            egress=self._egress,
        )
        if connection.open:
            self._all.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep it for another request if it can serve one; else it is closed."""
        waiting = self._idle.get(connection.origin, ())
        if connection.clean and len(waiting) < _IDLE_MOST and not self._files.short and self._closed is None:
            self._idle.setdefault(connection.origin, []).append(connection)
            connection.rest(_IDLE_S)
        else:
            connection.abort()

    async def close(self) -> None:
        """Close all of them, whatever they are doing, and wait until they are."""
        self._closed = self._closed or asyncio.Event()
        for connection in list(self._all):
            connection.abort()
        if self._all:
            await self._closed.wait()

    def _ended(self, connection: Connection) -> None:
        self._all.discard(connection)
        waiting = self._idle.get(connection.origin)
        if waiting is not None and connection in waiting:
            waiting.remove(connection)
        if not waiting:
            self._idle.pop(connection.origin, None)
        if not self._all and self._closed is not None:
            self._closed.set()
