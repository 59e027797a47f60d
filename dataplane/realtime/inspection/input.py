"""What the client says in events, under guardrails: each goes on, goes on with masks, waits, or is refused.

Those that judge here do so at once. Where somebody else must be asked the event waits, and so does what comes behind
it, but for audio (`line`). Where speech is judged before it is answered, the client's `response.create` waits for that,
too. A turn whose question was refused is not begun: the model would answer something else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dataplane.dialects import openai
from dataplane.guardrails import texts
from dataplane.guardrails.judge import TOO_LARGE, Guard, Hit, Judge, Verdict
from dataplane.guardrails.texts import Place, Unclear
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.line import Line, Waiting
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.telling import UNREADABLE, Telling, unread

LARGEST = 64 * 1024
"""Bytes of the texts in one event that are judged, JSON within them once more. All other sessions wait for it: some 2
ms, or 60 where somebody writes it for that."""
LEAST = 32
"""Bytes that each text counts beside its own: many short ones take their time, too."""
MOST_FINDINGS = 1000
"""Of one thing in one text: what follows is one more."""
MOST_TEXTS = 1000
"""Of one event that somebody else is asked about."""
_NESTED = "{}"
_EVENT = "event"


@dataclass(frozen=True, slots=True)
class _Told:
    """A text as it goes on, for those who must be asked about it."""

    place: Place
    text: str
    inside: tuple[str, ...]
    """What is in it if it is JSON, as far as an escape keeps that from being seen in the text."""

    @property
    def asked(self) -> str:
        return "\n".join([self.text, *self.inside])


class Input:
    """`go_on` sends an event that waited. `heard` says whether everything that the user said aloud was judged, and
    `stands` whether something that was sent before waits for its admission."""

    def __init__(
        self,
        guards: Sequence[Guard],
        questions: Questions,
        telling: Telling,
        *,
        go_on: Callable[[Event], None],
        heard: Callable[[], bool],
        stands: Callable[[], bool],
    ) -> None:
        held = [guard for guard in guards if guard.rule.input]
        self._judge = Judge(held, "input")
        self._enforcing = [guard for guard in held if guard.enforces]
        self._blocking = [guard for guard in self._enforcing if guard.rule.action == "block"]
        self._waited = [guard.rule for guard in self._enforcing if guard.detector is None]
        """Who must have answered before an event goes on."""
        self._aside = [guard.rule for guard in held if guard.detector is None and not guard.enforces]
        self._questions = questions
        self._telling = telling
        self._go_on = go_on
        self._heard = heard
        self._stands = stands
        self._line = Line()
        self._void: Hit | None = None
        """Why the question was refused to which the next turn would be the answer."""

    @property
    def holds(self) -> int:
        """How many bytes wait, where what comes behind them must wait, too."""
        return self._line.holds

    @property
    def pending(self) -> bool:
        """Does anything wait?"""
        return bool(self._line)

    def close(self) -> None:
        """The session ends: what waits never goes on."""
        self._line.clear()

    # -- one event ---------------------------------------------------------------------------------------------

    def read(self, event: Event, size: int) -> Event | None:
        """The event as it goes on: another object where it was changed, None where it waits or does not go on."""
        if self._telling.over:
            return None
        told: list[_Told] = []
        event, hit = self._judged(event, told)
        waiting = Waiting(event, size, blocked=hit)
        if hit is None:
            self._ask(waiting, told)
        audio = event.get("type") == openai.AUDIO_TYPE and not waiting.asked and hit is None
        if audio or (not self._line and self._ready(waiting)):
            return event if self._passes(waiting) else None
        self._line.append(waiting)
        return None

    def _judged(self, event: Event, told: list[_Told]) -> tuple[Event, Hit | None]:
        """The event with masks, and what blocks it, by those that judge here; `told`: its texts, for the others."""
        changed, left, inside = False, LARGEST, list[str]()
        try:
            if _speaks(event) and (hit := unread(self._blocking, UNREADABLE)) is not None:
                return event, self._found(hit, _EVENT)
            for place in texts.client_event(event):
                left -= len(place.text.encode("utf-8", "replace")) + LEAST
                if left < 0 or (self._waited and len(told) == MOST_TEXTS):
                    return event, self._found(unread(self._enforcing, TOO_LARGE), place.name)
                verdict = self._judge.whole(place.text, MOST_FINDINGS)
                self._telling.found(verdict.hits, "input", place.name)
                if verdict.blocked is not None:
                    return event, verdict.blocked
                text = place.text
                if verdict.text is not None:
                    text, changed = verdict.text, True
                    place.put(text)
                if place.name.endswith(_NESTED):
                    inside.append(text)
                elif text.strip():  # within none that is blank there was anything
                    hidden = tuple([each for each in dict.fromkeys(inside) if each not in text])
                    told.append(_Told(place, text, hidden))
                    inside.clear()
        except Unclear:
            return event, self._found(unread(self._enforcing, UNREADABLE), _EVENT)
        return {**event} if changed else event, None

    def _found(self, hit: Hit | None, place: str) -> Hit | None:
        if hit is not None:
            self._telling.found((hit,), "input", place)
        return hit

    def _ask(self, waiting: Waiting, told: Sequence[_Told]) -> None:
        """Have the others judge its texts, too."""
        waiting.asked = len(told) if self._waited else 0
        for each in told:
            self._questions.ask_aside(self._aside, each.asked, "input", each.place.name)
            if self._waited and waiting.blocked is None:
                then, wanted = partial(self._said, waiting, each), partial(_open, waiting)
                self._questions.ask(self._waited, each.asked, "input", each.place.name, then, wanted=wanted)

    def _said(self, waiting: Waiting, told: _Told, verdict: Verdict) -> None:
        """The others have judged one of its texts."""
        waiting.asked -= 1
        if verdict.blocked is not None:
            waiting.blocked = waiting.blocked or verdict.blocked
        elif verdict.text is not None and told.inside:  # nobody can tell where in it the masks belong
            waiting.blocked = waiting.blocked or verdict.hits[0]
        elif verdict.text is not None:
            told.place.put(verdict.text)
        self.release()

    # -- what becomes of it ------------------------------------------------------------------------------------

    def release(self) -> None:
        """Have go on what waits no more."""
        while self._line and not self._telling.over and self._ready(self._line[0]):
            waiting = self._line.popleft()
            if self._passes(waiting):
                self._go_on(waiting.event)

    def _ready(self, waiting: Waiting) -> bool:
        if self._stands():
            return False
        if waiting.blocked is not None:
            return True
        return not waiting.asked and (waiting.kind != "response.create" or self._heard())

    def _passes(self, waiting: Waiting) -> bool:
        """Does the event go on? If not, the client is told."""
        hit, kind = waiting.blocked, waiting.kind
        if hit is None and kind == "response.create" and not _brings_own(waiting.event):
            hit, self._void = self._void, None
        if hit is not None:
            self._telling.block(hit, waiting.event.get("event_id"))
            if kind == "conversation.item.create":
                self._void = hit
            return False
        if kind == "conversation.item.create":
            self._void = None
        return True

    def unanswerable(self, hit: Hit | None) -> None:
        """What the user said aloud was refused, so the next turn would answer nothing; or (None) something new was
        said."""
        self._void = hit


def _speaks(event: Event) -> bool:
    """Is there audio in the event, beside what is appended to the buffer? Nobody transcribes that."""
    items = [event.get("item")]
    inputs = openai.part(event, "response", "input")
    items += inputs if isinstance(inputs, list) else []
    return any(openai.spoken(item) for item in items)


def _brings_own(event: Event) -> bool:
    """Does the turn answer what it brings itself, and not the conversation?"""
    return isinstance(openai.part(event, "response", "input"), list)


def _open(waiting: Waiting) -> bool:
    """May it still go on? Else nobody need be asked about it."""
    return waiting.blocked is None
