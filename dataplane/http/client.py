"""The client's side of HTTP: its connection, the body it sends, the answers it gets.

aiohttp's low-level server parses requests; answers are written here, since its response objects add fields of
their own (`Server`, a `Content-Type` that nobody said) and close cleanly what was in truth cut short.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

from aiohttp import hdrs, web
from aiohttp.http import StreamWriter
from multidict import CIMultiDict

from dataplane.errors import Refusal
from dataplane.process.room import Holder, Room
from dataplane.services import Limits

log = logging.getLogger(__name__)
REQUEST_ID = "x-tidegate-request-id"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TEN = (1, 0)


GONE = 499
"""nginx's status for a client that left; only telemetry sees it."""


class ClientGone(Exception):
    """The client has left, or takes nothing any more."""


class UpstreamLost(Exception):
    """The upstream broke off in the middle of its answer, which had begun with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Answer(web.StreamResponse):
    """The answer of a handler that wrote it itself; `code` is the refusal's, for the meter."""

    def __init__(self, status: int, *, keep_alive: bool = False, code: str = "") -> None:
        super().__init__(status=status)
        self.code = code
        self._keeps = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: it is written."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: it is written."""


class Watched(Protocol):
    """A connection that tells when the client leaves; all of ours do (`connection.Connection`)."""

    on_lost: Callable[[], None] | None
    lasting: Callable[[], bool]
    """Whether it may be used for another request."""
    welcome: bool
    """Was there room for it?"""


def _connection(request: web.BaseRequest) -> Watched:
    return request.protocol  # type: ignore[return-value]  # see `connection.Connection`


@contextmanager
def while_connected(request: web.BaseRequest) -> Iterator[None]:
    """What is inside is cancelled as soon as the client leaves, and ClientGone is raised instead."""
    connection = _connection(request)
    task = asyncio.current_task()
    if task is None or request.transport is None:
        raise ClientGone
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    connection.on_lost = leave
    try:
        yield
    except BaseException:
        if gone and task.uncancel() == 0:
            raise ClientGone from None
        raise
    finally:
        connection.on_lost = None


def is_welcome(request: web.BaseRequest) -> bool:
    """Was there room for the client's connection?"""
    return _connection(request).welcome


def check_expectation(request: web.BaseRequest) -> None:
    """Raises Refusal expectation_failed for an Expect header that is not `100-continue`."""
    expected = request.headers.get("Expect", "")
    if expected and expected.lower() != "100-continue":
        raise Refusal("expectation_failed", "Only `Expect: 100-continue` is known here.")


async def chunks(request: web.BaseRequest, limits: Limits) -> AsyncIterator[bytes]:
    """The request's body as it comes, after the `100 Continue` that its client may wait for.

    Raises Refusal request_timeout, invalid_header; ClientGone."""
    if request.headers.get("Expect") and request.version != _TEN and request.transport:
        request.transport.write(_CONTINUE)
    while True:
        try:
            async with asyncio.timeout(limits.client_idle):
                data = await request.content.readany()
        except TimeoutError:
            raise Refusal("request_timeout", f"Nothing of the body came for {limits.client_idle:g} s.") from None
        except ConnectionError:
            raise ClientGone from None
        except web.RequestPayloadError:
            raise Refusal("invalid_header", "The body is not valid HTTP/1.1 (its chunks or its length).") from None
        if not data:
            return
        yield data


async def body(request: web.BaseRequest, limits: Limits, room: Room) -> bytes:
    """The whole body. Raises Refusal body_too_large, overloaded, and what `chunks` raises."""
    too_large = Refusal("body_too_large", f"The body is over {limits.body} bytes, which is the limit here.")
    if (request.content_length or 0) > limits.body:
        raise too_large
    held = bytearray()
    holder = Holder(room, lambda _: held.clear())
    try:
        async for data in chunks(request, limits):
            held += data
            if len(held) > limits.body:
                raise too_large
            holder.hold(len(data))
            if holder.told:
                raise Refusal(
                    "overloaded", "Bodies that are unfinished here take too much memory, and yours most of it."
                )
        return bytes(held)
    finally:
        holder.leave()


