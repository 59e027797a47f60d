"""Sessions whose input is judged, and what is said in them: dialogues as of `play`, with those who are asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from dataplane.guardrails.judge import Answer, Guard
from dataplane.realtime.actions import Action
from dataplane.realtime.effects import Ask, Found, Listen, Missed
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from dataplane.realtime.terms import Terms
from tests.dataplane.guardrails.guards import remote, words
from tests.dataplane.realtime import play
from tests.dataplane.realtime.play import FRAGMENTS, KEY, MAX, TERMS, client, upstream

PASSED = Answer()


@dataclass(frozen=True)
class Judged:
    """What somebody who was asked says of a text."""

    ticket: int
    answer: Answer = PASSED


class Late:
    """Nothing has come of what is listened for."""


@dataclass(frozen=True)
class Asked:
    """Somebody is asked about a text."""

    ticket: int
    text: str
    guardrail: str = "moderated"


@dataclass
class Dialogue(play.Dialogue):
    """What is used in it is no matter here."""

    found: list[tuple[str, str, str]] = field(default_factory=list)
    """What guardrails found: guardrail, rule and place."""
    missed: list[tuple[str, str]] = field(default_factory=list)
    """What was not judged: guardrail and reason."""
    asked: deque[Asked] = field(default_factory=deque)
    listens: deque[int] = field(default_factory=deque)
    """Tickets of what is listened for."""

    def __post_init__(self) -> None:
        self.heard["ledger"] = deque(maxlen=0)

    def __rshift__(self, said: play.Said | play.Timer | play.Admitted | play.NotAdmitted | Judged | Late) -> Self:
        if isinstance(said, Judged):
            return self._judged_on(self.relay.judged(said.ticket, said.answer))
        if isinstance(said, Late):
            return self._judged_on(self.relay.judged(self.listens.popleft(), Answer(failed="timeout")))
        return super().__rshift__(said)

    def __lshift__(self, expected: object) -> Self:
        if isinstance(expected, Asked):
            assert self.asked.popleft() == expected
            return self
        return super().__lshift__(expected)  # type: ignore[operator]

    def over(self) -> None:
        assert not self.asked
        super().over()

    def take(self, actions: Iterable[Action]) -> Self:
        acts = list(actions)
        for action in acts:
            match action:
                case Found():
                    self.found += [(hit.guardrail.name, hit.rule, action.place) for hit in action.hits]
                case Missed():
                    self.missed.append((action.guardrail.name, action.reason))
                case Ask():
                    self.asked.append(Asked(action.ticket, action.text, action.guardrail.name))
                case Listen(seconds=None):
                    self.listens.remove(action.ticket)
                case Listen():
                    self.listens.append(action.ticket)
        return super().take(acts)


def heeding(terms: Terms) -> Dialogue:
    return Dialogue(Relay(Session(terms), mask=lambda: KEY, max_message=MAX, max_fragments=FRAGMENTS))


EARS = {"model": "whisper-1"}


def listening(transcription: object = EARS, detection: object = None, kind: str = "created") -> dict[str, object]:
    """What the server says of the session."""
    heard = {"transcription": transcription, "turn_detection": detection}
    return {"type": f"session.{kind}", "session": {"type": "realtime", "audio": {"input": heard}}}


CREATED = listening()
BLOCKED = "Guardrail blocked this request: no-words: keywords"


def changed(guard: Guard, **changes: object) -> Guard:
    """The guardrail with other fields."""
    return guard._replace(rule=guard.rule.model_copy(update=changes))


BLOCK = words("candy", action="block")
REFUSE = changed(BLOCK, refuse_turn=True)
MASK = words("candy")
FLAG = words("candy", action="flag")
SHADOW = words("candy", action="block", shadow=True)
ASK = changed(remote(), output=False)
ASK_REFUSE = changed(ASK, refuse_turn=True)
ASK_MASK = changed(remote("mask"), output=False)
ASK_FLAG = changed(remote("flag"), output=False)


def under(*guards: Guard, admits: bool = False) -> Dialogue:
    """A session whose input is judged."""
    return heeding(replace(TERMS, guards=tuple([changed(guard, output=False) for guard in guards]), admits=admits))


def opened(*guards: Guard, admits: bool = False) -> Dialogue:
    return under(*guards, admits=admits) >> upstream(CREATED) << client(CREATED)


def item(text: str, **fields: object) -> dict[str, object]:
    content = [{"type": "input_text", "text": text}]
    return {
        "type": "conversation.item.create",
        "item": {"type": "message", "role": "user", "content": content},
        **fields,
    }


def error(event_id: str | None = None, message: str = BLOCKED) -> dict[str, object]:
    detail = {"type": "guardrail_error", "code": "guardrail_blocked", "message": message}
    return {"type": "error", "error": {**detail, "param": None, "event_id": event_id}}


def transcript(item_id: str, text: str) -> dict[str, object]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": item_id, "content_index": 0, "transcript": text}


def piece(item_id: str, text: str) -> dict[str, object]:
    kind = "conversation.item.input_audio_transcription.delta"
    return {"type": kind, "item_id": item_id, "content_index": 0, "delta": text}


def committed(item_id: str) -> dict[str, object]:
    return {"type": "input_audio_buffer.committed", "item_id": item_id}


def said(item_id: str) -> tuple[dict[str, object], ...]:
    """The user has said something, and is silent."""
    return (
        {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": item_id},
        {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 1000, "item_id": item_id},
        committed(item_id),
    )


def deleted(item_id: str) -> dict[str, object]:
    return {"type": "conversation.item.delete", "item_id": item_id}
