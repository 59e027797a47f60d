"""Many come at once and leave at once: each gets what one alone would get, a few in each turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dataplane.process.pace import AT_ONCE
from dataplane.realtime import frames
from tests.dataplane.realtime.wires import Pair, Peer, calm, close_frame, handshake, pair

MANY = 6 * AT_ONCE
CREATE = b'{"type":"response.create"}'
CREATED = b'{"type":"response.created","response":{"id":"r1"}}'
DONE = b'{"type":"response.done","response":{"id":"r1","status":"completed","usage":{"input_tokens":3}}}'


async def storm(it: Pair) -> tuple[list[Peer], list[Peer]]:
    """Sessions of clients that came at once, and their upstreams, in whatever order."""
    clients = [await it.dial() for _ in range(MANY)]
    for client in clients:
        client.write(handshake())
    fars = [await it.upstream.opened() for _ in range(MANY)]
    for client in clients:
        assert (await client.answer()).status == 101
        client.wrote = 0
        assert (await client.event())["type"] == "session.created"
    return clients, fars


@asynccontextmanager
async def all_end(it: Pair) -> AsyncIterator[None]:
    """What happens inside ends all sessions, and no turn of the loop has more than its share of that."""

    async def watch() -> None:
        closed = it.rig.meter.closed
        while len(closed) < MANY:
            before = len(closed)
            await asyncio.sleep(0)
            assert len(closed) <= before + 2 * AT_ONCE

    async with asyncio.timeout(10), asyncio.TaskGroup() as watching:
        watching.create_task(watch())
        yield


@pytest.mark.parametrize("way", ["reset", "end", "close"])
async def test_clients_leave_at_once(way: str) -> None:
    async with pair() as it, calm(it.rig):
        clients, fars = await storm(it)
        async with all_end(it):
            for client in clients:
                if way == "reset":
                    client.reset()
                elif way == "end":
                    client.writer.close()
                else:
                    client.write(close_frame(4001, "bye", client.key))
                    client.writer.close()
            expected = (4001, "bye") if way == "close" else (1001, "client went away")
            for far in fars:
                assert await far.closed() == expected
            for far in fars:
                far.reset()
    reason = "client_closed" if way == "close" else "client_lost"
    assert [closed.reason for closed in it.rig.meter.closed] == [reason] * MANY


@pytest.mark.parametrize("way", ["reset", "close"])
async def test_upstreams_leave_at_once(way: str) -> None:
    async with pair() as it, calm(it.rig):
        clients, fars = await storm(it)
        async with all_end(it):
            for far in fars:
                if way == "reset":
                    far.reset()
                else:
                    far.write(close_frame(4001, "bye"))
            for client in clients:
                if way == "reset":
                    assert (await client.event())["error"]["code"] == "upstream_lost"  # type: ignore[index]
                assert (await client.closed())[0] == (1011 if way == "reset" else 4001)
            for client in clients:
                client.reset()
    reason = "upstream_lost" if way == "reset" else "upstream_closed"
    assert [closed.reason for closed in it.rig.meter.closed] == [reason] * MANY


async def test_what_the_clients_left_running_is_counted() -> None:
    async with pair() as it, calm(it.rig):
        clients, fars = await storm(it)
        for client in clients:
            client.send(CREATE)
        for far in fars:
            assert (await far.event())["type"] == "response.create"
            far.send(CREATED)
        for client in clients:
            assert (await client.event())["type"] == "response.created"
        async with all_end(it):
            for client in clients:
                client.reset()
            for far in fars:
                assert (await far.event())["type"] == "response.cancel"
                far.send(DONE)
            for far in fars:
                await far.closed()
                far.reset()
    assert [usage.tokens.input for usage in it.rig.meter.turns if usage.tokens] == [3] * MANY


async def test_a_message_behind_a_close_goes_nowhere() -> None:
    """Though the Close may wait for its turn."""
    async with pair() as it, calm(it.rig):
        clients, fars = await storm(it)
        async with all_end(it):
            for client in clients:
                client.write(close_frame(1000, "", client.key))
            for client in clients:
                client.write(frames.frame(frames.TEXT, CREATE, client.key))
            for far in fars:
                assert await far.closed() == (1000, "")
                far.reset()
            for client in clients:
                assert await client.closed() == (1000, "")
                client.reset()


async def test_sessions_that_are_cut_are_all_accounted_for() -> None:
    async with pair() as it:
        clients, fars = await storm(it)
        sessions = it.rig.gateway._sessions
        assert sessions is not None
        await sessions.cut()
        assert it.rig.gateway.idle
        assert len(it.rig.meter.closed) == MANY
        for peer in (*clients, *fars):
            peer.reset()
