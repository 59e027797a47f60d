"""Life and death of the legs: silence is told apart from death, and slowness from refusal."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from dataplane.realtime import frames, relay
from dataplane.server import Limits
from dataplane.table import SessionLimits
from tests.dataplane.realtime.wires import MASK, PATIENCE, Peer, Tls, calm, pair, until

SILENT = Limits(ping=0.1, silence=0.3)
DELTA = b'{"type":"response.output_audio.delta","response_id":"r1","delta":"' + b"A" * 100_000 + b'"}'


async def answered(peer: Peer, count: int) -> None:
    """Answer so many Pings; nothing else may come."""
    for _ in range(count):
        found = await peer.frame()
        assert found == (frames.PING, b""), found
        peer.send(found[1], frames.PONG)


@asynccontextmanager
async def lively(*peers: Peer) -> AsyncIterator[None]:
    """Peers that answer every Ping meanwhile."""
    tasks = [asyncio.ensure_future(peer.answering()) for peer in peers]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def bye(client: Peer, far: Peer) -> None:
    client.close()
    await far.closed()
    client.reset()
    far.reset()


async def test_who_says_nothing_and_answers_pings_lives(tls: Tls) -> None:
    async with pair(SILENT, tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        await asyncio.gather(answered(client, 8), answered(far, 8))  # many times as long as silence may last
        async with lively(client):
            client.send(b'{"type":"input_audio_buffer.clear"}')
            while (found := await far.frame()) is not None and found[0] == frames.PING:
                far.send(found[1], frames.PONG)
        assert found == (frames.TEXT, b'{"type":"input_audio_buffer.clear"}')
        await bye(client, far)
    assert [summary.reason for summary in it.rig.meter.closed] == ["client_closed"]


async def test_any_byte_is_a_sign_of_life() -> None:
    """Who sends a little of a message now and then answers no Ping, and need not."""
    async with pair(SILENT) as it, calm(it.rig):
        client, far = await it.session()
        slow = frames.frame(frames.TEXT, b"{" + b" " * 60 + b"}", MASK)
        answering = asyncio.ensure_future(far.answering())
        for place in range(len(slow)):
            client.write(slow[place : place + 1])
            await asyncio.sleep(0.02)
        client.close()
        assert (frames.TEXT, b"{" + b" " * 60 + b"}") in await answering
        client.reset()
        far.reset()
    assert [summary.reason for summary in it.rig.meter.closed] == ["client_closed"]


async def test_both_are_dead() -> None:
    async with pair(SILENT) as it, calm(it.rig):
        peers = await it.session()
        for peer in peers:
            peer.sleep()
        await until(lambda: not it.rig.gateway.sessions(), "it is given up")
        for peer in peers:
            peer.reset()
    (summary,) = it.rig.meter.closed
    assert summary.reason in ("client_silent", "upstream_silent")


async def test_a_client_dies_in_a_turn_and_the_turn_is_settled(tls: Tls) -> None:
    async with pair(SILENT, tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        client.send(b'{"type":"response.create"}')
        assert (await far.event())["type"] == "response.create"
        far.send(b'{"type":"response.created","response":{"id":"r1"}}')
        client.sleep()
        while (found := await far.frame()) is not None and found[0] == frames.PING:
            far.send(found[1], frames.PONG)
        assert found is not None
        assert json.loads(found[1])["type"] == "response.cancel"
        usage = b'{"input_tokens":7,"output_tokens":2}'
        far.send(b'{"type":"response.done","response":{"id":"r1","status":"cancelled","usage":%s}}' % usage)
        assert await far.closed() == (1001, "client went away")
        client.reset()
        far.reset()
    (turn,) = it.rig.meter.turns
    assert (turn.status, turn.estimated) == ("cancelled", False)
    assert it.rig.meter.closed[0].reason == "client_silent"
    assert it.rig.meter.closed[0].tokens == turn.tokens


@pytest.mark.parametrize("ends", ["by itself", "by an operator"])
async def test_usage_is_read_from_behind_what_the_client_does_not_take(ends: str, tls: Tls) -> None:
    async with pair(Limits(stall=0.3 if ends == "by itself" else 60.0), tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        far.send(b'{"type":"response.created","response":{"id":"r1"}}')
        live = it.live()
        client.sleep()
        speaking = asyncio.ensure_future(spoken(far))
        await until(lambda: live.client is not None and live.client.full, "more waits than should")
        if ends == "by an operator":
            assert it.rig.gateway.end_session(live.session.terms.id)
        assert (await far.event())["type"] == "response.cancel"
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        far.send(b'{"type":"response.done","response":{"id":"r1","status":"cancelled","usage":{"input_tokens":5}}}')
        assert (await far.closed())[0] in (1000, 1001)
        client.reset()
        far.reset()
    (turn,) = it.rig.meter.turns
    assert (turn.status, turn.estimated) == ("cancelled", False)


def test_a_loop_that_stood_still_holds_no_peer_to_account(tls: Tls) -> None:
    """What was used would have been said in time. On uvloop's loop, which calls timers before it reads."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_usage_behind_a_stall(tls))


