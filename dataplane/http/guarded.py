"""Answers under guardrails that enforce: what comes whole is judged before anything of it is shown, a stream piece by
piece. Where guardrails only look on, answers are relayed as ever, and judged afterwards."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Protocol

import orjson

from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.guardrails.judge import TOO_LARGE
from dataplane.guardrails.texts import Place, without_copies
from dataplane.http import sse
from dataplane.http.client import REQUEST_ID, Answer, UpstreamLost, Writer, connected_or_not
from dataplane.http.jury import Blocked, Jury
from dataplane.http.message import Request
from dataplane.http.relay import Tap, relay
from dataplane.http.speech import Whole
from dataplane.http.spoken import Texts
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.connection import Lost
from dataplane.upstreams.request import response_headers
from dataplane.upstreams.response import Response

Json = dict[str, object]
_FIELDS = (b"event:", b"id:", b"retry:")
STREAM = "text/event-stream"
_LINGERS_S = 0.25
"""For usage, of an answer that was blocked. The provider goes on generating meanwhile."""


class Dialect(Protocol):
    """What an answer looks like, and what is to be taken from it."""

    def reply(self, value: Json) -> None:
        """Take what a whole answer says of itself, and put on it what the client needs."""
        ...

    def places(self, value: Json) -> Iterator[Place]:
        """Where its texts are."""
        ...

    def event(self, texts: Texts, value: Json) -> AsyncIterator[Json]:
        """What is shown of an event, and of what was withheld before it. Raises Blocked."""
        ...

    def rest(self, texts: Texts) -> AsyncIterator[Json]:
        """Of what was withheld, at the end. Raises Blocked."""
        ...

    def note(self, value: Json) -> None:
        """Take what an event says of its answer."""
        ...

    @property
    def metered(self) -> bool:
        """Is it known what was used?"""
        ...

    def named(self, value: Json) -> str:
        """The name of an event that is ours."""
        ...

    def refused(self, refusal: Refusal) -> Json:
        """The event that ends a stream."""
        ...

    def broken(self, unmetered: str = "") -> None:
        """It ended early; why its usage cannot be known, if it cannot."""
        ...


async def answer(
    services: Services,
    request: Request,
    exchange: Exchange,
    destination: Destination,
    response: Response,
    jury: Jury,
    dialect: Dialect,
    *,
    reply: int,
    event: int,
) -> Answer:
    """Relay an answer that guardrails hold for, up to so many bytes of a `reply` or an `event`.

    Raises Blocked, Refusal upstream_protocol_error, ClientGone, UpstreamLost."""
    fields = [*response_headers(exchange, destination, response.fields), (REQUEST_ID, exchange.id)]
    reason, limits = response.reason, services.limits
    try:
        if response.content_type != STREAM:
            payload = await _judged(await _held(response, reply, jury, dialect), jury, dialect)
            length = len(payload)
            writer = Writer(request, limits, response.status, fields, reason=reason, length=length)
            return await writer.end(payload)
        writer = Writer(request, limits, response.status, fields, reason=reason)
        return await _streamed(response, request, writer, Stream(jury, dialect, event), dialect)
    except Blocked as blocked:
        blocked.worked = True
        raise
    except Lost:
        if not request.begun:
            name = destination.provider.name
            why = f"Provider {name} broke off in the middle of its answer, of which nothing was shown yet."
            raise Refusal("upstream_protocol_error", why) from None
        request.connection.cut()
        raise UpstreamLost(response.status) from None
    finally:
        jury.done("output")


async def _held(response: Response, limit: int, jury: Jury, dialect: Dialect) -> bytes:
    """All of an answer. Raises Blocked where it is longer; Lost."""
    held = bytearray(response.whole() or b"")
    async for piece in response:
        held += piece
        if len(held) > limit:
            dialect.broken("reply_too_long")
            raise jury.unreadable("output", f"the answer is over {limit} bytes", "", TOO_LARGE)
    return bytes(held)


async def _judged(payload: bytes, jury: Jury, dialect: Dialect) -> bytes:
    """What is shown of a whole answer. Raises Blocked."""
    if not payload.strip():
        return payload
    value = parsed(payload)
    if value is None:
        dialect.broken("reply_not_json")
        raise jury.unreadable("output", "the answer is not a JSON object", "")
    dialect.reply(value)
    aloud = Whole(jury, value)
    if await jury.read(lambda: dialect.places(value), "output"):
        without_copies(value)
    aloud.judged()
    return written(value, jury)


async def _streamed(response: Response, request: Request, writer: Writer, stream: Stream, dialect: Dialect) -> Answer:
    """Raises Blocked where the client has nothing of the answer yet; Lost."""
    try:
        if (whole := response.whole()) is not None:
            async for piece in stream.feed(whole):
                await writer.write(piece)
        async for chunk in response:
            async for piece in stream.feed(chunk):
                await writer.write(piece)
        async for piece in stream.end():
            await writer.write(piece)
    except Blocked as blocked:
        ended = await writer.end(stream.written(dialect.refused(blocked))) if request.begun else None
        with connected_or_not(request):
            await stream.read_on(response)
        dialect.broken()
        if ended is None:
            raise
        ended.code = blocked.code
        return ended
    return await writer.end()


class Stream:
    """A stream of events, judged. Events are written anew, so that no reader sees in them what was not judged; those
    without data, which nobody dispatches, are left out but for comments."""

    def __init__(self, jury: Jury, dialect: Dialect, limit: int) -> None:
        """`limit`: bytes of an event."""
        self._jury, self._dialect = jury, dialect
        self._texts = Texts(jury)
        self._scanner = sse.Scanner(limit)
        self._events: deque[bytes] = deque()
        """That came, and are not judged yet."""

    async def feed(self, chunk: bytes) -> AsyncIterator[bytes]:
        """What is shown of it. Raises Blocked."""
        self._events += self._scanner.feed(chunk)
        async for shown in self._judged():
            yield shown

    async def end(self) -> AsyncIterator[bytes]:
        """The rest. Raises Blocked."""
        self._events += self._scanner.end()
        async for shown in self._judged():
            yield shown
        async for value in self._dialect.rest(self._texts):
            yield self.written(value)

    async def read_on(self, response: Response) -> None:
        """Of an answer that was blocked, what was used: a provider that has said all says that next."""
        with suppress(TimeoutError, Lost):
            async with asyncio.timeout(_LINGERS_S):
                self._note()
                while not self._dialect.metered and (chunk := await anext(response, b"")):
                    self._events += self._scanner.feed(chunk)
                    self._note()

    def _note(self) -> None:
        """Take what events say that nobody judges any more."""
        while self._events:
            if (value := parsed(sse.data(self._events.popleft()))) is not None:
                self._dialect.note(value)

    def written(self, value: Json) -> bytes:
        """An event of ours."""
        name = self._dialect.named(value)
        return (b"event: %b\n" % name.encode() if name else b"") + _data(written(value, self._jury))

    async def _judged(self) -> AsyncIterator[bytes]:
        while self._events:
            async for shown in self._event(self._events.popleft()):
                yield shown

    async def _event(self, event: bytes) -> AsyncIterator[bytes]:
        data = sse.data(event)
        if not data.strip():
            if all(line[:1] in (b":", b"") for line in event.splitlines()):
                yield event
        elif data.strip() == b"[DONE]":
            async for left in self._dialect.rest(self._texts):
                yield self.written(left)
            yield _data(b"[DONE]")
        else:
            value = parsed(data)
            if value is None:
                raise self._jury.unreadable("output", "an event of the answer is not a JSON object", "")
            kept = b"".join([line + b"\n" for line in event.splitlines() if line.startswith(_FIELDS)])
            async for shown in self._dialect.event(self._texts, value):
                yield kept + _data(written(shown, self._jury)) if shown is value else self.written(shown)


class Copy:
    """A tap that keeps a copy of what another one lets pass, up to `limit` bytes."""

    def __init__(self, tap: Tap, limit: int) -> None:
        self._tap, self._limit = tap, limit
        self.kept = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        shown = self._tap.feed(chunk)
        if len(self.kept) < self._limit:
            self.kept += chunk[: self._limit - len(self.kept)]
        return shown

    def end(self) -> bytes:
        return self._tap.end()


async def looked_at(
    services: Services,
    request: Request,
    exchange: Exchange,
    destination: Destination,
    response: Response,
    jury: Jury,
    dialect: Dialect,
    tap: Tap,
    *,
    resized: bool,
) -> Answer:
    """Relay an answer as `tap` has it, and judge it afterwards, beside: nothing is changed, and nothing waits.

    `dialect` is of an outcome of its own. Raises ClientGone, UpstreamLost."""
    copy = Copy(tap, services.limits.reply)
    try:
        return await relay(services, request, exchange, destination, response, copy, resized=resized)
    finally:
        streamed = response.content_type == STREAM
        judge = jury.judges["output"]
        rules = [*[guard.rule for guard in judge.local], *judge.remote]
        jury.beside(rules, _looked_back(bytes(copy.kept), jury, dialect, streamed=streamed))


async def _looked_back(answer: bytes, jury: Jury, dialect: Dialect, *, streamed: bool) -> None:
    try:
        await _read(answer, jury, dialect, streamed=streamed)
    finally:
        jury.done("output")


async def _read(answer: bytes, jury: Jury, dialect: Dialect, *, streamed: bool) -> None:
    if not streamed:
        whole = parsed(answer) or {}
        await jury.read(lambda: dialect.places(whole), "output")
        return
    texts, scanner = Texts(jury), sse.Scanner(len(answer))
    for event in [*scanner.feed(answer), *scanner.end()]:
        if (value := parsed(sse.data(event))) is not None:
            async for _ in dialect.event(texts, value):
                pass
    async for _ in dialect.rest(texts):
        pass


def parsed(data: bytes) -> Json | None:
    """A JSON object; None for everything else."""
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def written(value: Json, jury: Jury) -> bytes:
    """Raises Blocked where it is nested too deeply to be written."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise jury.unreadable("output", "the answer is nested too deeply", "") from None


def _data(data: bytes) -> bytes:
    return b"data: %b\n\n" % data
