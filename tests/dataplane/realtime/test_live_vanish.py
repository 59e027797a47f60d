"""Peers that vanish, at any byte, or do not answer: nothing is left behind, and every session is counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from dataplane.realtime import frames
from dataplane.realtime.endings import UPSTREAM_LOST
from dataplane.server import Limits
from tests.dataplane.certificates import certificate
from tests.dataplane.realtime.wires import (
    CREATED,
    MASK,
    Pair,
    Peer,
    Tls,
    calm,
    close_frame,
    dial,
    gateway,
    handshake,
    pair,
    switching,
    until,
    upstreams,
)
from tests.dataplane.rig import backend, provider, table

GREETING = frames.frame(frames.TEXT, CREATED)
LONG = frames.frame(frames.TEXT, b'{"type":"response.output_audio.delta","delta":"' + b"A" * 100_000 + b'"}')
LONG_AUDIO = frames.frame(frames.TEXT, b'{"type":"input_audio_buffer.append","audio":"' + b"A" * 100_000 + b'"}', MASK)
FRAGMENT = bytes([frames.TEXT, 0x80 | 5]) + MASK + b"xxxxx"


def reset(peer: Peer) -> None:
    peer.reset()


def finish(peer: Peer) -> None:
    peer.writer.close()


def half_close(peer: Peer) -> None:
    peer.writer.write_eof()


WAYS = [reset, finish, half_close]
Stage = Callable[[Pair], Awaitable[Peer]]


# -- the client ---------------------------------------------------------------------------------------------------


async def before_a_byte(it: Pair) -> Peer:
    return await dial(it.rig)


async def in_the_head(it: Pair) -> Peer:
    client = await dial(it.rig)
    client.write(handshake()[:80])
    return client


async def while_upgrading(it: Pair) -> Peer:
    client = await dial(it.rig)
    client.write(handshake() + frames.frame(frames.TEXT, b"{}", MASK))
    await (await it.upstream.arrival()).head()
    return client


async def before_the_first_event(it: Pair) -> Peer:
    client = await dial(it.rig)
    client.write(handshake())
    await it.upstream.opened(glued=b"")
    return client


async def before_the_101_is_read(it: Pair) -> Peer:
    client = await dial(it.rig)
    client.write(handshake())
    await it.upstream.opened()
    return client


def after(data: bytes, *, far_hears: bytes = b"") -> Stage:
    """A stage in which the client has sent this in a session."""

    async def stage(it: Pair) -> Peer:
        client, far = await it.session()
        client.write(data)
        if far_hears:
            async with asyncio.timeout(5):
                await far.reader.readuntil(far_hears)
        return client

    return stage


CREATE = frames.frame(frames.TEXT, b'{"type":"response.create"}', MASK)
CLIENT_STAGES: dict[str, Stage] = {
    "before a byte": before_a_byte,
    "in the head": in_the_head,
    "while upgrading": while_upgrading,
    "before the first event": before_the_first_event,
    "before the 101 is read": before_the_101_is_read,
    "idle": after(b""),
    "in a frame's head": after(b"\x81\xfe"),
    "in a frame": after(CREATE[:-3]),
    "in a streamed frame": after(LONG_AUDIO[:90_000], far_hears=LONG_AUDIO[:50]),
    "in a message": after(FRAGMENT),
    "in a turn": after(CREATE, far_hears=CREATE[:2]),
    "after close": after(close_frame(1000, "", MASK)),
}


@pytest.mark.parametrize("vanish", WAYS)
@pytest.mark.parametrize("stage", CLIENT_STAGES)
async def test_a_client_vanishes(stage: str, vanish: Callable[[Peer], None]) -> None:
    async with pair() as it, calm(it.rig):
        client = await CLIENT_STAGES[stage](it)
        vanish(client)
        if vanish is half_close:
            await client.gone()
            client.reset()


async def test_a_client_vanishes_while_dialling() -> None:
    async with upstreams() as silent:
        served = table(backend(provider(silent.url.replace("http", "https"))))  # no TLS there: the dial hangs
        async with gateway(served) as rig, calm(rig):
            for vanish in (reset, finish):
                client = await dial(rig)
                client.write(handshake())
                await silent.arrival()
                vanish(client)
            await rig.settled(2)
            assert {request[3] for request in rig.meter.requests} == {"client_gone"}


async def test_a_client_vanishes_at_any_byte() -> None:
    said = handshake() + CREATE + FRAGMENT + b"\x80\x80" + MASK + close_frame(1000, "bye", MASK)
    async with pair() as it, calm(it.rig):

        async def serve() -> None:
            while True:
                far = await it.upstream.arrivals.get()
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    far.request = await far.head()
                    far.write(switching(far.request) + GREETING)

        server = asyncio.create_task(serve())
        for cut in range(0, len(said), 3):
            client = await dial(it.rig)
            client.write(said[:cut])
            if cut % 2:
                await asyncio.sleep(0)
            (reset if cut % 4 else finish)(client)
        whole = await dial(it.rig)
        whole.write(said)
        assert (await whole.answer()).status == 101
        assert (await whole.closed()) == (1000, "bye")
        whole.reset()
        await until(lambda: it.upstream.arrivals.empty(), "the upstream has answered everybody")
        await until(lambda: not it.rig.gateway._sessions._entries, "sessions end")  # type: ignore[union-attr]
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


# -- the upstream -------------------------------------------------------------------------------------------------

UPSTREAM_SAYS = {
    "nothing": b"",
    "half a 101": b"HTTP/1.1 101 Swi",
    "101": b"101",
    "half an event": b"101" + GREETING[:20],
    "an event": b"101" + GREETING,
    "a frame's head": b"101" + GREETING + b"\x81\x7e",
    "half a frame": b"101" + GREETING + GREETING[:30],
    "half a streamed frame": b"101" + GREETING + LONG[:90_000],
    "half a message": b"101" + GREETING + bytes([frames.TEXT, 5]) + b"xxxxx",  # too short to tell: it is held
    "close": b"101" + GREETING + close_frame(1000, "bye"),
}


def spoken(request: bytes, says: bytes) -> bytes:
    return switching(request) + says[3:] if says.startswith(b"101") else says


@pytest.mark.parametrize("vanish", WAYS)
@pytest.mark.parametrize("says", UPSTREAM_SAYS)
async def test_an_upstream_vanishes(says: str, vanish: Callable[[Peer], None]) -> None:
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.arrival()
        data = spoken(await far.head(), UPSTREAM_SAYS[says])
        far.write(data)
        if b"session.created" in data:
            answer = await client.answer()
            assert answer.status == 101
            assert (await client.event())["type"] == "session.created"
            if says == "half a streamed frame":
                await client.reader.readexactly(80_000)
                vanish(far)
                await client.reader.read()  # nothing can be said in the middle of a frame
            elif says == "close":
                assert await client.closed() == (1000, "bye")
                vanish(far)
            else:
                vanish(far)
                event = await client.event()
                assert event["error"]["code"] == "upstream_lost"  # type: ignore[index]
                assert await client.closed() == (1011, UPSTREAM_LOST.meaning)
        else:
            vanish(far)
            answer = await client.answer()
            assert answer.status == 502
        client.reset()


async def test_an_upstream_vanishes_at_any_byte() -> None:
    said = b"101" + GREETING + bytes([frames.TEXT, 2]) + b"{}" + bytes([0x80, 0]) + close_frame(1000, "bye")
    statuses: list[int] = []
    async with pair() as it, calm(it.rig):
        length = len(spoken(b"Sec-WebSocket-Key: x", said))
        for cut in range(0, length + 1, 5):
            client = await dial(it.rig)
            client.write(handshake())
            far = await it.upstream.arrival()
            far.write(spoken(await far.head(), said)[:cut])
            (far.writer.close if cut % 2 else far.reset)()
            answer = await client.answer()
            statuses.append(answer.status)
            if answer.status == 101:
                code, _ = await client.closed()
                assert code in (1000, 1011)
            client.reset()
    assert set(statuses) >= {502}


async def test_both_vanish_at_once() -> None:
    async with pair() as it, calm(it.rig):
        for stage in (b"", FRAGMENT, CREATE, LONG_AUDIO[:70_000]):
            client, far = await it.session()
            client.write(stage)
            far.write(LONG[:70_000])
            client.reset()
            far.reset()
    assert len(it.rig.meter.closed) == 4


async def test_early_close_and_clients_close_meet_in_the_handshake() -> None:
    """The session is over before the client's 101 is on its way; it is counted once all the same."""
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake() + close_frame(1000, "c", MASK))
        far = await it.upstream.opened(glued=GREETING + close_frame(1000, "u"))
        far.writer.close()
        assert (await client.answer()).status == 101
        assert (await client.event())["type"] == "session.created"
        assert (await client.closed())[0] == 1000
        client.reset()
    assert (it.rig.meter.opened, len(it.rig.meter.closed)) == (1, 1)


