"""Proof that a client message is audio and nothing but audio, without parsing it.

A head alone proves nothing: in `{"type":"input_audio_buffer.append","audio":"AA","type":"session.update",…}` the
last key wins. So the whole shape is proven: a known head, a string without quotes, escapes or anything but ASCII
(which holds base64, and which no JSON parser can read as more than one string), and a known tail. The search for
quotes and escapes runs at memory speed; a JSON parser would cost ten times as much per message.
"""

from __future__ import annotations

import re

MAX_EVENT_ID = 512
TAIL = MAX_EVENT_ID + 64
"""Bytes at the end of a message that a tail may take up."""
HEAD = MAX_EVENT_ID + 192
"""Bytes at the start of a message within which a head is found."""

_BACKSLASH = ord("\\")
_WS = rb"[ \t\r\n]*"
_ID = rb'"[\x20\x21\x23-\x5b\x5d-\x7e]{0,%d}"' % MAX_EVENT_ID


class CanonicalAudio:
    """The shape of one audio event: `{"type": TYPE, FIELD: "…"}` with an optional `event_id` anywhere."""

    __slots__ = ("_head", "_tail", "_usual")

    def __init__(self, event_type: str, field: str) -> None:
        self._head = re.compile(_WS + _head(event_type, field, _WS, _WS))
        self._usual = re.compile(_head(event_type, field, b"", b" ?"))
        """The same as most clients write it."""
        self._tail = re.compile(
            b'"' + _WS + b"(," + _WS + b'"event_id"' + _WS + b":" + _WS + _ID + _WS + rb")?\}" + _WS
        )

    def measure(self, message: bytes) -> int:
        """How many characters of audio this message holds; -1 where it is not, as a whole, canonical audio."""
        usual = self._usual.match(message)
        if usual is not None and message.endswith(b'"}') and message.isascii() and _BACKSLASH not in message:
            start = usual.end()
            if message.find(b'"', start) == len(message) - 2:
                return len(message) - 2 - start
        found = self.start(message)
        if found is None:
            return -1
        start, has_id = found
        end = self._end(message, start, has_id=has_id)
        return end - start if end >= 0 else -1

    def start(self, data: bytes) -> tuple[int, bool] | None:
        """Where the audio begins, and whether an event_id was seen; None where the head is not canonical."""
        match = self._head.match(data)
        return None if match is None else (match.end(), match.lastindex is not None)

    def ends(self, data: bytes, start: int, *, has_id: bool) -> bool:
        """Is `data` from `start` on nothing but audio, then a canonical tail to its end?"""
        return self._end(data, start, has_id=has_id) >= 0

    def _end(self, data: bytes, start: int, *, has_id: bool) -> int:
        """Where the audio ends; -1 where it is not audio."""
        quote = data.find(b'"', start)
        if quote < 0 or len(data) - quote > TAIL:
            return -1
        if (not data.isascii() or _BACKSLASH in data) and not plain(data[start:quote]):
            return -1
        tail = self._tail.fullmatch(data, quote)
        return quote if tail is not None and not (has_id and tail[1] is not None) else -1


def _head(event_type: str, field: str, before: bytes, after: bytes) -> bytes:
    """How such an event begins: with what white space before and after marks, and one event_id at most."""
    colon, comma = before + b":" + after, before + b"," + after
    kind = b'"type"' + colon + b'"' + re.escape(event_type.encode()) + b'"' + comma
    named = b'("event_id"' + colon + _ID + comma + b")"
    value = b'"' + re.escape(field.encode()) + b'"' + colon + b'"'
    return rb"\{" + after + b"(?:" + named + kind + b"|" + kind + named + b"?)" + value


def plain(data: bytes) -> bool:
    """ASCII without quotes or escapes; `\\/`, which some encoders write for a slash, is fine."""
    if not data.isascii() or b'"' in data:
        return False
    return _BACKSLASH not in data or data.count(b"\\") == data.count(b"\\/")
