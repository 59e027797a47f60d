"""Chat completions through a gateway, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from simulator.server import Simulator
from tests.dataplane.rig import ASK, BEARER, Rig, backend, provider, running, table


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def rig(upstream: Simulator) -> AsyncIterator[Rig]:
    async with running(table(backend(provider(upstream.url + "/v1")))) as rig:
        yield rig


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_json_completion_is_relayed_and_metered(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    async with client.post(rig.url + "/v1/chat/completions", json=ASK, headers=BEARER) as response:
        assert response.status == 200
        reply = await response.json()
    await rig.settled()
    [turn] = rig.meter.turns
    assert turn.response_id == reply["id"]
    assert turn.tokens is not None
    assert turn.tokens.input == reply["usage"]["prompt_tokens"]
    assert rig.meter.requests == [("ai/voice", "ai/voice", 200, "")]
