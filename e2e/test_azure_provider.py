"""Azure behind the gateway, by the GA API and the one before: both classes of the OpenAI SDK for Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from conftest import Stack, start_stack
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from processes import CLIENT_KEY

ASK = [{"role": "user", "content": "Hello, is anybody there?"}]
VERSION = "2024-10-21"
PREFIXES = pytest.mark.parametrize("prefix", ["azure", "before-ga"])


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    running = start_stack(folder, provider="azure")
    yield running
    running.close()


@PREFIXES
def test_chat(stack: Stack, prefix: str) -> None:
    base, options = f"http://{stack.host}/{prefix}", {"api_key": CLIENT_KEY, "max_retries": 0}
    for client in (
        OpenAI(base_url=f"{base}/v1", **options),
        AzureOpenAI(azure_endpoint=base, api_version=VERSION, **options),
    ):
        completion = client.chat.completions.create(model="my-deployment", messages=ASK)
        assert completion.model == "my-deployment"
        chunks = list(client.chat.completions.create(model="my-deployment", messages=ASK, stream=True))
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert client.models.list().data


def clients(stack: Stack, prefix: str) -> list[AsyncOpenAI]:
    base, options = f"{stack.host}/{prefix}", {"api_key": CLIENT_KEY, "max_retries": 0}
    azure = AsyncAzureOpenAI(
        azure_endpoint=f"http://{base}", websocket_base_url=f"ws://{base}/openai", api_version=VERSION, **options
    )
    return [AsyncOpenAI(base_url=f"http://{base}/v1", **options), azure]


@PREFIXES
async def test_realtime(stack: Stack, prefix: str) -> None:
    for client in clients(stack, prefix):
        async with client.realtime.connect(model="my-deployment") as connection:
            assert (await connection.recv()).type == "session.created"
            for _ in range(2):
                await connection.response.create()
                async for event in connection:
                    if event.type == "response.done":
                        assert event.response.usage.total_tokens
                        break


async def test_what_azure_refuses_is_a_status(stack: Stack) -> None:
    from websockets.exceptions import InvalidStatus

    for client in clients(stack, "azure"):
        with pytest.raises(InvalidStatus) as refused:
            async with client.realtime.connect(model="missing-deployment"):
                pass
        assert refused.value.response.status_code == 404
    stale = OpenAI(base_url=f"http://{stack.host}/stale/v1", api_key=CLIENT_KEY, max_retries=0)
    with pytest.raises(openai.APIStatusError):
        stale.models.list()
