"""An HTTP/1.1 answer read from bytes, in whatever pieces they come. Pure; httptools does the reading.

llhttp in its strict mode refuses what two readers could take for two things (RFC 9112 §11.1, §11.2): both lengths, two
lengths, folded lines, a lone CR or LF. What it leaves to its caller is done here: sizes, versions, codings, where the
answer ends, and whether anything may come behind it.
"""

from __future__ import annotations

from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from dataplane.known import Known

MAX_HEAD = 64 * 1024
"""Bytes of an answer's head with the interim answers before it, of its trailers, and of one chunk's extensions."""
_NO_BODY = frozenset([204, 304])
_LENGTHS = frozenset(map(len, ("content-type", "content-length", "transfer-encoding")))
"""Of the names of what is read here."""
_NAMES: Known[bytes, str] = Known(lambda name: name.decode("ascii"))
_VERSIONS = frozenset(["1.1", "1.0"])
_NOT_HTTP = "answered something that is not HTTP/1.1"


class BadAnswer(Exception):
    """What came is no answer, or none that can be relied on. The message ends a sentence that begins with who sent
    it, and quotes nothing."""


class Head(NamedTuple):
    status: int
    reason: str
    fields: list[tuple[str, str]]
    """In order, with duplicates; bytes that are not UTF-8 are lone surrogates (`surrogateescape`)."""
    content_type: str = ""
    """Lower case, without parameters."""
    length: int | None = None
    """What Content-Length says, also where there is no body (HEAD, 304)."""


class Parser:
    """The answers on one connection, one after the other: `start` each, then `feed` it."""

    head: Head | None
    """Once it is whole; interim answers (100, 103) are skipped."""
    ended: bool
    """Is the answer whole?"""
    reusable: bool
    """Once it ended: may another one follow on this connection, and did nothing come behind it?"""
    rest: bytes
    """What came behind a 101: no HTTP."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        """What came of the body. Whoever takes them clears the list."""
        self.on_body = self.pieces.append
        self._reader = self._new()
        self.start()

    def start(self, *, head_only: bool = False, switches: bool = False) -> None:
        """Expect an answer: to a HEAD request, to one that asks for another protocol, or to any other."""
        self.head = None
        self.ended = self.reusable = False
        self.heard = False
        self.pieces.clear()
        self._fields: list[tuple[bytes, bytes]] = []
        self._interim = 0  # fields that belong to interim answers
        self._reason = b""
        self._until_eof = self._may_last = False
        self._head_only = head_only
        self._switches = switches
        self.rest = b""
        self._overhead = 0  # bytes in a row that are no body
        self._why = _NOT_HTTP

    def feed(self, data: bytes) -> None:
        """Take what came. Raises BadAnswer; what was read before stays."""
        if not self.heard:
            self.heard = True
            if data[:1] != b"H":  # llhttp knows other protocols, and skips empty lines
                raise BadAnswer(_NOT_HTTP)
        self._overhead += len(data)
        try:
            self._reader.feed_data(data)
        except HttpParserUpgrade as switched:
            self.rest = data[switched.args[0] :]
        except HttpParserError:
            if not self.ended:
                raise BadAnswer(self._why) from None
            self.reusable = self._head_only and self.reusable and _is_one_head(data)
            self._reader = self._new()
        if self.pieces:
            self._overhead = 0
        elif self._overhead > MAX_HEAD and not self.ended:
            raise BadAnswer(_too_long())

    def eof(self) -> bool:
        """The connection ended: whether the answer is whole, which some are by that alone."""
        self.ended = self.ended or self._until_eof
        return self.ended

    def close(self) -> None:
        """Read no more. The reader and its callbacks hold each other until then."""
        del self._reader

    def on_message_begin(self) -> None:
        if self.ended:
            raise BadAnswer("answered twice")

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))  # trailers, too, which are not relayed

    def on_headers_complete(self) -> None:
        reader = self._reader
        status, version = reader.get_status_code(), reader.get_http_version()
        if version not in _VERSIONS:
            self._refuse(_NOT_HTTP)
        self._may_last = version == "1.1"
        if self._overhead > MAX_HEAD and sum(len(name) + len(value) + 4 for name, value in self._fields) > MAX_HEAD:
            self._refuse(_too_long())
        if status < 200 and not (status == 101 and self._switches and self._may_last):
            if status < 100 or status == 101:
                self._refuse(f"answered {status}, which ends no request")
            self._interim = len(self._fields)
            self._reason = b""
            return
        self.head = self._read_head(status)
        if self._head_only:
            self.ended, self.reusable = True, self._lasts()
            raise BadAnswer("llhttp would read a body")

    def on_message_complete(self) -> None:
        if self.head is not None:
            self.ended, self.reusable = True, self._lasts()

    def _lasts(self) -> bool:
        """Asked here, and not later: llhttp forgets it with the message."""
        return self._may_last and self._reader.should_keep_alive()

    def _read_head(self, status: int) -> Head:
        fields = [
            (_NAMES[name], value.decode("utf-8", "surrogateescape").rstrip(" \t"))
            for name, value in (self._fields[self._interim :] if self._interim else self._fields)
        ]
        content_type, length, chunked = "", None, False
        for name, value in fields:
            if len(name) not in _LENGTHS:
                continue
            match name.lower():
                case "content-type":
                    content_type = value.partition(";")[0].strip().lower()
                case "content-length":
                    length = int(value)
                case "transfer-encoding":
                    if chunked or value.lower() != "chunked":  # none was asked for (RFC 9112 §7.4)
                        self._refuse("answered in a transfer coding other than chunked")
                    chunked = True
        self._until_eof = length is None and not chunked and status not in _NO_BODY
        return Head(status, self._reason.decode("utf-8", "surrogateescape"), fields, content_type, length)

    def _refuse(self, why: str) -> None:
        self._why = why
        raise BadAnswer(why)

    def _new(self) -> HttpResponseParser:
        reader = HttpResponseParser(self)
        reader.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)  # some servers pad it, nobody errs by it
        return reader


def _is_one_head(data: bytes) -> bool:
    """Whether these bytes are a head and nothing more."""
    return data.startswith(b"HTTP/") and data.find(b"\r\n\r\n") == len(data) - 4


def _too_long() -> str:
    return f"answered with a head, or trailers, of more than {MAX_HEAD} bytes"
