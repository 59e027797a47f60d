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
        "input_audio_buffer.committed",
        "conversation.item.input_audio_transcription.completed",
        "conversation.item.input_audio_transcription.failed",
    }
)
"""Server events that a session must read, whoever asks for what."""

_TYPE = re.compile(rb'[ \t\r\n]*\{[ \t\r\n]*(?:"event_id"\s*:\s*"[^"\\]*"\s*,\s*)?"type"\s*:\s*"([a-z_.]+)"')


def head_type(head: bytes) -> str | None:
    """The event's type, where the message begins with it (or with `event_id`, then it); None where it does not,
    so that a nested `type` can never pass for the event's."""
    match = _TYPE.match(head)
    return match[1].decode() if match else None


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
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text(value: object, *path: str) -> str:
    """The string at `path`; empty where there is none."""
    found = part(value, *path)
    return found if isinstance(found, str) else ""


def transcription_model(session: object) -> str:
    """The model that transcribes what the user says, from a session object of either shape."""
    return text(session, "audio", "input", "transcription", "model") or text(
        session, "input_audio_transcription", "model"
    )


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
