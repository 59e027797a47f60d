"""The events that OpenAI's beta had, as Azure's API before GA still has them: a `Conversation` in those words. Pure."""

from collections.abc import Iterator

import orjson

from simulator import events
from simulator.conversation import Conversation
from simulator.errors import RefusedError, unknown
from simulator.shapes import Json, mapping, text
from simulator.timeline import Said

_NAMES = {
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
_NEVER = "conversation.item.done"
_NEW = frozenset({"type", "output_modalities", "audio"})
"""Fields that came with GA."""


class BetaConversation:
    """`inner`: the same session in GA's words."""

    def __init__(self, inner: Conversation) -> None:
        self.id = inner.id
        self._inner = inner
        self._refused: list[Json] = []

    def open(self, now: float, expires_at: int) -> None:
        """The client is there."""
        self._inner.open(now, expires_at)

    def receive(self, message: str | bytes, now: float) -> None:
        """A message of the client's."""
        try:
            received: object = orjson.loads(message)
            if isinstance(message, str) and isinstance(received, dict):
                message = orjson.dumps(_in_new_words(received)).decode()
        except orjson.JSONDecodeError:
            pass
        except RefusedError as refused:
            self._refused.append({**events.error(refused), "event_id": "event_refused"})
            return
        self._inner.receive(message, now)

    def due(self, now: float) -> Iterator[Said]:
        """What is to be sent by now, in order."""
        while self._refused:
            yield self._refused.pop(0)
        for said in self._inner.due(now):
            if not isinstance(said, dict):
                yield said
            elif said["type"] != _NEVER:
                yield _in_old_words(said)

    def next_due(self) -> float | None:
        """When there is something to be sent."""
        return self._inner.next_due()

    def close(self) -> None:
        """The client has said CLOSE."""
        self._inner.close()

    def end(self, now: float) -> None:
        """The connection is no more."""
        self._inner.end(now)


def _in_new_words(received: Json) -> Json:
    """Raises RefusedError for a field that came with GA."""
    for holder in ("session", "response"):
        given = mapping(received.get(holder))
        if holder not in received:
            continue
        for field in given:
            if field in _NEW:
                raise unknown(f"{holder}.{field}")
        received = {**received, holder: _moved(given, typed=holder == "session")}
    return received


def _moved(given: Json, *, typed: bool) -> Json:
    moved: Json = {"type": "realtime"} if typed else {}
    heard: Json = {}
    for name, value in given.items():
        match name:
            case "modalities":
                moved["output_modalities"] = ["audio"] if isinstance(value, list) and "audio" in value else value
            case "turn_detection":
                heard["turn_detection"] = value
            case "input_audio_transcription":
                heard["transcription"] = value
            case "instructions" | "tools" | "tool_choice" | "metadata" | "conversation" | "input":
                moved[name] = value
    return {**moved, "audio": {"input": heard}} if heard else moved


def _in_old_words(said: Json) -> Json:
    kind = text(said["type"])
    if "session" in said:
        session = dict(mapping(said["session"]))
        audio = mapping(session.pop("audio", None))
        session.pop("type", None)
        session["modalities"] = ["text", "audio"] if session.pop("output_modalities", None) == ["audio"] else ["text"]
        session["turn_detection"] = mapping(audio.get("input")).get("turn_detection")
        said = {**said, "session": session}
    return {**said, "type": _NAMES.get(kind, kind)}
