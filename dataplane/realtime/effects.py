"""What follows from a message beside its bytes: usage, the progress of turns, log entries, events of ours, the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dataplane.guardrails.judge import Direction as Said
from dataplane.guardrails.judge import Hit
from dataplane.metering.usage import Usage
from dataplane.realtime import events
from dataplane.realtime.endings import Ending
from dataplane.table.guardrails import Guardrail

Direction = Literal["client", "upstream"]


@dataclass(frozen=True, slots=True)
class Metered:
    """A turn, or a transcription, is over."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Unmetered:
    """Something that may have cost something is in no record: it could not be read, or never came."""

    reason: str
    asked: bool = field(default=False, compare=False)
    """Is it a turn that the provider was asked for?"""


@dataclass(frozen=True, slots=True)
class Logged:
    """An event to log: what it was, never what it said."""

    direction: Direction
    type: str
    event_id: str
    response_id: str
    size: int


Trigger = Literal["voice", "client"]
"""Why a turn began: the user fell silent (server VAD), or the client asked for it."""


@dataclass(frozen=True, slots=True)
class Prompted:
    """A turn is due: from here on the user waits for it."""

    trigger: Trigger


@dataclass(frozen=True, slots=True)
class Began:
    """A turn has begun. Where its beginning is never said, Metered comes alone."""

    response_id: str
    trigger: Trigger
    asked: int = field(default=0, compare=False)
    """How many turns that the client asked for are still to begin."""


@dataclass(frozen=True, slots=True)
class Spoke:
    """The first audio of a turn has come."""

    response_id: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A turn was cut off, by the user's voice or by the client's cancel; its Metered comes next."""

    response_id: str
    by: Trigger


@dataclass(frozen=True, slots=True)
class Switched:
    """From here on the session's time is billed in the other way: by the clock, or by its audio."""


Progress = Prompted | Began | Spoke | Interrupted | Switched
"""How turns go; when each came is for whoever has a clock to say."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An event of ours, to the client or to the upstream."""

    to: Direction
    event: events.Event


@dataclass(frozen=True, slots=True)
class Finish:
    """The session is over."""

    ending: Ending
    message: str


@dataclass(frozen=True, slots=True)
class Forward:
    """A message of the client's that waited goes on."""

    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Show:
    """A message of the upstream's that waited goes on, or one that takes its place."""

    payload: bytes = field(repr=False)
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Withheld:
    """So many bytes more of the upstream's wait, or fewer."""

    more: int


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask whether a turn may begin. The answer names the ticket."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Released:
    """So many turns that were admitted are over, or never came."""

    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """Guardrails have found something."""

    hits: tuple[Hit, ...]
    said: Said
    place: str


@dataclass(frozen=True, slots=True)
class Missed:
    """A guardrail did not judge what was said."""

    guardrail: Guardrail
    reason: Literal["not_transcribed", "busy"]
    """Speech has no text; or more texts are to be judged at a time than may be."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a webhook or a moderation about a text. The answer names the ticket."""

    ticket: int
    guardrail: Guardrail
    text: str = field(repr=False)
    said: Said
    place: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Answer the ticket, as one that came too late, after so many seconds; None: not any more, since it has come."""

    ticket: int
    seconds: float | None


Passed = Tell | Forward | Show | Withheld
"""Messages, and how many bytes of them wait."""
Effect = Metered | Unmetered | Logged | Progress | Passed | Finish | Admit | Released | Found | Missed | Ask | Listen
