"""What is withheld of one response until it was judged: texts that come in pieces, and messages that wait in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from dataplane.guardrails.judge import Verdict
from dataplane.guardrails.window import Window
from dataplane.realtime.events import Event


class Late(NamedTuple):
    """A message for the client that waits."""

    payload: bytes
    audio: bool = False
    binary: bool = False


class Question(NamedTuple):
    """A text that somebody else must judge, and where it is."""

    text: str
    place: str


Work = Generator[Question, Verdict, None]
"""The judging of one event: it stops where somebody else is asked."""


@dataclass(eq=False, slots=True)
class Stream:
    """One text that comes in pieces."""

    window: Window
    place: str
    spoken: bool
    """Is it the transcript of speech?"""
    json: bool
    """Can it be told only when it is whole what is in it?"""
    last: Event
    """The newest piece's event: what is shown late looks like it."""
    raw: list[str] = field(default_factory=list)
    clear: list[str] = field(default_factory=list)
    """What those here let pass of it."""
    fresh: int = 0
    """Characters that came since somebody else was asked about it."""
    asking: bool = False
    """Is somebody being asked about what there is of it?"""


@dataclass(eq=False, slots=True)
class Response:
    """One response; or an item that belongs to none, of which `over` is true from the beginning."""

    id: str
    over: bool = False
    """Has its end been judged?"""
    refused: bool = False
    """Is nothing more shown of it?"""
    end: Event | None = None
    """Its `response.done`, once that has come, until it is shown."""
    items: dict[str, None] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    """Texts that were judged, and what is shown of each."""
    todo: deque[tuple[Event, int]] = field(default_factory=deque)
    """Events to be judged, and how long they are, behind one that somebody is asked about."""
    work: Work | None = None
    """The judging of that one."""
    out: deque[Late] = field(default_factory=deque)
    """What may be shown once nobody holds it."""
    holds: set[str] = field(default_factory=set)
    """Who does: `speech`, while something said was not judged; `input`, while what was asked was not."""
    sounding: set[str] = field(default_factory=set)
    """Parts with audio whose transcript was not judged."""
    heard: set[str] = field(default_factory=set)
    """Parts whose transcript was."""
    spoken: bool = False
    transcribed: bool = False
    mute: bool = False
    """Is its audio dropped?"""
    size: int = 0
    """Bytes that are withheld of it."""

    @property
    def shut(self) -> bool:
        """Must its audio not go on?"""
        return bool(self.holds) or self.mute or (self.refused and not self.over)

    @property
    def waits(self) -> bool:
        return bool(self.todo or self.work or self.out)

    def drop(self) -> None:
        """Nothing of what is withheld will be shown."""
        self.todo.clear()
        self.out.clear()
        self.streams.clear()
        self.told.clear()
        self.holds.clear()
        self.work = None
        self.size = 0
