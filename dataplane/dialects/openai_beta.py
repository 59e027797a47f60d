"""Beta-shaped clients on GA upstreams.

OpenAI's GA service refuses the beta shape: the header ends the connection, the old fields are unknown. Clients
written for it (`OpenAI-Beta: realtime=v1`, `modalities`, flat session fields) are still many. Their requests are
mended here, whoever sends them; server events are given their old names and shapes only for clients that declared
beta by header or subprotocol. Source of both shapes: openai-python 3.52, `types/beta/realtime` and
`types/realtime`.

All functions return a new event, or the very same object where there is nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable

from dataplane.dialects.openai import part

Event = dict[str, object]

_FORMATS: dict[object, Event] = {
    "pcm16": {"type": "audio/pcm", "rate": 24000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_OLD_FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}

_MOVED: dict[str, tuple[str, ...]] = {
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
}
"""Beta field of a session or response → where GA has it."""
_MOVED_IN_ANSWERS = {name: path for name, path in _MOVED.items() if name != "max_response_output_tokens"}
"""Of a response as the server tells it, beta called this one `max_output_tokens`, as GA does."""
_GONE = ("temperature", "client_secret")
"""Beta fields that GA has no place for."""

_PARTS = {"text": "output_text", "audio": "output_audio"}
_OLD_PARTS = {new: old for old, new in _PARTS.items()}

_OLD_NAMES = {
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "conversation.item.added": "conversation.item.created",
}
_WITHOUT_NAME = "conversation.item.done"
"""GA says added, then done; beta knew one event."""
_RESHAPED = frozenset(
    {
        "session.created",
        "session.updated",
        "response.created",
        "response.done",
        "response.output_item.added",
        "response.output_item.done",
        "conversation.item.retrieved",
    }
)

RENAMED = frozenset({*_OLD_NAMES, _WITHOUT_NAME}) | _RESHAPED
"""GA server events that a beta client must get in another form."""


# -- client events: beta → GA ------------------------------------------------------------------------------------


def mended(event: Event) -> Event:
    """The client event as GA takes it."""
    kind = event.get("type")
    if kind == "session.update":
        return _with(event, "session", _mended_session(event.get("session"), "realtime"))
    if kind == "transcription_session.update":
        session = _mended_session(event.get("session"), "transcription")
        if isinstance(session, dict):  # it answers nothing
            session = {name: value for name, value in session.items() if name != "output_modalities"}
        return {**event, "type": "session.update", "session": session}
    if kind == "response.create":
        response = _mended_fields(event.get("response"))
        if isinstance(response, dict) and isinstance(items := response.get("input"), list):
            response = _with(response, "input", _each(items, lambda item: _parts(item, _PARTS)))
        return _with(event, "response", response)
    if kind == "conversation.item.create":
        return _with(event, "item", _parts(event.get("item"), _PARTS))
    return event


def _mended_session(session: object, kind: str) -> object:
    session = _mended_fields(session)
    if isinstance(session, dict) and "type" not in session:
        session = {"type": kind, **session}
    return session


def _mended_fields(fields: object) -> object:
    if not isinstance(fields, dict) or not any(name in fields for name in (*_MOVED, *_GONE)):
        return fields
    mended = {name: value for name, value in fields.items() if name not in _MOVED and name not in _GONE}
    for name, path in _MOVED.items():
        if name in fields:
            _put(mended, path, _new_value(name, fields[name]))
    return mended


def _new_value(name: str, value: object) -> object:
    if name.endswith("_format") and isinstance(value, str):
        return _FORMATS.get(value, value)
    if name == "modalities" and isinstance(value, list):  # GA: audio brings its transcript, never both
        return ["audio"] if "audio" in value else value
    if name == "turn_detection" and isinstance(value, dict) and "type" not in value:  # GA tells the kinds apart by it
        return {"type": "server_vad", **value}
    return value


def _put(target: Event, path: tuple[str, ...], value: object) -> None:
    """Set `path` of nested objects, copying on the way; what GA already says there is kept."""
    for key in path[:-1]:
        inner = target.get(key)
        target[key] = inner = dict(inner) if isinstance(inner, dict) else {}
        target = inner
    target.setdefault(path[-1], value)


# -- server events: GA → beta ------------------------------------------------------------------------------------


def renamed(event: Event) -> Event | None:
    """The server event as a beta client knows it; None where beta had no such event."""
    kind = event.get("type")
    if kind == _WITHOUT_NAME:
        return None
    if isinstance(kind, str) and kind in _OLD_NAMES:
        event = {**event, "type": _OLD_NAMES[kind]}
    if "item" in event:
        event = _with(event, "item", _parts(event["item"], _OLD_PARTS))
    if isinstance(session := event.get("session"), dict):
        if session.get("type") == "transcription" and kind == "session.updated":
            event = {**event, "type": "transcription_session.updated"}
        event = {**event, "session": _flattened(session, _MOVED)}
    if isinstance(response := event.get("response"), dict):
        response = _flattened(response, _MOVED_IN_ANSWERS)
        if isinstance(items := response.get("output"), list):
            response = _with(response, "output", _each(items, lambda item: _parts(item, _OLD_PARTS)))
        event = {**event, "response": response}
    return event


def _flattened(fields: Event, moved: dict[str, tuple[str, ...]]) -> Event:
    flat = {name: value for name, value in fields.items() if name not in ("audio", "type")}
    for old, path in moved.items():
        holder = part(fields, *path[:-1])
        if isinstance(holder, dict) and path[-1] in holder:
            flat[old] = _old_value(old, holder[path[-1]])
            flat.pop(path[0], None)
    return flat


def _old_value(name: str, value: object) -> object:
    if name.endswith("_format"):
        kind = part(value, "type")
        return _OLD_FORMATS.get(kind, kind) if isinstance(kind, str) else value
    return ["text", "audio"] if name == "modalities" and value == ["audio"] else value


# -- shared ------------------------------------------------------------------------------------------------------


def _parts(item: object, names: dict[str, str]) -> object:
    """An item with its content parts renamed; an assistant's only, since user parts kept their names."""
    content = item.get("content") if isinstance(item, dict) else None
    if not isinstance(item, dict) or item.get("role") != "assistant" or not isinstance(content, list):
        return item

    def one(value: object) -> object:
        kind = part(value, "type")
        if isinstance(value, dict) and isinstance(kind, str) and kind in names:
            return {**value, "type": names[kind]}
        return value

    return _with(item, "content", _each(content, one))


def _each(values: list[object], change: Callable[[object], object]) -> list[object]:
    """The list with every value changed; the same object where none was."""
    changed = [change(value) for value in values]
    return values if all(new is old for new, old in zip(changed, values, strict=True)) else changed


def _with(event: Event, name: str, value: object) -> Event:
    """The object with one field changed; the same object where it is not."""
    return event if name not in event or event[name] is value else {**event, name: value}
