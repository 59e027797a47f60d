"""A client's connection: one request at a time is read, served and answered, and the next one after that.

What comes ahead of its turn waits, in a bounded measure, as bytes that nobody has read yet. There is one timer, which
looks whether the client is late with what is expected of it; while a request is served, that is watched by whoever
reads its body or writes its answer.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import cast

from dataplane.deadline import Deadline
from dataplane.errors import Refusal
from dataplane.http.client import Answer, refuse
from dataplane.http.head import Head, Headers
from dataplane.http.message import HIGH_WATER, Body, ClientGone, Request
from dataplane.http.parser import Event, Parser, Rest
from dataplane.ids import new_id
from dataplane.routing import OWN_PORT
from dataplane.services import Limits

log = logging.getLogger(__name__)
_SLICE = 16 * 1024
"""Bytes that are parsed at once: a read may hold thousands of small requests, of which one is served."""
_BRIEFLY = 1.0
"""Seconds that a client has for the first bytes, where there is no room for it."""
_RESET = struct.pack("ii", 1, 0)
"""What makes the end of a socket a reset, by SO_LINGER."""
_UNREADABLE = Head("GET", "", "1.1", Headers([]), goes_on=False, switches=False)
"""Stands for the head of what is no request."""


@dataclass(slots=True)
class Front:
    """What all connections of a port share. `refused` is told of what was no request; `lasting` says whether another
    request may follow an answer."""

    serve: Callable[[Request], Coroutine[None, None, Answer]]
    limits: Limits
    refused: Callable[[Refusal], None]
    lasting: Callable[[], bool]
    port: int = OWN_PORT
    """As routes know it."""
    tasks: set[asyncio.Task[Answer]] = field(default_factory=set)
    """Of the requests that are under way."""
    connections: set[Connection] = field(default_factory=set)
    """Those that nobody has taken over."""


class Connection(asyncio.Protocol):
    """One that is not `welcome` must say soon what it wants, and is refused it. `source`: the address that its PROXY
    header names, if it has one."""

    __slots__ = (
        "_arriving",
        "_awaits_head",
        "_behind",
        "_deadline",
        "_deaf",
        "_front",
        "_half_closed",
        "_loop",
        "_parser",
        "_queue",
        "_reading",
        "_room",
        "_source",
        "_tail",
        "_task",
        "_transport",
        "full",
        "new",
        "on_lost",
        "open_ended",
        "welcome",
    )

    def __init__(self, front: Front, source: str = "", *, welcome: bool = True) -> None:
        self.on_lost: Callable[[], None] | None = None
        self.open_ended = False
        self.welcome = welcome
        self.full = False
        self.new = True
        """Has nothing been asked for yet?"""
        self._front = front
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = Parser(front.limits.head)
        self._queue: list[Request | Refusal] = []
        """What was parsed and waits for its turn."""
        self._arriving: Request | None = None
        """The last request whose head has come, until it is answered."""
        self._behind = bytearray()
        """What came behind it, once it is complete; or of its body, while it waits for its turn."""
        self._tail: bytearray | None = None
        """What came behind a head that asks for another protocol."""
        self._task: asyncio.Task[Answer] | None = None
        """Of the request that is served."""
        self._room: asyncio.Future[None] | None = None
        """What waits for the client to take more."""
        self._reading = True
        self._half_closed = False
        self._deaf = False
        """Is nothing that still comes of interest?"""
        self._deadline = Deadline(self._loop, self._late)
        """For what is expected of the client; while a request is served, nothing is."""
        self._awaits_head = False
        """Is it for the rest of a head?"""

    # -- what the transport calls ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._front.connections.add(self)
        self._deadline.give(self._front.limits.keep_alive if self.welcome else _BRIEFLY)

    def data_received(self, data: bytes) -> None:
        self._take(data)
        self._go_on()

    def eof_received(self) -> bool:
        """A client that sends nothing more is one that has left, as far as anybody can tell, and providers need not go
        on for it. It gets its answer where that takes no provider."""
        if self._arriving is not None:
            self._arriving.body.fail(ClientGone())
        if self._task is None or self.on_lost or self._transport is None or not self._transport.can_write_eof():
            self._deadline.give(self._front.limits.client_idle)  # the transport sends what it holds, and closes
            return False
        self._half_closed = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        on_lost, self.on_lost = self.on_lost, None
        if self._arriving is not None:
            self._arriving.body.fail(ClientGone())
        self._forget()
        if on_lost:
            on_lost()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # -- what requests call ------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        return self._transport is None or self._transport.is_closing() or self._half_closed

    @property
    def peer(self) -> str:
        if self._source or self._transport is None:
            return self._source
        return str((self._transport.get_extra_info("peername") or ("",))[0])

    @property
    def port(self) -> int:
        return self._front.port

    @property
    def secure(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("sslcontext") is not None

    def lasting(self) -> bool:
        return self._front.lasting()

    def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ClientGone
        self._transport.write(data)

    async def drained(self, seconds: float) -> None:
        while self.full and self._transport is not None:
            before = self._transport.get_write_buffer_size()
            self._room = self._loop.create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._room
            except TimeoutError:
                if self._transport is None or before - self._transport.get_write_buffer_size() < HIGH_WATER:
                    self._reset()
                    raise ClientGone from None
            finally:
                self._room = None
        if self._transport is None:
            raise ClientGone

    def cut(self) -> None:
        if self.open_ended:  # an orderly end would look like the answer's
            self._reset()
        else:
            self.close()

    def release(self) -> tuple[asyncio.Transport, bytes]:
        transport = self._transport
        if transport is None or self.gone or self._tail is None:
            raise ClientGone
        if not self._reading:
            transport.resume_reading()
        behind = bytes(self._tail)
        self._forget()
        return transport, behind

    # -- what the port calls -----------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Is no request being served?"""
        return self._task is None

    def close(self) -> None:
        """Send what is written, and end the connection; soon, if the client does not take it."""
        self._deaf = True
        self._queue.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._deadline.give(self._front.limits.client_idle)
            self._transport.close()

    # -- requests, one after the other -------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        if len(data) <= _SLICE:
            self._take_slice(data)
        else:
            for start in range(0, len(data), _SLICE):
                self._take_slice(data[start : start + _SLICE])

    def _take_slice(self, data: bytes) -> None:
        """Parse these bytes, or keep them until it is their turn. Of the requests that wait for theirs, the last may be
        there in part; nothing behind it is parsed."""
        waits = len(self._queue) > (self._task is None)  # the first in the queue may be the one whose turn it is
        if self._deaf:
            return
        if self._tail is not None:
            self._tail += data
        elif self._behind or waits or (self._arriving is not None and self._arriving.body.ended):
            self._behind += data
        else:
            for event in self._parser.feed(data):
                self._heed(event)

    def _take_behind(self) -> None:
        """Parse what was kept."""
        if self._behind:
            behind, self._behind = bytes(self._behind), bytearray()
            self._take(behind)

    def _heed(self, event: Event) -> None:
        if isinstance(event, Head):
            self._arriving = Request(event, Body(self._balance), self)
            self._queue.append(self._arriving)
        elif isinstance(event, Refusal):
            self._break_off(event)
        elif isinstance(event, Rest):
            self._tail = bytearray(event.data)
        elif self._arriving is not None:
            if isinstance(event, bytes):
                self._arriving.body.feed(event)
            else:
                self._arriving.body.end()

    def _break_off(self, refusal: Refusal) -> None:
        """What came is no request, or does not end as one."""
        self._deaf = True
        if self._arriving is None or self._arriving.body.ended:
            self._queue.append(refusal)
        elif self._queue:  # it was not begun
            self._queue[-1] = refusal
        else:
            self._arriving.body.fail(refusal)

    def _go_on(self) -> None:
        """Serve the next request, if there is one and it is its turn; otherwise wait for what is missing."""
        if self._task is None and self._transport is not None:
            if self._queue:
                self._serve(self._queue.pop(0))
                if not self._queue and self._arriving is not None and not self._arriving.body.ended:
                    self._take_behind()  # the rest of its body may be there
            elif self._parser.in_head and not (self._awaits_head or self._deaf):
                self._awaits_head = True
                self._deadline.give(self._front.limits.head_time)
        self._balance()

    def _serve(self, item: Request | Refusal) -> None:
        self._awaits_head = self.new = False
        self._deadline.lift()
        if isinstance(item, Refusal):
            self._front.refused(item)
            request = Request(_UNREADABLE, Body(self._balance), self)
            answering = refuse(request, self._front.limits, item, new_id())
        else:
            answering = self._front.serve(item)
        self._task = self._loop.create_task(answering)
        self._front.tasks.add(self._task)
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Answer]) -> None:
        self._front.tasks.discard(task)
        self._task = None
        lasts = _outcome(task)
        if self._transport is None or self._transport.is_closing():
            return
        if not lasts:
            self._end()
            return
        if not self._queue:
            self._arriving = None
            self._take_behind()
        if self._half_closed and not self._queue:
            self.close()
            return
        self._deadline.give(self._front.limits.keep_alive)
        self._go_on()

    def _end(self) -> None:
        """The last request is answered. While the client may still be sending, the connection is not closed at once:
        that would take the answer away from it (RFC 9112 §9.6)."""
        assert self._transport is not None
        sending = self._deaf or not self._reading or (self._arriving is not None and not self._arriving.body.ended)
        self._deaf = True
        if self.open_ended:  # it was not answered whole
            self.cut()
        elif not sending or self._half_closed:
            self.close()
        else:
            self._queue.clear()
            self._behind.clear()
            self._balance()
            self._deadline.give(self._front.limits.linger)
            if self._transport.can_write_eof():
                self._transport.write_eof()

    def _balance(self) -> None:
        """Is the client read from, or held back?"""
        waiting = len(self._behind) + (len(self._tail) if self._tail is not None else 0)
        full = waiting > HIGH_WATER or (self._arriving is not None and self._arriving.body.held > HIGH_WATER)
        wanted = self._deaf or not full
        if wanted != self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = wanted
            if wanted:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _reset(self) -> None:
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def _forget(self) -> None:
        """The connection is gone, or somebody else's."""
        self._front.connections.discard(self)
        self._transport = self._arriving = self._tail = None
        self._queue.clear()
        self._behind.clear()
        self._parser.close()
        self._deadline.stop()
        self.resume_writing()

    def _late(self) -> None:
        """The client did not do in time what was expected of it."""
        if self._transport is not None and self._transport.is_closing():
            self._transport.abort()
        else:
            self.close()


def _outcome(task: asyncio.Task[Answer]) -> bool:
    """Whether the connection of a request that was served can take another one."""
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, ClientGone):
        log.error("a request failed outside its stages", exc_info=error)
    return error is None and task.result().keep_alive
