"""What is metered at each kind of provider equals what it billed: a thousand turns of each, and xAI's time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from dataplane.metering.prices import Cost
from dataplane.metering.usage import Tokens, Usage
from dataplane.realtime import stopwatch
from dataplane.server import Limits
from dataplane.table import CallerLimits, Credential, Limit, Provider
from simulator.kinds import KINDS, Kind
from simulator.ledger import Ledger
from simulator.server import Simulator
from tests.dataplane import rig
from tests.dataplane.rig import BEARER, UPSTREAM_KEY, Rig

V = "2025-04-01-preview"
SESSIONS, TURNS, CHATS = 8, 100, 200
BEGIN = json.dumps({"type": "response.create"})
MANUAL = json.dumps({"type": "session.update", "session": {"turn_detection": {"type": None}}})
SECOND = 48_000
"""Bytes of audio."""


def provider(kind: Kind, url: str, *, version: str = "", key: str = "upstream@1") -> Provider:
    header = "api-key" if kind == "azure" else "authorization"
    credential = Credential(kind="secret", secret=key, header=header)
    base = url if kind == "azure" else f"{url}/v1"
    return Provider(name=kind, kind=kind, url=base, credential=credential, api_version=version)


@asynccontextmanager
async def standing(kind: Kind, *, version: str = "", key: str = UPSTREAM_KEY) -> AsyncIterator[tuple[Rig, Simulator]]:
    async with Simulator(kind=kind) as simulator:
        served = rig.table(rig.backend(provider(kind, simulator.url, version=version)))
        async with rig.running(served, secrets={"upstream@1": key}) as running:
            yield running, simulator


def session(gateway: Rig, query: str = "model=grok-voice-latest", **options: object) -> connect:
    url = f"ws://127.0.0.1:{gateway.gateway.port}/v1/realtime?{query}"
    return connect(url, additional_headers=BEARER, max_size=None, **options)  # type: ignore[arg-type]


async def until(socket: ClientConnection, kind: str) -> dict[str, object]:
    while True:
        message = await socket.recv()
        if isinstance(message, str):
            event: dict[str, object] = json.loads(message)
            if event["type"] == kind:
                return event


async def talk(gateway: Rig) -> None:
    async with session(gateway) as socket:
        await until(socket, "session.created")
        for _ in range(TURNS):
            await socket.send(BEGIN)
            await until(socket, "response.done")


async def chat(gateway: Rig) -> None:
    async with aiohttp.ClientSession(headers=BEARER) as http:
        for number in range(CHATS):
            body = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello " * number}]}
            async with http.post(f"{gateway.url}/v1/chat/completions", json=body) as reply:
                assert reply.status == 200
                await reply.read()


def metered(turns: list[Usage], *operations: str) -> Tokens:
    found = [usage for usage in turns if usage.operation in operations]
    assert all(usage.tokens is not None and not usage.estimated for usage in found)
    return sum((usage.tokens or Tokens() for usage in found), Tokens())


def billed(ledger: Ledger) -> Counter[str]:
    return Counter({name: int(total) for name, total in ledger.totals.items() if name.endswith("put_tokens")})


@pytest.mark.parametrize(("kind", "version"), [*((kind, "") for kind in KINDS), ("azure", V)])
async def test_a_thousand_turns(kind: Kind, version: str) -> None:
    async with standing(kind, version=version) as (gateway, simulator):
        await asyncio.gather(*(talk(gateway) for _ in range(SESSIONS)), chat(gateway))
        await gateway.settled(SESSIONS + CHATS)
        turns = gateway.meter.turns
        counted = Counter[str](usage.operation for usage in turns if usage.operation != "realtime_session_time")
        assert counted == {"realtime_inference": SESSIONS * TURNS, "chat": CHATS}
        used, totals = metered(turns, "realtime_inference", "chat"), billed(simulator.ledger)
        assert (used.input, used.output) == (totals["input_tokens"], totals["output_tokens"])
        assert used.output > 0
        assert {usage.provider_kind for usage in turns} == {kind}


# -- Azure -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "path"),
    [("", "/openai/v1/realtime?model=d"), (V, f"/openai/realtime?deployment=d&api-version={V}")],
)
async def test_azure_is_asked_in_its_ways(version: str, path: str) -> None:
    async with standing("azure", version=version) as (gateway, simulator):
        async with session(gateway, "model=d") as socket:
            await socket.recv()
        [asked] = simulator.requests
        names = {name.lower(): value for name, value in asked.headers}
        assert asked.path == path
        assert names["api-key"] == UPSTREAM_KEY
        assert "authorization" not in names


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("missing-d", 404, "upstream_refused"), ("chat-d", 400, "upstream_refused")],
)
async def test_azure_refuses_by_status(model: str, status: int, code: str) -> None:
    async with standing("azure") as (gateway, _):
        assert await refusal(gateway, f"model={model}") == (status, code)


@pytest.mark.parametrize("kind", ["azure", "xai"])
async def test_a_wrong_key_of_ours(kind: Kind) -> None:
    async with standing(kind, key="sk-wrong") as (gateway, _):
        assert await refusal(gateway, "model=m") == (502, "upstream_credential_rejected")


async def test_what_xai_answers_400_takes_it_from_nobody() -> None:
    """It may be the client's own mistake."""
    async with standing("xai", key="sk-wrong") as (gateway, _):
        await refusal(gateway, "model=m")
        assert gateway.gateway.pools.shown("ai/voice", "xai")["state"] == "resting"


