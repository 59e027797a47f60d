"""Which models a real session may name, from its handshake to its last transcription."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dataplane.table import Model, ModelAllow, PolicySet, Price, Target
from simulator.server import Simulator
from tests.dataplane.realtime.wires import calm
from tests.dataplane.rig import BEARER, REQUIRED, Rig, backend, provider, running, table

HEAR = Model(name="hear", targets=(Target(provider="openai", model="gpt-4o-transcribe"),), price=Price(input_audio="6"))
VOICE = Model(name="voice", targets=(Target(provider="openai", model="gpt-realtime"),))
AUDIO = base64.b64encode(bytes(48_000)).decode()
Event = dict[str, object]


def limited(*patterns: str) -> PolicySet:
    return REQUIRED.model_copy(update={"models": (ModelAllow(policy="ai/few", patterns=patterns),)})


@asynccontextmanager
async def session(rig: Rig, query: str) -> AsyncIterator[ClientConnection]:
    url = f"{rig.url.replace('http', 'ws')}/v1/realtime?{query}"
    async with asyncio.timeout(20), connect(url, additional_headers=BEARER) as socket:
        yield socket


async def heard(socket: ClientConnection, kind: str) -> Event:
    """The next event of a kind."""
    while True:
        event: Event = json.loads(await socket.recv())
        if event["type"] == kind:
            return event


async def say(socket: ClientConnection) -> None:
    await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": AUDIO}))
    await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))


def listen(model: str, kind: str = "realtime") -> str:
    inner = {"transcription": {"model": model}, "turn_detection": None}
    return json.dumps(
        {"type": "session.update", "event_id": "mine", "session": {"type": kind, "audio": {"input": inner}}}
    )


@pytest.mark.parametrize(("query", "kind"), [("intent=transcription", "transcription"), ("model=voice", "realtime")])
async def test_a_session_transcribes_with_allowed_models_by_their_public_names(
    upstream: Simulator, query: str, kind: str
) -> None:
    served = table(backend(provider(upstream.url + "/v1"), models=(HEAR, VOICE)), limited("hear", "voice"))
    async with running(served) as rig, calm(rig), session(rig, query) as socket:
        await socket.send(listen("gpt-4o-transcribe", kind))
        refused = await heard(socket, "error")
        assert isinstance(error := refused["error"], dict)
        assert (error["code"], error["event_id"]) == ("model_not_allowed", "mine")
        assert error["param"] == "session.audio.input.transcription.model"
        await socket.send(listen("hear", kind))
        updated = await heard(socket, "session.updated")
        assert '"model": "hear"' in json.dumps(updated["session"])
        await say(socket)
        await heard(socket, "conversation.item.input_audio_transcription.completed")
        await socket.close()
        async with asyncio.timeout(5):
            while not rig.meter.closed:
                await asyncio.sleep(0.005)
        [usage] = rig.meter.turns
        assert (usage.operation, usage.public_model, usage.request_model) == (
            "transcription",
            "hear",
            "gpt-4o-transcribe",
        )
        assert rig.meter.prices == [HEAR.price]
        assert rig.meter.closed[0].reason == "client_closed"


async def test_a_transcription_session_does_not_use_a_default_that_is_not_allowed(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1")), limited("whisper-*"))
    async with running(served) as rig, calm(rig), session(rig, "intent=transcription") as socket:
        await heard(socket, "session.created")
        await say(socket)
        error = await heard(socket, "error")
        assert "Name one before the first audio" in str(error)
        with pytest.raises(ConnectionClosed) as closed:
            await heard(socket, "conversation.item.input_audio_transcription.completed")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        async with asyncio.timeout(5):
            while not rig.meter.closed:
                await asyncio.sleep(0.005)
        assert rig.meter.closed[0].reason == "model_not_allowed"


async def test_without_a_limit_a_transcription_session_uses_what_it_likes(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1")))
    async with running(served) as rig, calm(rig), session(rig, "intent=transcription") as socket:
        await say(socket)
        await heard(socket, "conversation.item.input_audio_transcription.completed")