async def _usage_behind_a_stall(tls: Tls) -> None:
    async with pair(Limits(), tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        client.send(b'{"type":"response.create"}')
        assert (await far.event())["type"] == "response.create"
        far.send(b'{"type":"response.created","response":{"id":"r1"}}')
        assert (await client.event())["type"] == "response.created"
        audio = b'{"type":"input_audio_buffer.append","audio":"' + b"A" * 200_000
        client.write(frames.frame(frames.TEXT, audio, MASK)[:-1])
        await until(lambda: it.live().upstream.sent > 100_000, "a part of it is on its way")
        client.reset()  # in the middle of it: the upstream can only be listened to
        await until(lambda: it.live().relay.ending is not None, "the session ends")
        done = b'{"type":"response.done","response":{"id":"r1","status":"cancelled","usage":{"input_tokens":5}}}'
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, time.sleep, relay.SETTLE)
        loop.call_later(relay.SETTLE - 0.01, far.send, done)
        await until(lambda: it.rig.meter.closed, "the session is over")
        far.reset()
    (turn,) = it.rig.meter.turns
    assert (turn.status, turn.estimated) == ("cancelled", False)


async def spoken(peer: Peer) -> None:
    while True:
        peer.send(DELTA)
        await peer.writer.drain()


async def test_an_upstream_dies_in_a_turn(tls: Tls) -> None:
    async with pair(SILENT, tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        far.send(b'{"type":"response.created","response":{"id":"r1"}}')
        far.send(b'{"type":"response.output_text.delta","response_id":"r1","delta":"Hello"}')
        far.sleep()
        heard = [json.loads(payload) for opcode, payload in await client.answering() if opcode == frames.TEXT]
        assert heard[-1]["error"]["code"] == "upstream_lost"
        client.reset()
        far.reset()
    (turn,) = it.rig.meter.turns
    assert (turn.status, turn.estimated) == ("lost", True)
    (summary,) = it.rig.meter.closed
    assert summary.reason == "upstream_silent"
    assert summary.estimated == turn.tokens
    assert not summary.tokens.nonzero()


async def test_no_ping_comes_in_the_middle_of_a_frame() -> None:
    """And who cannot be asked is not given up."""
    frame = frames.frame(frames.TEXT, DELTA)
    async with pair(SILENT) as it, calm(it.rig):
        client, far = await it.session()
        far.write(frame[:50_000])
        for place in range(50_000, 50_050):
            await asyncio.sleep(0.02)
            far.write(frame[place : place + 1])
        async with lively(far):
            far.write(frame[50_050:])
            assert await client.frame() == (frames.TEXT, DELTA)
            assert await client.frame() == (frames.PING, b"")
        await bye(client, far)
    assert [summary.reason for summary in it.rig.meter.closed] == ["client_closed"]


def small_buffers(peer: Peer) -> None:
    sock: socket.socket = peer.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)


