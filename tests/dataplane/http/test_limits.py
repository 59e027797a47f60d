"""Limits on the wire: what is refused, what is counted, and what callers are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from dataplane.slices import at_once
from dataplane.table import Limit, Model, ModelAllow, Target
from simulator.server import Simulator
from tests.dataplane.limits.made import limits
from tests.dataplane.rig import ASK, BEARER, REQUIRED, Rig, backend, provider, running, table

REQUESTS = Limit(kind="requests", max=2, per="Month")
TOKENS = Limit(kind="tokens", max=500, per="Month")
SEAT = Limit(kind="sessions", max=1)
SPEND = Limit(kind="spend", max=10**9, per="Month")
CHAT, ANY, TUNNEL = "/v1/chat/completions", "/v1/echo", "/v1/echo/ws"


@asynccontextmanager
async def limited(upstream: Simulator, *every: Limit, **fields: object) -> AsyncIterator[Rig]:
    policies = REQUIRED.model_copy(update={"limits": (limits(*every, **fields),)})  # type: ignore[arg-type]
    async with running(table(backend(provider(upstream.url + "/v1")), policies)) as rig:
        yield rig


def counted(rig: Rig) -> dict[str, tuple[object, object]]:
    listing = at_once(rig.gateway.limiter.listing())
    return {str(each["limit"]): (each["used"], each["reserved"]) for each in listing}


async def chat(rig: Rig, client: aiohttp.ClientSession, **more: object) -> tuple[int, dict[str, str], bytes]:
    async with client.post(rig.url + CHAT, json={**ASK, **more}, headers=BEARER) as reply:
        return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()


async def test_a_chat_is_counted_and_told_what_is_left(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with limited(upstream, REQUESTS, TOKENS) as rig:
        status, fields, body = await chat(rig, client)
        assert status == 200
        assert fields["ratelimit-policy"].startswith('"ai/p:requests/Month";q=2;qu="requests";w=')
        assert '"ai/p:requests/Month";r=1;' in fields["ratelimit"]
        assert not [name for name in fields if name.startswith("x-ratelimit")], "those are the gateway's own account"
        await rig.settled()
        assert counted(rig) == {
            "requests/Month": (1, 0),
            "tokens/Month": (json.loads(body)["usage"]["total_tokens"], 0),
        }
        assert (await chat(rig, client))[0] == 200
        status, fields, body = await chat(rig, client)
        error = json.loads(body)["error"]
        assert (status, error["type"], error["code"]) == (429, "rate_limit_error", "limit_exceeded")
        assert "Policy ai/p allows caller ai/ci-bot 2 requests per Month" in error["message"]
        assert int(fields["retry-after"]) > 0
        assert '"ai/p:requests/Month";r=0;' in fields["ratelimit"]
        assert rig.meter.limits[-1] == ("ai/p", "requests/Month", "refused")


async def test_a_stream_is_counted_as_it_ends(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with limited(upstream, TOKENS) as rig:
        status, _, _ = await chat(rig, client, stream=True)
        assert status == 200
        await rig.settled()
        assert rig.meter.turns[-1].tokens is not None
        total = rig.meter.turns[-1].tokens.input + rig.meter.turns[-1].tokens.output
        assert counted(rig) == {"tokens/Month": (total, 0)}


async def test_nothing_stays_set_aside_for_what_the_provider_never_took(client: aiohttp.ClientSession) -> None:
    policies = REQUIRED.model_copy(update={"limits": (limits(TOKENS),)})
    async with running(table(backend(provider("http://127.0.0.1:9/v1")), policies)) as rig:
        assert (await chat(rig, client))[0] == 502
        assert counted(rig) == {"tokens/Month": (0, 0)}


async def test_a_refused_chat_is_not_sent_to_the_provider(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with limited(upstream, TOKENS, reserve=500) as rig:
        assert (await chat(rig, client))[0] == 200
        assert len(upstream.requests) == 1
        assert (await chat(rig, client))[0] == 429
        assert len(upstream.requests) == 1
        assert len(rig.meter.turns) == 1


async def test_a_body_that_is_none_counts_nothing(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with limited(upstream, REQUESTS) as rig:
        async with client.post(rig.url + CHAT, data=b"{", headers=BEARER) as reply:
            assert reply.status == 400
        assert counted(rig) == {}


async def test_who_leaves_before_the_answer_is_counted(upstream: Simulator) -> None:
    """Nobody knows what it took: the whole of what was set aside counts."""
    async with limited(upstream, TOKENS, reserve=120) as rig:
        body = json.dumps({**ASK, "stream": True, "metadata": {"scenario": "slow:60000"}}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: {BEARER['Authorization']}\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(5):
            while not upstream.requests:
                await asyncio.sleep(0.001)
        writer.transport.abort()
        await rig.settled()
        assert counted(rig) == {"tokens/Month": (120, 0)}


async def test_any_other_request_counts_as_one(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with limited(upstream, REQUESTS, TOKENS) as rig:
        for status in (200, 200, 429):
            async with client.post(rig.url + ANY, data=b"x", headers=BEARER) as reply:
                assert reply.status == status
                assert "RateLimit" in reply.headers
        assert counted(rig)["requests/Month"] == (2, 0)


async def test_a_list_of_models_counts_and_says_what_is_left_and_a_refusal_counts_nothing(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    only = ModelAllow(policy="ai/p", patterns=("voice", "gone"))
    policies = REQUIRED.model_copy(update={"limits": (limits(REQUESTS),), "models": (only,)})
    declared = (Model(name="voice", targets=(Target(provider="p", weight=1),)),)
    async with running(table(backend(provider(upstream.url, name="p"), models=declared), policies)) as rig:
        for path, expected, used in (("/secret", 403, None), ("/gone", 404, None), ("", 200, 1), ("/voice", 200, 2)):
            async with client.get(f"{rig.url}/v1/models{path}", headers=BEARER) as reply:
                assert reply.status == expected
                if used:
                    assert f'requests/Month";r={2 - used};' in reply.headers["RateLimit"]
            assert counted(rig) == ({"requests/Month": (used, 0)} if used else {})


async def test_callers_without_limits_are_told_nothing(rig: Rig, client: aiohttp.ClientSession) -> None:
    _, fields, _ = await chat(rig, client)
    assert "ratelimit" not in fields


async def test_a_model_without_a_price_is_refused(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with limited(upstream, SPEND) as rig:
        status, _, body = await chat(rig, client, model="home-made")
        assert (status, json.loads(body)["error"]["code"]) == (403, "model_not_priced")
        assert not upstream.requests


@pytest.mark.parametrize("path", ["/v1/realtime?model=gpt-realtime", TUNNEL])
async def test_a_seat_is_taken_and_given_back(upstream: Simulator, path: str) -> None:
    async with limited(upstream, SEAT) as rig:
        url = rig.url.replace("http", "ws") + path
        async with connect(url, additional_headers=BEARER, proxy=None) as socket:
            assert socket.response is not None
            assert socket.response.headers["RateLimit"] == '"ai/p:sessions";r=0'
            with pytest.raises(InvalidStatus) as caught:
                await connect(url, additional_headers=BEARER, proxy=None)
            assert caught.value.response.status_code == 429
            assert caught.value.response.headers["Retry-After"] == "5"
            assert counted(rig) == {"sessions": (0, 1)}
        async with asyncio.timeout(5):
            while counted(rig) != {"sessions": (0, 0)}:
                await asyncio.sleep(0.01)
        async with connect(url, additional_headers=BEARER, proxy=None):
            pass


async def test_a_session_that_never_opens_gives_its_seat_back() -> None:
    policies = REQUIRED.model_copy(update={"limits": (limits(SEAT),)})
    async with running(table(backend(provider("http://127.0.0.1:9/v1")), policies)) as rig:
        for path in ("/v1/realtime?model=gpt-realtime", TUNNEL):
            with pytest.raises(InvalidStatus) as caught:
                await connect(rig.url.replace("http", "ws") + path, additional_headers=BEARER, proxy=None)
            assert caught.value.response.status_code == 502
            assert counted(rig) == {"sessions": (0, 0)}


async def test_what_a_session_uses_is_counted(upstream: Simulator) -> None:
    async with limited(upstream, TOKENS) as rig:
        url = rig.url.replace("http", "ws") + "/v1/realtime?model=gpt-realtime"
        async with connect(url, additional_headers=BEARER, proxy=None) as socket:
            await socket.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
            while (event := json.loads(await socket.recv()))["type"] != "response.done":
                pass
            assert counted(rig)["tokens/Month"][0] == event["response"]["usage"]["total_tokens"]
