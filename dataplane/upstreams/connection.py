"""One HTTP/1.1 connection to an upstream, which takes one request at a time.

What comes is kept until it is read, up to a bound at which reading from the socket pauses. A small request is one
write; a body that is large, or still to come, is sent by a task, since an upstream may answer before it took it all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import NamedTuple, cast

from dataplane.deadline import Deadline
from dataplane.http import wire
from dataplane.upstreams.parser import BadAnswer, Head, Parser
from dataplane.upstreams.target import Origin
from dataplane.upstreams.tls_failures import lost_by

_HELD = 128 * 1024
"""Bytes of an answer that wait to be read, beside what one read of the socket brings."""
_SLICE = 256 * 1024
_CROSSING_S = 1.0
"""A close that crossed the request on its way is here after a round trip. One that comes later may be that of a server
that had begun to work."""


class Lost(Exception):
    """The connection ended before the answer was whole. `crossed`: a connection that had served before was closed
    without a byte of an answer, and so soon that the request will not have been read."""

    def __init__(self, message: str, *, crossed: bool = False) -> None:
        super().__init__(message)
        self.crossed = crossed


PassOn = Callable[[Callable[[], bytes]], bool]
"""Takes what came of a body, by calling what it is given, or returns False."""


class Request(NamedTuple):
    data: bytes
    """The head, and what is written with it of the body."""
    rest: bytes | AsyncIterator[bytes] | None = None
    """Of the body."""
    chunked: bool = False
    """Is the rest sent in chunks? Else as it is."""
    head_only: bool = False
    """Is it a HEAD?"""

    @property
    def repeatable(self) -> bool:
        """Is all of it in memory?"""
        return not isinstance(self.rest, AsyncIterator)


class Connection(asyncio.Protocol):
    """`ask`, then `read` until b"", then it may serve again if it is `clean`. `ended` is called once it is closed."""

    def __init__(self, origin: Origin, ended: Callable[[Connection], None]) -> None:
        self.origin = origin
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._parser = Parser()
        self._deadline = Deadline(self._loop, self._expired)
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._busy = self._used = self._sent = self._spoiled = self._paused = False
        self._held = 0
        self._pass_on: PassOn | None = None
        self._asked_at = 0.0

    # What its user does.

    async def ask(self, request: Request, seconds: float) -> Head:
        """Send a request; the head of its answer. The time for it, and for each piece of the body to be taken, is
        `seconds`; pieces that are still to come may take as long as they do.

        Raises Lost, BadAnswer, TimeoutError, and what `request.rest` raises; then the connection is closed."""
        self._deadline.lift()
        try:
            self._parser.start(head_only=request.head_only)
            self._asked_at = self._loop.time()
            self._busy, self._sent = True, request.rest is None
            self._transport.write(request.data)
            if request.rest is None:
                self._deadline.give(seconds)
            else:
                rest = _slices(request.rest) if isinstance(request.rest, bytes) else request.rest
                self._sender = self._loop.create_task(self._send(rest, seconds, chunked=request.chunked))
            while self._parser.head is None:
                if self._error is not None:
                    raise self._error
                await self._wait()
            self._deadline.lift()
            return self._parser.head
        except BaseException:
            self.abort()
            raise

    async def read(self, seconds: float, pass_on: PassOn | None = None) -> bytes:
        """What came of the body, b"" at its end. What comes while it waits goes to `pass_on` first: an event of a
        stream need not wake a task.

        Raises Lost where the answer breaks off, or nothing comes for so long; then the connection is closed. Raises
        what `pass_on` raises."""
        parser = self._parser
        while not (parser.pieces or parser.ended):
            if self._error is not None:
                raise Lost("its answer broke off") from self._error
            self._deadline.give(seconds)
            await self._wait(pass_on)
        self._deadline.lift()
        return self.taken()

    def taken(self) -> bytes:
        """What is there of the body, which is not kept any longer."""
        pieces = self._parser.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def arrived(self) -> bool:
        """Is some of the body here, or its end?"""
        return bool(self._parser.pieces) or self._parser.ended

    @property
    def ended(self) -> bool:
        """Is all of the answer here?"""
        return self._parser.ended

    @property
    def over(self) -> bool:
        """Has all of the body been read?"""
        return self._parser.ended and not self._parser.pieces

    @property
    def open(self) -> bool:
        return self._error is None and not self._transport.is_closing()

    @property
    def clean(self) -> bool:
        """May it be asked again? The answer is whole and nothing came behind it, and so was the request."""
        return (
            self._parser.reusable
            and self._sent
            and not self._spoiled
            and self.open
            and not self._transport.get_write_buffer_size()
        )

    def rest(self, seconds: float) -> None:
        """Wait for another request, but not for longer."""
        self._busy = False
        self._used = True
        self._sender = None
        self._deadline.give(seconds)

    def abort(self) -> None:
        """Close it at once. What was read stays."""
        if self._sender is not None:
            self._sender.cancel()
        self._transport.abort()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by class

    def data_received(self, data: bytes) -> None:
        if not self._busy:  # nobody asked
            self.abort()
        elif self._parser.ended:
            self._spoiled = True
        elif self._error is None:
            self._held += len(data)
            try:
                self._parser.feed(data)
            except BadAnswer as error:
                self._fail(error)
            if self._held > _HELD and not self._paused:
                self._paused = True
                self._transport.pause_reading()
            if self._pass_on is None or not self._passed_on(self._pass_on):
                self._wake()

    def eof_received(self) -> None:
        if self._busy and self._parser.eof():
            self._spoiled = True
            self._wake()
        else:
            self._fail(self._lost(None))

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.stop()
        self._parser.close()
        self._fail(self._lost(exc))
        self._ended(self)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # The rest.

    def _passed_on(self, pass_on: PassOn) -> bool:
        """Whether there is nothing to wake the reader for. It is woken for the end, and with the last piece."""
        if self._parser.ended or not self._parser.pieces or self._waiter is None or self._waiter.done():
            return False
        try:
            taken = pass_on(self.taken)
        except Exception as error:  # it is the reader's
            self._waiter.set_exception(error)
            return True
        self._deadline.renew()
        return taken

    async def _send(self, body: AsyncIterator[bytes], seconds: float, *, chunked: bool) -> None:
        try:
            async for data in body:
                await self._room(seconds)
                self._transport.write(wire.chunk(data) if chunked else data)
            if chunked:
                self._transport.write(wire.LAST_CHUNK)
            self._sent = True
            if self._parser.head is None:
                self._deadline.give(seconds)
        except Exception as error:  # whatever the body says: who waits for the answer is told
            self._fail(error)
        finally:
            if isinstance(body, AsyncGenerator):
                await body.aclose()

    async def _room(self, seconds: float) -> None:
        if self._drained is not None:
            async with asyncio.timeout(seconds):
                await self._drained

    async def _wait(self, pass_on: PassOn | None = None) -> None:
        """Until something happened."""
        self._waiter, self._pass_on = self._loop.create_future(), pass_on
        try:
            await self._waiter
        finally:
            self._waiter = self._pass_on = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _expired(self) -> None:
        self._fail(TimeoutError())

    def _fail(self, error: Exception) -> None:
        """Nothing more can come. The first reason is the one that is told."""
        if self._error is None:
            self._error = error
            self.abort()
            self._wake()

    def _lost(self, error: Exception | None) -> Lost:
        soon = self._loop.time() - self._asked_at < _CROSSING_S
        crossed = self._used and not self._parser.heard and soon
        why = (
            "closed the connection without an answer"
            if error is None
            else lost_by(error) or f"broke the connection off ({type(error).__name__})"
        )
        return Lost(why, crossed=crossed)


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _SLICE):
        yield body[start : start + _SLICE]
