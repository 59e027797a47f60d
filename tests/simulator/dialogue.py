"""A session without sockets: say what the client sends, read what the server answers.

Every event is held against the vendor's own types, so that no test passes on an event that an SDK cannot read.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from openai import BaseModel
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

from simulator.conversation import Conversation
from simulator.ledger import Ledger
from simulator.scenarios import Options, Scenarios
from simulator.timeline import Audio, Mishap, Noise, Ping

Event = dict[str, Any]

_TYPES: TypeAdapter[RealtimeServerEvent] = TypeAdapter(RealtimeServerEvent)
# On the wire, but not in the vendor's types.
_UNTYPED = {"object", "id", "expires_at", "obfuscation"}
_FAR = 1_000_000.0


def check_event(event: Event) -> None:
    """The event is one of the vendor's, with every field that it must have, and none that it does not know."""
    parsed = _TYPES.validate_python(event)
    assert isinstance(parsed, BaseModel)
    assert event["event_id"]
    assert _extras(parsed) <= _UNTYPED, (event["type"], _extras(parsed))


def _extras(value: object) -> set[str]:
    if isinstance(value, list):
        return set().union(*(_extras(part) for part in value))
    if not isinstance(value, BaseModel):
        return set()
    fields = (getattr(value, name) for name in type(value).model_fields)
    return set(value.model_extra or ()) | set().union(*map(_extras, fields))


class Dialogue:
    """A client of one conversation, with a clock of its own."""

    def __init__(
        self, scenario: str = "", model: str | None = "gpt-realtime", rules: str = "", check: bool = True
    ) -> None:
        self.ledger = Ledger()
        self._check = check  # False where the client puts things into a session that no SDK would
        self.now = 0.0
        asked = Options.parse(scenario)
        self.conversation = Conversation(1, model, self.ledger, Scenarios.load(rules), asked)
        self.conversation.open(self.now, expires_at=1_800_000_000)
        self.events: list[Event] = []
        self.signals: list[Mishap | Audio | Noise | Ping] = []
        self.take()

    def say(self, kind: str, **fields: object) -> list[Event]:
        """Send one event; what the server sends at that moment."""
        return self.say_raw(json.dumps({"type": kind, **fields}))

    def say_raw(self, message: str | bytes) -> list[Event]:
        self.conversation.receive(message, self.now)
        return self.take()

    def take(self, until: float | None = None) -> list[Event]:
        """What is due now, or by a later time."""
        self.now = self.now if until is None else until
        new: list[Event] = []
        for action in self.conversation.due(self.now):
            if isinstance(action, dict):
                if self._check:
                    check_event(action)
                new.append(action)
            else:
                self.signals.append(action)
        self.events += new
        return new

    def wait(self) -> list[Event]:
        """Everything that happens by itself, however late."""
        return self.take(self.now + _FAR)

    def written(self, text: str, **response: object) -> list[Event]:
        """A whole turn: a written question and its response."""
        self.ask(text)
        return [*self.say("response.create", response=response), *self.wait()]

    def ask(self, text: str) -> list[Event]:
        content = [{"type": "input_text", "text": text}]
        return self.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    def speak(self, ms: int) -> list[Event]:
        """Append so many ms of silence."""
        return self.say("input_audio_buffer.append", audio=base64.b64encode(bytes(48 * ms)).decode())

    def configure(self, **session: object) -> list[Event]:
        return self.say("session.update", session={"type": "realtime", **session})


def types(events: list[Event]) -> list[str]:
    """The types of events, runs of one type written once."""
    names = [event["type"] for event in events]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def only(events: list[Event], kind: str) -> Event:
    """The one event of a type."""
    (found,) = (event for event in events if event["type"] == kind)
    return found


def error_of(events: list[Event]) -> Event:
    """What the one error event says."""
    error: Event = only(events, "error")["error"]
    return error
