"""How sessions end on the wire, with real clients; and faults of our own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from dataplane.metering.prices import Cost
from dataplane.metering.usage import Usage
from dataplane.realtime import frames
from dataplane.realtime.endings import OPERATOR, UPSTREAM_LOST
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from dataplane.realtime.steps import Verdict
from dataplane.table import SessionLimits
from simulator.server import Simulator
from tests.dataplane.realtime.wires import MASK, PATH, ask, calm, close_frame, gateway, pair, until
from tests.dataplane.rig import BEARER, REQUIRED, Remembering, Rig, backend, provider, table

CREATE = {"type": "response.create"}


@asynccontextmanager
async def talking(rig: Rig, scenario: str = "") -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{rig.gateway.port}{PATH}&scenario={scenario}"
    async with connect(url, additional_headers=BEARER, max_size=None) as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"
        yield socket


async def heard(socket: ClientConnection) -> tuple[list[str], int, str]:
    """Types of all events up to the Close (errors by their code), its code and reason."""
    types: list[str] = []
    try:
        async with asyncio.timeout(10):
            while True:
                event = json.loads(await socket.recv())
                types.append(event["error"]["code"] if event["type"] == "error" else event["type"])
    except ConnectionClosed as closed:
        close = closed.rcvd
    assert close is not None, "no Close frame came"
    return types, close.code, close.reason


async def begun(socket: ClientConnection) -> None:
    """Ask for a response, and wait for its beginning."""
    await socket.send(json.dumps(CREATE))
    while json.loads(await socket.recv())["type"] != "response.created":
        pass


async def test_the_upstream_is_lost_in_a_turn(upstream: Simulator) -> None:
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig, calm(rig):
        async with talking(rig) as socket:
            await socket.send(json.dumps({**CREATE, "response": {"metadata": {"scenario": "drop"}}}))
            types, code, reason = await heard(socket)
        assert types[-1] == "upstream_lost"
        assert (code, reason) == (1011, UPSTREAM_LOST.meaning)
    assert [turn.status for turn in rig.meter.turns] == ["lost"]


async def test_the_upstreams_own_end(upstream: Simulator) -> None:
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig, calm(rig):
        async with talking(rig, "expire:50") as socket:
            types, code, reason = await heard(socket)
        assert (types, code) == (["session_expired"], 1001)
        assert reason
    assert [(ended.reason, ended.initiator) for ended in rig.meter.closed] == [("upstream_closed", "upstream")]


async def test_an_operator_ends_a_session(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1")))
    async with gateway(served) as rig, calm(rig):  # noqa: SIM117  (calm sees what the sessions leave)
        async with talking(rig, "slow:20") as socket, talking(rig) as neighbour:
            await begun(socket)
            first, second = (str(session["id"]) for session in rig.gateway.sessions())
            assert not rig.gateway.end_session("unknown")
            assert rig.gateway.end_session(first)
            types, code, _ = await heard(socket)
            assert (types[-1], code) == ("ended_by_operator", 1001)
            await until(lambda: len(rig.gateway.sessions()) == 1, "the session is over")
            assert not rig.gateway.end_session(first)
            await neighbour.send(json.dumps(CREATE))
            while json.loads(await neighbour.recv())["type"] != "response.done":
                pass
            assert [session["id"] for session in rig.gateway.sessions()] == [second]
    assert sorted(turn.status for turn in rig.meter.turns) == ["cancelled", "completed"]
    assert sum(turn.tokens.input_text for turn in rig.meter.turns if turn.tokens) > 0
    assert upstream.sessions == 0


async def test_stop_settles_what_was_used(upstream: Simulator) -> None:
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig:
        async with talking(rig, "slow:20") as socket:
            await begun(socket)
            stopping = asyncio.create_task(rig.gateway.stop())
            types, code, _ = await heard(socket)
            assert (types[-1], code) == ("gateway_draining", 1001)
            await stopping
        (turn,) = rig.meter.turns
        assert turn.status == "cancelled"
        assert turn.tokens is not None
        assert rig.meter.closed[0].reason == "draining"
        assert rig.meter.closed[0].tokens == turn.tokens


async def test_a_message_over_the_limit(upstream: Simulator) -> None:
    policies = REQUIRED.model_copy(update={"session": (SessionLimits(max_message=200_000),)})
    served = table(backend(provider(upstream.url + "/v1")), policies)
    async with gateway(served) as rig, calm(rig):
        for message in ("x" * 200_001, json.dumps({"type": "input_audio_buffer.append", "audio": "A" * 300_000})):
            async with talking(rig) as socket:
                await socket.send(message)
                types, code, reason = await heard(socket)
                assert (types, code) == (["message_too_big"], 1009)
                assert "200000" in reason
    assert upstream.sessions == 0


@pytest.mark.parametrize("side", ["client", "upstream"])
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (close_frame(1000, "bye")[2:], (1000, "bye")),
        (close_frame(3000, "invalid_request_error")[2:], (3000, "invalid_request_error")),
        (close_frame(4001, "é" * 61)[2:], (4001, "é" * 61)),
        (b"", (1005, "")),
        (b"\x03", None),
        (close_frame(1005)[2:], None),
        (close_frame(1006)[2:], None),
        (close_frame(999)[2:], None),
        (close_frame(5000)[2:], None),
        (b"\x03\xe8\xff", None),
    ],
)
async def test_close_codes(side: str, payload: bytes, expected: tuple[int, str] | None) -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        said, hears = (client, far) if side == "client" else (far, client)
        said.write(frames.frame(frames.CLOSE, payload, said.key))
        if expected is not None:
            assert await hears.closed() == expected
            assert await said.closed() == expected
        else:
            code = 1007 if payload.endswith(b"\xff") else 1002
            assert (await said.closed())[0] == code
            if hears is client:
                event = await client.event()
                assert event["error"]["code"] == "upstream_protocol_error"  # type: ignore[index]
            assert (await hears.closed())[0] == (1011 if hears is client else 1000)
        client.reset()


async def test_a_client_that_breaks_the_protocol() -> None:
    async with pair() as it, calm(it.rig):
        for data in (b"\x81\x02{}", b"\xf1\x80" + MASK, b"\x83\x80" + MASK, b"\x09\x80" + MASK, b"\x80\x80" + MASK):
            client, far = await it.session()
            client.write(data)
            assert (await client.closed())[0] == 1002
            assert (await far.closed())[0] == 1000
            client.close(1002)
            await client.gone()


async def test_bad_utf8_of_a_client() -> None:
    async with pair() as it, calm(it.rig):
        client, _ = await it.session()
        client.send(b'{"type":"\xff"}')
        assert (await client.closed())[0] == 1007
        client.reset()


# -- faults of our own --------------------------------------------------------------------------------------------


def faulty(self: Session, payload: bytes, *, binary: bool) -> object:
    if b"response.create" in payload:
        raise RuntimeError("a fault of ours")
    return original(self, payload, binary=binary)


original = Session.read_upstream


async def test_a_fault_ends_its_session_alone(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "read_upstream", faulty)
    served = table(backend(provider(upstream.url + "/v1")))
    async with gateway(served) as rig, calm(rig):
        with capture_logs() as logged:
            async with talking(rig) as neighbour:
                for _ in range(2):
                    async with talking(rig, "slow:5") as socket:
                        await socket.send(json.dumps(CREATE))
                        types, code, _ = await heard(socket)
                        assert (types[-1], code) == ("internal_error", 1011)
                pong = await neighbour.ping()
                await pong
        assert [line["event"] for line in logged] == ["session failed"] * 2
    assert sorted(ended.reason for ended in rig.meter.closed) == ["client_closed", "internal_error", "internal_error"]
    assert upstream.sessions == 0


async def test_a_fault_takes_nothing_back() -> None:
    """It comes with the second message of one read: the first is counted."""
    done = b'{"type":"response.done","response":{"id":"r1","status":"completed","usage":{"input_tokens":7}}}'
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        gate = it.live().relay._upstream_gate
        read = gate._read
        assert read is not None

        def faulty(payload: bytes, *, binary: bool) -> Verdict:
            if b"response.done" not in payload:
                raise RuntimeError("a fault of ours")
            return read(payload, binary=binary)

        gate._read = faulty
        wires = (frames.frame(frames.TEXT, done), frames.frame(frames.PING, b""), frames.frame(frames.TEXT, b"{}"))
        with capture_logs():
            far.write(b"".join(wires))
            assert (await client.closed())[0] == 1011
        client.reset()
        far.reset()
    assert [turn.response_id for turn in it.rig.meter.turns] == ["r1"]
    assert [(each.reason, each.turns, each.tokens.input) for each in it.rig.meter.closed] == [("internal_error", 1, 7)]


async def test_a_fault_before_the_101_is_an_answer(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Session, payload: bytes, *, binary: bool) -> object:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Session, "read_upstream", broken)
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig, calm(rig):
        answer = await ask(rig)
        assert (answer.status, answer.error["code"]) == (500, "internal_error")


async def test_a_meter_that_fails_costs_no_other_session(
    upstream: Simulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Remembering, *_: object) -> None:
        raise RuntimeError("the meter is broken")

    monkeypatch.setattr(Remembering, "turn", broken)
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig, calm(rig), talking(rig) as socket:
        await socket.send(json.dumps(CREATE))
        types, code, _ = await heard(socket)
        assert types[-2:] == ["response.done", "internal_error"]
        assert code == 1011
    assert upstream.sessions == 0
    assert not [record for record in caplog.records if record.name == "asyncio" and record.levelno >= logging.WARNING]


async def test_where_nothing_can_be_said_the_other_turns_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault, which cannot even be told; and the meter does not take the first of two turns."""
    whole = Remembering.turn

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    def turn(self: Remembering, usage: Usage, *rest: object) -> Cost:
        if usage.response_id == "r1":
            raise RuntimeError("the meter is broken")
        return whole(self, usage)

    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        for name in ("r1", "r2"):
            far.send(b'{"type":"response.created","response":{"id":"%s"}}' % name.encode())
            assert (await client.event())["type"] == "response.created"
        monkeypatch.setattr(Relay, "end", broken)
        monkeypatch.setattr(Remembering, "turn", turn)
        it.live().end(OPERATOR, "enough")
        await client.gone()
        client.reset()
        far.reset()
    assert [turn.response_id for turn in it.rig.meter.turns] == ["r2"]
    assert [summary.reason for summary in it.rig.meter.closed] == ["internal_error"]
