"""Server-sent events, found in chunks that may be cut anywhere (https://html.spec.whatwg.org, §9.2). Pure."""

from __future__ import annotations

import re

# Lines end in CRLF, LF or CR; an event ends with an empty line. "\r(?!\n)": CRLF is one line end, never two.
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_CR, _LF = b"\r\n"
_LINE = re.compile(rb"\r\n|\n|\r")


class Scanner:
    """Splits a stream into complete events, byte for byte: all that was fed comes out again, in order.

    At most `limit` bytes are held; a longer piece comes out in parts, as if each were an event."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._may_be_half = False
        """Did the last event end with a CR that may be half of a CRLF?"""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now, each with its empty line; the second half of a CRLF that came later is
        a piece of its own."""
        if self._may_be_half and data:
            self._may_be_half = False
            if data.startswith(b"\n"):
                return [b"\n", *self.feed(data[1:])]
        searched = max(0, len(self._held) - 3)  # an end may have begun in what is held
        self._held += data
        events: list[bytes] = []
        start = 0
        for end in _END.finditer(self._held, searched):
            events.append(bytes(self._held[start : end.end()]))
            start = end.end()
        del self._held[:start]
        self._may_be_half = bool(events) and not self._held and events[-1].endswith(b"\r")
        if len(self._held) > self._limit:
            events += self.end()
        return events

    def whole(self, data: bytes) -> bool:
        """Are these plainly whole events, and is nothing held? Then they need not be split where all of them pass."""
        return (
            data.endswith(b"\n\n")
            and not (self._held or self._may_be_half)
            and _CR not in data
            and (data.find(_LF) == len(data) - 2 or b"\n\n\n" not in data)  # most often it is one event of one line
        )

    def end(self) -> list[bytes]:
        """What is left when the stream ends: an event without its empty line, or nothing."""
        rest, self._held = bytes(self._held), bytearray()
        return [rest] if rest else []


def data(event: bytes) -> bytes:
    """The data of an event: its `data` lines, joined by line feeds."""
    lines = []
    for line in _LINE.split(event):
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif line == b"data":
            lines.append(b"")
    return b"\n".join(lines)


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with other data, of one line; its other lines stay as they came."""
    lines, found = [], False
    for line in event.splitlines(keepends=True):
        if not line.startswith(b"data:"):
            lines.append(line)
        elif not found:
            found = True
            lines.append(b"data: " + data + line[len(line.rstrip(b"\r\n")) :])
    return b"".join(lines)
