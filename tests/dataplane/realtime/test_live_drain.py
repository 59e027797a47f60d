"""The pieces of a drain: nothing new, sessions that end between turns, and waiting until all are gone."""

from __future__ import annotations

import asyncio
import json
from unittest.mock import patch

from dataplane.realtime import frames, relay, service
from dataplane.realtime.endings import DRAINING
from dataplane.realtime.service import Realtime
from tests.dataplane.realtime.wires import CREATED as GREETING
from tests.dataplane.realtime.wires import Tls, ask, calm, handshake, pair, switching
from tests.dataplane.rig import Rig

CREATE = b'{"type":"response.create"}'
CREATED = b'{"type":"response.created","response":{"id":"r1"}}'
DONE = b'{"type":"response.done","response":{"id":"r1","status":"completed","usage":{"input_tokens":3}}}'
MESSAGE = "The gateway is shutting down."


def sessions(rig: Rig) -> Realtime:
    assert rig.gateway._sessions is not None
    return rig.gateway._sessions


async def test_nothing_new_is_taken() -> None:
    """What is a session goes on, and what is being opened becomes one; what comes now is refused."""
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        opening = await it.dial()
        opening.write(handshake())
        waiting = await it.upstream.arrival()
        sessions(it.rig).refuse_new()
        answer = await ask(it.rig)
        assert (answer.status, answer.error["code"]) == (503, "shutting_down")
        waiting.write(switching(await waiting.head()) + frames.frame(frames.TEXT, GREETING))
        assert (await opening.answer()).status == 101
        for peer, other in ((client, far), (opening, waiting)):
            peer.send(CREATE)
            assert (await other.event())["type"] == "response.create"
            peer.reset()
            other.reset()
    assert sorted(it.rig.meter.handshakes) == [101, 101, 503]


async def test_what_is_being_opened_ends_between_turns_too() -> None:
    async with pair() as it, calm(it.rig):
        client = await it.dial()
        client.write(handshake())
        far = await it.upstream.arrival()
        sessions(it.rig).refuse_new()
        sessions(it.rig).end_between_turns(DRAINING, MESSAGE)
        far.write(switching(await far.head()) + frames.frame(frames.TEXT, GREETING))
        assert (await client.answer()).status == 101
        assert (await client.event())["type"] == "session.created"
        assert (await client.event())["error"]["code"] == "gateway_draining"  # type: ignore[index]
        assert await client.closed() == (1001, MESSAGE)
        client.reset()
        far.reset()
    assert [summary.reason for summary in it.rig.meter.closed] == ["draining"]


async def test_what_is_still_being_opened_at_the_deadline_is_answered() -> None:
    """At whatever stage it is."""
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        dialled, upgrading, waiting = [await it.dial() for _ in range(3)]
        for opening in (dialled, upgrading, waiting):
            opening.write(handshake())
        await it.upstream.arrival()
        await (await it.upstream.arrival()).head()
        await it.upstream.opened(glued=b"")
        assert sessions(it.rig).live() == 4
        sessions(it.rig).refuse_new()
        sessions(it.rig).end_all(DRAINING, MESSAGE)
        for opening in (dialled, upgrading, waiting):
            answer = await opening.answer()
            assert (answer.status, answer.error["code"]) == (503, "shutting_down")
            assert answer.get("retry-after")
            opening.reset()
        answer = await ask(it.rig)
        assert (answer.status, answer.error["code"]) == (503, "shutting_down")
        assert await client.closed() == (1001, MESSAGE)
        client.reset()
        far.reset()
    assert sorted(it.rig.meter.handshakes) == [101, 503, 503, 503, 503]
    assert [done.code for done in it.tracer.handshakes[1:]] == ["shutting_down"] * 4
    assert {request[2:] for request in it.rig.meter.requests} == {(101, ""), (503, "shutting_down")}


