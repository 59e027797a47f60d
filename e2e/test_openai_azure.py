"""The Azure classes of the OpenAI SDK for Python, at a gateway whose provider is OpenAI: chat, responses, realtime."""

from __future__ import annotations

import json

import openai
import pytest
from conftest import Stack
from openai import AsyncAzureOpenAI, AzureOpenAI
from processes import CLIENT_KEY, WRONG_KEY, assert_quiet

ASK = [{"role": "user", "content": "Hello, is anybody there?"}]
VERSION = "2025-04-01-preview"


def client(stack: Stack, key: str = CLIENT_KEY, **options: str) -> AzureOpenAI:
    endpoint = f"http://{stack.host}"
    return AzureOpenAI(api_key=key, azure_endpoint=endpoint, api_version=VERSION, max_retries=0, timeout=20, **options)


@pytest.fixture
def asynchronous(stack: Stack) -> AsyncAzureOpenAI:
    return AsyncAzureOpenAI(
        api_key=CLIENT_KEY,
        azure_endpoint=f"http://{stack.host}",
        api_version=VERSION,
        websocket_base_url=f"ws://{stack.host}/openai",  # else it insists on wss
        max_retries=0,
        timeout=20,
    )


def test_chat(stack: Stack) -> None:
    completion = client(stack).chat.completions.create(model="gpt-5-mini", messages=ASK)
    assert completion.choices[0].message.content
    assert completion.model == "gpt-5-mini"


def test_a_client_of_one_deployment(stack: Stack) -> None:
    completion = client(stack, azure_deployment="voice").chat.completions.create(model="gpt-4o", messages=ASK)
    assert completion.model == "gpt-realtime-2"  # what the path names, whatever stands in the body


async def test_chat_streamed(asynchronous: AsyncAzureOpenAI) -> None:
    stream = await asynchronous.chat.completions.create(model="gpt-5", messages=ASK, stream=True)
    assert "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])


def test_responses(stack: Stack) -> None:
    azure = client(stack)
    made = azure.responses.create(model="gpt-5-mini", input="Hello")
    following = azure.responses.create(model="gpt-5-mini", input="And?", previous_response_id=made.id)
    assert following.previous_response_id == made.id
    assert azure.responses.retrieve(following.id).output_text == following.output_text


def test_models(stack: Stack) -> None:
    assert [model.id for model in client(stack).models.list()] == ["voice", "gpt-5-mini"]


def test_refusals(stack: Stack) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        client(stack, WRONG_KEY).chat.completions.create(model="gpt-5", messages=ASK)
    assert_quiet(str(refused.value), "the error")
    with pytest.raises(openai.PermissionDeniedError) as denied:
        client(stack).chat.completions.create(model="gpt-4o", messages=ASK)
    assert denied.value.code == "model_not_allowed"
    with pytest.raises(openai.PermissionDeniedError) as minting:
        client(stack).realtime.client_secrets.create(session={"type": "realtime", "model": "gpt-realtime"})
    assert minting.value.code == "path_not_allowed"


@pytest.mark.parametrize("model", ["gpt-realtime", "voice"])
async def test_realtime(asynchronous: AsyncAzureOpenAI, model: str) -> None:
    async with asynchronous.realtime.connect(model=model) as connection:
        created = await connection.recv()
        assert (created.type, created.session.model) == ("session.created", model)
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await connection.response.create()
        async for event in connection:
            if event.type == "response.done":
                assert event.response.usage.total_tokens
            if event.type == "rate_limits.updated":
                break


async def test_realtime_refusals_come_before_the_upgrade(stack: Stack, asynchronous: AsyncAzureOpenAI) -> None:
    from websockets.exceptions import InvalidStatus

    found = {}
    for model, query in (("gpt-4o-realtime-preview", {}), ("claude", {}), ("gpt-realtime", {"model": "gpt-4o"})):
        with pytest.raises(InvalidStatus) as refused:
            async with asynchronous.realtime.connect(model=model, extra_query=query):
                pass
        answer = refused.value.response
        found[model] = (answer.status_code, json.loads(answer.body)["error"]["code"])
    assert found == {
        "gpt-4o-realtime-preview": (403, "model_not_allowed"),
        "claude": (404, "model_not_found"),
        "gpt-realtime": (400, "invalid_value"),
    }