async def test_quotas_and_expiry() -> None:
    async with standing("azure") as (gateway, _):
        assert (await refusal(gateway, "model=d&scenario=no-upgrade:429"))[0] == 429
        async with session(gateway, "model=d&scenario=expire:20") as socket:
            assert "session_expired" in str(await until(socket, "error"))


async def refusal(gateway: Rig, query: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with session(gateway, query):
            pass
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body or b"{}")["error"]["code"]


# -- xAI: time -------------------------------------------------------------------------------------------------------


async def test_the_time_of_a_session_by_the_clock() -> None:
    async with standing("xai") as (gateway, simulator):
        async with session(gateway, "model=grok-voice-latest&scenario=slow:100") as socket:
            await until(socket, "session.created")
            await socket.send(BEGIN)
            await until(socket, "response.done")
        used = await time_of(gateway)
        assert used.session_seconds == pytest.approx(simulator.ledger.totals["session_seconds"], abs=0.25)
        assert used.session_seconds > 0.3
        assert (used.seconds, used.items) == (0.0, 0)


async def test_time_is_recorded_while_the_session_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "PART", 0.02)
    async with Simulator(kind="xai") as simulator:
        served = rig.table(rig.backend(provider("xai", simulator.url)))
        async with rig.running(served, Limits(ping=0.01), {"upstream@1": UPSTREAM_KEY}) as gateway:
            async with session(gateway) as socket:
                await until(socket, "session.created")
                async with asyncio.timeout(10):
                    while len(gateway.meter.turns) < 3:
                        await asyncio.sleep(0.01)
                assert not gateway.meter.closed
            used = await time_of(gateway)
            assert used.session_seconds == pytest.approx(simulator.ledger.totals["session_seconds"], abs=0.25)
            assert gateway.meter.closed[0].tokens == used


async def test_time_ends_a_session_once_nothing_is_left_to_spend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopwatch, "PART", 0.01)
    monkeypatch.setattr(rig.Remembering, "turn", lambda *_: Cost(Decimal(1), "priced", "backend"))
    spend = Limit(kind="spend", max=1_500_000_000, per="Month")
    limited = rig.REQUIRED.model_copy(update={"limits": (CallerLimits(policy="ai/p", limits=(spend,), reserve=100),)})
    async with Simulator(kind="xai") as simulator:
        served = rig.table(rig.backend(provider("xai", simulator.url)), limited)
        async with (
            rig.running(served, Limits(ping=0.01), {"upstream@1": UPSTREAM_KEY}) as gateway,
            session(gateway) as socket,
        ):
            assert "1.5 USD per Month" in str(await until(socket, "error"))
            with pytest.raises(ConnectionClosedError):
                await socket.recv()
            assert socket.close_code == 1008


