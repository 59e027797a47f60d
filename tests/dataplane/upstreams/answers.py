"""Answers of upstreams, byte by byte: what our parser makes of each, and where others see something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\n"
SIZED = b"Content-Length: 5\r\n\r\nhello"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


class Seen(NamedTuple):
    """What a reader made of it. `whole`: it is sure of the end."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    whole: bool


@dataclass(frozen=True)
class Answer:
    data: bytes
    status: int = 200
    body: bytes | None = b"hello"
    """None: the head is refused."""
    whole: bool = True
    reusable: bool = True
    method: str = "POST"
    h11: str = ""
    """Why h11 sees something else; empty: it does not."""
    aiohttp: str = ""
    fields: tuple[tuple[str, str], ...] | None = None
    """Where they are of interest."""


def refused(data: bytes, *, h11: str = "", aiohttp: str = "", method: str = "POST") -> Answer:
    return Answer(data, body=None, whole=False, reusable=False, h11=h11, aiohttp=aiohttp, method=method)


def once(data: bytes, **more: object) -> Answer:
    """Whole, and the connection ends with it."""
    return Answer(data, reusable=False, **more)  # type: ignore[arg-type]


def broken(data: bytes, body: bytes = b"", **more: object) -> Answer:
    """It has begun, and its end never comes."""
    return Answer(data, body=body, whole=False, reusable=False, **more)  # type: ignore[arg-type]


LENIENT = "it passes on what RFC 9110 §5.5 and RFC 9112 §5.1 forbid to send"
BEHIND = "it takes back the answer where something that is none comes with it"
STATUS = "it leaves the status to its user"
VERSION = "it leaves the version to its user"
FOLDS = "it joins folded lines (RFC 9112 §5.2 allows a user agent either)"
LF = "it takes a lone LF for a line's end (RFC 9112 §2.2 allows it)"
CODINGS = "it passes the body on as if it had no other coding"

