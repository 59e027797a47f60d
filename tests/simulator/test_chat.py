"""One chat completion: the answer, its pieces, its usage."""

from __future__ import annotations

import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from simulator import chat
from simulator.errors import RefusedError
from simulator.scenarios import Options
from simulator.shapes import Json, mapping

NOTHING = Options()


def user(text: object) -> Json:
    return {"role": "user", "content": text}


def completed(*messages: Json, scenario: str = "", **body: object) -> ChatCompletion:
    """The reply to some messages, as the vendor's type."""
    options = Options.parse(scenario)
    completion = chat.complete({"model": "gpt-5", "messages": list(messages), **body}, 1, 1_800_000_000, options)
    return ChatCompletion.model_validate(completion.reply(options)[0])


def test_reply_and_stream_say_the_same_for_the_same_usage() -> None:
    completion = chat.complete({"model": "gpt-5", "messages": [user("What is new?")]}, 1, 0, NOTHING)
    reply = ChatCompletion.model_validate(completion.reply(NOTHING)[0])
    chunks, sent = completion.chunks(NOTHING, usage_wanted=True)
    parsed = [ChatCompletionChunk.model_validate(chunk) for chunk in chunks]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in parsed[:-1])
    assert said == reply.choices[0].message.content
    assert parsed[-2].choices[0].finish_reason == "stop"
    assert parsed[-1].choices == []
    assert parsed[-1].usage == reply.usage
    assert sent == chunks[-1]["usage"]
    assert all(chunk["usage"] is None for chunk in chunks[:-1])


def test_stream_without_include_usage_has_no_usage_anywhere() -> None:
    completion = chat.complete({"model": "gpt-5", "messages": [user("What is new?")]}, 1, 0, NOTHING)
    chunks, sent = completion.chunks(NOTHING, usage_wanted=False)
    assert sent is None
    assert not any("usage" in chunk for chunk in chunks)
    assert all(chunk["choices"] for chunk in chunks)


def test_usage_follows_from_the_text() -> None:
    first, longer = completed(user("1234")), completed(user("123456789"))
    assert first.usage is not None
    assert longer.usage is not None
    assert (first.usage.prompt_tokens, longer.usage.prompt_tokens) == (1, 3)
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens


def test_earlier_turns_are_cached_and_thinking_is_counted() -> None:
    history: list[Json] = [user("12345678"), {"role": "assistant", "content": "1234"}, user("1234")]
    usage = completed(*history, scenario="reasoning").usage
    assert usage is not None
    assert usage.prompt_tokens == 4
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 2
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 64
    assert usage.completion_tokens > 64


def test_pictures_and_sound_count_by_modality() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 64_000, "format": "pcm16"}}
    usage = completed(user([picture, sound, {"type": "text", "text": "1234"}])).usage
    assert usage is not None
    details = usage.prompt_tokens_details
    assert details is not None
    assert (details.text_tokens, details.audio_tokens, details.image_tokens) == (1, 10, 85)
    assert usage.prompt_tokens == 96


def test_tool_call_whole_and_streamed_and_the_answer_to_it() -> None:
    schema = {"type": "object", "properties": {"unit": {"enum": ["c", "f"]}, "city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    body: Json = {"model": "gpt-5", "messages": [user("How warm is Oslo?")], "tools": tools}
    completion = chat.complete(body, 1, 0, NOTHING)
    reply = ChatCompletion.model_validate(completion.reply(NOTHING)[0])
    assert reply.choices[0].finish_reason == "tool_calls"
    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"unit": "c", "city": "Oslo"}
    chunks = [ChatCompletionChunk.model_validate(c) for c in completion.chunks(NOTHING, usage_wanted=False)[0]]
    deltas = [delta for chunk in chunks for delta in chunk.choices[0].delta.tool_calls or []]
    assert "".join((d.function and d.function.arguments) or "" for d in deltas) == call.function.arguments
    output: Json = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
    assert "21 degrees" in (completed(user("x"), output, tools=tools).choices[0].message.content or "")
    assert completed(user("How warm?"), tools=tools, tool_choice="none").choices[0].finish_reason == "stop"


def test_limit_cuts_the_answer() -> None:
    reply = completed(user("Tell me about the sea"), max_completion_tokens=3)
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3


@pytest.mark.parametrize("scenario", ["no-usage", "null-usage", "total-only", "no-details", "zero-usage"])
def test_usage_that_is_not_whole_is_sent_and_returned_alike(scenario: str) -> None:
    options = Options.parse(scenario)
    completion = chat.complete({"model": "gpt-5", "messages": [user("Hello")]}, 1, 0, options)
    reply, sent = completion.reply(options)
    assert reply.get("usage") == sent
    assert ("usage" in reply) == (scenario != "no-usage")
    chunks, streamed = completion.chunks(options, usage_wanted=True)
    assert streamed == sent
    assert (chunks[-1]["choices"] == []) == (scenario != "no-usage")
    if scenario == "no-details":
        assert set(mapping(sent)) == {"prompt_tokens", "completion_tokens", "total_tokens"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"messages": [user("x")]}, 400, "missing_required_parameter"),
        ({"model": "gpt-5"}, 400, "missing_required_parameter"),
        ({"model": "missing-1", "messages": [user("x")]}, 404, "model_not_found"),
        ({"model": "gpt-5", "messages": [user("x")], "max_tokens": 0}, 400, "invalid_value"),
    ],
)
def test_wrong_bodies_are_refused(body: Json, status: int, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        chat.complete(body, 1, 0, NOTHING)
    assert (refused.value.status, refused.value.error["code"]) == (status, code)
