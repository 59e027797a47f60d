"""Peers that do not read: what the gateway holds stays bounded, and afterwards every byte arrives in order."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest
import uvloop

from dataplane.realtime import endings, frames, relay
from dataplane.realtime.gate import WORK
from dataplane.realtime.legs import HIGH_WATER, Leg
from dataplane.realtime.live import LAST
from dataplane.realtime.steps import Verdict
from dataplane.table import Timeouts
from tests.dataplane.certificates import certificate
from tests.dataplane.realtime.wires import CREATED, Pair, Peer, Tls, calm, dial, handshake, pair, until

READ = 256 * 1024
"""What one read of a transport may bring."""
ANSWERS = 2 * HIGH_WATER + WORK * 1024
"""What our answers to a client may take up while it does not read them."""
TOTAL = 8 * 1024 * 1024
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def messages(seed: int, total: int, *, audio: bool) -> Iterator[bytes]:
    """Events of many sizes, so many bytes in all."""
    rng = Random(seed)
    start = (
        b'{"type":"input_audio_buffer.append","audio":"' if audio else b'{"type":"response.output_audio.delta","d":"'
    )
    while total > 0:
        size = rng.choice((10, 1000, 9000, 70_000, 300_000))
        yield start + bytes([rng.choice(b"ABCDEFGH")]) * (size + rng.randint(0, 9)) + b'"}'
        total -= size


def small_buffers(peer: Peer) -> None:
    """Keep the kernel from holding what the gateway should push back on."""
    sock: socket.socket = peer.writer.get_extra_info("socket")
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 64 * 1024)


async def stalled(progress: list[int]) -> None:
    """Wait until it goes no further."""
    async with asyncio.timeout(10):
        before = -1
        while before != progress[0]:
            before = progress[0]
            await asyncio.sleep(0.15)


async def sent(peer: Peer, seed: int, progress: list[int]) -> str:
    """Send all messages; the digest of their payloads."""
    digest = hashlib.sha256()
    for payload in messages(seed, TOTAL, audio=peer.key is not None):
        peer.send(payload)
        digest.update(payload)
        await peer.writer.drain()
        progress[0] += len(payload)
    peer.send(b'{"type":"response.done"}')
    return digest.hexdigest()


async def received(peer: Peer) -> str:
    digest = hashlib.sha256()
    while (found := await peer.frame()) is not None and found[1] != b'{"type":"response.done"}':
        digest.update(found[1])
    assert found is not None, "the connection is gone"
    return digest.hexdigest()


async def one_way(it: Pair, *, down: bool) -> None:
    """One side floods while the other does not read; then it reads."""
    client, far = await it.session()
    live = it.live()
    small_buffers(client)
    small_buffers(far)
    assert live.client is not None
    for leg in (live.client, live.upstream):
        assert leg._transport is not None
        sock = leg._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    fast, slow = (far, client) if down else (client, far)
    leg = live.client if down else live.upstream
    progress = [0]
    sending = asyncio.create_task(sent(fast, 1, progress))
    await stalled(progress)
    assert progress[0] < TOTAL // 2
    assert leg._transport is not None
    assert leg._transport.get_write_buffer_size() <= 2 * HIGH_WATER + READ + 300_100
    neighbour, far_neighbour = await it.session()
    far_neighbour.send(b'{"type":"hello"}')
    assert await neighbour.event() == {"type": "hello"}
    neighbour.close()
    digests = await asyncio.gather(sending, received(slow))
    assert digests[0] == digests[1]
    client.close()
    await far.closed()
    client.reset()
    neighbour.reset()


@pytest.mark.parametrize("down", [True, False], ids=["to the client", "to the upstream"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_slow_reader(loop: str, secure: bool, down: bool, tmp_path: Path) -> None:
    async def run() -> None:
        both = certificate(tmp_path, "localhost") if secure else None
        async with pair(tls=Tls(both, both)) as it, calm(it.rig):
            await one_way(it, down=down)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", LOOPS)
def test_what_waits_for_a_slow_reader(loop: str, secure: bool, tmp_path: Path) -> None:
    """Once it is found to be slow, what is kept for it is twice the high-water mark at most; in either direction."""

    async def run() -> None:
        both = certificate(tmp_path, "localhost") if secure else None
        async with pair(tls=Tls(both, both)) as it, calm(it.rig):
            client, far = await it.session()
            live = it.live()
            assert live.client is not None
            await slowly(far, client, live.client)
            await slowly(client, far, live.upstream)
            client.reset()
            far.reset()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


async def slowly(fast: Peer, slow: Peer, leg: Leg) -> None:
    """One side floods; the other reads only while nothing more fits in between."""
    assert leg._transport is not None
    small_buffers(slow)
    sock = leg._transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    flooding = asyncio.create_task(flood(fast))
    waited = []
    for _ in range(20):
        await until(lambda: leg.full, "it is full")
        waited.append(leg._transport.get_write_buffer_size())
        while leg.full:
            assert await slow.frame() is not None
    assert max(waited[1:]) <= 2 * HIGH_WATER
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)


async def flood(peer: Peer) -> None:
    """Send what needs no reading."""
    audio = b'{"type":"input_audio_buffer.append","audio":"' + b"A" * 9000 + b'"}'
    delta = b'{"type":"response.output_audio.delta","delta":"' + b"A" * 9000 + b'"}'
    while True:
        peer.send(delta if peer.key is None else audio)
        await peer.writer.drain()


PING = frames.frame(frames.PING, b"", b"\0\0\0\0")
INVALID = frames.frame(frames.TEXT, b"[]", b"\0\0\0\0")


@pytest.mark.parametrize("piece", [PING, INVALID], ids=["pings", "invalid events"])
@pytest.mark.parametrize("mid_frame", [False, True])
async def test_a_client_that_never_reads_our_answers(piece: bytes, mid_frame: bool) -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        if mid_frame:  # what is answered has to wait for the end of the upstream's frame
            far.write(frames.frame(frames.TEXT, b'{"type":"response.output_audio.delta",' + b" " * 200_000)[:100_000])
        small_buffers(client)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        live = it.live()
        assert live.client is not None
        assert live.client._transport is not None
        progress = [0]

        async def flood() -> None:
            for _ in range(150):
                client.write(piece * 1000)
                await client.writer.drain()
                progress[0] += len(piece) * 1000

        flooding = asyncio.create_task(flood())
        await stalled(progress)
        assert live.client._transport.get_write_buffer_size() <= ANSWERS
        assert sum(len(data) for _, data in live.relay._for_client.waiting) <= HIGH_WATER
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        client.reset()


async def test_an_upstream_that_never_reads_our_pongs() -> None:
    piece = frames.frame(frames.PING, b"x" * 125)
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        small_buffers(far)
        far.writer.transport.pause_reading()  # type: ignore[attr-defined]
        live = it.live()
        assert live.upstream._transport is not None
        progress = [0]

        async def flood() -> None:
            for _ in range(150):
                far.write(piece * 1000)
                await far.writer.drain()
                progress[0] += len(piece) * 1000

        flooding = asyncio.create_task(flood())
        await stalled(progress)
        assert live.upstream._transport.get_write_buffer_size() <= ANSWERS
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        client.reset()
        far.reset()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("down", [True, False], ids=["to the client", "to the upstream"])
def test_who_floods_small_events_does_not_keep_others_waiting(
    loop: str, secure: bool, down: bool, tmp_path: Path
) -> None:
    """They are judged some at a time, and all of them, in their order."""
    count = 5000
    said = [b'{"type":"session.updated","n":%d}' % n for n in range(count)]

    async def run() -> None:
        both = certificate(tmp_path, "localhost") if secure else None
        async with pair(tls=Tls(both, both)) as it, calm(it.rig):
            client, far = await it.session()
            fast, slow, session = (far, client, it.live().session) if down else (client, far, it.live().session)
            name = "read_upstream" if down else "read_client"
            read, judged = getattr(session, name), [0]

            def counted(payload: bytes, *, binary: bool) -> Verdict:
                judged[-1] += 1
                verdict: Verdict = read(payload, binary=binary)
                return verdict

            def turned() -> None:
                judged.append(0)
                asyncio.get_running_loop().call_soon(turned)

            gate = it.live().relay._upstream_gate if down else it.live().relay._client_gate
            gate._read = counted
            turned()
            fast.write(b"".join(frames.frame(frames.TEXT, each, fast.key) for each in said))
            assert await collected(slow, count) == said
            assert sum(judged) == count
            assert max(judged) <= 2 * WORK  # a read, and the rest of one before
            client.reset()
            far.reset()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())


async def test_usage_is_read_though_the_upstream_takes_nothing() -> None:
    """It is held back, since it does not take our answers to its Pings. Then the session ends."""
    usage = b'{"type":"response.done","response":{"id":"r1","status":"completed","usage":{"input_tokens":3}}}'
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        far.send(b'{"type":"response.created","response":{"id":"r1"}}')
        assert (await client.event())["type"] == "response.created"
        small_buffers(far)
        far.sleep()
        live = it.live()
        flooding = asyncio.create_task(_pings(far))
        await until(lambda: live._ponging, "it is held back")
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        with patch.object(relay, "SETTLE", 10.0):
            live.end(endings.OPERATOR, "enough")
            far.write(frames.frame(frames.TEXT, usage))
            await until(lambda: it.rig.meter.turns, "its usage was read")
        assert live.upstream.waiting <= LAST + READ
        far.reset()
    assert [turn.estimated for turn in it.rig.meter.turns] == [False]


async def _pings(peer: Peer) -> None:
    while True:
        peer.write(frames.frame(frames.PING, b"x" * 125) * 50)
        await asyncio.sleep(0.001)  # they are answered before the next come


async def test_what_comes_before_the_101_is_bounded() -> None:
    """Both sides talk before the client is answered."""
    async with pair(timeouts=Timeouts(first_event=0.5)) as it, calm(it.rig):
        client = await dial(it.rig)
        progress = [0]
        client.write(handshake())
        far = await it.upstream.opened(glued=b"")
        sending = asyncio.create_task(sent(client, 1, progress))
        far.write(frames.frame(frames.TEXT, b'{"type":"x","x":"' + b"A" * 100_000 + b'"}')[:-1])  # no first event yet
        await stalled(progress)
        assert not it.rig.gateway.sessions()
        far.write(b"}")
        assert (await client.answer()).status == 101
        digests = await asyncio.gather(sending, received(far))
        assert digests[0] == digests[1]
        client.reset()


async def test_bytes_glued_to_the_handshake_of_both_legs() -> None:
    async with pair() as it, calm(it.rig):
        for count in (1, 40):
            client = await dial(it.rig)
            audio = [payload for _, payload in zip(range(count), messages(1, TOTAL, audio=True), strict=False)]
            said = [payload for _, payload in zip(range(count), messages(2, TOTAL, audio=False), strict=False)]
            client.write(handshake() + b"".join(frames.frame(frames.TEXT, each, client.key) for each in audio))
            far = await it.upstream.opened(glued=b"".join(frames.frame(frames.TEXT, each) for each in [CREATED, *said]))
            assert (await client.answer()).status == 101
            heard = asyncio.gather(*(collected(peer, n) for peer, n in ((client, count + 1), (far, count))))
            assert await heard == [[CREATED, *said], audio]
            client.close()
            await client.closed()
            client.reset()


async def collected(peer: Peer, count: int) -> list[bytes]:
    return [found[1] for _ in range(count) if (found := await peer.frame()) is not None]


async def test_an_answer_to_glued_bytes_comes_behind_the_first_event() -> None:
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake() + PING + INVALID)
        await it.upstream.opened()
        assert (await client.answer()).status == 101
        found = [await client.frame() for _ in range(3)]
        assert [frame[0] for frame in found if frame] == [frames.TEXT, frames.PONG, frames.TEXT]
        assert found[0] == (frames.TEXT, CREATED)
        client.reset()
        await until(lambda: not it.rig.gateway.sessions(), "the session is over")


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", LOOPS)
def test_what_waits_for_a_client_that_takes_nothing_of_the_end(loop: str, secure: bool, tmp_path: Path) -> None:
    """The session ends in the middle of a long frame of the upstream's, which is read on for its usage."""
    payload = b'{"type":"response.output_audio.delta","response_id":"r1","delta":"' + b"A" * TOTAL + b'"}'
    usage = b'{"type":"response.done","response":{"id":"r1","status":"completed","usage":{"input_tokens":3}}}'

    async def run() -> None:
        both = certificate(tmp_path, "localhost") if secure else None
        async with pair(tls=Tls(both, both)) as it, calm(it.rig):
            client, far = await it.session()
            far.send(b'{"type":"response.created","response":{"id":"r1"}}')
            assert (await client.event())["type"] == "response.created"
            small_buffers(client)
            client.sleep()
            live = it.live()
            assert live.client is not None
            leg = live.client
            assert leg._transport is not None
            sock = leg._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
            waited, write = [], Leg.write

            def watched(self: Leg, data: bytes) -> None:
                write(self, data)
                if self is leg:
                    waited.append(leg.waiting)

            frame = frames.frame(frames.TEXT, payload)
            far.write(frame[: TOTAL // 2])
            await until(lambda: leg.full, "it is full")
            with patch.object(relay, "SETTLE", 10.0), patch.object(Leg, "write", watched):
                live.end(endings.OPERATOR, "enough")
                far.write(frame[TOTAL // 2 :] + frames.frame(frames.TEXT, usage))
                await until(lambda: it.rig.meter.turns, "its usage was read")
            assert LAST < max(waited) <= LAST + READ
            far.reset()
        assert [turn.estimated for turn in it.rig.meter.turns] == [False]
        assert [summary.reason for summary in it.rig.meter.closed] == ["operator"]

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(run())
