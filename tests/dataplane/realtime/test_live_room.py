"""What sessions hold of unfinished messages: bounded for all together, and gone when they are."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from dataplane.limits.budget import Budget
from dataplane.limits.spending import Model
from dataplane.process.room import Room
from dataplane.realtime import frames
from tests.dataplane.realtime.test_live_limits import limited
from tests.dataplane.realtime.test_live_pressure import small_buffers
from tests.dataplane.realtime.wires import MASK, Pair, Peer, calm, pair, until

MIB = 1024 * 1024
START = b'{"type":"conversation.item.create","item":"'


def unfinished(size: int, *, fragments: int = 1) -> bytes:
    """Of a message that is to be twice as long: so many bytes."""
    if fragments == 1:
        return frames.frame(frames.TEXT, START + b"A" * 2 * size, MASK)[:size]
    piece = START + b"A" * (size // fragments - len(START))
    first, more = frames.TEXT, frames.CONTINUATION
    each = [frames.frame(more if number else first, piece, MASK) for number in range(fragments)]
    return b"".join(bytes([frame[0] & 0x7F]) + frame[1:] for frame in each)


def room(it: Pair) -> Room:
    return it.rig.gateway._room


def limit(it: Pair, size: int) -> None:
    """Whatever memory the machine has."""
    room(it).size, room(it).fit = size, lambda memory: None  # type: ignore[method-assign]


async def holds(it: Pair, client: Peer, size: int, fragments: int = 1) -> None:
    before = room(it).held
    client.write(unfinished(size, fragments=fragments))
    await client.writer.drain()
    await until(lambda: room(it).held >= before + size * 9 // 10, f"{size} are held, beside {before}")


@pytest.mark.parametrize("fragments", [1, 16], ids=["one frame", "fragments"])
async def test_the_session_that_holds_most_ends(fragments: int) -> None:
    async with pair() as it, calm(it.rig):
        sessions = [await it.session() for _ in range(4)]
        limit(it, 10 * MIB)
        for (client, _), size in zip(sessions, (2 * MIB, 4 * MIB, 3 * MIB), strict=False):
            await holds(it, client, size, fragments)
        assert len(it.rig.gateway.sessions()) == 4
        greedy, far = sessions[1]
        with capture_logs() as logs:
            sessions[3][0].write(unfinished(2 * MIB, fragments=fragments))
            said = await greedy.event()
            assert said["type"] == "error"
            assert said["error"]["code"] == "message_too_big"  # type: ignore[index]
            assert "this session holds most" in said["error"]["message"]  # type: ignore[index]
            assert (await greedy.closed())[0] == 1009
        assert room(it).held <= 8 * MIB
        (warning,) = [line for line in logs if line["log_level"] == "warning"]
        assert warning["held_mib"] in (3, 4)
        assert (await far.closed())[0] == 1000
        for client, far in (sessions[0], sessions[2], sessions[3]):
            far.send(b'{"type":"hello"}')
            assert await client.event() == {"type": "hello"}
        for client, _ in sessions:
            client.reset()
    assert room(it).held == 0


async def test_it_may_be_the_one_that_is_read_just_now() -> None:
    async with pair() as it, calm(it.rig):
        client, _ = await it.session()
        neighbour, far = await it.session()
        limit(it, MIB)
        await holds(it, neighbour, MIB // 4)
        client.write(unfinished(4 * MIB))
        assert (await client.closed())[0] == 1009
        assert room(it).held < MIB // 2
        far.send(b'{"type":"hello"}')
        assert await neighbour.event() == {"type": "hello"}
        client.reset()
        neighbour.reset()


async def test_an_upstream_that_holds_most() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        limit(it, MIB)
        far.write(frames.frame(frames.TEXT, b'{"type":"response.done","response":"' + b"A" * 4 * MIB)[: 2 * MIB])
        gate = it.live().relay._upstream_gate
        assert (await client.closed())[0] == 1009
        assert room(it).held == 0
        far.write(b"A" * MIB)
        await until(lambda: it.live().upstream.received >= 3 * MIB, "there is more")
        assert len(gate._kept.held) < 1024
        client.reset()
        far.reset()


async def test_what_waits_for_a_turn_to_be_admitted_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of messages that are whole: a store that is asked may be slow, and they may be large."""
    admit, may = Budget.admit_turn, asyncio.Event()
    create = b'{"type":"response.create","response":{"instructions":"' + b"x" * MIB + b'"}}'

    async def late(self: Budget, model: Model) -> None:
        await may.wait()
        await admit(self, model)

    async with pair(policies=limited("tokens", 10**6)) as it, calm(it.rig):
        sessions = [await it.session() for _ in range(3)]
        limit(it, 13 * MIB // 4)
        monkeypatch.setattr(Budget, "admit_turn", late)
        for number, (client, _) in enumerate(sessions[:2], 1):
            client.send(create)
            await until(lambda wanted=number: room(it).held >= wanted * MIB, "it is held")
        client, _ = sessions[2]
        client.send(create[:-3] + b"x" * MIB + create[-3:])
        assert (await client.closed())[0] == 1009
        assert 2 * MIB <= room(it).held < 3 * MIB
        may.set()
        for _, far in sessions[:2]:
            assert (await far.event())["type"] == "response.create"
        await until(lambda: room(it).held == 0, "nothing is held any more")
        for asker, far in sessions:
            asker.reset()
            far.reset()


def small_send_buffers(it: Pair) -> None:
    """Keep the kernel from holding what the gateway is to count."""
    assert it.rig.gateway._sessions is not None
    for entry in it.rig.gateway._sessions._entries.values():
        for leg in (entry.live.client, entry.live.upstream):
            assert leg is not None
            assert leg._transport is not None
            leg._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)


