"""A provider's double from npm (`@copilotkit/aimock`), written by others: the gateway must carry its events as it does
the simulator's. It reports no tokens, ever, in realtime."""

from __future__ import annotations

import json
from collections.abc import Iterator

import processes
import pytest
from conftest import CACHE, Stack, start_stack
from openai import AsyncOpenAI
from websockets.asyncio.client import connect

ORDER = [
    "session.created",
    "session.updated",
    "response.created",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.done",
]
"""What a client sees of a text turn, without the events of items."""


@pytest.fixture(scope="module")
def mocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, str]]:
    """A gateway in front of the mock, and the mock's own address."""
    folder = tmp_path_factory.mktemp("mock")
    port = processes.free_port()
    fixtures = processes.ROOT / "e2e" / "mock"
    program = CACHE / "node" / "node_modules" / ".bin" / "llmock"
    mock = processes.start("mock", ["node", program, "-p", str(port), "-f", fixtures], folder)
    try:
        mock.wait_for(lambda: processes.listens(port))
        stack = start_stack(folder, MOCK=f"http://127.0.0.1:{port}")
        stack.same_books = False
        yield stack, f"127.0.0.1:{port}"
        stack.close()
    finally:
        mock.kill()
    processes.assert_quiet(mock.text(), "what the mock printed")


async def turn(base: str, text: str) -> list[dict]:
    """All events of a turn, by a client without any SDK."""
    async with connect(f"ws://{base}/v1/realtime?model=gpt-realtime") as connection:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        session = {"type": "realtime", "output_modalities": ["text"]}
        events = [json.loads(await connection.recv())]
        for event in (
            {"type": "session.update", "session": session},
            {"type": "conversation.item.create", "item": item},
            {"type": "response.create"},
        ):
            await connection.send(json.dumps(event))
        while events[-1]["type"] != "response.done":
            events.append(json.loads(await connection.recv()))
        return events


def types(events: list[dict]) -> list[str]:
    """Event types in order; a run of one type counts once."""
    seen = [event["type"] for event in events if not event["type"].startswith("conversation.")]
    return [kind for place, kind in enumerate(seen) if place == 0 or seen[place - 1] != kind]


@pytest.mark.parametrize("text", ["hello", "What is the weather?"])
async def test_events_come_in_the_providers_order(mocked: tuple[Stack, str], text: str) -> None:
    stack, address = mocked
    direct = await turn(address, text)
    relayed = await turn(f"{stack.host}/mock", text)
    assert [event["type"] for event in relayed] == [event["type"] for event in direct]


async def test_the_order_is_the_vendors(mocked: tuple[Stack, str]) -> None:
    stack, _ = mocked
    assert types(await turn(f"{stack.host}/mock", "hello")) == ORDER


async def test_the_openai_sdk(mocked: tuple[Stack, str]) -> None:
    stack, _ = mocked
    client = AsyncOpenAI(api_key="any", base_url=f"http://{stack.host}/mock/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        await connection.conversation.item.create(
            item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        )
        await connection.response.create()
        said = ""
        async for event in connection:
            if event.type == "response.output_text.delta":
                said += event.delta
            if event.type == "response.done":
                break
    assert said == "Hello! How can I help you today?"
    completion = await client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "hello"}])
    assert completion.choices[0].message.content == said
