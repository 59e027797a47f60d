"""The session object: its defaults, and what `session.update` may change. Pure.

Source: the OpenAI Realtime API (GA). An update is checked whole before anything changes.
"""

from collections.abc import Container

from simulator.errors import RefusedError, invalid, missing, unknown
from simulator.shapes import Json, count, mapping, text

TRANSCRIPTION_MODEL = "gpt-4o-mini-transcribe"
_INSTRUCTIONS = "You are a helpful and friendly voice assistant. Be concise."
_PCM: Json = {"type": "audio/pcm", "rate": 24_000}
_BYTES_PER_MS = {"audio/pcm": 48, "audio/pcmu": 8, "audio/pcma": 8}
_VAD_SWITCHES: Json = {"create_response": True, "interrupt_response": True}
_SERVER_VAD: Json = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 200,
    "idle_timeout_ms": None,
    **_VAD_SWITCHES,
}
_VAD: dict[str, Json] = {
    "server_vad": _SERVER_VAD,
    "semantic_vad": {"type": "semantic_vad", "eagerness": "auto", **_VAD_SWITCHES},
}

_REALTIME_FIELDS = frozenset(
    {
        "type",
        "model",
        "output_modalities",
        "instructions",
        "max_output_tokens",
        "parallel_tool_calls",
        "audio",
        "tools",
        "tool_choice",
        "truncation",
        "tracing",
        "prompt",
        "include",
        "reasoning",
    }
)
_TRANSCRIPTION_FIELDS = frozenset({"type", "audio", "include"})
_INPUT_FIELDS = frozenset({"format", "noise_reduction", "transcription", "turn_detection"})
_OUTPUT_FIELDS = frozenset({"format", "voice", "speed"})


def realtime(session_id: str, model: str, expires_at: int) -> Json:
    """A new speech session."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": expires_at,
        "output_modalities": ["audio"],
        "instructions": _INSTRUCTIONS,
        "max_output_tokens": "inf",
        "parallel_tool_calls": True,
        "audio": {
            "input": _input(None),
            "output": {"format": _PCM, "voice": "marin", "speed": 1.0},
        },
        "tools": [],
        "tool_choice": "auto",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
    }


def transcription(session_id: str, expires_at: int) -> Json:
    """A new session that only transcribes."""
    return {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": session_id,
        "expires_at": expires_at,
        "audio": {"input": _input({"model": TRANSCRIPTION_MODEL, "language": None, "prompt": ""})},
        "include": None,
    }


def _input(transcription: Json | None) -> Json:
    return {
        "format": _PCM,
        "noise_reduction": None,
        "transcription": transcription,
        "turn_detection": _SERVER_VAD,
    }


def updated(session: Json, change: Json, *, spoken: bool) -> Json:
    """The session after `session.update`; `spoken`: it has produced audio. Raises RefusedError."""
    _check(session, change, spoken=spoken)
    merged = {**session, **change}
    audio, given = mapping(session["audio"]), mapping(change.get("audio"))
    merged["audio"] = {side: {**mapping(audio[side]), **mapping(given.get(side))} for side in audio}
    heard = mapping(mapping(merged["audio"])["input"])
    if (vad := heard.get("turn_detection")) is not None:
        heard["turn_detection"] = {**_VAD[text(mapping(vad).get("type"))], **mapping(vad)}
    return merged


def _check(session: Json, change: Json, *, spoken: bool) -> None:
    if "type" not in change:
        raise missing("session.type")
    if change["type"] != session["type"]:
        raise invalid("session.type", f"this is a {session['type']} session.")
    fields = _REALTIME_FIELDS if session["type"] == "realtime" else _TRANSCRIPTION_FIELDS
    only(change, fields, "session")
    if change.get("model", session.get("model")) != session.get("model"):
        raise invalid("session.model", "the model of a session cannot be changed.")
    if "output_modalities" in change:
        check_modalities(change["output_modalities"], "session.output_modalities")
    _check_audio(session, mapping(change.get("audio")), spoken=spoken)


def _check_audio(session: Json, audio: Json, *, spoken: bool) -> None:
    sides = {"input": _INPUT_FIELDS, "output": _OUTPUT_FIELDS}
    only(audio, mapping(session["audio"]).keys(), "session.audio")
    for side, part in audio.items():
        only(mapping(part), sides[side], f"session.audio.{side}")
        if "format" in mapping(part):
            _check_format(mapping(mapping(part)["format"]), f"session.audio.{side}.format")
    vad = mapping(audio.get("input")).get("turn_detection")
    if vad is not None and text(mapping(vad).get("type")) not in _VAD:
        raise invalid("session.audio.input.turn_detection.type", f"supported are {', '.join(_VAD)}.")
    voice = mapping(audio.get("output")).get("voice")
    if spoken and voice not in (None, mapping(mapping(session["audio"]).get("output")).get("voice")):
        message = "Cannot update a conversation's voice if assistant audio is present."
        raise RefusedError(message, "cannot_update_voice", "session.audio.output.voice")


def _check_format(audio_format: Json, param: str) -> None:
    if audio_format.get("type") not in _BYTES_PER_MS:
        raise invalid(f"{param}.type", f"supported are {', '.join(_BYTES_PER_MS)}.")
    if "rate" in audio_format and count(audio_format["rate"]) < 24_000:
        message = f"Invalid '{param}.rate': integer below minimum value. Expected a value >= 24000."
        raise RefusedError(message, "integer_below_min_value", f"{param}.rate")


def check_modalities(value: object, param: str) -> None:
    """Text or audio (which has a transcript), never both. Raises RefusedError."""
    if value not in (["text"], ["audio"]):
        raise invalid(param, "supported combinations are ['text'] and ['audio'].")


def only(value: Json, known: Container[str], place: str) -> None:
    """Raises RefusedError for the first field that is not known."""
    for field in value:
        if field not in known:
            raise unknown(f"{place}.{field}")


def heard(session: Json) -> Json:
    """`audio.input`."""
    return mapping(mapping(session["audio"]).get("input"))


def bytes_per_ms(audio_format: Json) -> int:
    """How many bytes one millisecond of audio has."""
    return _BYTES_PER_MS.get(text(audio_format.get("type")), 48)