ANSWERS: dict[str, Answer] = {
    # Plain ones.
    "sized": Answer(OK + SIZED),
    "sized, nothing in it": Answer(OK + b"Content-Length: 0\r\n\r\n", body=b""),
    "chunked": Answer(OK + CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
    "chunked, nothing in it": Answer(OK + CHUNKED + b"0\r\n\r\n", body=b""),
    "chunk extensions": Answer(OK + CHUNKED + b"5;a=b;c\r\nhello\r\n0;d\r\n\r\n"),
    "chunk size in capitals with zeros": Answer(OK + CHUNKED + b"00A\r\nhellohello\r\n0\r\n\r\n", body=b"hello" * 2),
    "trailers": Answer(OK + CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"),
    "until the end": once(OK + b"Content-Type: text/plain\r\n\r\nhello"),
    "close": once(OK + b"Connection: close\r\n" + SIZED),
    "close among others": once(OK + b"Connection: x, Close\r\n" + SIZED),
    "close, chunked": once(OK + b"Connection: close\r\n" + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    "keep-alive": Answer(OK + b"Connection: keep-alive\r\n" + SIZED),
    "no reason": Answer(b"HTTP/1.1 200 \r\n" + SIZED),
    "no reason, no space": Answer(b"HTTP/1.1 200\r\n" + SIZED),
    "no content": Answer(b"HTTP/1.1 204 No Content\r\n\r\n", status=204, body=b""),
    "not modified, with the length of what was not": Answer(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", status=304, body=b""
    ),
    "to HEAD, with a length": Answer(OK + b"Content-Length: 5\r\n\r\n", method="HEAD", body=b""),
    "to HEAD, chunked": Answer(OK + CHUNKED, method="HEAD", body=b""),
    "to HEAD, neither": once(OK + b"\r\n", method="HEAD", body=b""),
    "1.0": once(b"HTTP/1.0 200 OK\r\n" + SIZED),
    "1.0, keep-alive": once(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + SIZED),
    "1.0 until the end": once(b"HTTP/1.0 200 OK\r\n\r\nhello"),
    "an unknown status": Answer(b"HTTP/1.1 799 Odd\r\n" + SIZED, status=799),
    "fields in order, twice": Answer(
        OK + b"Set-Cookie: a\r\nX: 1\r\nset-cookie: b\r\n" + SIZED,
        fields=(("set-cookie", "a"), ("x", "1"), ("set-cookie", "b"), ("content-length", "5")),
    ),
    "white space around values": Answer(
        OK + b"A:x\r\nB: \t y \t\r\nC:\r\nContent-Length:  5  \r\n\r\nhello",
        fields=(("a", "x"), ("b", "y"), ("c", ""), ("content-length", "5")),
    ),
    "UTF-8": Answer(
        OK + b"A: caf\xc3\xa9\r\n" + SIZED,
        fields=(("a", "café"), ("content-length", "5")),
    ),
    "no UTF-8": Answer(
        OK + b"A: caf\xe9\r\n" + SIZED,
        fields=(("a", "caf\udce9"), ("content-length", "5")),
    ),
    "a tab in a value": Answer(OK + b"A: x\ty\r\n" + SIZED),
    # Before the answer.
    "100": Answer(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + SIZED),
    "103, 100, 103": Answer(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\n\r\n"
        + OK
        + SIZED,
        fields=(("content-length", "5"),),
    ),
    "101": refused(
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhello",
    ),
    "101 that names nothing": refused(b"HTTP/1.1 101 Switching\r\n\r\nhello"),
    "000": refused(b"HTTP/1.1 000 Nothing\r\n" + SIZED, aiohttp=STATUS),
    "099": refused(b"HTTP/1.1 099 Little\r\n" + SIZED, aiohttp=STATUS),
    "a body that no interim answer has": refused(b"HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\nhello" + OK + SIZED),
    # Cut short.
    "cut: length": broken(OK + b"Content-Length: 6\r\n\r\nhello", b"hello"),
    "cut: chunk": broken(OK + CHUNKED + b"6\r\nhello", b"hello"),
    "cut: no last chunk": broken(OK + CHUNKED + b"5\r\nhello\r\n", b"hello"),
    "cut: trailers": broken(OK + CHUNKED + b"5\r\nhello\r\n0\r\nX: 1\r\n", b"hello"),
    "cut: before the body": broken(OK + b"Content-Length: 5\r\n\r\n"),
    "cut: head": refused(OK + b"Content-Length: 0\r\n"),
    "cut: after 100": refused(b"HTTP/1.1 100 Continue\r\n\r\n"),
    # Something behind it.
    "twice": once(OK + SIZED + OK + SIZED),
    "chunked, twice": once(OK + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n" + OK + SIZED),
    "more than its length": once(OK + b"Content-Length: 5\r\n\r\nhelloworld", aiohttp=BEHIND),
    "more behind close": once(OK + b"Connection: close\r\n" + SIZED + b"more", aiohttp=BEHIND),
    "204 with a body": once(
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", status=204, body=b"", aiohttp=BEHIND
    ),
    "304 with a body": once(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", status=304, body=b"", aiohttp=BEHIND
    ),
    "HEAD with a body": once(OK + SIZED, method="HEAD", body=b"", aiohttp=BEHIND),
    "HEAD, twice": once(OK + b"Content-Length: 0\r\n\r\n" + OK + SIZED, method="HEAD", body=b"", aiohttp=BEHIND),
    "HEAD, chunked, with a body": once(OK + CHUNKED + b"0\r\n\r\n", method="HEAD", body=b"", aiohttp=BEHIND),
    # What two readers could take for two things.
    "length and chunks": refused(OK + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n", h11=CODINGS),
    "chunks and length": refused(OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", h11=CODINGS),
    "two lengths": refused(OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nhello"),
    "the length twice": refused(OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", h11="it takes equal ones"),
    "a list of lengths": refused(OK + b"Content-Length: 5, 5\r\n\r\nhello", h11="it takes equal ones"),
    "a length with a sign": refused(OK + b"Content-Length: +5\r\n\r\nhello"),
    "a negative length": refused(OK + b"Content-Length: -5\r\n\r\nhello"),
    "a hexadecimal length": refused(OK + b"Content-Length: 0x5\r\n\r\nhello"),
    "no length in the field": refused(OK + b"Content-Length:\r\n\r\nhello"),
    "a length over 64 bits": refused(OK + b"Content-Length: 99999999999999999999\r\n\r\nhello"),
    "chunked twice": refused(OK + b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n", aiohttp=CODINGS),
    "chunked, chunked": refused(OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", aiohttp=CODINGS),
    "gzip, chunked": refused(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", aiohttp=CODINGS),
    "gzip": refused(OK + b"Transfer-Encoding: gzip\r\n\r\nhello", aiohttp=CODINGS),
    "identity": refused(OK + b"Transfer-Encoding: identity\r\n" + SIZED),
    "xchunked": refused(OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", aiohttp=CODINGS),
    "an empty coding": refused(OK + b"Transfer-Encoding:\r\n\r\nhello", aiohttp=CODINGS),
    "spaces behind a chunk size": Answer(OK + CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n"),
    "spaces before a chunk size": broken(OK + CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n"),
    "no chunk size": broken(OK + CHUNKED + b"\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with a sign": broken(OK + CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n"),
    "a negative chunk size": broken(OK + CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with 0x": broken(OK + CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size over 64 bits": broken(OK + CHUNKED + b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    "a chunk longer than its size": broken(OK + CHUNKED + b"4\r\nhello\r\n0\r\n\r\n", b"hell"),
    "a chunk without its end": broken(OK + CHUNKED + b"5\r\nhello0\r\n\r\n", b"hello"),
    "a chunk size that ends with LF": broken(OK + CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    "a chunk that ends with LF": broken(OK + CHUNKED + b"5\r\nhello\n0\r\n\r\n", b"hello", aiohttp=LF),
    "LF in a chunk extension": broken(OK + CHUNKED + b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "a folded line": refused(OK + b"A: x\r\n y\r\n" + SIZED, h11=FOLDS, aiohttp=FOLDS),
    "a folded length": refused(OK + b"Content-Length:\r\n 5\r\n\r\nhello", h11=FOLDS, aiohttp=FOLDS),
    "a folded first line": refused(OK + b" A: x\r\n" + SIZED, aiohttp=FOLDS),
    "LF ends a field": refused(OK + b"A: x\n" + SIZED, h11=LF, aiohttp=LF),
    "LF ends the status line": refused(b"HTTP/1.1 200 OK\n" + SIZED, h11=LF, aiohttp=LF),
    "LF ends the head": refused(OK + b"Content-Length: 5\r\n\nhello", h11=LF, aiohttp=LF),
    "LF alone": refused(b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", h11=LF, aiohttp=LF),
    "CR in a value": refused(OK + b"A: x\ry\r\n" + SIZED),
    "CR ends a field": refused(OK + b"A: x\r" + SIZED),
    "NUL in a value": refused(OK + b"A: x\0y\r\n" + SIZED),
    "a control character in a value": refused(OK + b"A: x\x01y\r\n" + SIZED, h11=LENIENT, aiohttp=LENIENT),
    "NUL in a name": refused(OK + b"A\0: x\r\n" + SIZED),
    "a space before the colon": refused(OK + b"Content-Length : 5\r\n\r\nhello", aiohttp=LENIENT),
    "a space in a name": refused(OK + b"Content Length: 5\r\n\r\nhello"),
    "no name": refused(OK + b": 5\r\n" + SIZED),
    "no colon": refused(OK + b"Content-Length\r\n\r\nhello"),
    # No HTTP/1.1.
    "nothing": refused(b""),
    "an empty line first": refused(b"\r\n" + OK + SIZED, aiohttp="it skips them"),
    "another protocol": refused(b"SSH-2.0-x\r\n\r\n"),
    "ICE": refused(b"ICE/1.1 200 OK\r\n" + SIZED, aiohttp=VERSION),
    "RTSP": refused(b"RTSP/1.0 200 OK\r\n" + SIZED, aiohttp=VERSION),
    "2.0": refused(b"HTTP/2.0 200 OK\r\n" + SIZED, h11=VERSION, aiohttp=VERSION),
    "1.2": refused(b"HTTP/1.2 200 OK\r\n" + SIZED, h11=VERSION),
    "0.9": refused(b"HTTP/0.9 200 OK\r\n" + SIZED, h11=VERSION, aiohttp=VERSION),
    "lower case": refused(b"http/1.1 200 OK\r\n" + SIZED),
    "four digits": refused(b"HTTP/1.1 2000 OK\r\n" + SIZED),
    "two digits": refused(b"HTTP/1.1 20 OK\r\n" + SIZED),
    "no status": refused(b"HTTP/1.1 OK\r\n" + SIZED),
    "two spaces": refused(b"HTTP/1.1  200 OK\r\n" + SIZED),
    "HTTP/2's preface": refused(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"),
}
