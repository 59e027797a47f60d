"""What a client may send on a WebSocket of the Responses API, and the shape of errors."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from dataplane.affinity.hints import Keys
from dataplane.dialogue import messages
from dataplane.errors import Refusal
from dataplane.realtime.endings import ENDINGS

KEYS = Keys(b"k" * 32)


def said(**body: object) -> bytes:
    return orjson.dumps({"type": "response.create", **body})


def refused(message: bytes, *, binary: bool = False) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as raised:
        messages.read(message, binary=binary)
    return raised.value.code, raised.value.param


def test_a_request_goes_on_as_it_was_read() -> None:
    """Of duplicate fields the provider sees the one that was authorised."""
    asked = messages.read(b'{"type":"response.create","model":"a","model":"b","stream_id":"l.1","x":1}', binary=False)
    assert (asked.kind, asked.lane, asked.body) == ("create", "l.1", {"model": "b", "x": 1})
    assert orjson.loads(asked.written("c")) == {"type": "response.create", "model": "c", "x": 1, "stream_id": "l.1"}
    assert b"stream_id" not in messages.read(said(model="a", stream_id=None), binary=False).written("a")


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        (b"{", "invalid_json", None),
        (b"[]", "invalid_json", None),
        (b"\xff", "invalid_json", None),
        (b"{}", "invalid_value", "type"),
        (b'{"type":"response.cancel"}', "invalid_value", "type"),
        (b'{"Type":"response.create","type":"response.create"}', "invalid_value", "Type"),
        (said(Stream_Id="a"), "invalid_value", "Stream_Id"),
        (said(stream_id=""), "invalid_value", "stream_id"),
        (said(stream_id="a b"), "invalid_value", "stream_id"),
        (said(stream_id="a" * 257), "invalid_value", "stream_id"),
        (said(stream_id=5), "invalid_value", "stream_id"),
        (said(background=True), "invalid_value", "background"),
        (said(BackGround=1), "invalid_value", "background"),
        (b'{"type":"response.steer","input":"x","stream_id":"a"}', "invalid_value", "stream_id"),
    ],
)
def test_what_is_no_request(message: bytes, code: str, param: str | None) -> None:
    assert refused(message) == (code, param)


def test_what_cannot_be_written_again_is_no_request() -> None:
    message = b'{"type":"response.create","input":' + b"[" * 500 + b"]" * 500 + b"}"
    asked = messages.read(message, binary=False)
    with pytest.raises(Refusal) as raised:
        asked.written("gpt-5")
    assert raised.value.code == "invalid_json"


def test_binary_messages_are_none() -> None:
    assert refused(said(), binary=True)[0] == "invalid_json"


def test_no_background_is_no_background() -> None:
    assert messages.read(said(background=False), binary=False).body == {"background": False}


@pytest.mark.parametrize(("message", "lane"), [(said(stream_id="a"), "a"), (said(stream_id=1), ""), (b"{", "")])
def test_whom_an_error_is_for(message: bytes, lane: str) -> None:
    assert messages.lane_of(message) == lane


def steer(**body: object) -> messages.Asked:
    return messages.read(orjson.dumps({"type": "response.steer", **body}), binary=False)


def test_a_steer_is_verified() -> None:
    name = KEYS.signer("domain", "caller").id("resp_1")
    written, [signed] = messages.steered(steer(previous_response_id=name, input="x"), KEYS)
    assert orjson.loads(written) == {"type": "response.steer", "previous_response_id": "resp_1", "input": "x"}
    assert signed.original == "resp_1"
    for body in ({"previous_response_id": "resp_1"}, {"input": "x"}):
        with pytest.raises(Refusal) as raised:
            messages.steered(steer(**body), KEYS)
        assert (raised.value.code, raised.value.param) == ("response_not_found", "previous_response_id")


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"type": "response.created"}, None),
        ({"type": "error", "status": 429}, 429),
        ({"type": "error", "error": {"code": "invalid_api_key"}}, 401),
        ({"type": "error", "error": {"code": "x"}}, 400),
        ({"type": "error", "code": "server_error"}, 400),
    ],
)
def test_what_an_error_stands_for(event: dict[str, Any], status: int | None) -> None:
    assert messages.status_said(event) == status


def test_errors_of_the_connection() -> None:
    limit: dict[str, object] = {"type": "error", "error": {"code": "websocket_connection_limit_reached"}}
    assert messages.is_of_connection(limit)
    assert not messages.is_of_connection({**limit, "type": "other"})
    assert not messages.is_of_connection({"type": "error", "code": "x"})


@pytest.mark.parametrize(("event", "lane"), [({}, ""), ({"stream_id": "a"}, "a"), ({"stream_id": 5}, "")])
def test_whose_an_event_is(event: dict[str, Any], lane: str) -> None:
    assert messages.lane_said(event) == lane


def test_errors_have_the_shape_of_the_protocol() -> None:
    refusal = Refusal("invalid_value", "No.", param="model")
    about = {"type": "invalid_request_error", "code": "invalid_value", "message": "No.", "param": "model"}
    assert orjson.loads(messages.error(refusal)) == {"type": "error", "status": 400, "error": about}
    assert orjson.loads(messages.error(refusal, "l"))["stream_id"] == "l"


def test_an_error_says_when_to_come_back() -> None:
    event = orjson.loads(
        messages.error(Refusal("limit_exceeded", "Later.", headers={"Retry-After": "7", "Allow": "x"}))
    )
    assert event["error"]["headers"] == {"Retry-After": "7"}


def test_every_ending_with_an_event_has_a_status() -> None:
    for each in ENDINGS:
        if each.event is not None:
            event = orjson.loads(messages.ending(*each.event, each.meaning))
            assert event["status"] in (400, 401, 403, 429, 500, 502)
            assert (event["error"]["type"], event["error"]["code"]) == each.event
