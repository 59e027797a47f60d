"""What is read and changed in chat completions."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import Refusal
from dataplane.http import chat
from dataplane.metering.usage import Tokens

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def event(**fields: object) -> bytes:
    return b"data: " + orjson.dumps({"id": "c1", "model": "m1", **fields}) + b"\n\n"


PIECE = event(choices=[{"delta": {"content": 'say "usage":{"prompt_tokens":9} and "error": now'}}], usage=None)
EXTRA = event(choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"


def through(*chunks: bytes, hide: bool = True) -> tuple[bytes, chat.Outcome]:
    outcome = chat.Outcome()
    tap = chat.StreamTap(outcome, 10_000, hide=hide)
    return b"".join(tap.feed(chunk) for chunk in chunks) + tap.end(), outcome


def test_the_extra_chunk_is_read_and_hidden() -> None:
    sent, outcome = through(PIECE + EXTRA + DONE)
    assert sent == PIECE + DONE
    assert outcome == chat.Outcome("c1", "m1", Tokens(input_unknown=3, output_unknown=2))
    assert through(PIECE + EXTRA + DONE, hide=False)[0] == PIECE + EXTRA + DONE


@pytest.mark.parametrize(
    "kept",
    [
        event(choices=[{"delta": {}}], usage=USAGE),  # vLLM with continuous usage
        event(choices=[], prompt_filter_results=[]),  # Azure's first chunk
        event(choices=[], usage=None),
        b": ping\n\n",
        b"data: {not json\n\n",
        b"event: x\ndata: [1]\n\n",
    ],
)
def test_other_chunks_stay(kept: bytes) -> None:
    assert through(kept)[0] == kept


@given(st.lists(st.sampled_from([PIECE, EXTRA, DONE, b": c\r\n\r\n"]), max_size=6), st.data())
def test_any_cut(events: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(events)
    cut = data.draw(st.integers(0, len(stream)))
    sent, outcome = through(stream[:cut], stream[cut:])
    assert sent == b"".join(event for event in events if event != EXTRA)
    assert (outcome.tokens is not None) == (EXTRA in events)


ODD = [
    b": ping\n\n",
    b'data: "usage"\n\n',
    b": {\n\n",
    b"\n\n",
    event(error={"message": "x"}),
    event(model="m2", choices=[]),
]


@given(st.lists(st.sampled_from([PIECE, EXTRA, DONE, *ODD]), max_size=8), st.booleans())
def test_events_that_come_together_are_read_as_one_by_one(events: list[bytes], hide: bool) -> None:
    assert through(b"".join(events), hide=hide) == through(*events, hide=hide)


def test_a_stream_that_ends_with_the_usage_and_no_empty_line() -> None:
    assert through(PIECE + EXTRA.rstrip())[0] == PIECE


def test_errors_in_a_stream() -> None:
    assert through(event(error={"message": "x"}))[1].status == "failed"
    assert through(PIECE)[1].status == "completed"


def test_what_is_sent_upstream_is_what_was_read() -> None:
    body = chat.parsed(b'{"a":1,"model":"x","stream":true,"model":"y","stream_options":{"z":1}}')
    assert chat.model_of(body) == "y"
    assert orjson.loads(chat.rewritten(body, "up")) == {
        "a": 1,
        "model": "up",
        "stream": True,
        "stream_options": {"z": 1, "include_usage": True},
    }


@pytest.mark.parametrize("extra", [{}, {"stream": False}, {"stream": "yes"}, {"stream": True, "stream_options": 7}])
def test_nothing_else_is_changed(extra: dict[str, object]) -> None:
    body: dict[str, object] = {"model": "x", "seed": 1.5, "messages": [{"content": "é"}], **extra}
    assert orjson.loads(chat.rewritten(body, "x")) == body


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"null", b'"x"', b"{} x", b'{"a":NaN}', b"\xef\xbb\xbf{}"])
def test_bodies_that_are_no_object(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        chat.parsed(body)
    assert refused.value.code == "invalid_json"


@pytest.mark.parametrize(("asked", "expected"), [({}, ""), ({"model": ""}, ""), ({"model": "m"}, "m")])
def test_model_of(asked: dict[str, object], expected: str) -> None:
    assert chat.model_of(asked) == expected


@pytest.mark.parametrize(
    ("payload", "unmetered", "tokens"),
    [
        (orjson.dumps({"usage": USAGE}), "", Tokens(input_unknown=3, output_unknown=2)),
        (orjson.dumps({"usage": None}), "", None),
        (orjson.dumps({"usage": {"total_tokens": 77}}), "usage_unreadable", None),
        (orjson.dumps({}), "reply_not_json", None),
        (b"<html>", "reply_not_json", None),
        (b" " * 101, "reply_too_long", None),
    ],
)
def test_replies(payload: bytes, unmetered: str, tokens: Tokens | None) -> None:
    outcome = chat.Outcome()
    tap = chat.JsonTap(outcome, 100)
    sent = b"".join(tap.feed(payload[place : place + 9]) for place in range(0, len(payload), 9)) + tap.end()
    assert sent == payload
    assert (outcome.unmetered, outcome.tokens) == (unmetered, tokens)


@pytest.mark.parametrize("usages", [(USAGE, {"total_tokens": 7}), ({"total_tokens": 7}, USAGE)])
def test_what_can_be_read_counts_whatever_else_was_said(usages: tuple[object, object]) -> None:
    outcome = chat.Outcome()
    for usage in usages:
        outcome.read(orjson.dumps({"usage": usage}))
    assert (outcome.unmetered, outcome.tokens) == ("", Tokens(input_unknown=3, output_unknown=2))


def test_a_line_end_cut_in_two_before_what_is_hidden() -> None:
    assert through(b": c\r\n\r", b"\n" + EXTRA + DONE)[0] == b": c\r\n\r\n" + DONE


@pytest.mark.parametrize(
    "field",
    [
        *("models", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "model_list", "preset"),
        *("user_config", "router_settings_override", "compound_custom", "providerOptions"),
        *("Model", "MODEL", "Models", "ProviderOptions", "providerOption\u017f"),  # a long s
    ],
)
def test_where_models_are_limited_only_one_is_named(field: str) -> None:
    with pytest.raises(Refusal) as refused:
        chat.check_one_model({"model": "gpt-5", field: ["gpt-5"]})
    assert (refused.value.code, refused.value.param) == ("model_not_allowed", field)
    chat.check_one_model({"model": "gpt-5", field: None})


def test_where_models_are_limited_everything_else_may_be_said() -> None:
    prediction = {"type": "content", "content": "x"}
    chat.check_one_model({"model": "m", "messages": [], "prediction": prediction, "audio": {"voice": "alloy"}})
