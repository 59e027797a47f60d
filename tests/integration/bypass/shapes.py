"""Events that carry a text, of clients and of servers, by what they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

Event = dict[str, object]


def _item(**fields: object) -> Event:
    return {"type": "conversation.item.create", "item": {"id": "item_1", **fields}}


def _said(role: str, kind: str, text: str) -> Event:
    return _item(type="message", role=role, content=[{"type": kind, "text": text}])


def _session(**fields: object) -> Event:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def _response(**fields: object) -> Event:
    return {"type": "response.create", "response": fields}


CLIENT: dict[str, Callable[[str], Event]] = {
    "a user's words": lambda text: _said("user", "input_text", text),
    "a system message": lambda text: _said("system", "input_text", text),
    "an assistant's message": lambda text: _said("assistant", "output_text", text),
    "an assistant's message, in beta": lambda text: _said("assistant", "text", text),
    "a transcript that the client made": lambda text: _item(
        type="message", role="assistant", content=[{"type": "output_audio", "transcript": text}]
    ),
    "content of a kind that nobody knows": lambda text: _said("user", "input_poem", text),
    "an item of a kind that nobody knows": lambda text: _item(type="poem", verses=[[{"line": text}]]),
    "what a tool answered": lambda text: _item(type="function_call_output", call_id="call_1", output=text),
    "what a tool answered, as JSON": lambda text: _item(
        type="function_call_output", call_id="call_1", output=_escaped({"found": [{"city": text}]})
    ),
    "what a tool answered, as JSON in JSON": lambda text: _item(
        type="function_call_output", call_id="call_1", output=_escaped({"page": _escaped({"city": text})})
    ),
    "arguments of a call": lambda text: _item(
        type="function_call", call_id="call_1", name="travel", arguments=_escaped({"city": text})
    ),
    "a reason for an approval": lambda text: _item(
        type="mcp_approval_response", approval_request_id="a1", approve=True, reason=text
    ),
    "instructions of the session": lambda text: _session(instructions=text),
    "instructions of the session, in beta": lambda text: {"type": "session.update", "session": {"instructions": text}},
    "a variable of the session's prompt": lambda text: _session(prompt={"id": "pmpt_1", "variables": {"city": text}}),
    "a hint for transcription": lambda text: _session(
        audio={"input": {"transcription": {"model": "whisper-1", "prompt": text}}}
    ),
    "instructions of a response": lambda text: _response(instructions=text),
    "input of a response": lambda text: _response(
        input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}]
    ),
    "a variable of a response's prompt": lambda text: _response(prompt={"id": "pmpt_1", "variables": {"city": text}}),
    "an event that nobody knows": lambda text: {"type": "poem.recite", "verse": {"line": text}},
}


def _escaped(value: object) -> str:
    """JSON with every letter of its strings escaped."""
    return json.dumps(value, default=str).replace("zanzibar", "".join(f"\\u{ord(each):04x}" for each in "zanzibar"))


RESPONSE, ITEM = "resp_1", "item_9"
_AT: Event = {"response_id": RESPONSE, "item_id": ITEM, "output_index": 0, "content_index": 0}


def begun() -> Iterator[Event]:
    yield {
        "type": "response.created",
        "event_id": "ev_1",
        "response": {"id": RESPONSE, "status": "in_progress", "output": []},
    }


def over(text: str = "", status: str = "completed", *, part: Event | None = None) -> Event:
    output = [_message(part or {"type": "output_text", "text": text})] if text or part else []
    response = {"id": RESPONSE, "status": status, "output": output, "usage": {"total_tokens": 1, "output_tokens": 1}}
    return {"type": "response.done", "event_id": "ev_done", "response": response}


def _message(part: Event, **fields: object) -> Event:
    return {"id": ITEM, "type": "message", "role": "assistant", "content": [part], **fields}


def _about(kind: str, **fields: object) -> Event:
    return {"type": kind, "event_id": f"ev_{kind}", **_AT, **fields}


def _added(item: Event) -> list[Event]:
    at = {"response_id": RESPONSE, "output_index": 0}
    return [
        {"type": "response.output_item.added", "event_id": "ev_2", **at, "item": item},
        {"type": "conversation.item.added", "event_id": "ev_3", "previous_item_id": None, "item": item},
    ]


def _finished(item: Event) -> list[Event]:
    at = {"response_id": RESPONSE, "output_index": 0}
    return [
        {"type": "response.output_item.done", "event_id": "ev_8", **at, "item": item},
        {"type": "conversation.item.done", "event_id": "ev_9", "previous_item_id": None, "item": item},
    ]


Cut = Callable[[str], list[str]]


def written(text: str, cut: Cut, name: str = "output_text") -> list[Event]:
    """A whole answer, in writing."""
    part: Event = {"type": name, "text": text}
    empty: Event = {"type": name, "text": ""}
    return [
        *begun(),
        *_added(_message(empty) | {"content": []}),
        _about("response.content_part.added", part=empty),
        *(_about(f"response.{name}.delta", delta=piece) for piece in cut(text)),
        _about(f"response.{name}.done", text=text),
        _about("response.content_part.done", part=part),
        *_finished(_message(part)),
        over(part=part),
    ]


def spoken(text: str, cut: Cut, name: str = "output_audio") -> list[Event]:
    """A whole answer, in speech."""
    part: Event = {"type": name, "transcript": text}
    return [
        *begun(),
        *_added(_message(part) | {"content": []}),
        _about("response.content_part.added", part={"type": name, "transcript": ""}),
        *(_about(f"response.{name}_transcript.delta", delta=piece) for piece in cut(text)),
        _about(f"response.{name}.delta", delta="QUFB" * 20),
        _about(f"response.{name}.done"),
        _about(f"response.{name}_transcript.done", transcript=text),
        _about("response.content_part.done", part=part),
        *_finished(_message(part)),
        over(part=part),
    ]


def called(text: str, cut: Cut, name: str = "function_call") -> list[Event]:
    """A whole call of a tool."""
    arguments = _escaped({"city": text})
    item: Event = {"id": ITEM, "type": name, "call_id": "call_1", "name": "travel", "arguments": arguments}
    at = {"response_id": RESPONSE, "item_id": ITEM, "output_index": 0, "call_id": "call_1"}
    done: Event = {"type": f"response.{name}_arguments.done", "event_id": "ev_5", **at, "arguments": arguments}
    return [
        *begun(),
        *_added({**item, "arguments": ""}),
        *(
            {"type": f"response.{name}_arguments.delta", "event_id": "ev_4", **at, "delta": piece}
            for piece in cut(arguments)
        ),
        done,
        *_finished(item),
        over(part=None) | {"response": {"id": RESPONSE, "status": "completed", "output": [item], "usage": {}}},
    ]


ANSWERS: dict[str, Callable[[str, Cut], list[Event]]] = {
    "in writing": written,
    "in writing, in beta": lambda text, cut: written(text, cut, "text"),
    "in speech": spoken,
    "in speech, in beta": lambda text, cut: spoken(text, cut, "audio"),
    "to a tool": called,
    "to a tool of an MCP server": lambda text, cut: called(text, cut, "mcp_call"),
}
"""Whole answers; each says its text in several events."""


def _alone(*events: Event) -> list[Event]:
    return [*begun(), *events, over()]


_TEXT = "output_text"
_CUT: Event = {"item_id": ITEM, "content_index": 0, "audio_end_ms": 700}
SERVER: dict[str, Callable[[str], list[Event]]] = {
    "a delta": lambda text: _alone(_about(f"response.{_TEXT}.delta", delta=text)),
    "a delta of a transcript": lambda text: _alone(_about("response.output_audio_transcript.delta", delta=text)),
    "a delta of a kind that nobody knows": lambda text: _alone(_about("response.poem.delta", delta=text)),
    "the end of a text": lambda text: _alone(_about(f"response.{_TEXT}.done", text=text)),
    "the end of a transcript": lambda text: _alone(_about("response.output_audio_transcript.done", transcript=text)),
    "the end of a part": lambda text: _alone(_about("response.content_part.done", part={"type": _TEXT, "text": text})),
    "the beginning of a part": lambda text: _alone(
        _about("response.content_part.added", part={"type": _TEXT, "text": text})
    ),
    "the end of an item": lambda text: _alone(_finished(_message({"type": _TEXT, "text": text}))[0]),
    "an item of the conversation": lambda text: _alone(_finished(_message({"type": _TEXT, "text": text}))[1]),
    "an item of the conversation, in beta": lambda text: _alone(
        {"type": "conversation.item.created", "event_id": "ev_3", "item": _message({"type": "text", "text": text})}
    ),
    "an item that was asked for": lambda text: _alone(
        {"type": "conversation.item.retrieved", "event_id": "ev_3", "item": _message({"type": _TEXT, "text": text})}
    ),
    "what is left of an item that was cut off": lambda text: _alone(
        {"type": "conversation.item.truncated", "event_id": "ev_3", **_CUT, "transcript": text}
    ),
    "the end of the response": lambda text: [*begun(), over(text)],
    "the end of a response of which nothing came": lambda text: [over(text)],
    "a transcript behind the end": lambda text: [
        *_alone(),
        _about("response.output_audio_transcript.done", transcript=text),
    ],
    "an item behind the end": lambda text: [*_alone(), _finished(_message({"type": _TEXT, "text": text}))[1]],
    "an event that nobody knows": lambda text: _alone({"type": "poem.recited", "verse": {"line": text}}),
}
"""One event among harmless ones."""
