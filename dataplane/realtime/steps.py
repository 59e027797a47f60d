"""What a gate gives out, and what it is told of a message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol


class Keep(Enum):
    """The verdict that lets a message go on as it came."""

    KEEP = "keep"


KEEP = Keep.KEEP
Verdict = Keep | tuple[bytes, ...]
"""KEEP, or the messages of its kind that take the message's place (none: it is dropped)."""


OPAQUE = b"\xff"
"""How a binary message that is no event is said to have begun; no text begins so."""


@dataclass(slots=True)
class Sent:
    """What a client has sent so far."""

    audio: int = 0
    """Characters of base64 in its audio."""


class Read(Protocol):
    """Decides about a whole message. Called in the order of the messages."""

    def __call__(self, payload: bytes, *, binary: bool) -> Verdict: ...


@dataclass(frozen=True, slots=True)
class Control:
    """A whole control frame."""

    opcode: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Breach:
    """The peer broke the protocol or a limit; nothing more of this direction is read."""

    kind: Literal["protocol", "size", "fragments", "audio"]
    message: str

    @property
    def code(self) -> int:
        """The close code for who broke it."""
        return {"protocol": 1002, "audio": 1008}.get(self.kind, 1009)


Step = bytes | Control | Breach
"""Bytes to forward are empty where a message, or a part of one, does not go on."""