@pytest.mark.parametrize("binary", [False, True])
async def test_the_audio_of_a_session_of_manual_turns(binary: bool) -> None:
    transport = {"output": {"transport": "binary"}} if binary else {}
    begin = {"turn_detection": {"type": None}, "audio": transport}
    async with standing("xai") as (gateway, simulator):
        async with session(gateway) as socket:
            await until(socket, "session.created")
            await socket.send(json.dumps({"type": "session.update", "session": begin}))
            await until(socket, "session.updated")
            for _ in range(3):
                await say(socket, binary=binary)
                await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
                await socket.send(BEGIN)
                await until(socket, "response.done")
            await add_items(socket)
        used, totals = await time_of(gateway), simulator.ledger.totals
        assert used.seconds == pytest.approx(totals["audio_seconds"], abs=0.001)
        assert used.seconds > 3
        assert used.items == totals["billed_items"] == 1
        assert gateway.meter.lost == []


async def say(socket: ClientConnection, *, binary: bool) -> None:
    """A second of audio, in ten pieces."""
    piece = b"\x10\xf0" * (SECOND // 20)
    for _ in range(10):
        event = {"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()}
        await socket.send(piece if binary else json.dumps(event))


async def add_items(socket: ClientConnection) -> None:
    audio = base64.b64encode(bytes(SECOND)).decode()
    for item in (
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]},
        {"type": "function_call_output", "call_id": "c", "output": "1"},
    ):
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await until(socket, "conversation.item.created")


async def time_of(gateway: Rig) -> Tokens:
    """What was recorded of the session's time, once it is over."""
    async with asyncio.timeout(10):
        while not gateway.meter.closed:
            await asyncio.sleep(0.01)
    return metered(gateway.meter.turns, "realtime_session_time")


# -- xAI: what else is other -----------------------------------------------------------------------------------------


async def test_what_xai_says_goes_on_as_it_is() -> None:
    async with standing("xai") as (gateway, simulator):
        async with session(gateway, "model=nobody-knows-it") as socket:
            created = await until(socket, "session.created")
            await until(socket, "conversation.created")
            await until(socket, "ping")
            flat = {"type": "session.update", "session": {"voice": "Eve"}}
            await socket.send(json.dumps(flat))
            updated = await until(socket, "session.updated")
            await socket.send(BEGIN)
            await until(socket, "response.audio.delta")
            await until(socket, "response.done")
        assert isinstance(created["session"], dict)
        assert isinstance(updated["session"], dict)
        assert updated["session"]["voice"] == "Eve"
        await time_of(gateway)
        assert {usage.response_model for usage in gateway.meter.turns} == {"grok-voice-latest"}
        assert json.dumps(flat) in [text for _, text in simulator.messages]


async def test_binary_messages_are_audio_at_xai_alone() -> None:
    async with standing("openai") as (gateway, _), session(gateway, "model=gpt-realtime") as socket:
        await until(socket, "session.created")
        await socket.send(b"\x10\xf0")
        assert "Binary messages are not supported" in str(await until(socket, "error"))


async def test_a_binary_message_that_is_an_event_is_judged_as_one() -> None:
    async with standing("xai") as (gateway, simulator), session(gateway) as socket:
        await until(socket, "session.created")
        await socket.send(b' {"type":"response.create","type":"x"}')
        assert "a key appears twice" in str(await until(socket, "error"))
        assert not simulator.messages


@pytest.mark.parametrize("name", ["conversation_id", "Conversation_Id"])
async def test_conversations_of_others_are_not_resumed(name: str) -> None:
    async with standing("xai") as (gateway, simulator):
        assert await refusal(gateway, f"model=m&{name}=conv_1") == (403, "conversation_id_not_allowed")
        assert not simulator.requests


async def test_the_keys_of_browsers() -> None:
    async with standing("xai") as (gateway, simulator):
        url = f"ws://127.0.0.1:{gateway.gateway.port}/v1/realtime?model=grok-voice-latest"
        offered = [f"xai-client-secret.{rig.CLIENT_KEY}"]
        async with connect(url, subprotocols=["realtime", *offered]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "realtime"
            await until(socket, "session.created")
        assert rig.CLIENT_KEY not in str(simulator.requests)
