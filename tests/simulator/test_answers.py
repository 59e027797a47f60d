"""What the simulated model says, and the arguments that it makes up."""

from __future__ import annotations

import json

import pytest

from simulator import answers
from simulator.shapes import Json


def test_answers_depend_on_what_was_asked() -> None:
    asked = ("", "Greet me in one word", "Hi there", "Why?", "I like trees", "I like ships")
    said = [answers.to_text(text) for text in asked]
    assert len(set(said)) == len(asked)
    assert "I like trees" in said[4]
    assert len(answers.to_text("word " * 1000)) < 200


def test_pieces_make_up_the_whole() -> None:
    said = answers.to_text("Is this whole?")
    assert "".join(answers.pieces(said)) == said
    assert "".join(answers.chunks('{"city":"Lisbon"}')) == '{"city":"Lisbon"}'


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "field"),
        ({"type": "string", "default": "x"}, "x"),
        ({"enum": ["a", "b"]}, "a"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": ["number", "null"]}, 1),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "object", "properties": {"inner": {"type": "string"}}}, {"inner": "inner"}),
    ],
)
def test_arguments_fit_their_schema(schema: Json, value: object) -> None:
    parameters = {"type": "object", "properties": {"field": schema}}
    call = answers.function_call([{"type": "function", "name": "f", "parameters": parameters}], "auto", "do it")
    assert call is not None
    assert (call.name, json.loads(call.arguments)) == ("f", {"field": value})


def test_choice_of_a_tool() -> None:
    tools: list[object] = [{"type": "mcp"}, {"type": "function", "name": "a"}, {"type": "function", "name": "b"}]

    def name(choice: object) -> str | None:
        call = answers.function_call(tools, choice, "")
        return call.name if call else None

    assert name("auto") == "a"
    assert name({"type": "function", "name": "b"}) == "b"
    assert name({"type": "function", "function": {"name": "b"}}) == "b"
    assert name("none") is None
    assert answers.function_call([], "auto", "") is None
