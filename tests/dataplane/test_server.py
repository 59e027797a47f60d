"""The gateway as a whole: starting, loading tables, stopping."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import aiohttp
import pytest

from dataplane.server import AddressPolicy, Gateway, TableRefused
from dataplane.table import Forward, Match, Model, Route, Table, Target, sealed
from simulator.server import Simulator
from tests.dataplane.certificates import certificate
from tests.dataplane.rig import (
    ASK,
    BEARER,
    CALLERS,
    REQUIRED,
    SECRETS,
    Remembering,
    Rig,
    backend,
    provider,
    running,
    table,
)

CHAT = "/v1/chat/completions"


async def test_ready_when_a_table_is_loaded_and_the_port_is_open(upstream: Simulator) -> None:
    gateway = Gateway(meter=Remembering(), addresses=AddressPolicy(allow_loopback=True))
    await gateway.start("127.0.0.1", 0)
    assert not gateway.ready()
    assert (await Rig(gateway, Remembering()).raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))[
        9:12
    ] == b"404"
    served = table(backend(provider(upstream.url)))
    gateway.load(served, SECRETS)
    assert gateway.ready()
    assert gateway.table() == served
    await gateway.stop()
    assert not gateway.ready()
    await gateway.stop()


async def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="Address already in use"):
            await Gateway(meter=Remembering()).start("127.0.0.1", taken.getsockname()[1])


async def test_a_new_table_is_used_at_once_and_a_bad_one_not_at_all(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    models = (Model(name="only", targets=(Target(provider="openai", model="gpt-5"),)),)
    rig.gateway.load(table(backend(provider(upstream.url), models=models)), SECRETS)
    async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
        assert response.status == 404
    before = rig.gateway.table()
    with pytest.raises(TableRefused, match="secret upstream@1 is missing"):
        rig.gateway.load(table(backend(provider(upstream.url))), {})
    assert rig.gateway.table() is before
    async with client.post(rig.url + CHAT, json={**ASK, "model": "only"}, headers=BEARER) as response:
        assert response.status == 200


async def test_what_is_under_way_keeps_the_table_that_it_began_with(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    body = {**ASK, "stream": True, "metadata": {"scenario": "slow:20"}}
    async with client.post(rig.url + CHAT, json=body, headers=BEARER) as response:
        await response.content.readuntil(b"\n\n")
        rig.gateway.load(Table(), {})
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
    await rig.settled()
    assert [turn.status for turn in rig.meter.turns] == ["completed"]


async def test_a_prefix_is_stripped(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    served = table(
        backend(provider(upstream.url + "/v1")), strip_prefix="/ai/voice", matches=(Match(path="/ai/voice"),)
    )
    async with running(served) as rig:
        async with client.post(rig.url + "/ai//voice" + CHAT, json=ASK, headers=BEARER) as response:
            assert response.status == 200
        async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
            assert response.status == 404
    assert upstream.requests[-1].path == CHAT


async def test_backends_of_a_route_share_by_weight(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    one, two = (backend(provider(upstream.url), name=name) for name in ("ai/one", "ai/two"))
    forwards = (
        Forward(backend="ai/one", weight=0, policies=REQUIRED),
        Forward(backend="ai/two", weight=5, policies=REQUIRED),
    )
    route = sealed(Route(name="r", forwards=forwards))
    served = Table(backends=(one, two), routes=(route,), callers=(CALLERS,), secrets=("upstream@1",))
    async with running(served) as rig:
        async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
            assert response.status == 200
        await rig.settled()
    assert rig.meter.requests == [("r", "ai/two", 200, "")]


async def test_tls_on_the_listener_and_upstream(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path, "localhost")
    simulator = Simulator()
    await simulator.start(ssl=server)
    url = simulator.url.replace("127.0.0.1", "localhost")
    gateway = Gateway(meter=Remembering(), addresses=AddressPolicy(allow_loopback=True), upstream_tls=trusting)
    gateway.load(table(backend(provider(url))), SECRETS)
    await gateway.start("127.0.0.1", 0, ssl=server)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as client,
        client.post(f"https://localhost:{gateway.port}{CHAT}", json=ASK, headers=BEARER) as response,
    ):
        assert response.status == 200
        await response.read()
    await gateway.stop()
    await simulator.stop()


async def test_a_provider_whose_certificate_is_not_trusted_is_a_502(
    tmp_path: Path, client: aiohttp.ClientSession
) -> None:
    server, _ = certificate(tmp_path, "localhost")
    simulator = Simulator()
    await simulator.start(ssl=server)
    async with (
        running(table(backend(provider(simulator.url)))) as rig,
        client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response,
    ):
        assert response.status == 502
        assert "certificate is not trusted" in (await response.json())["error"]["message"]
    await simulator.stop()


async def test_stopping_leaves_nothing_behind(upstream: Simulator) -> None:
    before = asyncio.all_tasks()
    served = table(backend(provider(upstream.url)))
    async with running(served) as rig, aiohttp.ClientSession() as client:
        body = {**ASK, "stream": True, "metadata": {"scenario": "slow:200"}}
        async with client.post(rig.url + CHAT, json=body, headers=BEARER) as response:
            await response.content.readuntil(b"\n\n")
            await rig.gateway.stop(grace=0.05)
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
    async with asyncio.timeout(5):
        while asyncio.all_tasks() - before or upstream.connections:
            await asyncio.sleep(0.005)
    assert [turn.status for turn in rig.meter.turns] == ["cancelled"]


async def test_a_request_has_time_to_finish(rig: Rig, client: aiohttp.ClientSession) -> None:
    body = {**ASK, "stream": True, "metadata": {"scenario": "slow:20"}}
    async with client.post(rig.url + CHAT, json=body, headers=BEARER) as response:
        await response.content.readuntil(b"\n\n")
        stopping = asyncio.create_task(rig.gateway.stop(grace=30))
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
        await stopping
    assert [turn.status for turn in rig.meter.turns] == ["completed"]
