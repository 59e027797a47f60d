"""WebSockets of Passthrough paths as the operator sees them: caps, numbers, peers that do not do their part, drain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from dataplane.http.tunnels import Tunnels
from dataplane.process.drain import Drain
from dataplane.realtime import frames
from dataplane.realtime.legs import HIGH_WATER
from dataplane.server import Limits
from simulator.server import Simulator
from tests.dataplane.realtime.wires import (
    PATIENCE,
    Answered,
    Pair,
    Peer,
    ask,
    calm,
    dial,
    gateway,
    handshake,
    pair,
    until,
    upstreams,
)
from tests.dataplane.rig import BEARER, Remembering, Rig, backend, provider, table

ECHO = "/v1/echo/ws"
VOICE = "/v1/realtime?model=gpt-realtime"
LONG = 60.0
GET = f"GET /v1/bytes/5 HTTP/1.1\r\nHost: gateway\r\nAuthorization: {BEARER['Authorization']}\r\n\r\n".encode()


@pytest.fixture(autouse=True)
async def no_peers_left() -> AsyncIterator[None]:
    yield
    async with upstreams():
        """Its end resets all peers."""


def tunnels(rig: Rig) -> Tunnels:
    assert rig.gateway._running is not None
    return rig.gateway._running.tunnels


async def opened(rig: Rig, path: str = ECHO, headers: dict[str, str | None] | None = None) -> tuple[Peer, Answered]:
    peer = await dial(rig)
    peer.write(handshake(path, headers))
    return peer, await peer.answer()


async def joined(it: Pair) -> tuple[Peer, Peer]:
    """Client and upstream of a tunnel, to an upstream that says nothing by itself."""
    client = await it.dial()
    client.write(handshake(ECHO))
    far = await it.upstream.opened(glued=b"")
    assert (await client.answer()).status == 101
    return client, far


async def ends(rig: Rig) -> None:
    await until(lambda: not tunnels(rig).live(), "no tunnel is left")


# -- caps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cap", "limit", "code"), [(0, 10, "overloaded"), (10, 0, "backend_overloaded")], ids=["process", "backend"]
)
async def test_they_take_the_places_of_sessions(upstream: Simulator, cap: int, limit: int, code: str) -> None:
    """A burst of 40, of either kind, against a cap of 10."""
    served = table(backend(provider(upstream.url + "/v1"), max_sessions=cap))
    async with gateway(served, limits=Limits(sessions=limit)) as rig:
        answers = await asyncio.gather(*(opened(rig, path) for path in [ECHO, VOICE] * 20))
        refused = [answer for _, answer in answers if answer.status != 101]
        assert len(refused) == 30
        assert {(answer.status, answer.error["code"], answer.get("retry-after")) for answer in refused} == {
            (503, code, "5")
        }
        places = tunnels(rig).live(), len(rig.gateway.sessions())
        assert min(places) > 0
        assert sum(places) == 10
        leaving = next(
            peer
            for (peer, answer), path in zip(answers, [ECHO, VOICE] * 20, strict=True)
            if answer.status == 101 and path == ECHO
        )
        leaving.reset()
        await until(lambda: tunnels(rig).live() == places[0] - 1, "its place is free")
        assert (await ask(rig, VOICE)).status == 101


async def test_what_is_refused_takes_no_place() -> None:
    async with pair(Limits(sessions=1)) as it:
        asking = asyncio.ensure_future(ask(it.rig, ECHO))
        far = await it.upstream.arrival()
        assert (await ask(it.rig, ECHO)).error["code"] == "overloaded", "what is being opened counts"
        await far.head()
        far.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        assert (await asking).status == 404
        leaving = await it.dial()
        leaving.write(handshake(ECHO))
        far = await it.upstream.arrival()
        leaving.reset()
        await far.gone()
        await ends(it.rig)
        await joined(it)
        assert it.rig.meter.tunnels == [1]


async def test_when_memory_is_short_none_is_opened(upstream: Simulator) -> None:
    async with gateway(table(backend(provider(upstream.url)))) as rig:
        rig.gateway._overload.short = True
        assert (await ask(rig, ECHO)).error["code"] == "overloaded"


# -- numbers ---------------------------------------------------------------------------------------------------


async def test_each_is_counted_while_it_is_open_and_every_byte(upstream: Simulator) -> None:
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig:
        one, _ = await opened(rig)
        other, _ = await opened(rig)
        assert rig.meter.tunnels == [1, 2]
        one.wrote = one.got = 0
        one.send(b"x" * 70_000)
        assert await one.frame() == (1, b"x" * 70_000)
        one.close()
        await one.gone()
        other.reset()
        await ends(rig)
    assert rig.meter.tunnels[2:] == [1, 0]
    carried = rig.meter.carried
    assert (carried["client", "received"], carried["client", "sent"]) == (one.wrote, one.got)
    assert (carried["upstream", "received"], carried["upstream", "sent"]) == (one.got, one.wrote)
    assert carried["client", "messages"] == carried["upstream", "messages"] == 0


async def test_bytes_are_told_while_it_is_open() -> None:
    async with pair(Limits(ping=0.02)) as it:
        client, far = await joined(it)
        for size in (100, 200):
            client.send(b"x" * size)
            assert await far.frame() == (1, b"x" * size)
            told = sum(2 + 4 + each + (2 if each > 125 else 0) for each in (100, 200) if each <= size)
            await until(lambda told=told: it.rig.meter.carried["client", "received"] == told, "it is told")
        assert it.rig.meter.tunnels == [1]


async def test_a_fault_of_the_meter_s_ends_none() -> None:
    async with pair(Limits(ping=0.02)) as it:
        with (
            patch.object(Remembering, "tunnel_opened", side_effect=ValueError),
            patch.object(Remembering, "tunnel_closed", side_effect=ValueError),
            patch.object(Remembering, "traffic", side_effect=ValueError) as traffic,
        ):
            client, far = await joined(it)
            client.send(b"one")
            await until(lambda: traffic.called, "it was told")
            far.send(b"two")
            assert await client.frame() == (1, b"two")
            client.reset()
            await ends(it.rig)


# -- peers that do not do their part ---------------------------------------------------------------------------


async def flood(peer: Peer) -> None:
    """Send as fast as the other end takes it."""
    while True:
        peer.send(bytes(HIGH_WATER))
        await peer.writer.drain()


@pytest.mark.parametrize("sleeper", ["client", "upstream"])
async def test_a_peer_that_takes_nothing_is_cut_off(sleeper: str) -> None:
    async with pair(Limits(stall=0.3)) as it, calm(it.rig):
        client, far = await joined(it)
        asleep, awake = (client, far) if sleeper == "client" else (far, client)
        asleep.sleep()
        flooding = asyncio.ensure_future(flood(awake))
        with capture_logs() as log:
            await ends(it.rig)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        await awake.gone()
        asleep.reset()
    [line] = [entry for entry in log if "cut off" in entry["event"]]
    assert (line["peer"], line["backend"], line["log_level"]) == (sleeper, "ai/voice", "info")
    assert it.rig.meter.tunnels == [1, 0]


async def test_one_that_is_only_quiet_is_left_alone() -> None:
    async with pair(Limits(stall=0.02, ping=0.02, silence=0.05)) as it:
        client, far = await joined(it)
        for _ in range(3):
            await asyncio.sleep(0.1)
            far.send(b"still here")
            assert await client.frame() == (1, b"still here")


async def test_what_an_upstream_said_last_is_sent_behind_its_end() -> None:
    async with pair() as it:
        client, far = await joined(it)
        client.sleep()
        splice, pieces = next(iter(tunnels(it.rig)._splices)), 0
        async with asyncio.timeout(PATIENCE):
            while not splice.client.waiting:
                far.send(bytes(4096), frames.BINARY)
                pieces += 1
                await asyncio.sleep(0)
        far.writer.close()
        await until(lambda: not splice.upstream.connected, "the upstream is gone")
        assert splice.client.waiting, "the kernel had no room for all of it"
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert [await client.frame() for _ in range(pieces)] == [(2, bytes(4096))] * pieces
        assert await client.frame() is None


async def test_the_kernel_looks_after_both_connections() -> None:
    async with pair() as it:
        await joined(it)
        splice = next(iter(tunnels(it.rig)._splices))
        for end in (splice.client, splice.upstream):
            assert end._transport is not None
            sock: socket.socket = end._transport.get_extra_info("socket")
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000


# -- drain -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def draining(rig: Rig, phases: Drain) -> AsyncIterator[asyncio.Event]:
    hurry = asyncio.Event()
    task = asyncio.create_task(rig.gateway.drain(phases, hurry))
    await asyncio.sleep(0)
    try:
        yield hurry
        async with asyncio.timeout(PATIENCE):
            await task
    finally:
        task.cancel()


async def test_a_lame_duck_accepts_them() -> None:
    async with pair() as it, draining(it.rig, Drain(lame_duck=LONG)) as hurry:
        client, far = await joined(it)
        far.send(b"hello")
        assert await client.frame() == (1, b"hello")
        hurry.set()


async def test_from_the_patience_on_those_that_are_open_go_on_and_none_is_opened(upstream: Simulator) -> None:
    """Up to the deadline, when they are cut: nobody knows where a Close would fit in."""
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig:
        one, _ = await opened(rig)
        kept = await dial(rig)
        kept.write(GET)
        assert (await kept.answer()).status == 200
        with capture_logs() as log:
            async with draining(rig, Drain(lame_duck=0, patience=LONG, closing=LONG)) as hurry:
                await until(lambda: not rig.gateway.ready() and tunnels(rig)._refusing, "the port is closed")
                one.send(b"still here")
                assert await one.frame() == (1, b"still here")
                kept.write(handshake(ECHO))
                refused = await kept.answer()
                assert (refused.status, refused.error["code"]) == (503, "shutting_down")
                hurry.set()
                assert await one.closed() == (1006, "")
    assert [entry["tunnels"] for entry in log if "closing" in entry["event"]] == [1]
    assert rig.meter.tunnels == [1, 0]
