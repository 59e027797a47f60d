"""Transcripts of what the user said, under guardrails: what the client sees of them, and what they say of the item.

A piece is shown once nothing to come can make it part of a finding; where somebody else must be asked, no piece is, and
the transcript comes when all have answered. What is shown of it later, with its item, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dataplane.dialects import openai
from dataplane.guardrails.judge import Guard, Hit, Judge, Verdict
from dataplane.guardrails.texts import without_copies
from dataplane.guardrails.window import Window
from dataplane.realtime.account import SEEN
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.telling import Telling

T = TypeVar("T")
HEARD = "conversation.item.input_audio_transcription."
_PLACE = "transcript"


class Transcripts:
    """`judged` is told of each item that was transcribed what blocks it, if anything. `show` shows the client an event
    that was withheld."""

    def __init__(
        self,
        guards: Sequence[Guard],
        questions: Questions,
        telling: Telling,
        *,
        judged: Callable[[str, Hit | None], None],
        show: Callable[[Event], None],
    ) -> None:
        self._judge = Judge(guards, "input")
        self._enforces = any(guard.enforces for guard in guards)
        self._waited = [guard.rule for guard in guards if guard.detector is None and guard.enforces]
        self._aside = [guard.rule for guard in guards if guard.detector is None and not guard.enforces]
        self._questions = questions
        self._telling = telling
        self._judged = judged
        self._show = show
        self._windows: dict[str, Window] = {}
        self._known: dict[str, str] = {}
        """What may be shown of a transcript that came, where that is not what it says."""
        self._refused: dict[str, None] = {}
        """Items that are blocked. Some servers say a transcript twice."""

    def read(self, kind: str, event: Event) -> Sequence[Event]:
        """What the client sees, now, of an event about an item."""
        if not kind.startswith(HEARD):
            return [self._echoed(event)]
        match kind.removeprefix(HEARD):
            case "delta":
                return self._piece(event)
            case "completed":
                return self._whole(event)
            case "failed":
                self._windows.pop(_name(event), None)
                return [event]
        return [] if self._enforces else [event]  # another telling of the same, of which only these two are judged

    def _piece(self, event: Event) -> Sequence[Event]:
        if not self._enforces:
            return [event]
        if self._judge.waits or openai.name(event, "item_id") in self._refused:
            return []
        window = self._windows.get(_name(event))
        if window is None:
            window = _keep(self._windows, _name(event), Window(self._judge))
        shown, verdict = window.add(openai.text(event, "delta"))
        if verdict.blocked is not None:
            self._telling.found(verdict.hits, "input", _PLACE)
            self._block(event, verdict.blocked)
        without_copies(event)
        return [{**event, "delta": shown}] if shown else []

    def _whole(self, event: Event) -> Sequence[Event]:
        item, text = openai.name(event, "item_id"), openai.text(event, "transcript")
        window = self._windows.pop(_name(event), None)
        if item in self._refused:
            return []
        verdict = self._judge.whole(text)
        self._telling.found(verdict.hits, "input", _PLACE)
        if verdict.blocked is not None:
            self._block(event, verdict.blocked)
            return []
        if verdict.text is not None:
            event, text = self._masked(event, verdict.text), verdict.text
        if text.strip():
            self._questions.ask_aside(self._aside, text, "input", _PLACE)
        if self._waited and text.strip():
            _keep(self._known, item, "")
            self._questions.ask(
                self._waited,
                text,
                "input",
                _PLACE,
                lambda said: self._said(event, said),
                wanted=lambda: item not in self._refused,
            )
            return []
        rest = window.end().shown if window is not None else ""
        self._judged(item, None)
        if not rest:
            return [event]
        place: Event = {name: event[name] for name in ("item_id", "content_index") if name in event}
        own: Event = {"event_id": self._telling.own_id(), "type": f"{HEARD}delta", **place, "delta": rest}
        return [own, event]

    def _said(self, event: Event, verdict: Verdict) -> None:
        """The others have judged a transcript."""
        if verdict.blocked is not None:
            self._block(event, verdict.blocked)
            return
        item = openai.name(event, "item_id")
        if verdict.text is not None:
            event = self._masked(event, verdict.text)
        else:
            _keep(self._known, item, openai.text(event, "transcript"))
        self._judged(item, None)
        self._show(event)

    def _masked(self, event: Event, text: str) -> Event:
        without_copies(event)
        _keep(self._known, openai.name(event, "item_id"), text)
        return {**event, "transcript": text}

    def _block(self, event: Event, hit: Hit) -> None:
        item = openai.name(event, "item_id")
        if item not in self._refused:
            _keep(self._refused, item, None)
            self._judged(item, hit)

    def _echoed(self, event: Event) -> Event:
        """An event that shows an item."""
        item = event.get("item")
        contents = openai.part(item, "content")
        if not self._enforces or not isinstance(item, dict) or not isinstance(contents, list):
            return event
        if item.get("role") != "user":
            return event
        shown = [self._part(openai.name(item, "id"), each) for each in contents]
        if all(new is old for new, old in zip(shown, contents, strict=True)):
            return event
        return {**event, "item": {**item, "content": shown}}

    def _part(self, item: str, content: object) -> object:
        text = openai.text(content, "transcript")
        if not isinstance(content, dict) or not text:
            return content
        if item in self._refused:
            shown = ""
        elif item in self._known:
            shown = self._known[item]
        elif self._judge.waits:
            shown = ""
        else:
            verdict = self._judge.whole(text)
            shown = "" if verdict.blocked else text if verdict.text is None else verdict.text
        return content if shown == text else {**content, "transcript": shown or None}


def _name(event: Event) -> str:
    """Which text an event is about."""
    index = event.get("content_index")
    return f"{openai.name(event, 'item_id')}/{index if isinstance(index, int) else 0}"


def _keep(kept: dict[str, T], name: str, value: T) -> T:
    """Keep this, and let go of the oldest where that are too many."""
    kept.pop(name, None)
    kept[name] = value
    if len(kept) > SEEN:
        del kept[next(iter(kept))]
    return value
