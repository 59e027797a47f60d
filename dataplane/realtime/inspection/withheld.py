"""What is withheld of responses until they were judged: texts that come in pieces, and messages that wait in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import NamedTuple

from dataplane.guardrails.judge import Verdict
from dataplane.guardrails.window import Window
from dataplane.realtime.effects import Effect, Show
from dataplane.realtime.effects import Withheld as Held
from dataplane.realtime.events import Event
from dataplane.realtime.steps import Verdict as Step

MAX_HELD = 32 * 1024 * 1024
"""Bytes that are withheld of one response."""
_GRAIN = 64 * 1024
"""Bytes of change from which the room is told."""


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
        return bool(self.holds) or ((self.mute or self.refused) and not self.over)

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


class TooMuch(Exception):
    """More of a response would have to wait than may."""


class Outlet:
    """Shows what may be shown of responses, in order, and keeps the rest. `flow` is told whether audio may go on
    unread: never, if it `holds`."""

    def __init__(self, effects: deque[Effect], flow: Callable[[bool], None], *, holds: bool) -> None:
        self.responses: dict[str, Response] = {}
        self.holds = holds
        """Is speech heard only once it was judged?"""
        self._effects = effects
        self._flow = flow
        self._now: list[Late] | None = None
        """What the event that is being read leads to, while it may be its verdict."""
        self._size = self._told = 0
        self._flows = not holds
        if holds:
            flow(False)

    # -- one event ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """An event is read."""
        self._now = []

    def verdict(self) -> Step:
        """What may be shown at once is its verdict, if that is one message."""
        now, self._now = self._now, None
        if now is not None and len(now) == 1 and not now[0].binary:
            return (now[0].payload,)
        self._show(now or [])
        return ()

    def flush(self) -> None:
        """Show what there is before what comes now."""
        now, self._now = self._now, None
        self._show(now or [])

    def _show(self, late: list[Late]) -> None:
        self._effects.extend([Show(each.payload, each.binary) for each in late])

    # -- one response ------------------------------------------------------------------------------------------

    def emit(self, response: Response, payload: bytes) -> None:
        """Show a message, once nobody holds the response. Raises TooMuch."""
        if response.holds or response.out:
            self.keep(response, Late(payload))
        else:
            self._let(Late(payload))

    def keep(self, response: Response, late: Late) -> None:
        """Have a message wait. Raises TooMuch."""
        response.out.append(late)
        self.grow(response, len(late.payload))

    def _let(self, late: Late) -> None:
        if self._now is not None:
            self._now.append(late)
        else:
            self._show([late])

    def sounds(self, response: Response, part: str) -> None:
        """Something is said in this part: nothing is shown before its transcript was judged, if that is so."""
        response.spoken = True
        if self.holds and part not in response.heard:
            response.sounding.add(part)
            response.holds.add("speech")

    def heard(self, response: Response, part: str) -> None:
        """The transcript of a part was judged whole."""
        response.heard.add(part)
        response.sounding.discard(part)
        if not response.sounding:
            self.release(response, "speech")

    def ended(self, response: Response) -> None:
        """Its end was judged."""
        response.over = True
        response.told.clear()
        response.streams.clear()
        response.sounding.clear()
        self.release(response, "speech")

    def release(self, response: Response, who: str) -> None:
        """Show what waits, unless others hold it."""
        response.holds.discard(who)
        if not response.holds:
            if response.over:
                response.end = None
            while response.out:
                late = response.out.popleft()
                self.grow(response, -len(late.payload))
                if not (late.audio and response.mute):
                    self._let(late)
        self.open_or_shut()
        self.account()

    def drop(self, response: Response) -> None:
        """Show nothing of what waits."""
        self._size -= response.size
        response.drop()

    def open_or_shut(self) -> None:
        """May audio go on unread?"""
        flows = not self.holds and not any(each.shut for each in self.responses.values())
        if flows is not self._flows:
            self._flows = flows
            self._flow(flows)

    # -- how much ----------------------------------------------------------------------------------------------

    def grow(self, response: Response, by: int) -> None:
        """So many bytes more are withheld of it. Raises TooMuch."""
        response.size += by
        self._size += by
        if response.size > MAX_HELD:
            raise TooMuch
        if abs(self._size - self._told) >= _GRAIN:
            self._tell()

    def account(self) -> None:
        """Tell the room, if nothing is withheld any more."""
        if self._told and not self._size:
            self._tell()

    def _tell(self) -> None:
        self._effects.append(Held(self._size - self._told))
        self._told = self._size
