"""What the simulated provider sent, noted as it is sent: the oracle's own view of how turns went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from simulator.conversation import Conversation
from simulator.shapes import Json, mapping
from simulator.timeline import Noise, Said


@dataclass
class Sent:
    """What one session's provider sent."""

    messages: int = 0
    model: str = ""
    first_audios: Counter[str] = field(default_factory=Counter)
    """Turns that were heard, by who asked for them."""
    begun: int = 0
    """Turns that the client had asked for."""
    responses: int = 0
    """All turns that began."""
    voiced: int = 0
    """Turns that the user's voice cut off."""
    _prompted: bool = False
    _turns: dict[str, str] = field(default_factory=dict)
    """Why each began that has not been heard."""
    _over: set[str] = field(default_factory=set)

    def note(self, event: Json) -> None:
        """An event is sent."""
        response = mapping(event.get("response"))
        match event["type"]:
            case "session.created":
                self.model = str(mapping(event["session"]).get("model"))
            case "input_audio_buffer.speech_stopped":
                self._prompted = True
            case "response.created":
                self._turns[str(response["id"])] = "voice" if self._prompted else "client"
                self.begun += not self._prompted
                self.responses += 1
                self._prompted = False
            case "response.output_audio.delta":
                if trigger := self._turns.pop(str(event["response_id"]), ""):
                    self.first_audios[trigger] += 1
            case "response.done":
                self.voiced += _reason(response) == "turn_detected" and str(response["id"]) not in self._over
                self._over.add(str(response["id"]))


def _reason(response: Json) -> object:
    return mapping(response.get("status_details")).get("reason")


class Tap:
    """Of all sessions, by the provider's ids."""

    def __init__(self) -> None:
        self.sessions: dict[str, Sent] = {}

    @contextmanager
    def open(self) -> Iterator[None]:
        """While it is open, it notes."""
        due = Conversation.due

        def noted(conversation: Conversation, now: float) -> Iterator[Said]:
            sent = self.sessions.setdefault(conversation.id, Sent())
            for action in due(conversation, now):
                if isinstance(action, dict):
                    sent.messages += 1
                    sent.note(action)
                elif isinstance(action, Noise):
                    sent.messages += 1
                yield action

        with patch.object(Conversation, "due", noted):
            yield