class Writer:
    """One answer on its way to a client."""

    def __init__(
        self,
        request: web.BaseRequest,
        limits: Limits,
        status: int,
        fields: Iterable[tuple[str, str]],
        *,
        reason: str = "",
        length: int | None = None,
    ) -> None:
        """`length` of the body in bytes; None where it is not known."""
        self._request, self._limits, self._status = request, limits, status
        # An upstream may say anything there, and nobody needs it.
        self._line = f"HTTP/1.1 {status} {reason if reason.isascii() and reason.isprintable() else ''}"
        self._fields = CIMultiDict(fields)
        bodiless = request.method == "HEAD" or status in (204, 304)
        self._delimited = bodiless or length is not None
        self._chunked = not self._delimited and request.version != _TEN
        self._keep_alive = (self._delimited or self._chunked) and _may_go_on(request)
        if length is not None and status != 204:
            self._fields["Content-Length"] = str(length)
        self._begun = False

    async def write(self, data: bytes) -> None:
        """Send the head, if that is still to do, and a piece of the body. Raises ClientGone."""
        writer = cast("StreamWriter", self._request.writer)
        try:
            await self._begin()
            if data:
                await writer.write(data, drain=False)
            elif self._chunked or self._delimited:
                writer.send_headers()
            if self._request.protocol.writing_paused:
                async with asyncio.timeout(self._limits.client_idle):
                    await writer.drain()
        except ConnectionError:
            raise ClientGone from None
        except TimeoutError:
            self.cut()
            raise ClientGone from None

    async def end(self, data: bytes = b"") -> Answer:
        """Send the rest. Raises ClientGone."""
        try:
            await self._begin()
            await self._request.writer.write_eof(data)
        except ConnectionError:
            raise ClientGone from None
        return Answer(self._status, keep_alive=self._keep_alive)

    def cut(self) -> None:
        """End the connection so that the client notices that something is missing."""
        if transport := self._request.transport:
            if self._chunked or self._delimited:
                transport.close()
            else:
                transport.abort()

    async def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        if self._chunked:
            self._fields["Transfer-Encoding"] = "chunked"
            self._request.writer.enable_chunking()
        if not self._keep_alive:
            self._fields["Connection"] = "close"
        elif self._request.version == _TEN:
            self._fields["Connection"] = "keep-alive"
        await self._request.writer.write_headers(self._line, self._fields)


def _may_go_on(request: web.BaseRequest) -> bool:
    """Whether the next bytes on the connection can only be the next request. A client that was answered before
    it sent its body may send it or not; what follows an upgrade or CONNECT may be no HTTP at all."""
    switches = hdrs.UPGRADE in request.headers or request.method == hdrs.METH_CONNECT
    chunked = hdrs.TRANSFER_ENCODING in request.headers  # aiohttp reads its last trailer into the next request's head
    goes_on = request.keep_alive and _connection(request).lasting()
    return goes_on and request.content.is_eof() and not chunked and not switches


async def refuse(request: web.BaseRequest, limits: Limits, refusal: Refusal, request_id: str) -> Answer:
    """Answer a refusal. Raises ClientGone."""
    payload = refusal.body()
    fields = {
        "content-type": "application/json",
        "x-request-id": request_id,  # where OpenAI's SDKs look for it
        **{name.lower(): value for name, value in refusal.headers.items()},
        REQUEST_ID: request_id,
    }
    writer = Writer(request, limits, refusal.status, fields.items(), reason=_reason(refusal), length=len(payload))
    answer = await writer.end(payload if request.method != "HEAD" else b"")
    answer.code = refusal.code
    return answer


def _reason(refusal: Refusal) -> str:
    return refusal.code.replace("_", " ").capitalize()
