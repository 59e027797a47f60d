"""Only ids of responses and encrypted content get hints; with them taken off, everything is as it was."""

from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataplane.affinity import bodies
from dataplane.affinity.bodies import Foreign, Json
from dataplane.affinity.hints import Keys

KEYS = Keys(b"k" * 32)
SIGNER = KEYS.signer("ai\0here", "ai\0bot")
REASONING: Json = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
MESSAGE: Json = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "resp_1"}]}
RESPONSE: Json = {
    "id": "resp_1",
    "object": "response",
    "previous_response_id": "resp_0",
    "prompt_cache_options": {"comparison_response_id": "resp_c", "mode": "implicit"},
    "output": [REASONING, MESSAGE, "odd"],
    "metadata": {"id": "resp_1", "encrypted_content": "x"},
}
NAMES = (
    *("id", "object", "output", "input", "data", "previous_response_id", "encrypted_content", "type"),
    *("prompt_cache_options", "comparison_response_id", "response", "item", "steer", "content", "other"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)
OBJECTS = JSON.filter(lambda value: isinstance(value, dict))


def wrapped(body: Json) -> Json:
    body = deepcopy(body)
    assert bodies.wrap_answer(body, SIGNER)
    return body


def test_an_answer() -> None:
    body = wrapped(RESPONSE)
    assert body["id"] == SIGNER.id("resp_1")
    assert body["previous_response_id"] == SIGNER.id("resp_0")
    assert body["prompt_cache_options"] == {"comparison_response_id": SIGNER.id("resp_c"), "mode": "implicit"}
    assert body["output"] == [{**REASONING, "encrypted_content": SIGNER.content("gAAA")}, MESSAGE, "odd"]
    assert body["metadata"] == RESPONSE["metadata"]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "type": "invalid_request_error"}, "id": "resp_1"},
        {"object": "response.input_tokens", "input_tokens": 5},
        {"object": "response", "id": None, "previous_response_id": "", "output": None},
        {"object": "list", "data": [MESSAGE], "first_id": "msg_1"},
    ],
)
def test_an_answer_without_any(body: Json) -> None:
    before = deepcopy(body)
    assert not bodies.wrap_answer(body, SIGNER)
    assert body == before


def test_items_of_a_response() -> None:
    body: Json = {"object": "list", "data": [deepcopy(REASONING)]}
    assert bodies.wrap_answer(body, SIGNER)
    assert body["data"] == [{**REASONING, "encrypted_content": SIGNER.content("gAAA")}]


def test_events() -> None:
    created: Json = {"type": "response.created", "response": {"id": "resp_1", "output": []}}
    assert bodies.wrap_event(created, SIGNER)
    assert created == {"type": "response.created", "response": {"id": SIGNER.id("resp_1"), "output": []}}
    item: Json = {"type": "response.output_item.done", "item": deepcopy(REASONING)}
    assert bodies.wrap_event(item, SIGNER)
    assert item["item"] == {**REASONING, "encrypted_content": SIGNER.content("gAAA")}
    steer: Json = {"type": "response.steer.failed", "steer": {"previous_response_id": "resp_1", "input": []}}
    assert bodies.wrap_event(steer, SIGNER)
    assert steer["steer"] == {"previous_response_id": SIGNER.id("resp_1"), "input": []}
    accepted: Json = {"type": "response.steer.accepted", "previous_response_id": "resp_1"}
    assert bodies.wrap_event(accepted, SIGNER)
    assert accepted["previous_response_id"] == SIGNER.id("resp_1")
    delta: Json = {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "a"}
    assert not bodies.wrap_event(delta, SIGNER)


def test_a_request() -> None:
    body: Json = {
        "model": "gpt-5",
        "Previous_Response_ID": SIGNER.id("resp_0"),
        "prompt_cache_options": {"comparison_response_id": SIGNER.id("resp_c")},
        "input": ["odd", {**REASONING, "encrypted_content": SIGNER.content("gAAA")}, MESSAGE],
    }
    said = bodies.unwrap(body, KEYS)
    assert [each.original for each in said] == ["resp_0", "resp_c", "gAAA"]
    assert [each.encrypted for each in said] == [False, False, True]
    assert body == {
        "model": "gpt-5",
        "Previous_Response_ID": "resp_0",
        "prompt_cache_options": {"comparison_response_id": "resp_c"},
        "input": ["odd", REASONING, MESSAGE],
    }


@pytest.mark.parametrize(
    ("body", "field", "encrypted"),
    [
        ({"previous_response_id": "resp_0"}, "previous_response_id", False),
        ({"PREVIOUS_response_id": "resp_0"}, "PREVIOUS_response_id", False),
        ({"previous_response_id": ["resp_0"]}, "previous_response_id", False),
        ({"prompt_cache_options": {"comparison_response_id": "resp_0"}},
         "prompt_cache_options.comparison_response_id", False),
        ({"input": [MESSAGE, REASONING]}, "input[1].encrypted_content", True),
        ({"input": [{**REASONING, "encrypted_content": {}}, REASONING]}, "input[1].encrypted_content", True),
    ],
)  # fmt: skip
def test_a_request_with_what_has_no_hint(body: Json, field: str, encrypted: bool) -> None:
    before = deepcopy(body)
    with pytest.raises(Foreign) as raised:
        bodies.unwrap(body, KEYS)
    assert (raised.value.field, raised.value.encrypted) == (field, encrypted)
    assert body == before


@pytest.mark.parametrize("body", [{}, {"input": "hi", "previous_response_id": None}, {"input": [MESSAGE, {}]}])
def test_a_request_that_begins_anew(body: Json) -> None:
    assert bodies.unwrap(body, KEYS) == []


@pytest.mark.parametrize(
    ("item", "refers"),
    [
        ({"type": "item_reference", "id": "rs_1"}, True),
        ({"id": "rs_1"}, True),
        ({"type": None, "id": "rs_1"}, True),
        ({"role": "user", "content": "hello"}, False),
        ({"id": "msg_1", "role": "user", "content": "hello"}, False),
        ({"type": "reasoning", "id": "rs_1", "summary": []}, True),
        ({"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "so"}]}, False),
        (REASONING, False),
        (MESSAGE, False),
    ],
)
def test_references(item: Json, refers: bool) -> None:
    assert bodies.references({"input": ["odd", item]}) == ("input[1]" if refers else "")


@given(OBJECTS)
def test_taken_off_again_everything_is_as_it_was(value: Json) -> None:
    """What was answered may be sent: the items of an output as an input, its id as the one before."""
    response: Json = {**value, "object": "response"}
    answered = deepcopy(response)
    bodies.wrap_answer(answered, SIGNER)
    assert _shape(answered) == _shape(response)
    sent: Json = {"previous_response_id": answered.get("id"), "input": answered.get("output")}
    assume(all(isinstance(place.holder[place.name], str) for place in bodies._in_request(sent)))
    bodies.unwrap(sent, KEYS)
    assert sent == {"previous_response_id": response.get("id"), "input": response.get("output")}


@given(OBJECTS)
def test_an_event_of_any_shape_keeps_it(value: Json) -> None:
    before = deepcopy(value)
    bodies.wrap_event(value, SIGNER)
    assert _shape(value) == _shape(before)


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in value.items()}
    return [_shape(each) for each in value] if isinstance(value, list) else type(value)