async def test_a_session_between_turns_ends_at_once(tls: Tls) -> None:
    async with pair(tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        sessions(it.rig).end_between_turns(DRAINING, MESSAGE)
        assert (await client.event())["error"]["code"] == "gateway_draining"  # type: ignore[index]
        assert await client.closed() == (1001, MESSAGE)
        assert await far.closed() == (1000, "")
        client.reset()
    assert [summary.reason for summary in it.rig.meter.closed] == ["draining"]


async def test_a_session_in_a_turn_may_finish_it(tls: Tls) -> None:
    async with pair(tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        client.send(CREATE)
        assert (await far.event())["type"] == "response.create"
        sessions(it.rig).end_between_turns(DRAINING, MESSAGE)
        far.send(CREATED)
        assert (await client.event())["type"] == "response.created"
        client.send(b'{"type":"input_audio_buffer.clear"}')
        assert await far.event() == {"type": "input_audio_buffer.clear"}
        text = b'{"type":"response.output_text.delta","response_id":"r1","delta":"Hello"}'
        far.write(b"".join(frames.frame(frames.TEXT, each) for each in (text, DONE, b'{"type":"late"}')))
        heard = [await client.event() for _ in range(3)]
        assert heard[:2] == [json.loads(text), json.loads(DONE)]
        assert heard[2]["error"]["code"] == "gateway_draining"  # type: ignore[index]
        assert await client.closed() == (1001, MESSAGE)
        assert await far.closed() == (1000, "")
        client.reset()
    (turn,) = it.rig.meter.turns
    assert (turn.status, turn.estimated) == ("completed", False)


async def test_at_the_deadline_a_turn_is_cut_off_and_settled(tls: Tls) -> None:
    async with pair(tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        far.send(CREATED)
        assert (await client.event())["type"] == "response.created"
        sessions(it.rig).end_between_turns(DRAINING, MESSAGE)
        assert not await sessions(it.rig).wait_empty(0.05)
        sessions(it.rig).end_all(DRAINING, MESSAGE)
        assert (await client.event())["error"]["code"] == "gateway_draining"  # type: ignore[index]
        assert (await far.event())["type"] == "response.cancel"
        far.send(DONE.replace(b"completed", b"cancelled"))
        assert await far.closed() == (1000, "")
        far.close(1000)
        client.close(1001)
        assert await sessions(it.rig).wait_empty(10)
        client.reset()
    (turn,) = it.rig.meter.turns
    assert (turn.status, turn.estimated) == ("cancelled", False)


async def test_waiting_until_all_are_gone() -> None:
    async with pair() as it, calm(it.rig):
        assert await sessions(it.rig).wait_empty(0)
        client, far = await it.session()
        assert sessions(it.rig).live() == sessions(it.rig).live("ai/voice") == 1
        assert not await sessions(it.rig).wait_empty(0)
        waiting = asyncio.ensure_future(sessions(it.rig).wait_empty(10))
        client.close()
        await far.closed()
        far.close()
        assert await waiting
        assert (sessions(it.rig).live(), sessions(it.rig).live("ai/voice"), sessions(it.rig)._by_backend) == (0, 0, {})
        client.reset()


async def test_a_session_whose_peers_ignore_everything_is_cut_and_accounted_for(tls: Tls) -> None:
    async with pair(tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        far.send(CREATED)
        assert (await client.event())["type"] == "response.created"
        client.sleep()
        far.sleep()
        with patch.multiple(relay, LINGER=60.0, SETTLE=60.0), patch.multiple(service, LINGER=0.01, SETTLE=0.01):
            await sessions(it.rig).stop()
        assert sessions(it.rig).live() == 0
        assert [summary.reason for summary in it.rig.meter.closed] == ["draining"]
        assert [(turn.response_id, turn.status) for turn in it.rig.meter.turns] == [("r1", "lost")]
        client.reset()
        far.reset()


async def test_an_ending_that_waits_gives_way_to_another() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        far.send(CREATED)
        assert (await client.event())["type"] == "response.created"
        sessions(it.rig).end_between_turns(DRAINING, MESSAGE)
        client.reset()
        assert (await far.event())["type"] == "response.cancel"
        far.send(DONE)
        assert await far.closed() == (1001, "client went away")
        far.reset()
    assert [summary.reason for summary in it.rig.meter.closed] == ["client_lost"]
