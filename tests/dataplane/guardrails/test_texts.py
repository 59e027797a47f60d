"""Where text is found, that it can be replaced there, and what is no text."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator

import pytest

from dataplane.guardrails.texts import (
    Json,
    Place,
    Unclear,
    chat_chunk,
    chat_reply,
    chat_request,
    client_event,
    responses_reply,
    responses_request,
    server_event,
    stream_of,
    within,
    without_copies,
)

Find = Callable[[Json], Iterator[Place]]
PART: Json = {"type": "text", "text": "T"}
PNG = "data:image/png;base64,TTTT"
# What is said, and where text `T` is in it; every other string is none.
CASES: dict[str, tuple[Find, Json, list[str]]] = {
    "chat: a message": (
        chat_request,
        {"model": "m", "messages": [{"role": "user", "content": "T", "name": "T"}], "user": "x"},
        ["messages[0].content", "messages[0].name"],
    ),
    "chat: parts": (
        chat_request,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        PART,
                        {"type": "image_url", "image_url": {"url": PNG}},
                        {"type": "input_audio", "input_audio": {"data": "TTTT", "format": "wav"}},
                        {"type": "file", "file": {"file_data": PNG}},
                    ],
                }
            ]
        },
        ["messages[0].content[0].text"],
    ),
    "chat: calls and results": (
        chat_request,
        {
            "messages": [
                {"role": "assistant", "refusal": "T", "tool_calls": [{"id": "x", "function": {"arguments": "T"}}]},
                {"role": "tool", "tool_call_id": "x", "content": "T"},
            ],
            "tools": [{"type": "function", "function": {"description": "x"}}],
            "metadata": {"a": "x"},
        },
        ["messages[0].refusal", "messages[0].tool_calls[0].function.arguments", "messages[1].content"],
    ),
    "chat: unknown fields of a message": (
        chat_request,
        {"messages": [{"new": {"deep": ["T"]}}]},
        ["messages[0].*.*[0]"],
    ),
    "chat: reply": (
        chat_reply,
        {
            "id": "x",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "T",
                        "reasoning_content": "T",
                        "audio": {"id": "x", "data": "TTTT", "transcript": "T"},
                    },
                    "finish_reason": "stop",
                    "logprobs": {"content": [{"token": "T"}]},
                }
            ],
        },
        ["choices[0].message.content", "choices[0].message.reasoning_content", "choices[0].message.audio.transcript"],
    ),
    "responses: words": (responses_request, {"instructions": "T", "input": "T"}, ["instructions", "input"]),
    "responses: items": (
        responses_request,
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "T"}]},
                {"type": "function_call", "call_id": "x", "name": "T", "arguments": "T"},
                {"type": "function_call_output", "call_id": "x", "output": "T"},
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "T"}], "encrypted_content": "x"},
                {"type": "image_generation_call", "result": "TTTT"},
            ],
            "prompt": {"id": "x", "variables": {"city": "T"}},
        },
        [
            "input[0].content[0].text",
            "input[1].name",
            "input[1].arguments",
            "input[2].output",
            "input[3].summary[0].text",
            "prompt.variables.*",
        ],
    ),
    "responses: reply": (
        responses_reply,
        {"instructions": "x", "output": [{"type": "message", "content": [{"type": "output_text", "text": "T"}]}]},
        ["output[0].content[0].text"],
    ),
    "client: session.update": (
        client_event,
        {
            "type": "session.update",
            "event_id": "x",
            "session": {
                "type": "realtime",
                "instructions": "T",
                "audio": {"input": {"transcription": {"model": "x", "prompt": "T"}}, "output": {"voice": "x"}},
                "tools": [{"name": "x", "description": "x"}],
            },
        },
        ["session.instructions", "session.audio.input.transcription.prompt"],
    ),
    "client: item": (
        client_event,
        {
            "type": "conversation.item.create",
            "item": {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "T"},
                    {"type": "input_audio", "audio": "TTTT", "transcript": "T"},
                ],
            },
        },
        ["item.content[0].text", "item.content[1].transcript"],
    ),
    "client: response.create": (
        client_event,
        {
            "type": "response.create",
            "response": {"instructions": "T", "input": [{"output": "T"}], "metadata": {"a": "x"}},
        },
        ["response.instructions", "response.input[0].output"],
    ),
    "client: an event that nobody knows": (client_event, {"type": "new", "say": "T"}, ["*"]),
    "client: audio": (client_event, {"type": "input_audio_buffer.append", "audio": "TTTT"}, []),
    "server: whole text": (
        server_event,
        {"type": "response.output_text.done", "response_id": "x", "item_id": "x", "text": "T"},
        ["text"],
    ),
    "server: arguments": (
        server_event,
        {"type": "response.function_call_arguments.done", "call_id": "x", "name": "T", "arguments": "T"},
        ["name", "arguments"],
    ),
    "server: response.done": (
        server_event,
        {"type": "response.done", "response": {"id": "x", "instructions": "x", "output": [{"content": [PART]}]}},
        ["response.output[0].content[0].text"],
    ),
    "server: session": (server_event, {"type": "session.created", "session": {"instructions": "x"}}, []),
    "server: error": (server_event, {"type": "error", "error": {"message": "x"}}, []),
    "server: no event": (server_event, {"kind": "x"}, []),
    "server: audio": (server_event, {"type": "response.output_audio.delta", "delta": "TTTT"}, []),
    "server: odd delta": (server_event, {"type": "response.output_text.delta", "delta": None}, []),
}


@pytest.mark.parametrize(("find", "said", "names"), CASES.values(), ids=CASES)
def test_text_is_found_and_replaced(find: Find, said: Json, names: list[str]) -> None:
    places = [place for place in find(said) if place.text]
    assert [place.name for place in places if place.text == "T"] == names
    assert {place.text for place in places} <= {"T", "x"}
    before = json.dumps(said)
    replaced = copy.deepcopy(said)
    for place in find(replaced):
        if place.text == "T":
            place.put("M")
    assert json.dumps(replaced) == before.replace('"T"', '"M"') or "logprobs" in before
    assert not [place for place in find(replaced) if place.text == "T"]


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"type": "conversation.item.input_audio_transcription.completed", "transcript": "T"}, "input"),
        ({"type": "conversation.item.input_audio_transcription.delta", "delta": "T"}, "input"),
        ({"type": "conversation.item.added", "item": {"role": "user", "content": [PART]}}, "input"),
        ({"type": "conversation.item.done", "item": {"type": "function_call_output", "output": "T"}}, "input"),
        ({"type": "conversation.item.done", "item": {"role": "assistant", "content": [PART]}}, "output"),
        ({"type": "response.output_item.done", "item": {"type": "function_call", "arguments": "T"}}, "output"),
        ({"type": "response.content_part.done", "part": PART}, "output"),
    ],
)
def test_who_said_it(event: Json, said: str) -> None:
    assert [(place.text, place.said) for place in server_event(event)] == [("T", said)]


def test_pieces_of_a_chunk_say_of_which_text() -> None:
    call = {"index": 1, "function": {"arguments": "{"}}
    chunk: Json = {
        "choices": [
            {"index": 1, "delta": {"role": "assistant", "content": "T"}, "finish_reason": None},
            {"delta": {"tool_calls": [call], "audio": {"transcript": "T", "data": "x"}}},
        ]
    }
    assert [(place.stream, place.json) for place in chat_chunk(chunk)] == [
        ("choices[1].delta.content", False),
        ("choices[1].delta.tool_calls[1].function.arguments", True),
        ("choices[1].delta.audio.transcript", False),
    ]


def test_pieces_of_an_event_say_of_which_text() -> None:
    event: Json = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 1}
    [place] = server_event({**event, "delta": "T", "obfuscation": "x"})
    assert (place.text, place.stream, place.json) == ("T", "response.text/i/0/1/", False)
    assert stream_of({**event, "type": "response.text.done"}) == place.stream
    assert stream_of({**event, "content_index": 2}) != place.stream
    [arguments] = server_event({"type": "response.function_call_arguments.delta", "delta": "{"})
    assert arguments.json


def _all(text: str, masks: dict[str, str]) -> tuple[list[str], str]:
    """Every text in a text, and the text with some of them replaced."""
    holder: Json = {"arguments": text}
    seen = []
    for place in client_event(holder):
        seen.append(place.text)
        if place.text in masks:
            place.put(masks[place.text])
    return seen, str(holder["arguments"])


def test_json_in_a_text_is_judged_by_its_strings() -> None:
    seen, text = _all(r'{"city": "\u0063ard", "list": ["a", 1, {"k\u0065y": null}]}', {"card": "[X]", "key": "[K]"})
    assert {"card", "city", "list", "a", "key"} < set(seen)
    assert json.loads(text) == {"city": "[X]", "list": ["a", 1, {"[K]": None}]}
    assert seen[-1] == text


def test_json_in_json_is_judged_too() -> None:
    inner = json.dumps({"a": json.dumps("c\u0061rd é"), "b": "x"})
    seen, text = _all(json.dumps([inner]), {"card é": "[X]"})
    assert "card é" in seen
    assert json.loads(json.loads(json.loads(text)[0])["a"]) == "[X]"


def test_a_key_and_its_value_are_both_replaced() -> None:
    _, text = _all('{"a": "card", "b": "x"}', {"card": "[V]", "a": "[K]", "b": "[L]"})
    assert json.loads(text) == {"[K]": "[V]", "[L]": "x"}


def test_text_that_only_looks_like_json_is_a_text() -> None:
    for text in ("[card]", "{not json", '"open', "plain", "[" + "1" * 5000 + "]"):
        assert _all(text, {}) == ([text], text)


def test_a_text_alone() -> None:
    kept: list[str] = []
    for place in within('{"a": "b"}', "arguments", kept.append, "output"):
        if place.text == "b":
            place.put("c")
    assert kept == ['{"a":"c"}']


@pytest.mark.parametrize(
    "text",
    ['{"a": "x", "a": "y"}', '{"a": "x", "\\u0061": "y"}', "[" * 100_000 + "]" * 100_000],
    ids=["duplicate key", "duplicate key, escaped", "nested deeply"],
)
def test_what_can_be_read_in_two_ways_is_unclear(text: str) -> None:
    with pytest.raises(Unclear):
        _all(text, {})


def test_json_in_json_ends_somewhere() -> None:
    text = '["x"]'
    for _ in range(9):
        text = json.dumps([text])
    with pytest.raises(Unclear):
        _all(text, {})


def test_nesting_ends_somewhere() -> None:
    nested: object = "T"
    for _ in range(100):
        nested = [nested]
    with pytest.raises(Unclear):
        list(chat_request({"messages": nested}))


def test_copies_are_taken_out() -> None:
    said: Json = {"choices": [{"logprobs": {"content": [{"token": "T"}]}, "message": {"content": "T"}}]}
    without_copies(said)
    assert said == {"choices": [{"logprobs": None, "message": {"content": "T"}}]}


def test_settings_of_a_session_are_no_text_and_what_is_said_in_their_words_is() -> None:
    spoken = {"format": {"type": "audio/pcm"}, "turn_detection": {"type": "semantic_vad", "eagerness": "low"}}
    heard = {"model": "m", "language": "en", "prompt": "low"}
    session = {
        "output_modalities": ["text", "audio"],
        "truncation": "auto",
        "max_output_tokens": "inf",
        "reasoning": {"effort": "low"},
        "input_audio_format": "pcm16",
        "audio": {"input": {**spoken, "transcription": heard}},
        "instructions": "text",
        "prompt": {"variables": {"how": "auto"}},
        "new": "say low",
    }
    places = [(place.name, place.text) for place in client_event({"type": "session.update", "session": session})]
    assert places == [
        ("session.audio.input.transcription.prompt", "low"),
        ("session.instructions", "text"),
        ("session.prompt.variables.*", "auto"),
        ("session.*", "say low"),
    ]
    item = {"type": "message", "content": [{"type": "input_text", "text": "text", "new": "audio"}]}
    places = [(place.name, place.text) for place in client_event({"type": "conversation.item.create", "item": item})]
    assert places == [("item.content[0].text", "text"), ("item.content[0].*", "audio")]
