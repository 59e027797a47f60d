"""The OpenAI SDK for Python: chat and realtime, as an application uses it."""

from __future__ import annotations

import base64
import json

import openai
import pytest
from conftest import Stack
from openai import AsyncOpenAI, OpenAI
from processes import CLIENT_KEY, WRONG_KEY, assert_quiet

ASK = [{"role": "user", "content": "Hello, is anybody there?"}]
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather at a place.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture
def client(stack: Stack) -> OpenAI:
    return OpenAI(api_key=CLIENT_KEY, base_url=stack.base, max_retries=0, timeout=20)


@pytest.fixture
def asynchronous(stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=CLIENT_KEY, base_url=stack.base, max_retries=0, timeout=20)


# -- chat ----------------------------------------------------------------------------------------------------------


def test_chat(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="gpt-5-mini", messages=ASK)
    assert completion.choices[0].message.content
    assert completion.model == "gpt-5-mini"
    assert completion.usage
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


async def test_chat_asynchronous(asynchronous: AsyncOpenAI) -> None:
    completion = await asynchronous.chat.completions.create(model="gpt-5", messages=ASK)
    assert completion.choices[0].message.content


def test_a_public_name_reaches_the_model_behind_it(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="voice", messages=ASK)
    assert completion.model == "gpt-realtime-2"  # the answer is the provider's, untouched


def test_stream_without_usage_shows_none(client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="gpt-5", messages=ASK, stream=True))
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_stream_with_usage_ends_with_it(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="gpt-5", messages=ASK, stream=True, stream_options={"include_usage": True})
    )
    assert [bool(chunk.usage) for chunk in chunks].index(True) == len(chunks) - 1
    assert chunks[-1].choices == []


async def test_stream_asynchronous(asynchronous: AsyncOpenAI) -> None:
    stream = await asynchronous.chat.completions.create(model="gpt-5", messages=ASK, stream=True)
    assert "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])


def test_the_models_that_this_caller_may_use(client: OpenAI, stack: Stack) -> None:
    assert [model.id for model in client.models.list()] == ["voice", "gpt-5-mini"]
    assert (client.models.retrieve("voice").object, client.models.retrieve("gpt-5").id) == ("model", "gpt-5")
    with pytest.raises(openai.PermissionDeniedError):
        client.models.retrieve("gpt-4o")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("claude")


async def test_the_models_of_a_provider_that_this_caller_may_use(stack: Stack) -> None:
    every = AsyncOpenAI(api_key=CLIENT_KEY, base_url=f"http://{stack.host}/undeclared/v1", max_retries=0)
    assert [model.id async for model in every.models.list()] == ["gpt-5", "gpt-5-mini"]


def test_passthrough_of_the_rest_of_the_api(client: OpenAI) -> None:
    embedded = client.embeddings.create(model="gpt-5", input="a text", encoding_format="float")
    assert len(embedded.data[0].embedding) == 8
    assert client.files.create(file=("notes.txt", b"x" * 300_000), purpose="user_data").bytes > 300_000


# -- responses -----------------------------------------------------------------------------------------------------


