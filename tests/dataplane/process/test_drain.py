"""How a gateway that was told to stop lets its sessions end. Phases that a test waits in are long and ended by hand;
only what must happen by itself has a short one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from unittest.mock import patch

import aiohttp
import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dataplane.process.drain import AT_ONCE, LAST_WORDS, Drain
from dataplane.realtime.relay import LINGER, SETTLE
from dataplane.server import Gateway
from simulator.server import Simulator
from tests.dataplane.realtime import wires
from tests.dataplane.realtime.wires import PATH, Peer, calm, dial, gateway, handshake, until
from tests.dataplane.rig import ASK, BEARER, Remembering, Rig, backend, provider, table

LONG = 60.0
ENDED = ("gateway_draining", 1001)
CHAT = "/v1/chat/completions"
ECHO = "/v1/echo/ws"
GET = f"GET /v1/bytes/5 HTTP/1.1\r\nHost: gateway\r\nAuthorization: {BEARER['Authorization']}\r\n\r\n".encode()


@pytest.fixture(autouse=True)
async def no_peers_left() -> AsyncIterator[None]:
    yield
    while wires._PEERS:
        wires._PEERS.pop().reset()
    await asyncio.sleep(0)


@pytest.fixture
async def served(upstream: Simulator) -> AsyncIterator[Rig]:
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig:
        yield rig


@asynccontextmanager
async def draining(rig: Rig, phases: Drain) -> AsyncIterator[tuple[asyncio.Event, asyncio.Task[None]]]:
    """`hurry`, and the drain that is under way; it must be over in the end."""
    hurry = asyncio.Event()
    task = asyncio.create_task(rig.gateway.drain(phases, hurry))
    try:
        await asyncio.sleep(0)
        assert rig.gateway.draining
        assert not rig.gateway.ready()
        yield hurry, task
        async with asyncio.timeout(10):
            await task
    finally:
        task.cancel()


def end_lame_duck(rig: Rig) -> None:
    """Do what its end does; the drain notices."""
    assert rig.gateway._running is not None
    rig.gateway._running.close()


def accepting(rig: Rig) -> bool:
    assert rig.gateway._running is not None
    return rig.gateway._running.accepting


async def call(rig: Rig, scenario: str = "") -> ClientConnection:
    """A session, after `session.created`."""
    url = f"ws://127.0.0.1:{rig.gateway.port}{PATH}&scenario={scenario}"
    socket = await connect(url, additional_headers=BEARER, max_size=None, close_timeout=1)
    assert json.loads(await socket.recv())["type"] == "session.created"
    return socket


async def turn(socket: ClientConnection, until_type: str = "response.done") -> None:
    """Ask for an answer, and hear it up to an event of this type."""
    await socket.send('{"type":"response.create"}')
    await hear(socket, until_type)


async def hear(socket: ClientConnection, until_type: str) -> None:
    async with asyncio.timeout(10):
        while json.loads(await socket.recv())["type"] != until_type:
            pass


async def farewell(socket: ClientConnection) -> list[str | int]:
    """Everything up to the Close: types of events, an error by its code, and at last the close code."""
    heard: list[str | int] = []
    try:
        async with asyncio.timeout(10):
            while True:
                event = json.loads(await socket.recv())
                heard.append(event["error"]["code"] if event["type"] == "error" else event["type"])
    except ConnectionClosed as closed:
        return [*heard, closed.rcvd.code if closed.rcvd else 1006]


def assert_counted(rig: Rig, upstream: Simulator, turns: int) -> None:
    """Every turn was counted, to the token."""
    assert sorted(turn.response_id for turn in rig.meter.turns) == sorted(
        str(entry["id"]) for entry in upstream.ledger.turns
    )
    assert len(rig.meter.turns) == turns
    totals = upstream.ledger.totals
    tokens = [turn.tokens for turn in rig.meter.turns if turn.tokens is not None]
    assert sum(each.input for each in tokens) == totals["input_tokens"] > 0
    assert sum(each.output for each in tokens) == totals["output_tokens"]
    assert not any(turn.estimated for turn in rig.meter.turns)
    assert rig.meter.opened == len(rig.meter.closed)


async def test_with_100_sessions_that_end_by_themselves(served: Rig, upstream: Simulator) -> None:
    calls = await asyncio.gather(*(call(served) for _ in range(100)))
    await asyncio.gather(*(turn(socket) for socket in calls))
    async with calm(served), draining(served, Drain(lame_duck=LONG, patience=LONG, closing=0)) as (_, task):
        late = await asyncio.gather(*(call(served) for _ in range(10)))
        end_lame_duck(served)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", served.gateway.port)
        calls += late
        await asyncio.gather(*(turn(socket) for socket in calls))
        assert not task.done()
        await asyncio.gather(*(socket.close() for socket in calls))
    assert {(ended.reason, ended.close_code) for ended in served.meter.closed} == {("client_closed", 1000)}
    assert len(served.meter.closed) == 110
    assert_counted(served, upstream, 210)


async def test_with_100_sessions_that_stay(served: Rig, upstream: Simulator) -> None:
    idle = await asyncio.gather(*(call(served) for _ in range(60)))
    talking = await asyncio.gather(*(call(served, "wait") for _ in range(39)))
    endless = await call(served, "wait")
    await asyncio.gather(*(turn(socket, "response.content_part.added") for socket in (*talking, endless)))
    async with draining(served, Drain(lame_duck=0, patience=LONG, closing=LONG)) as (hurry, task):
        assert await asyncio.gather(*(farewell(socket) for socket in idle)) == [[*ENDED]] * 60
        assert upstream.ledger.turns == []
        await asyncio.gather(*(socket.send('{"type":"input_audio_buffer.clear"}') for socket in talking))
        for heard in await asyncio.gather(*(farewell(socket) for socket in talking)):
            assert heard[-3:] == ["response.done", *ENDED]
        await until(lambda: len(served.gateway.sessions()) == 1, "the others are over")
        assert not task.done()
        hurry.set()
        assert (await farewell(endless))[-2:] == [*ENDED]
    statuses = [turn.status for turn in served.meter.turns]
    assert (statuses.count("completed"), statuses.count("cancelled")) == (39, 1)
    assert {ended.reason for ended in served.meter.closed} == {"draining"}
    assert_counted(served, upstream, 40)


async def test_the_deadline(served: Rig, upstream: Simulator) -> None:
    endless = await call(served, "wait")
    await turn(endless, "response.content_part.added")
    with capture_logs() as logs:
        async with draining(served, Drain(lame_duck=0.1, patience=0.2, closing=0.1)):
            assert (await farewell(endless))[-2:] == [*ENDED]
    assert [ended.reason for ended in served.meter.closed] == ["draining"]
    assert_counted(served, upstream, 1)
    phases = [entry for entry in logs if entry["event"].startswith("draining")]
    assert [entry["event"].split(": ")[0].removeprefix("draining, ") for entry in phases] == [
        "lame duck", "patience", "closing", "deadline",
    ]  # fmt: skip
    assert [(entry["sessions"], entry["requests"], entry["tunnels"]) for entry in phases] == [(1, 0, 0)] * 4
    assert phases[0]["grace_period"] > 30


async def test_patience_leaves_a_session_alone_that_is_between_turns(served: Rig) -> None:
    socket = await call(served)
    async with draining(served, Drain(lame_duck=0, patience=LONG, closing=0)):
        await until(lambda: not accepting(served), "the port is closed")
        for _ in range(3):
            await turn(socket)
        await socket.close(4000, "enough")
    assert [(ended.reason, ended.close_code) for ended in served.meter.closed] == [("client_closed", 4000)]


@pytest.mark.parametrize("phases", [Drain(lame_duck=LONG), Drain(lame_duck=0, closing=LONG), Drain(lame_duck=0)])
async def test_hurry(served: Rig, upstream: Simulator, phases: Drain) -> None:
    talking = await call(served, "wait")
    await turn(talking, "response.content_part.added")
    async with draining(served, phases) as (hurry, _):
        await until(lambda: phases.lame_duck or not accepting(served), "the phase begins")
        hurry.set()
        assert (await farewell(talking))[-2:] == [*ENDED]
    assert not accepting(served)
    assert_counted(served, upstream, 1)


async def test_nothing_to_wait_for(served: Rig) -> None:
    with capture_logs() as logs:
        async with draining(served, Drain(lame_duck=0.05, patience=LONG)):
            pass
    assert [entry["event"].split(":")[0] for entry in logs] == ["draining, lame duck"]
    assert served.meter.drained
    assert not served.gateway.ready()


async def test_connections_that_are_still_open(served: Rig) -> None:
    """Requests are served and their connections closed; sessions are refused."""
    held = await call(served)
    first, second, third = [await dial(served) for _ in range(3)]
    for peer in (first, second, third):
        peer.write(GET)
        assert (await peer.answer()).get("connection") is None
    async with draining(served, Drain(lame_duck=LONG, patience=LONG, closing=0)):
        await assert_last(first)
        end_lame_duck(served)
        await assert_last(second)
        third.write(handshake())
        refused = await third.answer()
        assert (refused.status, refused.error["code"]) == (503, "shutting_down")
        assert (refused.get("retry-after"), refused.get("connection")) == ("1", "close")
        await third.gone()
        await turn(held)
        await held.close()
    assert ("ai/voice", "ai/voice", 503, "shutting_down") in served.meter.requests


async def assert_last(peer: Peer) -> None:
    """A request is answered, and the connection closed then."""
    peer.write(GET)
    answer = await peer.answer()
    assert (answer.status, answer.get("connection"), answer.body) == (200, "close", bytes(range(5)))
    await peer.gone()


async def test_a_handshake_in_a_lame_ducks_last_moment_becomes_a_session(served: Rig) -> None:
    peer = await dial(served)
    peer.write(handshake(PATH + "&scenario=silent"))
    await until(lambda: served.gateway._sessions and served.gateway._sessions.live(), "it is being opened")
    async with draining(served, Drain(lame_duck=0, patience=LONG, closing=0)):
        assert (await peer.answer()).status == 101
        assert not accepting(served)
        assert served.gateway.sessions()
        peer.close()
        await peer.gone()


async def test_a_handshake_that_is_under_way_at_the_deadline_is_answered(served: Rig) -> None:
    peer = await dial(served)
    peer.write(handshake(PATH + "&scenario=silent"))
    await until(lambda: served.gateway._sessions and served.gateway._sessions.live(), "it is being opened")
    async with draining(served, Drain(lame_duck=0, patience=0, closing=0)):
        answer = await peer.answer()
    assert (answer.status, answer.error["code"]) == (503, "shutting_down")


def graceless(rig: Rig) -> AbstractContextManager[object]:
    """Requests have no time of their own to finish, once the deadline has come."""
    return patch.object(rig.gateway, "stop", partial(rig.gateway.stop, grace=0.01))


async def test_streamed_answers_are_given_the_patience(served: Rig, client: aiohttp.ClientSession) -> None:
    body = {**ASK, "stream": True, "metadata": {"scenario": "slow:20"}}
    async with client.post(served.url + CHAT, json=body, headers=BEARER) as response:
        await response.content.readuntil(b"\n\n")
        with graceless(served):
            async with draining(served, Drain(lame_duck=0, patience=LONG, closing=0)):
                await until(lambda: not accepting(served), "the port is closed")
                assert (await response.read()).endswith(b"data: [DONE]\n\n")
    assert [turn.status for turn in served.meter.turns] == ["completed"]


async def test_tunnels_are_given_the_patience_and_cut_at_the_deadline(served: Rig) -> None:
    url = f"ws://127.0.0.1:{served.gateway.port}{ECHO}"
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(connect(url, additional_headers=BEARER)) for _ in range(2)]
        async with draining(served, Drain(lame_duck=0, patience=LONG, closing=LONG)) as (hurry, task):
            await until(lambda: not accepting(served), "the port is closed")
            for socket in (one, other):
                await socket.send("still here")
                assert await socket.recv() == "still here"
            await one.close()
            assert one.close_code == 1000
            assert not task.done()
            hurry.set()
            async with asyncio.timeout(10):
                await other.wait_closed()
            assert other.close_code == 1006


async def test_an_answer_that_never_ends_is_cut_at_the_deadline(served: Rig, client: aiohttp.ClientSession) -> None:
    body = {**ASK, "stream": True, "metadata": {"scenario": "slow:200"}}
    async with client.post(served.url + CHAT, json=body, headers=BEARER) as response:
        await response.content.readuntil(b"\n\n")
        with graceless(served):
            async with draining(served, Drain(lame_duck=0, patience=0.1, closing=0)):
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()
    assert [turn.status for turn in served.meter.turns] == ["cancelled"]  # when drain is over, it is counted


async def test_twice(served: Rig) -> None:
    """The shorter phases win, and either's hurry holds."""
    socket = await call(served)
    async with draining(served, Drain(lame_duck=LONG)) as (_, first):
        await served.gateway.drain(AT_ONCE, asyncio.Event())
        assert await farewell(socket) == [*ENDED]
        await first
    await served.gateway.drain(Drain(lame_duck=LONG), asyncio.Event())


async def test_while_it_is_stopped(served: Rig) -> None:
    socket = await call(served)
    async with draining(served, Drain(lame_duck=LONG)):
        await served.gateway.stop()
        assert await farewell(socket) == [*ENDED]


async def test_before_it_was_started() -> None:
    meter = Remembering()
    it = Gateway(meter=meter)
    await it.drain(Drain(), asyncio.Event())
    assert it.draining
    assert meter.drained


async def test_a_drain_that_is_cancelled_leaves_what_is_under_way(served: Rig) -> None:
    socket = await call(served)
    task = asyncio.create_task(served.gateway.drain(Drain(lame_duck=0), asyncio.Event()))
    await until(lambda: not accepting(served), "the port is closed")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turn(socket)
    await socket.close()


def test_the_grace_period() -> None:
    phases = Drain(lame_duck=10, patience=100, closing=60, linger=30)
    assert phases.grace_period >= 10 + 100 + SETTLE + 3 * LINGER + 30
    assert AT_ONCE.grace_period == AT_ONCE.settling + LAST_WORDS
    assert Drain().grace_period > 3600
