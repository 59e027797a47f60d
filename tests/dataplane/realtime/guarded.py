"""Sessions under guardrails, and what is said in them."""

from __future__ import annotations

from dataclasses import replace

from dataplane.guardrails.judge import Guard
from tests.dataplane.guardrails.guards import remote, words
from tests.dataplane.realtime.play import TERMS, Dialogue, client, play, upstream

CREATED = {"type": "session.created", "session": {"type": "realtime"}}
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
    """A session whose input is judged."""
    return play(replace(TERMS, guards=tuple([changed(guard, output=False) for guard in guards]), admits=admits))


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
