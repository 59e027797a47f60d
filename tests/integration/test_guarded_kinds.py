"""Guardrails on speech hold at each kind of provider, in its own words: who detects voices by itself and cannot be
told to wait, who knows the beta's names alone, who speaks in binary messages."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from websockets.asyncio.client import ClientConnection, connect

from dataplane.table import Guardrail, Keywords
from simulator.kinds import Kind
from simulator.server import Simulator
from tests.dataplane import rig
from tests.integration.test_provider_kinds import V, provider

HEARD, SAID = "hear me", "well"
"""What the simulator hears, whatever is said, and what it answers to that."""
SECOND = bytes(48_000)
KINDS: list[tuple[Kind, str]] = [("openai", ""), ("azure", ""), ("azure", V), ("xai", "")]
BINARY = {"audio": {"input": {"transport": "binary"}, "output": {"transport": "binary"}}}
MANUAL: dict[tuple[str, str], dict[str, object]] = {
    ("xai", ""): {"turn_detection": {"type": None}},
    ("azure", V): {"turn_detection": None},
}
TOLD = ("response.created", "response.done", "error")


def guardrail(word: str, **changes: object) -> Guardrail:
    found = Keywords(words=(word,))
    return Guardrail(policy="ai/p", name="g", keywords=found, action="block", refuse_turn=True).model_copy(
        update=changes
    )


class Client:
    """Reads all that it is told."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, object]] = []
        self.binary = 0

    async def send(self, kind: str, **fields: object) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def until(self, *kinds: str) -> None:
        async with asyncio.timeout(15):
            while not self.events or self.events[-1]["type"] not in kinds:
                message = await self.socket.recv()
                if isinstance(message, bytes):
                    self.binary += 1
                    self.events.append({"type": "binary"})
                else:
                    self.events.append(json.loads(message))

    @property
    def kinds(self) -> list[str]:
        return [str(each["type"]) for each in self.events]

    @property
    def told(self) -> list[str]:
        return [kind for kind in self.kinds if kind in TOLD]


async def spoke(kind: Kind, version: str, rule: Guardrail, *, manual: bool = False, binary: bool = False) -> Client:
    """The user says something; what the client was told by the end of the answer, or of the refusal."""
    async with Simulator(kind=kind) as simulator:
        policies = rig.REQUIRED.model_copy(update={"guardrails": (rule,)})
        served = rig.table(rig.backend(provider(kind, simulator.url, version=version)), policies=policies)
        async with rig.running(served) as gateway:
            url = f"ws://127.0.0.1:{gateway.gateway.port}/v1/realtime?model=m"
            async with connect(url, additional_headers=rig.BEARER, max_size=None) as socket:
                client = Client(socket)
                await client.until("session.created")
                ga = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
                changes = [BINARY] * binary + [MANUAL.get((kind, version), ga)] * manual
                for change in changes:
                    await client.send("session.update", session=change)
                    await client.until("session.updated")
                if binary:
                    await socket.send(SECOND)
                else:
                    await client.send("input_audio_buffer.append", audio=base64.b64encode(SECOND).decode())
                if manual:
                    await client.send("input_audio_buffer.commit")
                    await client.send("response.create")
                await client.until("response.done", "conversation.item.deleted")
                await client.send("input_audio_buffer.clear")
                await client.until("input_audio_buffer.cleared")
                return client


@pytest.mark.parametrize("manual", [True, False])
@pytest.mark.parametrize(("kind", "version"), KINDS)
async def test_what_may_be_said_is_answered_once_and_in_order(kind: Kind, version: str, manual: bool) -> None:
    client = await spoke(kind, version, guardrail("candy"), manual=manual)
    assert client.told == ["response.created", "response.done"]
    answer = [each for each in client.kinds if each.startswith("response.")]
    assert (answer[0], answer[-1]) == ("response.created", "response.done"), "nothing overtakes what was withheld"


@pytest.mark.parametrize("manual", [True, False])
@pytest.mark.parametrize(("kind", "version"), KINDS)
async def test_what_may_not_be_said_is_not_answered(kind: Kind, version: str, manual: bool) -> None:
    client = await spoke(kind, version, guardrail(HEARD, output=False), manual=manual)
    error = next(each for each in client.events if each["type"] == "error")
    assert "g: keywords" in str(error["error"]), "it was transcribed, and judged by that"
    shown = {kind for kind in client.kinds if kind.startswith("response.")}
    assert shown <= {"response.done"}, "nothing of an answer is heard"
    assert HEARD not in json.dumps(client.events)


@pytest.mark.parametrize(("kind", "version"), KINDS)
async def test_what_the_model_may_not_say_is_cut_off(kind: Kind, version: str) -> None:
    client = await spoke(kind, version, guardrail(SAID, input=False, audio="hold"))
    assert client.told == ["response.created", "error", "response.done"]
    assert not [each for each in client.kinds if "audio.delta" in each]
    assert SAID not in json.dumps(client.events)


async def test_binary_audio_in_order() -> None:
    client = await spoke("xai", "", guardrail("candy"), binary=True)
    assert client.binary > 1
    kinds = client.kinds
    assert kinds.index("response.created") < kinds.index("binary")


async def test_binary_audio_that_may_not_be_heard() -> None:
    heard = await spoke("xai", "", guardrail(HEARD, output=False), binary=True)
    said = await spoke("xai", "", guardrail(SAID, input=False, audio="hold"), binary=True)
    assert (heard.binary, said.binary) == (0, 0)
