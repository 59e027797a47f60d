"""Sessions under guardrails, and what is said in them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from dataplane.guardrails.judge import Guard
from tests.dataplane.guardrails.guards import remote, words
from tests.dataplane.realtime.play import TERMS, Dialogue, client, play, upstream

EARS = {"model": "whisper-1"}


def listening(transcription: object = EARS, detection: object = None, kind: str = "created") -> dict[str, object]:
    """What the server says of the session."""
    heard = {"transcription": transcription, "turn_detection": detection}
    return {"type": f"session.{kind}", "session": {"type": "realtime", "audio": {"input": heard}}}


CREATED = listening()
BLOCKED = "Guardrail blocked this request: no-words: words[0]"


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
    """A session whose input is judged. What it uses is no matter here."""
    dialogue = play(replace(TERMS, guards=tuple([changed(guard, output=False) for guard in guards]), admits=admits))
    dialogue.heard["ledger"] = deque(maxlen=0)
    return dialogue


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