def test_a_response_and_what_goes_on_from_it(client: OpenAI) -> None:
    first = client.responses.create(model="gpt-5-mini", input="Hello, is anybody there?")
    assert first.output_text
    second = client.responses.create(model="gpt-5-mini", input="And now?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.usage
    assert second.usage.input_tokens_details.cached_tokens > 0
    assert client.responses.retrieve(second.id).output_text == second.output_text
    assert [item.type for item in client.responses.input_items.list(second.id)] == ["message"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)


def test_responses_over_a_websocket(client: OpenAI) -> None:
    previous = None
    with client.responses.connect() as connection:
        for text in ("Hello, is anybody there?", "And now?"):
            connection.response.create(model="gpt-5", input=text, store=False, previous_response_id=previous)
            made = next(event.response for event in connection if event.type == "response.completed")
            assert made.output_text
            assert made.usage
            assert made.previous_response_id == previous
            previous = made.id
        assert made.usage.input_tokens_details.cached_tokens > 0
        connection.response.create(model="gpt-4o", input="Hello")
        refused = next(event for event in connection if event.type == "error")
        assert (refused.status, refused.error.code) == (403, "model_not_allowed")


async def test_responses_over_a_websocket_asynchronous(asynchronous: AsyncOpenAI) -> None:
    made = await asynchronous.responses.create(model="gpt-5", input="Hello")
    async with asynchronous.responses.connect() as connection:
        await connection.response.create(model="gpt-5", input="And?", previous_response_id=made.id)
        async for event in connection:
            if event.type == "response.completed":
                assert event.response.previous_response_id == made.id
                break


def test_a_stream_of_a_response(client: OpenAI) -> None:
    with client.responses.stream(model="gpt-5", input="Hello!", include=["reasoning.encrypted_content"]) as stream:
        kinds = [event.type for event in stream]
        made = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert client.responses.create(model="gpt-5", input="And?", previous_response_id=made.id).output_text


async def test_reasoning_that_is_sent_back(asynchronous: AsyncOpenAI) -> None:
    options = {"model": "gpt-5", "store": False, "include": ["reasoning.encrypted_content"]}
    first = await asynchronous.responses.create(input="Hello", reasoning={"effort": "low"}, **options)
    assert first.output[0].type == "reasoning"
    said = [item.model_dump(exclude_none=True) for item in first.output]
    assert said[0]["encrypted_content"].startswith("tg1")
    again = await asynchronous.responses.create(input=[*said, {"role": "user", "content": "And?"}], **options)
    assert again.output_text


def test_a_response_of_the_background(client: OpenAI) -> None:
    made = client.responses.create(model="gpt-5", input="Hello", background=True)
    while made.status in ("queued", "in_progress"):
        made = client.responses.retrieve(made.id)
    assert (made.status, bool(made.usage)) == ("completed", True)
    other = client.responses.create(model="gpt-5", input="Hello", background=True)
    assert client.responses.cancel(other.id).status == "cancelled"


def test_a_response_of_nobody_is_404(client: OpenAI) -> None:
    for ask in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError) as refused:
            ask("resp_000001")
        assert refused.value.code == "response_not_found"
    with pytest.raises(openai.PermissionDeniedError) as forbidden:
        client.responses.create(model="gpt-4o", input="Hello")
    assert forbidden.value.code == "model_not_allowed"


# -- what the SDK makes of refusals ----------------------------------------------------------------------------------


def test_wrong_key_is_401(stack: Stack) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        OpenAI(api_key=WRONG_KEY, base_url=stack.base, max_retries=0).models.list()
    assert refused.value.code == "invalid_api_key"
    assert_quiet(str(refused.value), "the error")


