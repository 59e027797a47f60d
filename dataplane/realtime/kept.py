"""What a gate keeps of what was read until it can decide, and who is told how much that is."""

from __future__ import annotations

from collections.abc import Callable

GRAIN = 16 * 1024
"""Bytes up to which it is told nobody that they are held: frames are cut by networks, too."""


class Kept:
    """Of one direction. `hold` is told how much more, or less, is kept, if that is over GRAIN."""

    __slots__ = ("_hold", "_told", "_waits", "behind", "behind_at", "held", "need", "parts")

    def __init__(self, hold: Callable[[int], None] | None) -> None:
        self.held = bytearray()
        """An unfinished frame."""
        self.need = 0
        """Bytes that it must have before anything can be decided."""
        self.behind = b""
        """What was read, from `behind_at` on: more than is decided at a time."""
        self.behind_at = 0
        self.parts: bytearray | None = None
        """Payload so far of a fragmented message that is collected."""
        self._hold = hold
        self._waits = 0
        """Bytes that somebody else keeps meanwhile."""
        self._told = 0
        """What `hold` knows of."""

    def keep(self, data: bytes) -> None:
        """Hold these bytes of an unfinished frame."""
        self.held += data
        if len(self.held) > GRAIN:
            self.tell()

    def leave(self, data: bytes, pos: int) -> None:
        """Leave what is behind `pos` for the next time."""
        self.behind, self.behind_at = data, pos
        self.tell()

    def with_rest(self, data: bytes) -> tuple[bytes, int]:
        """What was left the last time and these bytes, from the position on; nothing where more bytes are needed."""
        if behind := self.behind:
            self.behind = b""
            self._let_go()
            return (behind[self.behind_at :] + data, 0) if data else (behind, self.behind_at)
        self.keep(data)
        if len(self.held) < self.need:
            return b"", 0
        data = bytes(self.held)
        self.held.clear()
        self._let_go()
        return data, 0

    def collect(self, payload: bytes) -> None:
        """One more part of a fragmented message."""
        if self.parts is None:
            self.parts = bytearray()
        self.parts += payload
        if len(self.parts) > GRAIN:
            self.tell()

    def collected(self) -> bytes:
        """The message, which is whole."""
        message, self.parts = bytes(self.parts or b""), None
        self._let_go()
        return message

    def wait(self, size: int) -> None:
        """So many bytes are kept by somebody else from now on: a message that is whole, and may not go on yet."""
        self._waits = size
        self.tell()

    def _let_go(self) -> None:
        if self._told:
            self.tell()

    def tell(self) -> None:
        """Tell how much is kept."""
        kept = len(self.held) + len(self.behind) + (len(self.parts) if self.parts is not None else 0) + self._waits
        kept = kept if kept > GRAIN else 0
        if self._hold is not None and kept != self._told:
            more, self._told = kept - self._told, kept
            self._hold(more)
