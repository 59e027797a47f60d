"""Requests of which no session comes, with TLS on either leg and without: the client gets an HTTP status, the metric
and the span say the same, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from dataplane.realtime import frames, relay
from dataplane.realtime import handshake as realtime_handshake
from dataplane.table import Timeouts
from tests.dataplane.realtime.wires import (
    CREATED,
    Pair,
    Peer,
    Tls,
    ask,
    calm,
    close_frame,
    gateway,
    handshake,
    pair,
    switching,
    until,
    upstreams,
)
from tests.dataplane.rig import backend, provider, table

QUICK = Timeouts(connect=5.0, handshake=0.3, first_event=0.3)
ERROR = b'{"type":"error","error":{"type":"x","code":"rate_limit_exceeded","message":"Slow down."}}'


@dataclass(frozen=True)
class Row:
    """What an upstream does with a request, and what its client is told."""

    name: str
    does: Callable[[Peer], None]
    status: int
    code: str


def answers(status: str) -> Callable[[Peer], None]:
    return lambda far: far.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode())


def switches(behind: bytes, *, then: Callable[[Peer], None] | None = None) -> Callable[[Peer], None]:
    """101 with these bytes behind it."""

    def does(far: Peer) -> None:
        far.write(switching(far.request) + behind)
        if then is not None:
            then(far)

    return does


def finish(far: Peer) -> None:
    far.writer.close()


ROWS = [
    Row("refuses", answers("429 Too Many Requests"), 429, "upstream_refused"),
    Row("does not take our key", answers("401 Unauthorized"), 502, "upstream_credential_rejected"),
    Row("fails", answers("500 Internal Server Error"), 502, "upstream_protocol_error"),
    Row("speaks something else", lambda far: far.write(b"SSH-2.0-x\r\n\r\n"), 502, "upstream_protocol_error"),
    Row("says nothing", lambda far: None, 504, "upstream_timeout"),
    Row("leaves", finish, 502, "upstream_protocol_error"),
    Row("vanishes", lambda far: far.reset(), 502, "upstream_protocol_error"),
    Row("leaves after its 101", switches(b"", then=finish), 502, "upstream_refused"),
    Row("vanishes after its 101", switches(b"", then=lambda far: far.reset()), 502, "upstream_refused"),
    Row("vanishes in its first event", switches(b"\x81\x05{", then=lambda far: far.reset()), 502, "upstream_refused"),
    Row("says Close after its 101", switches(close_frame(1013, "later")), 502, "upstream_refused"),
    Row("has an error to tell", switches(frames.frame(frames.TEXT, ERROR)), 429, "upstream_rate_limited"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_the_upstream(row: Row, tls: Tls) -> None:
    async with pair(timeouts=QUICK, tls=tls) as it, calm(it.rig):
        client = await it.dial()
        client.write(handshake())
        far = await it.upstream.arrival()
        far.request = await far.head()
        row.does(far)
        answer = await client.answer()
        assert answer.status == row.status
        if answer.body != b"no":  # the provider's own, as it came
            assert answer.error["code"] == row.code
        client.reset()
        far.reset()
    (done,) = it.tracer.handshakes
    assert (done.status, done.code, done.provider, done.model) == (row.status, row.code, "openai", "gpt-realtime")
    assert it.upstream.url.endswith(f"{done.upstream.removeprefix('localhost').removeprefix('127.0.0.1')}/v1")
    assert done.dialled is not None
    assert done.began <= done.dialled <= done.ended
    assert it.rig.meter.handshakes == [row.status]
    assert (it.rig.meter.opened, it.rig.meter.turns, it.rig.meter.carried) == (0, [], {})


async def test_a_quiet_upstream_gets_its_101_passed_on(tls: Tls) -> None:
    async with pair(timeouts=QUICK, tls=tls) as it, calm(it.rig):
        client = await it.dial()
        client.write(handshake())
        far = await it.upstream.opened(glued=b"")
        assert (await client.answer()).status == 101
        far.send(CREATED)
        assert (await client.event())["type"] == "session.created"
        client.reset()
    assert it.rig.meter.handshakes == [101]


async def test_what_is_refused_before_a_provider_is_chosen() -> None:
    async with pair() as it, calm(it.rig):
        answer = await ask(it.rig, "/v1/realtime?model=a&model=b")
        assert answer.status == 400
    (done,) = it.tracer.handshakes
    assert (done.status, done.code, done.provider, done.upstream, done.dialled) == (400, "invalid_value", "", "", None)
    assert (done.route, done.backend, done.caller.key) == ("ai/voice", "ai/voice", "ci-bot")
    assert it.rig.meter.handshakes == [400]


async def test_nobody_listens() -> None:
    served = table(backend(provider("http://127.0.0.1:1/v1")))
    async with gateway(served) as rig, calm(rig):
        assert (await ask(rig)).status == 502
    assert rig.meter.handshakes == [502]


async def test_a_fault_of_ours_is_counted_as_what_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(realtime_handshake, "asked", broken)
    async with pair() as it, calm(it.rig):
        answer = await ask(it.rig)
        assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert it.rig.meter.handshakes == [500]
    assert [done.code for done in it.tracer.handshakes] == ["internal_error"]


async def test_the_span_belongs_to_the_trace_of_the_client() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with pair() as it, calm(it.rig):
        client = await it.dial()
        client.write(handshake(headers={"traceparent": traceparent}))
        await it.upstream.opened()
        assert (await client.answer()).status == 101
        client.reset()
    assert [done.traceparent for done in it.tracer.handshakes] == [traceparent]


# -- the client leaves --------------------------------------------------------------------------------------------


async def while_dialling(it: Pair) -> None:
    await it.upstream.arrival()


async def while_upgrading(it: Pair) -> None:
    await (await it.upstream.arrival()).head()


async def before_the_first_event(it: Pair) -> None:
    await it.upstream.opened(glued=b"")


@pytest.mark.parametrize("stage", [while_dialling, while_upgrading, before_the_first_event])
async def test_a_client_that_leaves_was_not_answered(stage: Callable[[Pair], Awaitable[None]], tls: Tls) -> None:
    async with pair(tls=tls) as it, calm(it.rig):
        client = await it.dial()
        client.write(handshake())
        await stage(it)
        client.reset()
        await it.rig.settled()
    assert it.rig.meter.requests == [("ai/voice", "ai/voice", 499, "client_gone")]
    (done,) = it.tracer.handshakes
    assert (done.status, done.code, done.provider) == (499, "client_gone", "openai")
    assert (it.rig.meter.handshakes, it.rig.meter.opened) == ([499], 0)


async def test_a_client_leaves_while_the_upstream_takes_its_time_over_tls() -> None:
    async with upstreams() as silent:
        served = table(backend(provider(silent.url.replace("http", "https"))))  # no TLS there: the dial hangs
        async with gateway(served) as rig, calm(rig):
            peer = Pair(rig, silent)
            client = await peer.dial()
            client.write(handshake())
            await silent.arrival()
            sessions = rig.gateway._sessions
            assert sessions is not None
            assert (sessions.live(), sessions.live("ai/voice"), sessions.live("ai/other")) == (1, 1, 0)
            assert rig.gateway.sessions() == []
            client.reset()
            await until(lambda: sessions.live() == sessions.live("ai/voice") == 0, "it is given up")
    assert rig.meter.handshakes == [499]


@pytest.mark.parametrize("first", [frames.frame(frames.TEXT, ERROR), b""], ids=["an error", "nothing"])
async def test_what_became_no_session_keeps_no_place(first: bytes, tls: Tls) -> None:
    """Its upstream is not waited for, neither for its answer to Close nor for more."""
    async with pair(timeouts=Timeouts(first_event=60), tls=tls) as it, calm(it.rig):
        client = await it.dial()
        client.write(handshake())
        far = await it.upstream.opened(glued=first)
        with patch.object(relay, "LINGER", 60.0), patch.object(relay, "SETTLE", 60.0):
            if first:
                assert (await client.answer()).status == 429
            client.reset()
            sessions = it.rig.gateway._sessions
            assert sessions is not None
            await until(lambda: sessions.live() == sessions.live("ai/voice") == 0, "its place is free")
        await far.gone()
