"""What is asked of the Responses API, and what its answers say; in the answers nothing changes but ids and contents."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.affinity.hints import Keys
from dataplane.errors import Refusal
from dataplane.http import responses, sse
from dataplane.http.relay import Tap
from dataplane.http.responses import Call, JsonTap, Outcome, StreamTap
from dataplane.metering.usage import Tokens

SIGNER = Keys(b"k" * 32).signer("ai\0here", "ai\0bot")
LIMIT = 100_000
USAGE = {
    "input_tokens": 30,
    "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 5},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 8},
    "total_tokens": 50,
}
TOKENS = Tokens(input_unknown=30, cached_unknown=10, cache_write=5, output_unknown=20, reasoning=8)


def response(status: str = "completed", **more: object) -> dict[str, object]:
    return {"id": "resp_1", "object": "response", "model": "gpt-5-2026", "status": status, "output": [], **more}


def event(kind: str, **more: object) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **more}) + b"\n\n"


STREAM = [
    event("response.created", response=response("in_progress", usage=None), sequence_number=0),
    event("response.in_progress", response=response("in_progress", usage=None), sequence_number=1),
    event("response.output_text.delta", item_id="msg_1", delta='"response": {"usage": 1}', sequence_number=2),
    event("response.output_item.done", item={"type": "reasoning", "id": "rs_1", "encrypted_content": "gA"}),
    b": keep-alive\n\n",
    event("response.completed", response=response(usage=USAGE), sequence_number=4),
]


def run(tap: Tap, pieces: list[bytes]) -> bytes:
    return b"".join([*map(tap.feed, pieces), tap.end()])


def as_json(stream: bytes) -> list[object]:
    scanner = sse.Scanner(LIMIT)
    return [orjson.loads(data) for each in scanner.feed(stream) + scanner.end() if (data := sse.data(each))]


def without_hints(value: object) -> object:
    """As if a plain provider had answered."""
    known = {SIGNER.id("resp_1"): "resp_1", SIGNER.id("resp_0"): "resp_0", SIGNER.content("gA"): "gA"}
    if isinstance(value, dict):
        return {name: without_hints(each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_hints(each) for each in value]
    return known.get(value, value) if isinstance(value, str) else value


# -- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("POST", "", Call(turn=True)),
        ("POST", "compact", Call(below="compact", turn=True)),
        ("POST", "input_tokens", Call(below="input_tokens")),
        ("GET", "resp_1", Call("resp_1")),
        ("DELETE", "resp_1", Call("resp_1")),
        ("POST", "resp_1/cancel", Call("resp_1", "cancel")),
        ("GET", "resp_1/input_items", Call("resp_1", "input_items")),
    ],
)
def test_calls(method: str, path: str, wanted: Call) -> None:
    assert responses.call(method, path.split("/") if path else []) == wanted


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "", "method_not_allowed"),
        ("GET", "compact", "method_not_allowed"),
        ("POST", "resp_1", "method_not_allowed"),
        ("GET", "resp_1/cancel", "method_not_allowed"),
        ("GET", "resp_1/output", "undeclared_path"),
        ("GET", "resp_1/input_items/x", "undeclared_path"),
    ],
)
def test_calls_that_there_are_not(method: str, path: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        responses.call(method, path.split("/") if path else [])
    assert refused.value.code == code


@pytest.mark.parametrize("body", [{"conversation": "conv_1"}, {"Conversation": {"id": "conv_1"}}])
def test_a_conversation_belongs_to_nobody(body: dict[str, object]) -> None:
    with pytest.raises(Refusal) as refused:
        responses.check_conversation(body)
    assert (refused.value.code, refused.value.param) == ("conversation_not_allowed", "conversation")


def test_no_conversation() -> None:
    responses.check_conversation({"model": "gpt-5", "conversation": None})


@pytest.mark.parametrize(
    ("tools", "named"),
    [
        ([{"type": "image_generation", "model": "gpt-image-1"}, {"type": "web_search"}, 7, {"model": 5}],
         ["gpt-image-1"]),
        (None, []),
        ({}, []),
    ],
)  # fmt: skip
def test_models_of_tools(tools: object, named: list[str]) -> None:
    assert responses.models_of_tools({"tools": tools}) == named


# -- what is answered -----------------------------------------------------------------------------------------------


def test_a_json_answer() -> None:
    outcome, answer = Outcome(), response(usage=USAGE, previous_response_id="resp_0", text={"format": {"x": 1.50}})
    relayed = orjson.loads(run(JsonTap(outcome, SIGNER, LIMIT), [orjson.dumps(answer)]))
    assert relayed["id"] == SIGNER.id("resp_1")
    assert without_hints(relayed) == answer
    assert (outcome.id, outcome.model, outcome.tokens) == ("resp_1", "gpt-5-2026", TOKENS)
    assert (outcome.status, outcome.ended, outcome.background) == ("completed", True, False)


@pytest.mark.parametrize("status", ["incomplete", "failed", "cancelled"])
def test_how_it_ended(status: str) -> None:
    outcome = Outcome()
    outcome.read(response(status, usage=USAGE))
    assert (outcome.status, outcome.ended, outcome.tokens) == (status, True, TOKENS)


def test_in_the_background_it_has_not_ended() -> None:
    outcome = Outcome()
    outcome.read(response("queued", background=True, usage=None))
    assert (outcome.ended, outcome.background, outcome.tokens) == (False, True, None)


def test_a_compaction() -> None:
    outcome = Outcome()
    answer = {"id": "resp_1", "object": "response.compaction", "output": [], "usage": USAGE}
    relayed = orjson.loads(run(JsonTap(outcome, SIGNER, LIMIT), [orjson.dumps(answer)]))
    assert relayed["id"] == SIGNER.id("resp_1")
    assert (outcome.ended, outcome.tokens) == (True, TOKENS)


@pytest.mark.parametrize(
    ("body", "unmetered"),
    [(b"<html>", "reply_not_json"), (b"[]", "reply_not_json"), (b"  {} ", ""), (b'"' * (LIMIT + 1), "reply_too_long")],
)
def test_what_holds_nothing_leaves_as_it_came(body: bytes, unmetered: str) -> None:
    outcome = Outcome()
    assert run(JsonTap(outcome, SIGNER, LIMIT), [body[:5], body[5:], b""]) == body
    assert outcome.unmetered == unmetered


@given(st.lists(st.integers(1, 60), max_size=60), st.booleans())
def test_a_stream_however_it_is_cut(sizes: list[int], crlf: bool) -> None:
    stream = b"".join(STREAM)
    if crlf:
        stream = stream.replace(b"\n", b"\r\n")
    pieces, rest = [], stream
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    outcome = Outcome()
    relayed = run(StreamTap(outcome, SIGNER, LIMIT), [*pieces, rest])
    assert without_hints(as_json(relayed)) == as_json(stream)
    assert SIGNER.id("resp_1").encode() in relayed
    assert (outcome.id, outcome.tokens, outcome.status, outcome.ended) == ("resp_1", TOKENS, "completed", True)
    assert relayed.count(b"event: ") == stream.count(b"event: ")


def test_only_what_holds_an_id_or_a_content_is_written_anew() -> None:
    tap = StreamTap(Outcome(), SIGNER, LIMIT)
    changed = [tap.feed(each) != each for each in STREAM]
    assert changed == [True, True, False, True, False, True]


def test_a_delta_leaves_at_once() -> None:
    assert StreamTap(Outcome(), SIGNER, LIMIT).feed(STREAM[2]) is STREAM[2]


@pytest.mark.parametrize(
    ("kind", "status"), [("incomplete", "incomplete"), ("failed", "failed"), ("cancelled", "cancelled")]
)
def test_how_a_stream_ended(kind: str, status: str) -> None:
    outcome = Outcome()
    run(StreamTap(outcome, SIGNER, LIMIT), [event(f"response.{kind}", response=response(kind, usage=USAGE))])
    assert (outcome.status, outcome.ended, outcome.tokens) == (status, True, TOKENS)


def test_an_error_ends_a_stream() -> None:
    outcome = Outcome()
    error = event("error", code="server_error", message="no", param=None)
    assert run(StreamTap(outcome, SIGNER, LIMIT), [error]) == error
    assert (outcome.status, outcome.ended) == ("failed", True)


def test_a_stream_that_breaks_off_has_not_ended() -> None:
    outcome = Outcome()
    run(StreamTap(outcome, SIGNER, LIMIT), STREAM[:3])
    assert (outcome.ended, outcome.model, outcome.tokens) == (False, "gpt-5-2026", None)


def test_an_event_that_is_too_long_leaves_as_it_came() -> None:
    outcome = Outcome()
    stream = b"".join(STREAM[2:])
    assert run(StreamTap(outcome, SIGNER, 20), [stream[at : at + 7] for at in range(0, len(stream), 7)]) == stream
    assert (outcome.ended, outcome.unmetered) == (False, "reply_not_json")


def test_an_event_of_several_lines() -> None:
    said = b'id: 7\ndata: {"type":"response.created",\ndata: "response":{"id":"resp_1"}}\n\n'
    relayed = run(StreamTap(Outcome(), SIGNER, LIMIT), [said])
    wanted = orjson.dumps({"type": "response.created", "response": {"id": SIGNER.id("resp_1")}})
    assert relayed == b"id: 7\ndata: " + wanted + b"\n\n"


def test_what_is_nested_too_deeply_to_be_written_leaves_as_it_came() -> None:
    deep = b'{"id":"resp_1","object":"response","x":' + b"[" * 400 + b"]" * 400 + b"}"
    assert run(JsonTap(Outcome(), SIGNER, LIMIT), [deep]) == deep
    said = b'data: {"type":"response.created","response":' + deep + b"}\n\n"
    assert run(StreamTap(Outcome(), SIGNER, LIMIT), [said]) == said