# -- peers that do not answer -------------------------------------------------------------------------------------


async def test_an_upstream_never_answers_close() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        client.close(1000, "bye")
        assert await client.closed() == (1000, "bye")
        assert await far.closed() == (1000, "bye")
        await far.gone()


async def test_a_client_never_answers_close() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        far.close(4001, "bye")
        assert await client.closed() == (4001, "bye")
        await client.gone()


async def test_a_client_never_reads() -> None:
    async with pair(Limits(stall=0.3)) as it, calm(it.rig):
        client, far = await it.session()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises((ConnectionError, TimeoutError)):
            await flood(far)
    assert [summary.reason for summary in it.rig.meter.closed] == ["client_stalled"]


async def test_an_upstream_never_reads() -> None:
    async with pair(Limits(stall=0.3)) as it, calm(it.rig):
        client, far = await it.session()
        far.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sender = asyncio.create_task(flood(client))
        event = await client.event()
        assert event["error"]["code"] == "upstream_lost"  # type: ignore[index]
        assert (await client.closed())[0] == 1011
        await client.gone()
        await asyncio.gather(sender, return_exceptions=True)
        far.reset()
    assert [summary.reason for summary in it.rig.meter.closed] == ["upstream_stalled"]


async def flood(peer: Peer) -> None:
    """Send until the other end takes no more and goes."""
    payload = b'{"type":"input_audio_buffer.append","audio":"' + b"A" * 30_000 + b'"}'
    data = frames.frame(frames.TEXT, payload, peer.key)
    async with asyncio.timeout(5):
        while True:
            peer.write(data)
            await peer.writer.drain()
            await asyncio.sleep(0)