def test_model_not_allowed_is_403(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(model="gpt-4o", messages=ASK)
    assert refused.value.code == "model_not_allowed"
    assert "gpt-4o" in str(refused.value)


def test_minting_a_credential_is_403(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.realtime.client_secrets.create(session={"type": "realtime", "model": "gpt-realtime"})
    assert refused.value.code == "path_not_allowed"


def test_unknown_model_is_404(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="claude", messages=ASK)
    assert refused.value.code == "model_not_found"


def test_a_model_that_the_provider_does_not_know_is_its_404(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="missing-model", messages=ASK)
    assert refused.value.code == "model_not_found"


def test_bad_request_is_the_providers_400(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="gpt-5", messages=[])
    assert refused.value.param == "messages"


def test_no_model_is_400(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/chat/completions", cast_to=object, body={"messages": ASK})
    assert refused.value.code == "missing_model"


def test_a_rejected_credential_of_the_gateway_is_502_and_not_401(stack: Stack) -> None:
    client = OpenAI(api_key=CLIENT_KEY, base_url=f"http://{stack.host}/stale/v1", max_retries=0)
    with pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model="gpt-5", messages=ASK)
    assert (refused.value.status_code, refused.value.code) == (502, "upstream_credential_rejected")
    assert_quiet(str(refused.value), "the error")


def test_the_providers_429_says_when_to_come_again(client: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="gpt-5", messages=ASK, metadata={"scenario": "status:429"})
    assert refused.value.response.headers["retry-after"]


# -- realtime --------------------------------------------------------------------------------------------------------


async def test_realtime_text_turn(asynchronous: AsyncOpenAI) -> None:
    async with asynchronous.realtime.connect(model="gpt-realtime") as connection:
        created = await connection.recv()
        assert (created.type, created.session.model) == ("session.created", "gpt-realtime")
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Say hello."}]}
        )
        await connection.response.create()
        said, done = [], None
        async for event in connection:
            if event.type == "response.output_text.delta":
                said.append(event.delta)
            if event.type == "response.done":
                done = event
            if event.type == "rate_limits.updated":  # comes after response.done
                break
        assert "".join(said)
        assert done
        assert done.response.usage.output_token_details.text_tokens > 0


async def test_realtime_audio_turn(asynchronous: AsyncOpenAI) -> None:
    second = base64.b64encode(bytes(48_000)).decode()
    async with asynchronous.realtime.connect(model="voice") as connection:
        created = await connection.recv()
        assert created.session.model == "voice"
        await connection.session.update(
            session={
                "type": "realtime",
                "model": "voice",
                "audio": {"input": {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}}},
            }
        )
        await connection.input_audio_buffer.append(audio=second)
        await connection.input_audio_buffer.append(audio=second)
        await connection.input_audio_buffer.commit()
        await connection.response.create()
        heard, audio, done = "", b"", None
        async for event in connection:
            if event.type == "conversation.item.input_audio_transcription.completed":
                heard = event.transcript
            if event.type == "response.output_audio.delta":
                audio += base64.b64decode(event.delta)
            if event.type == "response.done":
                done = event
            if done and heard:
                break
        assert audio
        assert done
        assert done.response.usage.input_token_details.audio_tokens > 0
        assert done.response.usage.output_token_details.audio_tokens > 0


async def test_realtime_tool_call(asynchronous: AsyncOpenAI) -> None:
    async with asynchronous.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"], "tools": [TOOL]})
        await connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "What is the weather in Lisbon?"}],
            }
        )
        await connection.response.create()
        call = None
        async for event in connection:
            if event.type == "response.function_call_arguments.done":
                call = event
            if event.type == "response.done":
                break
        assert call
        assert json.loads(call.arguments) == {"city": "Lisbon"}
        await connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": call.call_id, "output": "sunny, 24 °C"}
        )
        await connection.response.create(response={"tool_choice": "none"})
        async for event in connection:
            if event.type == "response.output_text.done":
                assert "sunny" in event.text
            if event.type == "response.done":
                break


async def test_realtime_refusals_come_before_the_upgrade(stack: Stack, asynchronous: AsyncOpenAI) -> None:
    from websockets.exceptions import InvalidStatus

    wrong = AsyncOpenAI(api_key=WRONG_KEY, base_url=stack.base)
    refused_with = {}
    for name, client, model in (
        ("wrong key", wrong, "gpt-realtime"),
        ("not allowed", asynchronous, "gpt-4o-realtime-preview"),
        ("unknown", asynchronous, "claude"),
        ("unknown to the provider", asynchronous, "missing-realtime"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with client.realtime.connect(model=model):
                pass
        answer = refused.value.response
        refused_with[name] = (answer.status_code, json.loads(answer.body)["error"]["code"])
    assert refused_with == {
        "wrong key": (401, "invalid_api_key"),
        "not allowed": (403, "model_not_allowed"),
        "unknown": (404, "model_not_found"),
        "unknown to the provider": (404, "model_not_found"),
    }


# -- models inside a session -----------------------------------------------------------------------------------------


async def test_a_transcription_session_names_only_allowed_models(asynchronous: AsyncOpenAI) -> None:
    async with asynchronous.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert (await connection.recv()).type == "session.created"

        async def listen(model: str) -> str:
            await connection.session.update(
                session={"type": "transcription", "audio": {"input": {"transcription": {"model": model}}}}
            )
            event = await connection.recv()
            return event.error.code if event.type == "error" else event.session.audio.input.transcription.model

        assert await listen("gpt-secret") == "model_not_allowed"
        assert await listen("gpt-4o-transcribe") == "gpt-4o-transcribe"
