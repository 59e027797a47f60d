"""A client's connection: aiohttp's, with what aiohttp lacks."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.web_protocol import RequestHandler

from dataplane.errors import Refusal
from dataplane.http.client import Answer, ClientGone, refuse
from dataplane.services import Limits

log = logging.getLogger(__name__)
_NEVER = b"\0\r\n\r\n"
"""What no head may hold: it ends one that would not end, as an error. aiohttp limits the size of a field and their
number, which lets a head have megabytes."""

_BRIEFLY = 1.0
"""Seconds that a client has for the first bytes, where there is no room for it."""


class Connection(RequestHandler):
    """aiohttp's connection, with what aiohttp lacks: it tells when the client leaves, it does not wait for ever
    for the rest of a head, and its errors quote nothing of the request (aiohttp's own answer and log line hold the
    offending header, `authorization` included)."""

    __slots__ = (
        "_connections",
        "_first",
        "_head_size",
        "_head_timer",
        "_limits",
        "_refused",
        "lasting",
        "on_lost",
        "welcome",
    )

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        limits: Limits,
        refused: Callable[[Refusal], None],
        lasting: Callable[[], bool],
        connections: set[Connection],
        *,
        welcome: bool = True,
    ) -> None:
        """`refused` is told what was no request; `lasting` says whether another one may follow an answer; it is among
        `connections` while it is open, and ours; one that is not `welcome` must say soon what it wants, and is
        refused it."""
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # aiohttp takes None, and says Logger
            auto_decompress=False,
            keepalive_timeout=limits.keep_alive,
            lingering_time=limits.linger,
            max_line_size=limits.head,
            max_field_size=limits.head,
        )
        self.on_lost: Callable[[], None] | None = None
        self.lasting = lasting
        self.welcome = welcome
        self._connections = connections
        self._limits = limits
        self._refused = refused
        self._first: float | None = limits.keep_alive if welcome else _BRIEFLY
        """Seconds that the first bytes may take, until they are there."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_size = 0
        """Bytes that came of a head that has not ended."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)
        if self._first is not None:
            self._head_timer = self._loop.call_later(self._first, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        if self._first is not None:
            self._first = None
            self._stop_head_timer()
        if self._head_size > self._limits.head:
            return  # refused, and about to be closed
        waited = self._waits_for_head()
        super().data_received(data)
        self._head_size = self._head_size + len(data) if waited and self._waits_for_head() else 0
        if self._head_size > self._limits.head:
            super().data_received(_NEVER)
        if self._messages or self._request_in_progress:
            self._stop_head_timer()
        elif self._head_timer is None:
            self._head_timer = self._loop.call_later(self._limits.head_time, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        on_lost, self.on_lost = self.on_lost, None
        self._stop_head_timer()
        self._connections.discard(self)
        super().connection_lost(exc)
        if on_lost:
            on_lost()

    def _waits_for_head(self) -> bool:
        """Whether what comes next can only be of a head: between requests, and behind one whose body is complete."""
        # After an upgrade request come no more heads: its bytes belong to whoever takes the connection over.
        if self._upgraded or self._messages:
            return False
        request = self._current_request
        if request is None:
            return self._waiter is not None or not self._request_count
        return request.content.is_eof()

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self._messages and not self._request_in_progress:
            self.force_close()

    def _stop_head_timer(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (aiohttp's; it quotes the request)
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed (or, never in practice, a failure of the stages)."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun")
        refusal = _parse_refusal(exc) if status != 500 else Refusal("internal_error", "The gateway failed.")
        if self._head_size > self._limits.head:
            refusal = Refusal("head_too_large", f"The request head is over {self._limits.head} bytes.")
        if status == 500:
            log.error("a request failed outside its stages", exc_info=exc)
        self._refused(refusal)
        return _Unread(self._limits, refusal)


def _parse_refusal(exc: BaseException | None) -> Refusal:
    if isinstance(exc, LineTooLong) or (isinstance(exc, BadHttpMessage) and exc.message.startswith("Too many")):
        return Refusal("head_too_large", "A line of the request head is too long, or it has too many fields.")
    return Refusal("invalid_header", "The request is not valid HTTP/1.1.")


class _Unread(Answer):
    """The answer to what is no request; written when aiohttp asks for it."""

    def __init__(self, limits: Limits, refusal: Refusal) -> None:
        super().__init__(refusal.status)
        self._limits, self._refusal = limits, refusal

    async def prepare(self, request: web.BaseRequest) -> None:
        with suppress(ClientGone):
            await refuse(request, self._limits, self._refusal, uuid.uuid4().hex)
