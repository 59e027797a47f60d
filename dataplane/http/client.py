"""The client's side of HTTP: the body it sends, the answers it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from dataplane.errors import Refusal
from dataplane.http import wire
from dataplane.http.message import ClientGone as ClientGone
from dataplane.http.message import Request
from dataplane.process.room import Holder, Room
from dataplane.services import Limits

REQUEST_ID = "x-tidegate-request-id"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TEN = "1.0"


GONE = 499
"""nginx's status for a client that left; only telemetry sees it."""


class UpstreamLost(Exception):
    """The upstream broke off in the middle of its answer, which had begun with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class Answer:
    """What became of a request. `keep_alive`: may the connection take another one? `code` is a refusal's, for the
    meter."""

    status: int
    keep_alive: bool = False
    code: str = ""


class while_connected:  # noqa: N801  (it is used as a function)
    """What is inside is cancelled as soon as the client leaves, and ClientGone is raised instead."""

    __slots__ = ("_connection", "_gone", "_task")

    def __init__(self, request: Request) -> None:
        self._connection = request.connection
        self._gone = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None or self._connection.gone:
            raise ClientGone
        self._task = task
        self._connection.on_lost = self._leave

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._connection.on_lost = None
        if error is not None and self._gone and self._task.uncancel() == 0:
            raise ClientGone from None

    def _leave(self) -> None:
        self._gone = True
        self._task.cancel()


@contextmanager
def connected_or_not(request: Request) -> Iterator[None]:
    """What is inside `while_connected` and in this goes on when the client leaves."""
    connection = request.connection
    leave, connection.on_lost = connection.on_lost, None
    try:
        yield
    finally:
        connection.on_lost = leave


def check_expectation(request: Request) -> None:
    """Raises Refusal expectation_failed for an Expect header that is not `100-continue`."""
    expected = request.head.headers.first.get("expect", "")
    if expected and expected.lower() != "100-continue":
        raise Refusal("expectation_failed", "Only `Expect: 100-continue` is known here.")


async def chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """The request's body as it comes, after the `100 Continue` that its client may wait for.

    Raises Refusal request_timeout, invalid_header, head_too_large (of trailers); ClientGone."""
    _invite(request)
    while data := await _piece(request, limits):
        yield data


async def body(request: Request, limits: Limits, room: Room) -> bytes:
    """The whole body. Raises Refusal body_too_large, overloaded, and what `chunks` raises."""
    if request.body.ended and request.body.held <= limits.body:  # it came with its head, as small ones do
        _invite(request)
        return request.body.taken()
    if (request.head.length or 0) > limits.body:
        raise _too_large(limits)
    _invite(request)
    data = await _piece(request, limits)
    held = bytearray(data)
    holder = Holder(room, lambda _: held.clear())
    try:
        while data:
            if len(held) > limits.body:
                raise _too_large(limits)
            holder.hold(len(data))
            if holder.told:
                raise Refusal(
                    "overloaded", "Bodies that are unfinished here take too much memory, and yours most of it."
                )
            data = await _piece(request, limits)
            held += data
        return bytes(held)
    finally:
        holder.leave()


def _invite(request: Request) -> None:
    """Send the `100 Continue` that the client waits for, if it does. Raises ClientGone."""
    head = request.head
    if "expect" in head.headers.first and head.has_body and head.version != _TEN:
        request.connection.write(_CONTINUE)


async def _piece(request: Request, limits: Limits) -> bytes:
    try:
        return await request.body.read(limits.client_idle)
    except TimeoutError:
        raise Refusal("request_timeout", f"Nothing of the body came for {limits.client_idle:g} s.") from None


def _too_large(limits: Limits) -> Refusal:
    return Refusal("body_too_large", f"The body is over {limits.body} bytes, which is the limit here.")


class Writer:
    """One answer on its way to a client."""

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_fields",
        "_keep_alive",
        "_length",
        "_limits",
        "_line",
        "_open_ended",
        "_request",
        "_status",
    )

    def __init__(
        self,
        request: Request,
        limits: Limits,
        status: int,
        fields: list[tuple[str, str]],
        *,
        reason: str = "",
        length: int | None = None,
    ) -> None:
        """`length` of the body in bytes; None where it is not known. `fields` have no framing, which is added."""
        self._request, self._limits, self._status = request, limits, status
        # An upstream may say anything there, and nobody needs it.
        self._line = f"HTTP/1.1 {status} {reason if reason.isascii() and reason.isprintable() else ''}"
        self._fields = fields
        self._length = length
        self._bodiless = request.head.method == "HEAD" or status in (204, 304)
        delimited = self._bodiless or length is not None
        self._chunked = not delimited and request.head.version != _TEN
        self._open_ended = not delimited and not self._chunked
        self._keep_alive = False

    async def write(self, data: bytes) -> None:
        """`put`, as soon as the client has taken most of what was sent before."""
        if self._request.connection.full:
            await self._drained()
        self.put(data)

    def put(self, data: bytes, end: bytes = b"") -> None:
        """Send the head, if that is still to do, and a piece of the body, in one write. Raises ClientGone."""
        request = self._request
        if self._bodiless:
            data = b""
        elif self._chunked and data:
            data = wire.chunk(data)
        data += end
        if not request.begun:
            data = self._begun() + data
        if data:
            request.connection.write(data)

    async def end(self, data: bytes = b"") -> Answer:
        """Send the rest, and wait until the client has taken most of it. Raises ClientGone."""
        self.put(data, wire.LAST_CHUNK if self._chunked else b"")
        connection = self._request.connection
        connection.open_ended = False
        if connection.full:
            await self._drained()
        return Answer(self._status, self._keep_alive)

    def cut(self) -> None:
        """End the connection so that the client notices that something is missing."""
        self._request.connection.cut()

    async def _drained(self) -> None:
        await self._request.connection.drained(self._limits.client_idle)

    def _begun(self) -> bytes:
        """The head."""
        request = self._request
        self._keep_alive = not self._open_ended and _may_go_on(request)
        fields = self._fields
        if self._length is not None and self._status != 204:
            fields.append(("Content-Length", str(self._length)))
        if self._chunked:
            fields.append(("Transfer-Encoding", "chunked"))
        if not self._keep_alive:
            fields.append(("Connection", "close"))
        elif request.head.version == _TEN:
            fields.append(("Connection", "keep-alive"))
        head = wire.head(self._line, fields)
        request.begun, request.connection.open_ended = True, self._open_ended
        return head


def _may_go_on(request: Request) -> bool:
    """Whether the next bytes on the connection can only be the next request. A client that was answered before
    it sent its body may send it or not; what follows an upgrade or CONNECT may be no HTTP at all."""
    head = request.head
    goes_on = head.goes_on and request.connection.lasting()
    return goes_on and request.body.ended and not head.switches and "upgrade" not in head.headers.first


async def redirect(request: Request, limits: Limits, status: int, location: str, request_id: str) -> Answer:
    """Answer another address, without a body. Raises ClientGone."""
    fields = [("location", location), (REQUEST_ID, request_id)]
    return await Writer(request, limits, status, fields, reason=HTTPStatus(status).phrase, length=0).end()


async def refuse(request: Request, limits: Limits, refusal: Refusal, request_id: str) -> Answer:
    """Answer a refusal. Raises ClientGone."""
    payload = refusal.body()
    fields = {
        "content-type": "application/json",
        "x-request-id": request_id,  # where OpenAI's SDKs look for it
        **{name.lower(): value for name, value in refusal.headers.items()},
        REQUEST_ID: request_id,
    }
    writer = Writer(request, limits, refusal.status, list(fields.items()), reason=_reason(refusal), length=len(payload))
    answer = await writer.end(payload)
    answer.code = refusal.code
    return answer


def _reason(refusal: Refusal) -> str:
    return refusal.code.replace("_", " ").capitalize()
