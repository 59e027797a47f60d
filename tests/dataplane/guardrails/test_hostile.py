"""Texts that somebody writes to keep the gateway busy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from dataplane.guardrails import pii
from dataplane.guardrails.detection import Compiled, Found, compiled
from dataplane.guardrails.texts import (
    Json,
    Place,
    Unclear,
    chat_chunk,
    chat_request,
    client_event,
    responses_request,
    server_event,
)
from dataplane.table.guardrails import Pii

Find = Callable[[Json], Iterator[Place]]
DRAWN = "image_generation_call"


@pytest.mark.parametrize("word", ["xsk-", "sk-", "xeyJ", "-eyJaaaaa.", "_eyJ", "xoxb-", "xxoxb-", "_ghp_", "aAIza"])
def test_tokens_that_begin_everywhere_are_read_a_few_times(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reached to the end of the text: 128 KiB of them stopped all sessions for seconds."""
    matched: Counter[Compiled] = Counter()
    made = type(compiled("a"))
    search = made.search

    def counted(pattern: Compiled, text: bytes, pos: int | None = None) -> Found | None:
        found = search(pattern, text, pos)
        if found is not None:
            begin, end = found.span()
            matched[pattern] += end - begin
        return found

    monkeypatch.setattr(made, "search", counted)
    text = word * (16 * 1024 // len(word))
    pii.detector(Pii(kinds=("key",))).find(text)

    assert max(matched.values(), default=0) <= 16 * len(text)


@pytest.mark.parametrize(
    "text",
    [
        "ghp_" + "a" * 36 + "1",
        "xsk-aask-" + "a" * 20 + "-sk-" + "b" * 20 + "-7",
        "eyJaaaaa.eyJbbbbb.eyJccccc.111",
        "github_pat_" + "a" * 22 + "_1",
        "-ghp_AIza" + "a" * 36 + "-1",
    ],
)
def test_tokens_are_found_whole(text: str) -> None:
    found = pii.detector(Pii(kinds=("key",))).find(text)
    assert found[-1].end == len(text)


@pytest.mark.parametrize(
    ("find", "said"),
    [
        (chat_request, {"messages": [{"type": DRAWN, "role": "user", "content": "T"}]}),
        (responses_request, {"input": [{"type": DRAWN, "role": "user", "content": "T", "result": "iVBOR"}]}),
        (client_event, {"type": "response.create", "response": {"type": DRAWN, "instructions": "T"}}),
        (client_event, {"type": "session.update", "session": {"type": DRAWN, "instructions": "T"}}),
    ],
)
def test_the_type_of_a_picture_hides_nothing_but_the_picture(find: Find, said: Json) -> None:
    assert [place.text for place in find(said)] == ["T"]


@pytest.mark.parametrize(
    ("find", "said"),
    [
        (chat_request, {"prompt": [15496, 11]}),
        (chat_request, {"prompt": ["T", [15496]]}),
        (chat_request, {"input": [[15496], [11]]}),
        (chat_request, {"Prompt": [15496, 11]}),
        (responses_request, {"input": "T", "prompt_embeds": "iVBOR"}),
    ],
)
def test_what_is_no_text_to_us_and_text_to_others_is_unclear(find: Find, said: Json) -> None:
    with pytest.raises(Unclear):
        list(find(said))


@pytest.mark.parametrize(
    ("find", "said"),
    [
        (chat_request, {"messages": [], "Messages": [{"role": "user", "content": "T"}]}),
        (responses_request, {"input": "", "INPUT": "T"}),
    ],
)
def test_spelling_hides_nothing(find: Find, said: Json) -> None:
    assert "T" in [place.text for place in find(said)]


@pytest.mark.parametrize("name", ["data", "format", "metadata", "usage", "id"])
def test_variables_are_text_whatever_they_are_called(name: str) -> None:
    prompt: Json = {"id": "pmpt_1", "variables": {name: "T"}}
    assert [place.text for place in responses_request({"prompt": prompt})] == ["T"]
    part: Json = {"id": "pmpt_1", "variables": {name: {"type": "input_text", "text": "T"}}}
    session = client_event({"type": "session.update", "session": {"prompt": part}})
    assert [place.text for place in session] == ["T"]
    assert next(responses_request({"prompt": part})).name == "prompt.variables.*.text"


def test_a_piece_that_is_an_object_is_read() -> None:
    event: Json = {"type": "response.mcp_call_arguments.delta", "item_id": "i", "delta": {"path": "T"}}
    assert [place.text for place in server_event(event)] == ["T"]


@pytest.mark.parametrize("item", [{"type": "shell_call_output", "output": "T"}, {"role": "user", "content": "T"}])
def test_what_belongs_to_a_response_is_judged_as_what_the_model_says(item: Json) -> None:
    """As it is where the same answer comes whole."""
    event: Json = {"type": "response.output_item.done", "item": item}
    assert [(place.text, place.said) for place in server_event(event)] == [("T", "output")]


@pytest.mark.parametrize("index", [-1, True, None])
def test_pieces_of_a_choice_without_a_number_are_pieces_of_one_text(index: object) -> None:
    """A text whose name is no stream's would be judged piece by piece."""
    chunk: Json = {"choices": [{"index": index, "delta": {"content": "T"}}]}
    assert [place.stream for place in chat_chunk(chunk)] == ["choices[0].delta.content"]
