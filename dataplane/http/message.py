"""One request as the stages see it: its head, its body as it comes, and the connection that it came from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dataplane.http.head import Head

HIGH_WATER = 64 * 1024
"""Bytes that wait to be read; from then on the client is held back."""


class ClientGone(Exception):
    """The client has left, or takes nothing any more."""


class Link(Protocol):
    """What a request knows of its connection (`connection.Connection`)."""

    on_lost: Callable[[], None] | None
    """Called when the client leaves."""
    open_ended: bool
    """Does only the end of the connection tell where the answer ends?"""
    welcome: bool
    """Was there room for it?"""

    @property
    def gone(self) -> bool:
        """Has the client left?"""

    @property
    def full(self) -> bool:
        """Does more wait to be sent than should?"""

    @property
    def peer(self) -> str:
        """The address that it is from: who connected, or whom that one speaks for by a PROXY header."""

    @property
    def port(self) -> int:
        """Where it came, as routes know it."""

    @property
    def secure(self) -> bool:
        """Is it by TLS?"""

    def lasting(self) -> bool:
        """Whether it may be used for another request."""

    def write(self, data: bytes) -> None:
        """Raises ClientGone."""

    async def drained(self, seconds: float) -> None:
        """Wait until the client has taken enough of the answer; it is cut off if it takes next to nothing for so long.
        Raises ClientGone."""

    def cut(self) -> None:
        """End the connection so that the client notices that something is missing."""

    def release(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away, with what came behind the head. Raises ClientGone."""


class Body:
    """The body of one request, in pieces as they come; it has one reader. `changed` is called when so much waits to be
    read that the client should be held back, and when it no longer does."""

    __slots__ = ("_changed", "_error", "_pieces", "_reader", "ended", "held")

    def __init__(self, changed: Callable[[], None]) -> None:
        self.ended = False
        """Has all of it come?"""
        self._changed = changed
        self._pieces: list[bytes] = []
        self.held = 0
        """Bytes that wait to be read."""
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        self._pieces.append(data)
        self.held += len(data)
        if self._reader is not None:
            self._wake()

    def end(self) -> None:
        self.ended = True
        if self._reader is not None:
            self._wake()

    def fail(self, error: Exception) -> None:
        """No more of it will come, and that is what its reader is told, if it is not whole."""
        if not self.ended and self._error is None:
            self._error = error
            self._wake()

    async def read(self, seconds: float) -> bytes:
        """All that is there, waited for if nothing is; empty at the end.

        Raises TimeoutError, if nothing comes for so long, and what it failed with."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.ended:
                return b""
            await self._arrival(seconds)
        return self.taken()

    def taken(self) -> bytes:
        """All that is there."""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        held, self._pieces, self.held = self.held, [], 0
        if held > HIGH_WATER:
            self._changed()
        return data

    async def _arrival(self, seconds: float) -> None:
        self._reader = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._reader
        finally:
            self._reader = None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class Request:
    """It came on `connection`."""

    __slots__ = ("begun", "body", "connection", "head")

    def __init__(self, head: Head, body: Body, connection: Link) -> None:
        self.head = head
        self.body = body
        self.connection = connection
        self.begun = False
        """Is its answer under way?"""