@pytest.mark.parametrize("down", [True, False], ids=["to the client", "to the upstream"])
async def test_large_messages_that_a_peer_does_not_take_count(*, down: bool) -> None:
    """They are whole, and can be read by whoever they are for, once that reads."""
    kind = b"response.done" if down else b"conversation.item.create"
    message = b'{"type":"' + kind + b'","x":"' + b"A" * 4 * MIB + b'"}'
    async with pair() as it, calm(it.rig):
        sessions = [await it.session() for _ in range(3)]
        limit(it, 9 * MIB)
        small_send_buffers(it)
        for number, (client, far) in enumerate(sessions, 1):
            sender, taker = (far, client) if down else (client, far)
            small_buffers(taker)
            taker.sleep()
            sender.send(message)
            if number < 3:
                await until(lambda wanted=number: room(it).held >= 3 * MIB * wanted, "it is held")
        await until(lambda: len(it.rig.gateway.sessions()) == 2, "one had to go")
        assert room(it).held <= 8 * MIB
        takers = [client if down else far for client, far in sessions]
        for taker in takers:
            taker.writer.transport.resume_reading()  # type: ignore[attr-defined]
        taken = [found[1] for found in await asyncio.gather(*(taker.frame() for taker in takers)) if found is not None]
        assert taken.count(message) == 2
        await until(lambda: room(it).held == 0, "everything was taken")
        for client, far in sessions:
            client.reset()
            far.reset()
    assert sorted(summary.reason for summary in it.rig.meter.closed)[-1] == "message_too_big"


async def test_what_waits_for_slow_peers_as_a_matter_of_course_does_not() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        small_send_buffers(it)
        small_buffers(far)
        far.sleep()
        client.send(b'{"type":"conversation.item.create","x":"' + b"A" * (MIB // 2 - 1000) + b'"}')
        await until(lambda: it.live().upstream.waiting > MIB // 8, "it waits")
        assert room(it).held == 0
        client.reset()
        far.reset()


async def test_many_who_hold_little() -> None:
    async with pair() as it, calm(it.rig):
        limit(it, 300 * 1024)
        clients = [(await it.session())[0] for _ in range(6)]
        for client in clients:
            client.write(unfinished(60 * 1024))
        await until(lambda: len(it.rig.gateway.sessions()) == 5, "one had to go")
        assert room(it).held <= 300 * 1024
        for client in clients:
            client.reset()


async def test_a_message_that_is_finished_is_held_no_more() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        limit(it, 4 * MIB)
        whole = frames.frame(frames.TEXT, START + b"A" * 3 * MIB + b'"}', MASK)
        for _ in range(3):
            client.write(whole[:-1])
            await until(lambda: room(it).held > 2 * MIB, "it is held")
            client.write(whole[-1:])
            found = await far.frame()
            assert found is not None
            assert len(found[1]) == len(START) + 3 * MIB + 2
            assert room(it).held == 0
        client.reset()


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected: what is gone has gone by itself."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "closed"])
async def test_nothing_is_kept_of_a_session_that_is_over(lost: bool) -> None:
    async with pair() as it, calm(it.rig):
        with uncollected():
            client, far = await it.session()
            await holds(it, client, MIB)
            live = weakref.ref(it.live())
            if lost:
                client.reset()
            else:
                assert it.rig.gateway.end_session(it.live().session.terms.id)
                assert (await client.closed())[0] == 1001
                client.reset()
            await far.gone()
            far.reset()
            await until(lambda: live() is None, "it is gone")
    await asyncio.sleep(0)