async def test_who_is_held_back_is_not_dead(tls: Tls) -> None:
    """The upstream takes nothing, so the client is not read from. A neighbour's Pings tell the time."""
    async with pair(SILENT, tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        neighbour, beyond = await it.session()
        live = next(entry.live for entry in it.rig.gateway._sessions._entries.values())  # type: ignore[union-attr]
        assert live.client is not None
        far.sleep()
        flooding = asyncio.ensure_future(flooded(client))
        await until(lambda: live.upstream.full, "the upstream is full")
        await asyncio.gather(answered(neighbour, 8), answered(beyond, 8))
        assert len(it.rig.gateway.sessions()) == 2
        flooding.cancel()
        for peer in (client, far, neighbour, beyond):
            peer.reset()
        await asyncio.gather(flooding, return_exceptions=True)
    assert {summary.reason for summary in it.rig.meter.closed} <= {"client_lost", "upstream_lost"}


async def flooded(peer: Peer) -> None:
    while True:
        peer.send(b'{"type":"input_audio_buffer.append","audio":"' + b"A" * 30_000 + b'"}')
        await peer.writer.drain()


async def test_a_slow_reader_of_a_long_message_is_not_cut_off(tls: Tls) -> None:
    """It takes something all the time, for several times as long as one may take nothing."""
    async with pair(Limits(stall=0.3), tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        small_buffers(client)
        message = b'{"type":"response.output_audio.delta","delta":"' + b"A" * 6_000_000 + b'"}'
        far.send(message)
        client.sleep()
        live = it.live()
        assert live.client is not None
        await until(lambda: live.client is not None and live.client.full, "more waits than should")
        taken = bytearray()
        for _ in range(40):
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(PATIENCE):
                taken += await client.reader.read(64 * 1024)
            client.sleep()
            await asyncio.sleep(0.03)
        assert it.rig.gateway.sessions()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        head = frames.frame(frames.TEXT, message)[: -len(message)]
        async with asyncio.timeout(PATIENCE):
            taken += await client.reader.readexactly(len(head) + len(message) - len(taken))
        assert bytes(taken) == head + message
        await bye(client, far)
    assert [summary.reason for summary in it.rig.meter.closed] == ["client_closed"]


async def test_many_pings_are_answered_here() -> None:
    """Those of one side never reach the other; the newest is answered."""
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        for peer in (client, far):
            for number in range(1000):
                peer.send(b"%d" % number, frames.PING)
            peer.send(b'{"type":"response.output_text.done"}')
        for peer in (client, far):
            pongs: list[bytes] = []
            texts: list[bytes] = []
            while not texts or not pongs or pongs[-1] != b"999":
                found = await peer.frame()
                assert found is not None
                (texts if found[0] == frames.TEXT else pongs).append(found[1])
                assert found[0] in (frames.TEXT, frames.PONG)
            assert texts == [b'{"type":"response.output_text.done"}']
        await bye(client, far)


async def test_idle_sessions_end_and_busy_ones_do_not() -> None:
    """Pings and Pongs are no messages."""
    async with pair(Limits(ping=0.05), session=SessionLimits(idle=0.4)) as it, calm(it.rig):
        client, far = await it.session()
        async with lively(far):
            for _ in range(12):
                client.send(b'{"type":"input_audio_buffer.append","audio":"AAAA"}')
                await answered(client, 1)
            heard = await client.answering()
        assert json.loads(heard[0][1])["error"]["code"] == "idle_timeout"
        assert (frames.CLOSE, (1001).to_bytes(2, "big") + b"No message passed for 0.4 s.") == heard[-1]
        client.reset()
        far.reset()
    assert it.rig.meter.carried["client", "messages"] == 12


@pytest.mark.parametrize("way", ["client", "upstream"])
async def test_an_upstream_that_never_answers_close(way: str, tls: Tls) -> None:
    async with pair(tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        if way == "client":
            client.close(1000, "bye")
            assert await client.closed() == (1000, "bye")
        else:
            it.rig.gateway.end_session(str(it.rig.gateway.sessions()[0]["id"]))
            assert (await client.closed())[0] == 1001
            client.close(1001)
        await far.closed()
        await far.gone()
        await client.gone()


async def test_a_session_that_is_as_old_as_it_may_be_ends_in_a_turn() -> None:
    async with pair(session=SessionLimits(duration=0.5)) as it, calm(it.rig):
        client, far = await it.session()
        far.send(b'{"type":"response.created","response":{"id":"r1"}}')
        assert (await client.event())["type"] == "response.created"
        assert (await client.event())["error"]["code"] == "session_expired"  # type: ignore[index]
        assert (await far.event())["type"] == "response.cancel"
        far.send(b'{"type":"response.done","response":{"id":"r1","status":"cancelled","usage":{"input_tokens":5}}}')
        assert await far.closed() == (1000, "")
        client.reset()
        far.reset()
    (turn,) = it.rig.meter.turns
    assert (turn.status, turn.estimated) == ("cancelled", False)
    assert it.rig.meter.closed[0].reason == "duration"


async def test_nothing_is_looked_at_before_the_session_begins() -> None:
    """What comes before is bounded by the Backend's timeouts."""
    async with pair(Limits(ping=0.01, silence=0.02)) as it, calm(it.rig):
        client = await it.dial()
        client.write(b"GET / HTTP/1.1\r\n")
        client.reset()
        client, far = await it.session()
        assert await client.frame() == await far.frame() == (frames.PING, b"")
        client.reset()
        far.reset()
