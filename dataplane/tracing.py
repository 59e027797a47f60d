"""What a trace is made from: the handshake of a session, and each of its turns. OpenTelemetry is not known here.

There is no span for a whole session: nothing of it would be seen before its end, and tools cope badly with hours.
A turn is a trace of its own, linked to the handshake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from dataplane.metering.prices import Cost
from dataplane.metering.usage import Caller, Usage


@dataclass(slots=True)
class Timing:
    """When a turn went through its stages, in seconds since the epoch."""

    began: float
    ended: float
    prompted: float | None = None
    """When the user fell silent, or the client asked for the turn."""
    first_audio: float | None = None
    trigger: str = ""
    """`voice` or `client`; empty for a chat completion."""
    interrupted_by: str = ""
    """`voice` or `client`, where it was cut off."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """A request for a session, answered, or given up by its client (status 499). Times in seconds since the epoch."""

    session: str
    route: str
    backend: str
    caller: Caller
    began: float
    ended: float
    status: int
    code: str = ""
    """Of the refusal; empty where the session began."""
    provider: str = ""
    """Empty where the request was refused before one was chosen; then nothing was dialled."""
    provider_kind: str = ""
    model: str = ""
    """The name that was sent upstream."""
    upstream: str = ""
    """`host:port`."""
    dialled: float | None = None
    """When dialling the upstream began."""
    attempts: int = 0
    """How many providers were dialled."""
    client: str = ""
    """Address of who asks."""
    traceparent: str = field(default="", repr=False)
    """The client's header."""


class Tracer(Protocol):
    """Makes spans of what has happened. Called from the event loop; it must not block."""

    def handshake(self, done: Handshake) -> object | None:
        """A reference to its span, for `turn`; None where nothing is traced."""

    def turn(
        self, usage: Usage, cost: Cost, timing: Timing, handshake: object | None = None, *, traceparent: str = ""
    ) -> None:
        """A turn has ended: of a session, whose `handshake` it refers to, or a single request, whose client's header
        `traceparent` is."""


class Untraced:
    """A tracer that makes nothing."""

    def handshake(self, done: Handshake) -> object | None:  # noqa: ARG002
        return None

    def turn(
        self, usage: Usage, cost: Cost, timing: Timing, handshake: object | None = None, *, traceparent: str = ""
    ) -> None:
        """Nothing is traced."""
