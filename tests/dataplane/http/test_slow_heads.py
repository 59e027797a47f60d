"""Sockets that send a request's head slowly, or never whole, in large numbers."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from dataplane.server import Limits
from simulator.server import Simulator
from tests.dataplane.certificates import certificate
from tests.dataplane.realtime import wires
from tests.dataplane.realtime.wires import Peer, dial, gateway, handshake, until
from tests.dataplane.rig import ASK, BEARER, Rig, backend, provider, table

CHAT = "/v1/chat/completions"
MANY = 1000
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nX-Padding: " + b"x" * 8000
PER_SOCKET = 100 * 1024
"""Bytes that both ends of one may take, asyncio's streams of the test's end included."""


@pytest.fixture(autouse=True)
async def no_peers_left() -> AsyncIterator[None]:
    yield
    while wires._PEERS:
        wires._PEERS.pop().reset()
    await asyncio.sleep(0)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@asynccontextmanager
async def serving(upstream: Simulator, head_time: float) -> AsyncIterator[Rig]:
    served = table(backend(provider(upstream.url + "/v1")))
    async with gateway(served, limits=Limits(head_time=head_time)) as rig:
        yield rig


async def slow_ones(rig: Rig) -> list[Peer]:
    peers = []
    for _ in range(MANY // 50):
        peers += await asyncio.gather(*(dial(rig) for _ in range(50)))
    for peer in peers:
        peer.write(HEAD)
    return peers


async def good_traffic(rig: Rig, client: aiohttp.ClientSession) -> None:
    for _ in range(20):
        async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
            assert response.status == 200
            await response.read()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory is read from Linux's files")
async def test_beside_good_traffic(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with serving(upstream, head_time=60) as rig:
        session = await dial(rig)
        session.write(handshake())
        assert (await session.answer()).status == 101
        await good_traffic(rig, client)
        before = resident()
        peers = await slow_ones(rig)
        await until(lambda: connections(rig) >= MANY, "they are accepted")
        await good_traffic(rig, client)
        session.send(b'{"type":"response.create"}')
        while (await session.event())["type"] != "response.done":
            for peer in peers[:100]:
                peer.write(b"x")
        await good_traffic(rig, client)
        assert resident() - before < MANY * PER_SOCKET
        assert connections(rig) >= MANY  # nobody was closed meanwhile


async def test_they_are_closed_in_time(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    """However often another byte comes."""
    async with serving(upstream, head_time=0.5) as rig:
        peers = await slow_ones(rig)
        asking = asyncio.create_task(good_traffic(rig, client))
        async with asyncio.timeout(20):
            while connections(rig) > 1:  # the good one
                for peer in peers:
                    if not peer.writer.is_closing():
                        peer.write(b"x")
                await asyncio.sleep(0.02)
            await asking


def connections(rig: Rig) -> int:
    assert rig.gateway._running is not None
    return rig.gateway._running.ports.connections


async def test_a_tls_handshake_that_stays_out(upstream: Simulator, tmp_path: Path) -> None:
    context, _ = certificate(tmp_path, "localhost")
    served = table(backend(provider(upstream.url + "/v1")))
    async with gateway(served, limits=Limits(head_time=0.1), tls=context) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
