"""Dialogues under guardrails: what was found, and who is asked, beside what both sides hear."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from dataplane.guardrails.judge import Answer, Guard
from dataplane.realtime import relay
from dataplane.realtime.actions import Action
from dataplane.realtime.effects import Ask, Found, Missed
from dataplane.realtime.session import Session
from tests.dataplane.guardrails.guards import remote, words
from tests.dataplane.realtime.play import FRAGMENTS, KEY, MAX, TERMS, Dialogue, client, upstream

Event = dict[str, object]
CREATED: Event = {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}
BEGUN: Event = {"type": "response.created", "response": {"id": "r1"}}
ITEM: Event = {
    "type": "response.output_item.added",
    "response_id": "r1",
    "item": {"id": "i1", "type": "message", "role": "assistant", "content": []},
}
AUDIO: Event = {
    "type": "response.output_audio.delta",
    "response_id": "r1",
    "item_id": "i1",
    "content_index": 0,
    "delta": "A" * 400,
}
USAGE = {"output_tokens": 1}


@dataclass
class Guarded(Dialogue):
    asked: list[Ask] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)

    def take(self, actions: Iterable[Action]) -> Self:
        acts = list(actions)
        self.asked += [each for each in acts if isinstance(each, Ask)]
        self.found += [each for each in acts if isinstance(each, Found)]
        self.missed += [each for each in acts if isinstance(each, Missed)]
        return super().take(acts)

    def answer(self, said: Answer, at: int = 0) -> Self:
        """Whoever was asked about a text, the oldest of those, answers."""
        return self._judged_on(self.relay.judged(self.asked.pop(at).ticket, said))

    @property
    def shown(self) -> list[Event]:
        """What the client has heard, and hears no more."""
        heard = list(self.heard["client"])
        self.heard["client"].clear()
        return [each for each in heard if isinstance(each, dict)]


def rule(guard: Guard, **fields: object) -> Guard:
    """The guardrail with these fields."""
    return guard._replace(rule=guard.rule.model_copy(update=fields))


def blocking(**fields: object) -> Guard:
    return rule(words("bomb", action="block"), **fields)


def masking(**fields: object) -> Guard:
    return rule(words("bomb"), **fields)


def asking(action: str = "block", **fields: object) -> Guard:
    return rule(remote(), action=action, **fields)


def guarded(*guards: Guard, **terms: object) -> Guarded:
    """A session in which a response has begun. Guardrails on output are on nothing else."""
    held = tuple([rule(guard, input=not guard.rule.output) for guard in guards])
    held_to = replace(TERMS, guards=held, **terms)  # type: ignore[arg-type]
    made = relay.Relay(Session(held_to), mask=lambda: KEY, max_message=MAX, max_fragments=FRAGMENTS)
    return Guarded(made) >> upstream(CREATED, BEGUN, ITEM) << client(CREATED, BEGUN, ITEM)


def piece(delta: str, kind: str = "output_text", **fields: object) -> Event:
    return {
        "type": f"response.{kind}.delta",
        "response_id": "r1",
        "item_id": "i1",
        "content_index": 0,
        "delta": delta,
    } | (fields)


def whole(text: str, kind: str = "output_text", name: str = "text") -> Event:
    return {"type": f"response.{kind}.done", "response_id": "r1", "item_id": "i1", "content_index": 0, name: text}


def said(delta: str) -> Event:
    return piece(delta, "output_audio_transcript")


def said_all(text: str) -> Event:
    return whole(text, "output_audio_transcript", "transcript")


def over(text: str = "", status: str = "completed", kind: str = "text") -> Event:
    item = {"id": "i1", "type": "message", "role": "assistant", "content": [{"type": f"output_{kind}", kind: text}]}
    if kind == "audio":
        item["content"] = [{"type": "output_audio", "transcript": text}]
    return {"type": "response.done", "response": {"id": "r1", "status": status, "output": [item], "usage": USAGE}}


def text_of(events: Iterable[Event]) -> str:
    """What deltas show, put together."""
    return "".join(str(each["delta"]) for each in events if str(each["type"]).endswith(".delta"))


REFUSED: Event = {
    "type": "error",
    "error": {
        "type": "guardrail_error",
        "code": "guardrail_blocked",
        "message": "Guardrail blocked this request: no-words: keywords",
        "param": None,
        "event_id": None,
    },
}
EMPTY: Event = {
    "type": "response.done",
    "response": {
        "id": "r1",
        "status": "incomplete",
        "usage": USAGE,
        "status_details": {"type": "incomplete", "reason": "content_filter"},
        "output": [],
    },
}
CANCEL: Event = {"type": "response.cancel", "response_id": "r1"}
DELETE: Event = {"type": "conversation.item.delete", "item_id": "i1"}
