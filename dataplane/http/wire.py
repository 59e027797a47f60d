"""HTTP/1.1 as bytes (RFC 9112): heads and chunks of what is sent, on either leg. Pure."""

from __future__ import annotations

from collections.abc import Iterable

LAST_CHUNK = b"0\r\n\r\n"


def head(line: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """A request line or a status line, the header fields, and the empty line.

    Raises ValueError for what would be another field or another message: CR, LF and NUL are nobody's to send."""
    lines = [line, *map(": ".join, fields)]
    said = "".join(lines)
    if "\r" in said or "\n" in said or "\0" in said:
        raise ValueError("a header field has a line end or a NUL in it")
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; `data` is not empty, since the empty chunk is the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)
