"""What the gateway must know of the OpenAI Realtime protocol (GA shape), as facts and small functions.

Source: the types of openai-python 3.52 and captures of the live service; what is unknown is relayed as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dataplane.realtime.audio import CanonicalAudio

AUDIO_TYPE = "input_audio_buffer.append"
AUDIO = CanonicalAudio(AUDIO_TYPE, "audio")
"""The one client event that is forwarded unread."""

SUBPROTOCOL = "realtime"
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"
BETA_HEADER = "openai-beta"

METERED = frozenset(
    {
        "error",
        "session.created",
        "session.updated",
        "transcription_session.updated",
        "response.created",
        "response.done",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "input_audio_buffer.cleared",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
    }
)
"""Server events that a session must read, whoever asks for what."""

AUDIO_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta"})
"""Pieces of what the model says, in GA and in beta spelling: most of all traffic."""
TEXT_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.text.delta",
        "response.output_audio_transcript.delta",
        "response.audio_transcript.delta",
        "response.function_call_arguments.delta",
        "response.mcp_call_arguments.delta",
    }
)
"""Pieces of what it writes."""
TRANSCRIPT_DELTA = "conversation.item.input_audio_transcription.delta"
"""A piece of what the user said, written down."""

MAX_ID = 256
"""Characters of an id, type or model name that are kept. Real ones have some 40."""
PCM_RATE = 48_000.0
"""Bytes of audio per second where nothing else is said: 24 kHz, 16 bit."""
_G711_RATE = 8_000.0
_G711 = frozenset({"audio/pcmu", "audio/pcma", "g711_ulaw", "g711_alaw"})

_TYPE = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*(?:"event_id"\s*:\s*"[^"\\]*"\s*,\s*)?"type"\s*:\s*"([a-z_.]+)"')


def head_type(head: bytes) -> str | None:
    """The event's type, where the message begins with it (or with `event_id`, then it); None where it does not,
    so that a nested `type` can never pass for the event's."""
    match = _TYPE.match(head)
    return match[1].decode() if match else None


_RESPONSE_ID = re.compile(rb'"response_id"\s*:\s*"([^"\\]{1,256})"')
_ITEM_ID = re.compile(rb'"item_id"\s*:\s*"([^"\\]{1,256})"')
_DELTA = re.compile(rb'"delta"\s*:\s*"')


def response_id(head: bytes) -> str:
    """The response's id, where it stands in the first bytes of a message; empty where it does not."""
    return _found(_RESPONSE_ID, head)


def item_id(head: bytes) -> str:
    """The same of an item's id."""
    return _found(_ITEM_ID, head)


def _found(pattern: re.Pattern[bytes], head: bytes) -> str:
    match = pattern.search(head)
    return match[1].decode(errors="replace") if match else ""


def envelope(head: bytes) -> int:
    """Bytes of an audio event that are not audio, if the audio comes last, as it does."""
    match = _DELTA.search(head)
    return match.end() + len('"}') if match else 0


def error(
    own_id: str,
    code: str,
    message: str,
    *,
    kind: str = "invalid_request_error",
    event_id: object = None,
    param: str = "",
) -> dict[str, object]:
    """An error event of ours. `event_id` is the client's, of the event that it is about."""
    detail = {"type": kind, "code": code, "message": message, "param": param or None, "event_id": event_id}
    return {"type": "error", "event_id": own_id, "error": detail}


def cancel(own_id: str, response_id: str) -> dict[str, object]:
    return {"type": "response.cancel", "event_id": own_id, "response_id": response_id}


def part(value: object, *path: str) -> object:
    """The value at `path` of nested objects; None where any step is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text(value: object, *path: str) -> str:
    """The string at `path`; empty where there is none. Halves of surrogate pairs, which JSON may hold and nothing
    else can, are replaced."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode(errors="replace").decode()


def name(value: object, *path: str) -> str:
    """An id, type or model name at `path`, of bounded length."""
    return text(value, *path)[:MAX_ID]


def audio_rate(holder: object, side: str) -> float:
    """Bytes per second of the audio of a side (`input`, `output`) of a session or response of either shape; 0 where
    it does not say."""
    found = part(holder, "audio", side, "format") or part(holder, f"{side}_audio_format")
    if not found:
        return 0.0
    kind = found if isinstance(found, str) else text(found, "type")
    if kind in _G711:
        return _G711_RATE
    rate = part(found, "rate")
    if isinstance(rate, int) and 8_000 <= rate <= 96_000:
        return rate * 2.0
    return PCM_RATE if kind else 0.0


def turn_detection(session: object) -> object:
    """How the server detects turns, of a session object of either shape; False where it does not, None where the
    object does not say."""
    for holder in (part(session, "audio", "input"), session):
        if isinstance(holder, Mapping) and "turn_detection" in holder:
            found = holder["turn_detection"]
            return False if not found or (isinstance(found, Mapping) and found.get("type", "") is None) else found
    return None


def written(item: object) -> int:
    """Characters of text in an item that the client adds to the conversation."""
    contents = part(item, "content")
    parts = contents if isinstance(contents, list) else []
    own = len(text(item, "output")) + len(text(item, "arguments"))
    return own + sum(len(text(each, "text")) + len(text(each, "transcript")) for each in parts)


def spoken(item: object) -> int:
    """Characters of base64 of the audio in such an item."""
    contents = part(item, "content")
    return sum(len(text(each, "audio")) for each in contents) if isinstance(contents, list) else 0


def transcription_model(session: object) -> str:
    """The model that transcribes what the user says, from a session object of either shape."""
    return text(session, "audio", "input", "transcription", "model") or text(
        session, "input_audio_transcription", "model"
    )


def refuses_response(code: str, param: str) -> bool | None:
    """Does an error event that names no event of the client's say that a response was refused? None where it does
    not say what it is about."""
    if code == "conversation_already_has_active_response" or param.partition(".")[0] == "response":
        return True
    return False if param or code.startswith(_OTHERS) else None


EMPTY_COMMIT = "input_audio_buffer_commit_empty"
"""Code of an error that says that there was nothing to make an item of."""
_OTHERS = ("response_cancel_", "input_audio_buffer_", "item_", "cannot_update_", "session_")
"""How codes begin that are about something else."""

REFUSALS = {
    "invalid_api_key": "upstream_credential_rejected",
    "invalid_model": "model_not_found",
    "model_not_found": "model_not_found",
    "missing_model": "missing_model",
    "insufficient_quota": "upstream_rate_limited",
    "credit_balance_exhausted": "upstream_rate_limited",
    "rate_limit_exceeded": "upstream_rate_limited",
}
"""What an upstream's first event, an error, means: code → code of our refusal."""


def refusal_code(error_code: str, close_reason: str = "") -> str:
    """Code of the refusal for an upstream that answered 101 and then an error, or Close with such a reason
    (`invalid_request_error.invalid_api_key`)."""
    name = error_code or close_reason.rpartition(".")[2]
    if name in REFUSALS:
        return REFUSALS[name]
    return "upstream_credential_rejected" if close_reason == "invalid_request_error" else "upstream_refused"
