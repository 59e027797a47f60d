"""What a model says under guardrails, on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dataplane.table import Guardrail, Keywords
from simulator.server import Simulator
from tests.dataplane.realtime.wires import calm
from tests.dataplane.rig import BEARER, REQUIRED, backend, provider, running, table

Event = dict[str, object]
STORY = "Tell me a story."
"""The model answers: … I have noted it."""


def noted(**fields: object) -> Guardrail:
    """Nobody may say `noted`."""
    words = Keywords(words=("noted",))
    return Guardrail.model_validate(
        {"policy": "ai/calm", "name": "calm", "input": False, "keywords": words, "action": "block"} | fields
    )


@asynccontextmanager
async def talking(upstream: Simulator, guardrail: Guardrail) -> AsyncIterator[ClientConnection]:
    policies = REQUIRED.model_copy(update={"guardrails": (guardrail,)})
    async with running(table(backend(provider(upstream.url + "/v1")), policies)) as rig, calm(rig):
        url = f"{rig.url.replace('http', 'ws')}/v1/realtime?model=gpt-realtime"
        async with asyncio.timeout(20), connect(url, additional_headers=BEARER) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"
            yield socket


async def turn(socket: ClientConnection, text: str, *, spoken: bool) -> list[Event]:
    """What the client hears of a turn, up to its end."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    modalities = {"output_modalities": ["audio" if spoken else "text"]}
    await socket.send(json.dumps({"type": "response.create", "response": modalities}))
    heard: list[Event] = []
    while not heard or heard[-1]["type"] != "response.done":
        heard.append(json.loads(await socket.recv()))
    return heard


def kinds(events: list[Event]) -> list[str]:
    return [str(each["type"]) for each in events]


@pytest.mark.parametrize("spoken", [False, True])
async def test_a_block_ends_the_session(upstream: Simulator, *, spoken: bool) -> None:
    async with talking(upstream, noted()) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await turn(socket, STORY, spoken=spoken)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert closed.value.rcvd.reason == "Guardrail blocked this request: calm: keywords"


@pytest.mark.parametrize("audio", ["cancel", "hold"])
@pytest.mark.parametrize("spoken", [False, True])
async def test_a_turn_is_refused_and_the_next_is_not(upstream: Simulator, audio: str, *, spoken: bool) -> None:
    async with talking(upstream, noted(refuse_turn=True, audio=audio)) as socket:
        refused = await turn(socket, STORY, spoken=spoken)
        assert "error" in kinds(refused)
        assert "noted" not in json.dumps(refused)
        assert "filter" in json.dumps(refused[-1])
        if audio == "hold":
            assert "response.output_audio.delta" not in kinds(refused)
        answered = await turn(socket, "Hello", spoken=spoken)
        assert "conversation.item.deleted" in kinds(answered)
        assert "good to hear" in json.dumps(answered[-1])
        assert ("response.output_audio.delta" in kinds(answered)) is spoken


async def test_a_mask_is_put(upstream: Simulator) -> None:
    async with talking(upstream, noted(action="mask")) as socket:
        heard = await turn(socket, STORY, spoken=False)
        said = "".join(str(each["delta"]) for each in heard if each["type"] == "response.output_text.delta")
        assert said.endswith("I have [calm] it.")
        assert said in json.dumps(heard[-1], ensure_ascii=False)
        assert "noted" not in json.dumps(heard)
