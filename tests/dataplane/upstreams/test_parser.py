"""Answers of upstreams, from bytes. Two other parsers say whether we understand HTTP as others do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from unittest.mock import Mock

import aiohttp
import h11
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpResponseParser
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.upstreams.parser import MAX_HEAD, BadAnswer, Parser
from tests.dataplane.upstreams.answers import ANSWERS, CHUNKED, OK, SIZED, Seen


def read(pieces: list[bytes], method: str = "POST") -> tuple[Seen | None, bool]:
    """What comes out of these pieces and the end of the connection; and whether it would have been used again."""
    parser, body, failed = Parser(), b"", False
    parser.start(head_only=method == "HEAD")
    reusable = False
    for piece in pieces:
        if parser.ended:  # as `connection` does: nothing may come then
            reusable = False
            break
        try:
            parser.feed(piece)
        except BadAnswer:
            failed = True
        body += b"".join(parser.pieces)
        parser.pieces.clear()
        reusable = parser.reusable
        if failed:
            break
    whole = parser.ended or (not failed and parser.eof())
    if parser.head is None:
        return None, False
    fields = tuple((name.lower(), value) for name, value in parser.head.fields)
    return Seen(parser.head.status, fields, body, whole), reusable


def by_h11(data: bytes, method: str) -> Seen | None:
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
    reader.send(h11.EndOfMessage())
    head: h11.Response | None = None
    body = b""
    with suppress(h11.RemoteProtocolError):
        for piece in (data, b"") if data else (b"",):
            reader.receive_data(piece)
            while (event := reader.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                match event:
                    case h11.Response():
                        head = event
                    case h11.Data():
                        body += event.data
                    case h11.EndOfMessage():
                        assert head is not None
                        return Seen(head.status_code, _text(head.headers), body, True)
                    case h11.ConnectionClosed():
                        break
    return None if head is None else Seen(head.status_code, _text(head.headers), body, False)


async def by_aiohttp(data: bytes, method: str) -> Seen | None:
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.transport = Mock()
    reader: Any = HttpResponseParser(
        protocol,
        loop,
        2**16,
        response_with_body=method != "HEAD",
        read_until_eof=True,
        auto_decompress=False,
        max_line_size=32 * 1024,
        max_field_size=32 * 1024,
    )
    messages: list[Any] = []
    failed = False
    try:
        messages = reader.feed_data(data)[0]
    except aiohttp.http_exceptions.HttpProcessingError:
        failed = True
    with suppress(aiohttp.http_exceptions.HttpProcessingError):
        reader.feed_eof()
    final = [message for message in messages if not 100 <= message[0].code < 200]
    if not final:
        return None
    head, payload = final[0]
    fields = _text(head.raw_headers)
    body = bytearray()
    try:
        while piece := await asyncio.wait_for(payload.readany(), 0.01):
            body += piece
    except (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, TimeoutError):
        return Seen(head.code, fields, bytes(body), False)
    return Seen(head.code, fields, bytes(body), not failed or len(final) > 0)


def _text(fields: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode().lower(), value.decode("utf-8", "surrogateescape")) for name, value in fields)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name: str) -> None:
    """Whole, cut in two at every place, and byte by byte: what is seen is the same."""
    answer = ANSWERS[name]
    data = answer.data
    seen, reusable = read([data], answer.method)
    assert reusable is answer.reusable
    if answer.body is None:
        assert seen is None
    else:
        assert seen is not None
        assert (seen.status, seen.body, seen.whole) == (answer.status, answer.body, answer.whole)
    if answer.fields is not None:
        assert seen is not None
        assert seen.fields == answer.fields
    cuts = [[data[:place], data[place:]] for place in range(1, len(data))]
    for pieces in (*cuts, [data[place : place + 1] for place in range(len(data))]):
        again, reusable = read(pieces, answer.method)
        assert again == seen
        assert reusable is answer.reusable or (answer.method == "HEAD" and not reusable)


@pytest.mark.parametrize("name", ANSWERS)
async def test_others_see_the_same(name: str) -> None:
    """Or the table says why not. Where the answer is not whole, how much of it was seen may differ."""
    answer = ANSWERS[name]
    ours, _ = read([answer.data], answer.method)
    theirs = {"h11": by_h11(answer.data, answer.method), "aiohttp": await by_aiohttp(answer.data, answer.method)}
    known = {"h11": answer.h11, "aiohttp": answer.aiohttp}
    assert {who: _same(seen, ours) for who, seen in theirs.items()} == {who: not why for who, why in known.items()}


def _same(seen: Seen | None, ours: Seen | None) -> bool:
    if seen is None or ours is None or not ours.whole:
        return not (seen and seen.whole) and not (ours and ours.whole)
    return seen == ours


PARTS = st.sampled_from(
    [
        *(b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b":", b";", b",", b"0", b"5", b"hello"),
        *(b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: close\r\n", b"A: b\r\n"),
        *(OK, SIZED, CHUNKED, b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 204 N\r\n"),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_mixed_up(data: st.DataObject) -> None:
    """However it is cut, the same is seen. What is whole here is the same to h11, or refused there."""
    name = data.draw(st.sampled_from(list(ANSWERS)))
    text = ANSWERS[name].data
    for _ in range(data.draw(st.integers(0, 2))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + data.draw(PARTS) + text[end:]
    seen, reusable = read([text])
    place = data.draw(st.integers(0, len(text)))
    again, reusable_again = read([text[:place], text[place:]] if 0 < place < len(text) else [text])
    assert again == seen
    assert reusable_again <= reusable
    if seen is not None and seen.whole and (other := by_h11(text, "POST")) is not None:
        assert other[0] == seen[0]
        assert not other.whole or other.body == seen.body


def test_answers_follow_one_another() -> None:
    """On one connection, of all kinds."""
    parser = Parser()
    for name, answer in ANSWERS.items():
        if not answer.reusable:
            continue
        parser.start(head_only=answer.method == "HEAD")
        parser.feed(answer.data)
        assert (parser.ended, parser.reusable, b"".join(parser.pieces)) == (True, True, answer.body), name


def test_what_is_read_of_a_head() -> None:
    parser = Parser()
    parser.feed(OK + b"content-TYPE: Text/Event-Stream; charset=utf-8\r\nContent-Length: 12\r\n\r\n")
    assert parser.head is not None
    assert parser.head.fields == [("content-TYPE", "Text/Event-Stream; charset=utf-8"), ("Content-Length", "12")]
    assert (parser.head.reason, parser.head.content_type, parser.head.length) == ("OK", "text/event-stream", 12)


@pytest.mark.parametrize("size", [1, 1000, 10**9])
def test_heads_are_bounded(size: int) -> None:
    """Whether they come in one piece or in many; interim answers count too."""
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 1000) for number in range(66))
    interim = b"HTTP/1.1 103 E\r\n" + fields[:32_000] + b"\r\n\r\n"
    for data, fits in (
        (OK + fields[:60_000] + b"\r\n" + SIZED, True),
        (OK + fields + b"\r\n" + SIZED, False),
        (OK + b"X: " + b"x" * 70_000 + b"\r\n" + SIZED, False),
        (interim * 3, False),
    ):
        parser = Parser()
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        if fits:
            for piece in pieces:
                parser.feed(piece)
            assert parser.ended
        else:
            with pytest.raises(BadAnswer, match="of more than"):  # noqa: PT012
                for piece in pieces:
                    parser.feed(piece)


@pytest.mark.parametrize("endless", [b"0\r\n" + b"X: y\r\n" * 1000, b"0\r\nX: " + b"y" * 8000, b"5;" + b"x" * 8000])
def test_trailers_and_extensions_are_bounded(endless: bytes) -> None:
    parser = Parser()
    parser.feed(OK + CHUNKED)
    parser.feed(endless)
    with pytest.raises(BadAnswer, match="of more than"):  # noqa: PT012  (how many it takes is not the point)
        for _ in range(20):
            parser.feed(endless[-6000:])
