"""The message that is open in one direction: which frames may come now, and how much more of it.

A message is one frame, or fragments: a frame of its kind, and continuations up to the one that is its last. Control
frames may come in between (RFC 6455, section 5.4).
"""

from __future__ import annotations

from collections.abc import Callable

from dataplane.realtime import frames
from dataplane.realtime.steps import Breach

_OPCODES = frozenset({frames.CONTINUATION, frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING, frames.PONG})


class Fragments:
    """`masked`: must frames be masked, or must they not? `passes` is told how many bytes more come of a message that
    goes on unread."""

    __slots__ = ("_count", "_masked", "_max", "_max_fragments", "_passes", "_size", "began", "opcode")

    def __init__(
        self, *, masked: bool, max_message: int, max_fragments: int, passes: Callable[[bytes, int], None] | None
    ) -> None:
        self.opcode = frames.CONTINUATION
        """Of the message that is open; CONTINUATION where none is."""
        self.began = b""
        """How it began, where it goes on unread."""
        self._masked = masked
        self._max = max_message
        self._max_fragments = max_fragments
        self._passes = passes
        self._size = 0
        """Bytes so far."""
        self._count = 0
        """Frames so far."""

    def take(self, head: frames.Head) -> int:
        """Count a frame of a message that goes on as it comes, or is collected; the message's opcode."""
        if head.opcode != frames.CONTINUATION:
            self.opcode, self._size, self._count = head.opcode, 0, 0
        elif self.began and self._passes is not None:
            self._passes(self.began, head.length)
        self._size += head.length
        self._count += 1
        opcode = self.opcode
        if head.fin:
            self.opcode, self.began = frames.CONTINUATION, b""
        return opcode

    def breach(self, head: frames.Head) -> Breach | None:
        """What is wrong with a frame that comes now, as far as its head tells."""
        opcode = head.opcode
        if head.masked != self._masked:
            return Breach("protocol", "wrong masking")
        if head.first & 0x70:
            return Breach("protocol", "reserved bits are set and no extension was negotiated")
        if opcode not in _OPCODES:
            return Breach("protocol", f"unknown opcode {opcode}")
        if opcode >= frames.CLOSE:
            if not head.fin or head.length > frames.MAX_CONTROL:
                return Breach("protocol", "control frame fragmented or too long")
        elif (opcode == frames.CONTINUATION) != (self.opcode != frames.CONTINUATION):
            return Breach("protocol", "continuation out of order")
        elif head.length + (self._size if opcode == frames.CONTINUATION else 0) > self._max:
            return Breach("size", f"message over {self._max} bytes")
        elif opcode == frames.CONTINUATION and self._count >= self._max_fragments:
            return Breach("fragments", f"message in more than {self._max_fragments} fragments")
        return None
