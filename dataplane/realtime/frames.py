"""WebSocket frames (RFC 6455, section 5): heads, whole frames, close codes. No state, no I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from websockets.frames import CloseCode

try:
    from websockets.speedups import apply_mask as _apply_mask
except ImportError:  # no wheel with the C extension for this platform
    from websockets.utils import apply_mask as _apply_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN = 0x80
MASKED = 0x80
MAX_CONTROL = 125
MAX_REASON = 123

LEGAL_CODES = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
"""Codes below 3000 that may stand in a Close frame (RFC 6455, section 7.4, and the IANA registry)."""


class Head(NamedTuple):
    """A frame's head: `size` bytes of head, then `length` bytes of payload."""

    first: int
    masked: bool
    size: int
    length: int

    @property
    def opcode(self) -> int:
        return self.first & 0x0F

    @property
    def fin(self) -> bool:
        return self.first >= FIN


def parse_head(data: bytes | bytearray, pos: int) -> Head | None:
    """The frame head at `pos`; None where more bytes are needed."""
    available = len(data) - pos
    if available < 2:
        return None
    first, second = data[pos], data[pos + 1]
    length = second & 0x7F
    size = 2
    if length == 126:
        size = 4
    elif length == 127:
        size = 10
    if available < size:
        return None
    if size > 2:
        length = int.from_bytes(data[pos + 2 : pos + size], "big")
    masked = second >= MASKED
    return Head(first, masked, size + 4 if masked else size, length)


unmasked: Callable[[bytes, bytes], bytes] = _apply_mask
"""Of a payload and a mask's four bytes: the payload with its mask taken off (or put on: it is the same operation)."""


def frame(opcode: int, payload: bytes, key: bytes | None = None) -> bytes:
    """One whole frame, final; masked with the 4 bytes of `key` where given (everything sent to an upstream is)."""
    length = len(payload)
    flag = MASKED if key is not None else 0
    head = bytearray((FIN | opcode,))
    if length < 126:
        head.append(flag | length)
    elif length < 1 << 16:
        head.append(flag | 126)
        head += length.to_bytes(2, "big")
    else:
        head.append(flag | 127)
        head += length.to_bytes(8, "big")
    if key is None:
        return bytes(head) + payload
    return bytes(head) + key + _apply_mask(payload, key)


@dataclass(frozen=True, slots=True)
class Close:
    """What a Close frame says. `code` 1005 stands for an empty one, which is relayed empty."""

    code: int = CloseCode.NO_STATUS_RCVD
    reason: str = ""

    def payload(self) -> bytes:
        if self.code == CloseCode.NO_STATUS_RCVD:
            return b""
        return self.code.to_bytes(2, "big") + _cut(self.reason)


class BadClose(ValueError):
    """A Close frame that RFC 6455 forbids; the connection is failed with 1002 (or 1007 for bad UTF-8)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_close(payload: bytes) -> Close:
    """The Close frame's code and reason. Raises BadClose for what a peer must not send."""
    if not payload:
        return Close()
    if len(payload) == 1:
        raise BadClose(1002, "close frame with one byte")
    code = int.from_bytes(payload[:2], "big")
    if code not in LEGAL_CODES and not 3000 <= code < 5000:
        raise BadClose(1002, f"close code {code} must not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise BadClose(1007, "close reason is not UTF-8") from None


def _cut(reason: str) -> bytes:
    """At most 123 bytes of UTF-8: whole sentences where one fits, or else cut between characters."""
    if len(encoded := reason.encode()) <= MAX_REASON:
        return encoded
    sentences, end, _ = encoded[: MAX_REASON + 1].rpartition(b". ")
    return sentences + end.rstrip() or encoded[:MAX_REASON].decode(errors="ignore").encode()