async def test_a_client_that_half_closes_and_never_reads() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(300):
            far.write(LONG)
        await asyncio.sleep(0.1)
        half_close(client)
        await far.gone()


# -- the gateway stops --------------------------------------------------------------------------------------------


async def test_stop_in_every_stage() -> None:
    async with pair() as it:
        rig = it.rig
        stages = [before_a_byte, in_the_head, while_upgrading, before_the_first_event]
        waiting = [await stage(it) for stage in stages]
        sessions = [await it.session() for _ in range(3)]
        deaf, far = sessions[0]
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(100):
            far.write(LONG)
        sessions[1][0].write(CREATE)
        await asyncio.sleep(0.05)
        await rig.gateway.stop()
        assert rig.gateway._sessions is not None
        assert not rig.gateway._sessions._entries
        assert rig.meter.opened == len(rig.meter.closed) == 3
        for client, _ in sessions[1:]:
            event = await client.event()
            assert event["error"]["code"] == "gateway_draining"  # type: ignore[index]
            assert (await client.closed())[0] == 1001
        for peer in (*waiting, *(far for _, far in sessions)):
            await peer.gone()


@pytest.mark.parametrize("side", ["client", "upstream"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_what_was_said_before_a_peer_left_is_heard(
    loop: Callable[[], asyncio.AbstractEventLoop], secure: bool, side: str, tmp_path: Path
) -> None:
    """Much at once, Close and the end of the connection: it is judged some at a time, and all of it."""
    count, said = 1000, b'{"type":"session.updated"}'

    async def run() -> None:
        both = certificate(tmp_path, "localhost") if secure else None
        async with pair(tls=Tls(both, both)) as it, calm(it.rig):
            client, far = await it.session()
            fast, slow = (client, far) if side == "client" else (far, client)
            fast.write(frames.frame(frames.TEXT, said, fast.key) * count + close_frame(4001, "bye", fast.key))
            fast.writer.close()
            for _ in range(count):
                assert await slow.frame() == (frames.TEXT, said)
            assert await slow.closed() == (4001, "bye")
            slow.reset()
        assert [(each.reason, each.close_code) for each in it.rig.meter.closed] == [(f"{side}_closed", 4001)]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())
