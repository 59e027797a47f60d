"""Sessions whose turns must be admitted, and what is said in them."""

from __future__ import annotations

from dataclasses import replace

from dataplane.metering.usage import Tokens
from tests.dataplane.realtime.play import TERMS, Dialogue, Turn, client, play, upstream

LIMITED = replace(TERMS, admits=True)
OWN_CREATE = {"type": "response.create"}
STOPPED = (
    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0, "item_id": "i1"},
    {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 1000, "item_id": "i1"},
)
COMMITTED = {"type": "input_audio_buffer.committed", "item_id": "i1"}


def session(detection: object, kind: str = "created", **fields: object) -> dict[str, object]:
    inner = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}, **fields}
    return {"type": f"session.{kind}", "session": inner}


def vad(*, answers: bool, **fields: object) -> dict[str, object]:
    return {"type": "server_vad", "threshold": 0.5, "create_response": answers, **fields}


def refused(name: object, code: str = "invalid_value", param: str = "session.audio") -> dict[str, object]:
    """The server's answer to an event that it does not take."""
    detail = {"type": "invalid_request_error", "code": code, "message": "No.", "param": param}
    return {"type": "error", "error": {**detail, "event_id": name}}


def typed() -> Dialogue:
    """A session whose server answers when it is asked."""
    return play(LIMITED) >> upstream(session(None)) << client(session(None))


def voiced() -> Dialogue:
    """A session whose server would answer the user by itself, and was told not to."""
    return (
        play(LIMITED)
        >> upstream(session(vad(answers=True)))
        << client(session(vad(answers=True)))
        << upstream(session(vad(answers=False), "update"))
        >> upstream(session(vad(answers=False), "updated"))
    )


def over(name: str) -> Turn:
    return Turn(name, tokens=Tokens(output_unknown=1))
