"""Three readers of HTTP/1.1 requests: ours, and two of other people's, h11 and aiohttp's. Each says which requests a
client's bytes are, and whether it refuses some of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import h11
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from dataplane.errors import Refusal
from dataplane.http.head import Head
from dataplane.http.parser import END, Parser, Rest

LIMIT = 32 * 1024


class Asked(NamedTuple):
    """A whole request."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    body: bytes


class Reading(NamedTuple):
    asked: tuple[Asked, ...] = ()
    refused: bool = False


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes, so many at a time."""
    return (data[start : start + size] for start in range(0, len(data), size))


def ours(data: Iterable[bytes], limit: int = LIMIT) -> Reading:
    parser, asked = Parser(limit), list[Asked]()
    head, body, goes_on = Asked(b"", b"", (), b""), bytearray(), True
    for piece in data:
        for event in parser.feed(piece):
            match event:
                case Head():
                    head, goes_on = _of(event), event.goes_on
                case bytes():
                    body += event
                case Refusal():
                    return Reading(tuple(asked), True)
                case Rest():
                    return Reading(tuple(asked))
                case _:
                    assert event is END
                    asked.append(head._replace(body=bytes(body)))
                    body.clear()
                    if not goes_on:  # what follows is not looked at
                        return Reading(tuple(asked))
    return Reading(tuple(asked))


def _of(head: Head) -> Asked:
    def raw(text: str) -> bytes:
        return text.encode("utf-8", "surrogateescape")

    fields = tuple((raw(name), raw(value)) for name, value in head.headers.fields)
    return Asked(raw(head.method), raw(head.target), fields, b"")


def by_h11(data: Iterable[bytes]) -> Reading:
    asked, body = list[Asked](), bytearray()
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
    head = Asked(b"", b"", (), b"")
    try:
        for piece in data:
            reader.receive_data(piece)
            while (event := reader.next_event()) is not h11.NEED_DATA:
                match event:
                    case h11.Request():
                        fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
                        head = Asked(bytes(event.method), bytes(event.target), fields, b"")
                    case h11.Data():
                        body += event.data
                    case h11.EndOfMessage():
                        asked.append(head._replace(body=bytes(body)))
                        body.clear()
                        if not _next(reader):
                            return Reading(tuple(asked))
                    case _:
                        return Reading(tuple(asked))
    except h11.RemoteProtocolError:
        return Reading(tuple(asked), True)
    return Reading(tuple(asked))


def _next(reader: h11.Connection) -> bool:
    """Answer, so that h11 goes on to the next request; False where there can be none."""
    if repr(reader.their_state) == "MIGHT_SWITCH_PROTOCOL":
        return False
    reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
    reader.send(h11.EndOfMessage())
    if reader.our_state is not h11.DONE:
        return False
    reader.start_next_cycle()
    return True


async def by_aiohttp(data: Iterable[bytes]) -> Reading:
    loop = asyncio.get_running_loop()
    reader = HttpRequestParser(
        BaseProtocol(loop),
        loop,
        2**20,
        max_line_size=LIMIT,
        max_field_size=LIMIT,
        payload_exception=web.RequestPayloadError,
        auto_decompress=False,
    )
    found = []
    refused = False
    for piece in data:
        try:
            messages, upgraded, _ = reader.feed_data(piece)
        except HttpProcessingError:
            refused = True
            break
        found += messages
        if upgraded or (messages and messages[-1][0].should_close):
            break
    asked = list[Asked]()
    for message, payload in found:
        if payload.exception() is not None:
            return Reading(tuple(asked), True)
        if not payload.is_eof():
            break
        fields = tuple((bytes(name).lower(), bytes(value)) for name, value in message.raw_headers)
        target = message.path.encode("utf-8", "surrogateescape")
        body = await payload.read() if payload.total_bytes else b""
        asked.append(Asked(message.method.encode(), target, fields, body))
    return Reading(tuple(asked), refused)
