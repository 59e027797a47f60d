"""HTTP/1.1 requests: bytes go in, what they say comes out. llhttp (by httptools) reads them, strictly; what it lets
through and should not is refused here, and no head and no trailers are of any size. Pure.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from dataplane.errors import Refusal
from dataplane.http.head import Head, Headers, check
from dataplane.known import Known

_NAMES: Known[bytes, str] = Known(lambda name: name.decode("latin-1").lower())
FIELDS = 128
"""Of one head, or of one body's trailers."""


@dataclass(frozen=True, slots=True)
class Rest:
    """What came behind a head that asks for another protocol; whatever comes after it is none of the parser's."""

    data: bytes = field(repr=False)


class End:
    """A request is complete."""


END: Final = End()
Event = Head | bytes | End | Rest | Refusal
"""A head, a piece of its body, its end; or what no event comes after: the rest, or why it is no request. Trailers are
left out."""


class Parser:
    """Of one connection. `limit`: bytes of a head, or of one body's trailers."""

    __slots__ = ("_at_once", "_events", "_fed", "_fields", "_http", "_in_trailers", "_limit", "_target", "in_head")

    def __init__(self, limit: int) -> None:
        self.in_head = False
        """Is a head there in part?"""
        self._limit = limit
        self._http: HttpRequestParser | None = HttpRequestParser(self)
        self._events: list[Event] = []
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        """Of the head, or of the trailers."""
        self._at_once = True
        """Can the head only be one that came in one piece, and is not too large?"""
        self._fed = 0
        """Bytes that came of a head, or of trailers, that have not ended."""
        self._in_trailers = False
        """Is a chunk's size there, and nothing of the chunk? Then it is the last one."""

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete."""
        events: list[Event] = []
        if self._http is None:
            return events
        self._events = events
        self._at_once = not self.in_head and len(data) <= self._limit
        try:
            self._http.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.close()
            events.append(Rest(data[upgrade.args[0] :]))
        except HttpParserError as error:
            self.close()
            events.append(_refusal(error.__context__))
        else:
            self._fed = self._fed + len(data) if (self.in_head or self._in_trailers) and not events else 0
            if self._fed > self._limit or (self._fields and self._too_many()):
                self.close()
                events.append(self._too_large())
        self._events = []
        return events

    def close(self) -> None:
        """Read no more. The reader and its callbacks hold each other until then."""
        self._http = None
        self.in_head = False

    # -- what llhttp calls -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.in_head = True
        self._target, self._fields = b"", []

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        http = self._http
        assert http is not None
        if (len(self._fields) > FIELDS or not self._at_once) and self._too_many():
            raise self._too_large()
        fields = [(_NAMES[name], value.decode("utf-8", "surrogateescape").strip(" \t")) for name, value in self._fields]
        head = Head(
            method=http.get_method().decode(),
            target=self._target.decode("utf-8", "surrogateescape"),
            version=http.get_http_version(),
            headers=Headers(fields),
            goes_on=http.should_keep_alive(),
            switches=http.should_upgrade(),
        )
        check(head)
        self.in_head = False
        self._target, self._fields = b"", []  # trailers may follow
        self._events.append(head)

    def on_chunk_header(self) -> None:
        self._in_trailers = True

    def on_body(self, data: bytes) -> None:
        self._in_trailers = False
        self._events.append(data)

    def on_message_complete(self) -> None:
        self._in_trailers = False
        if self._fields:
            if self._too_many():
                raise self._too_large()
            self._fields = []
        self._events.append(END)

    def _too_many(self) -> bool:
        """Are there more fields, or larger ones, than a head or trailers may have?"""
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
        return size > self._limit or len(self._fields) > FIELDS

    def _too_large(self) -> Refusal:
        return Refusal(
            "head_too_large", f"The request head is over {self._limit} bytes or {FIELDS} fields, the limits here."
        )


def _refusal(raised: BaseException | None) -> Refusal:
    """What a callback raised, without the frames that hold it; or what there is to say of llhttp's own errors."""
    if isinstance(raised, Refusal):
        return raised.with_traceback(None)
    return Refusal("invalid_header", "The request is not valid HTTP/1.1.")
