"""Peers of the WebSocket mode that break off, break the rules, flood or fall silent."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from websockets.asyncio.server import ServerConnection

from dataplane.server import Limits
from dataplane.table import CallerLimits, Limit, SessionLimits, Timeouts
from simulator.server import Simulator
from tests.dataplane.dialogue.talk import made, provider_of, talking, until
from tests.dataplane.http.test_responding import KEYS, one, served, standing
from tests.dataplane.rig import REQUIRED

ASK = {"model": "gpt-5", "input": "hello"}
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


# -- providers -------------------------------------------------------------------------------------------------------


async def test_one_that_leaves_before_it_answers() -> None:
    async def leaves(socket: ServerConnection) -> None:
        await socket.recv()

    async with provider_of(leaves) as url, standing(served(one(url))) as stand, talking(stand.rig) as talk:
        assert (await talk.asks(**ASK))["code"] == "upstream_unreachable"
        assert not stand.rig.meter.turns


async def test_one_that_speaks_something_else() -> None:
    async def babbles(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.write(b"\xff\xff\xff\xff")
        await socket.wait_closed()

    async with provider_of(babbles) as url, standing(served(one(url))) as stand, talking(stand.rig) as talk:
        assert (await talk.asks(**ASK))["code"] == "upstream_protocol_error"


async def test_one_that_speaks_something_else_later() -> None:
    async def babbles(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(made("created", "resp_1"))
        socket.transport.write(b"\xff\xff\xff\xff")
        await socket.wait_closed()

    async with provider_of(babbles) as url, standing(served(one(url))) as stand, talking(stand.rig) as talk:
        assert (await talk.asks(**ASK))["code"] == "upstream_protocol_error"
        assert (await talk.closed())[0] == 1011
        await until(lambda: stand.rig.meter.closed)
        assert [(turn.status, turn.response_id) for turn in stand.rig.meter.turns] == [("failed", "resp_1")]


async def test_one_that_falls_silent() -> None:
    """It lives, and answers Pings; but of the response nothing more comes."""

    async def stalls(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(made("created", "resp_1"))
        await socket.wait_closed()

    times, patience = Timeouts(response=0.3, idle=0.3), Limits(ping=0.1)
    async with (
        provider_of(stalls) as url,
        standing(served(one(url), timeouts=times), patience) as stand,
        talking(stand.rig) as talk,
    ):
        assert (await talk.asks(**ASK))["code"] == "upstream_lost"
        await until(lambda: stand.rig.meter.closed)
        assert [turn.status for turn in stand.rig.meter.turns] == ["failed"]
        [closed] = stand.rig.meter.closed
        assert closed.reason == "upstream_silent"


async def test_nothing_is_held_of_one_that_was_given_up() -> None:
    async def begins(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.write(b"\x81\x7f" + (10**6).to_bytes(8, "big") + b"x" * 200_000)
        await socket.wait_closed()

    async with provider_of(begins) as url, standing(served(one(url), timeouts=Timeouts(response=0.5))) as stand:
        room = stand.rig.gateway._room
        async with talking(stand.rig) as talk:
            await talk.say(**ASK)
            await until(lambda: room.held >= 200_000)
            assert (await talk.until("error"))["error"]["code"] == "upstream_timeout"
            assert room.held == 0


async def test_responses_that_are_mixed_up_are_each_counted() -> None:
    """Another one begins where one is under way, and one ends of which nobody knew."""

    async def mixes(socket: ServerConnection) -> None:
        await socket.recv()
        for kind, name in (("created", "resp_1"), ("created", "resp_2"), ("completed", "resp_2")):
            await socket.send(made(kind, name, usage=USAGE if kind == "completed" else None))
        await socket.send(made("incomplete", "resp_3", usage=USAGE))
        await socket.send('{"type":"response.unknown"}')
        await socket.wait_closed()

    async with provider_of(mixes) as url, standing(served(one(url))) as stand, talking(stand.rig) as talk:
        await talk.say(**ASK)
        await talk.until("response.unknown")
        assert [(turn.response_id, turn.status) for turn in stand.rig.meter.turns] == [
            ("resp_1", "failed"),
            ("resp_2", "completed"),
            ("resp_3", "incomplete"),
        ]


async def test_what_is_no_event_goes_on_as_it_came() -> None:
    said: list[str | bytes] = ['{"type":"x","response": {', "not json", b"\x00binary", '{"type":"error","message":"x"}']

    async def says(socket: ServerConnection) -> None:
        await socket.recv()
        for each in said:
            await socket.send(each)
        await socket.wait_closed()

    async with provider_of(says) as url, standing(served(one(url))) as stand, talking(stand.rig) as talk:
        await talk.say(**ASK)
        heard = [await talk.socket.recv(decode=False) for _ in said]
        assert heard == [each if isinstance(each, bytes) else each.encode() for each in said]
        assert not stand.rig.meter.turns  # it was refused before it began


async def test_a_client_that_reads_late_gets_all_and_the_provider_waits() -> None:
    piece, count = "x" * 100_000, 200
    sent = 0

    async def floods(socket: ServerConnection) -> None:
        nonlocal sent
        await socket.recv()
        await socket.send(made("created", "resp_1"))
        for _ in range(count):
            await socket.send(orjson.dumps({"type": "response.output_text.delta", "delta": piece}).decode())
            sent += 1
        await socket.send(made("completed", "resp_1", usage=USAGE))
        await socket.wait_closed()

    async with provider_of(floods) as url, standing(served(one(url))) as stand, talking(stand.rig) as talk:
        assert talk.socket.transport
        await talk.say(**ASK)
        await talk.until("response.created")
        talk.socket.transport.pause_reading()
        before = -1
        while before < sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < count
        talk.socket.transport.resume_reading()
        got = 0
        while (await talk.event())["type"] == "response.output_text.delta":
            got += 1
        assert got == count


# -- clients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "code", "reason"),
    [
        (b"\xff\xff\xff\xff", 1002, "protocol_error"),
        (b"\x88\x82\x00\x00\x00\x00\x00\x01", 1002, "protocol_error"),
        (b"\x01\x80\x00\x00\x00\x00" + b"\x00\x80\x00\x00\x00\x00" * 9, 1009, "too_many_fragments"),
    ],
)
async def test_one_that_breaks_the_rules(frames: bytes, code: int, reason: str) -> None:
    policies = REQUIRED.model_copy(update={"session": (SessionLimits(max_fragments=8),)})
    async with standing(served(one("http://127.0.0.1:1"), policies=policies)) as stand, talking(stand.rig) as talk:
        assert talk.socket.transport
        talk.socket.transport.write(frames)
        assert (await talk.closed())[0] == code
        await until(lambda: stand.rig.meter.closed)
        [closed] = stand.rig.meter.closed
        assert (closed.reason, closed.close_code) == (reason, code)


async def test_fragments_are_put_together() -> None:
    async with (
        Simulator(keys=KEYS) as upstream,
        standing(served(one(upstream.url))) as stand,
        talking(stand.rig) as talk,
    ):
        message = orjson.dumps({"type": "response.create", **ASK}).decode()
        await talk.socket.send([message[:10], message[10:20], message[20:]])
        await talk.until("response.completed")


async def test_one_that_leaves_while_a_provider_is_waited_for() -> None:
    asked = asyncio.Event()

    async def stalls(socket: ServerConnection) -> None:
        await socket.recv()
        asked.set()
        await socket.wait_closed()

    async with provider_of(stalls) as url, standing(served(one(url))) as stand:
        async with talking(stand.rig) as talk:
            await talk.say(**ASK)
            await asked.wait()
        await until(lambda: stand.rig.meter.closed)
        assert [turn.status for turn in stand.rig.meter.turns] == ["cancelled"]
        assert stand.rig.meter.active["a", "session"] == 0


@pytest.mark.parametrize("ends", [True, False])
async def test_one_without_room_for_its_first_response(ends: bool) -> None:
    limit = CallerLimits(
        policy="ai/p",
        limits=(Limit(kind="requests", per="Day", max=1),),
        reserve=1,
        counted_by="Caller",
        end_session=ends,
    )
    policies = REQUIRED.model_copy(update={"limits": (limit,)})
    async with Simulator(keys=KEYS) as upstream, standing(served(one(upstream.url), policies=policies)) as stand:
        async with talking(stand.rig) as talk:
            assert (await talk.asks(**ASK))["code"] == "limit_exceeded"
            if ends:
                assert (await talk.closed())[0] == 1008
        assert stand.rig.meter.active["a", "session"] == 0
        assert not upstream.requests


async def test_one_whose_message_cannot_be_written_again() -> None:
    deep = '{"type":"response.create","model":"gpt-5","input":' + "[" * 500 + "]" * 500 + "}"
    async with (
        Simulator(keys=KEYS) as upstream,
        standing(served(one(upstream.url))) as stand,
        talking(stand.rig) as talk,
    ):
        for _ in range(2):
            await talk.socket.send(deep)
            assert (await talk.event())["error"]["code"] == "invalid_json"
            assert (await talk.asks(**ASK))["status"] == "completed"
        assert len(stand.rig.meter.turns) == 2


async def test_one_that_holds_too_much_of_the_memory() -> None:
    async with standing(served(one("http://127.0.0.1:1"))) as stand, talking(stand.rig) as talk:
        room = stand.rig.gateway._room
        room.size, room.fit = 100_000, lambda memory: None  # type: ignore[method-assign]
        assert talk.socket.transport
        talk.socket.transport.write(b"\x81\xff" + (10**6).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 200_000)
        assert (await talk.closed())[0] == 1009
        await until(lambda: stand.rig.meter.closed)
        assert room.held == 0
        assert stand.rig.meter.closed[0].reason == "message_too_big"


async def test_one_that_steers_without_room_or_before_anything() -> None:
    limit = CallerLimits(
        policy="ai/p", limits=(Limit(kind="requests", per="Day", max=3),), reserve=1, counted_by="Caller"
    )
    policies = REQUIRED.model_copy(update={"limits": (limit,)})
    async with (
        Simulator(keys=KEYS) as upstream,
        standing(served(one(upstream.url), policies=policies)) as stand,
        talking(stand.rig) as talk,
        talking(stand.rig) as other,
    ):
        name = (await talk.asks(**ASK))["id"]
        steer = orjson.dumps({"type": "response.steer", "input": "x", "previous_response_id": name}).decode()
        before = len(upstream.messages)
        for each, code in ((talk, "limit_exceeded"), (other, "response_not_found")):
            await each.socket.send(steer)
            assert (await each.event())["error"]["code"] == code
        assert len(upstream.messages) == before
