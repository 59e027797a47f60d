"""A session that one provider does not open is opened by another, and the client learns of it by nothing but the time
that it took: whatever went wrong, it has its 101 after the first event of the one that took it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from dataplane.realtime import frames
from dataplane.table import (
    Balance,
    CallerLimits,
    Credential,
    HeaderOps,
    HeaderValue,
    Health,
    Limit,
    Model,
    OnRevoke,
    PolicySet,
    Provider,
    SessionLimits,
    Target,
    Timeouts,
    Transformation,
    Variable,
)
from tests.dataplane.realtime.test_live_no_session import ERROR as RATE_LIMITED
from tests.dataplane.realtime.test_live_no_session import ROWS, finish, switches
from tests.dataplane.realtime.wires import (
    CREATED,
    Peer,
    Tracer,
    Upstream,
    ask,
    calm,
    close_frame,
    dial,
    gateway,
    handshake,
    switching,
    until,
    upstreams,
)
from tests.dataplane.rig import REQUIRED, SECRETS, Rig, backend, provider, table

QUICK = Timeouts(connect=5.0, handshake=0.3, first_event=0.3)
PATIENT = Timeouts(connect=5.0, handshake=60.0, first_event=60.0)
SERVER_ERROR = frames.frame(frames.TEXT, b'{"type":"error","error":{"type":"server_error","message":"Not now."}}')
BAD_MODEL = frames.frame(
    frames.TEXT, b'{"type":"error","error":{"type":"invalid_request_error","code":"invalid_model","message":"No."}}'
)
BAD_SHAPE = frames.frame(
    frames.TEXT, b'{"type":"error","error":{"type":"invalid_request_error","code":"invalid_value","message":"No."}}'
)


@dataclass
class Pool:
    """A gateway in front of providers `a`, `b` and so on, which are scripted; chance has it that `a` is the first."""

    rig: Rig
    far: dict[str, Upstream]
    tracer: Tracer
    clock: list[float] = field(default_factory=lambda: [1000.0])

    async def asks(self, path: str = "/v1/realtime?model=gpt-realtime") -> Peer:
        """A client that wants a session."""
        client = await dial(self.rig)
        client.write(handshake(path))
        return client

    async def arrives(self, name: str) -> Peer:
        """The gateway's handshake at a provider."""
        far = await self.far[name].arrival()
        far.request = await far.head()
        return far

    async def held(self, name: str) -> tuple[Peer, Peer]:
        """A session that this provider is asked for first."""
        client = await self.asks()
        far = await self.far[name].opened()
        assert (await client.answer()).status == 101
        return client, far

    async def busy(self) -> None:
        """Wait until everything is done that could have been begun before."""
        for _ in range(3):
            assert (await ask(self.rig, "/v1/realtime?model=a&model=b")).status == 400

    def shown(self, name: str) -> dict[str, object]:
        return self.rig.gateway.pools.shown("ai/voice", name)


@asynccontextmanager
async def pool(
    *names: str,
    policies: PolicySet = REQUIRED,
    of: Callable[[str], dict[str, object]] = lambda _: {},
    **changes: object,
) -> AsyncIterator[Pool]:
    async with AsyncExitStack() as stack:
        far = {name: await stack.enter_async_context(upstreams()) for name in names or ("a", "b")}
        providers = [provider(each.url, name=name, **of(name)) for name, each in far.items()]
        served = table(backend(*providers, **{"timeouts": QUICK, **changes}), policies)
        tracer, clock = Tracer(), [1000.0]
        rig = await stack.enter_async_context(gateway(served, tracer=tracer, clock=lambda: clock[0]))
        yield Pool(rig, far, tracer, clock)


TOLD = (Variable(source="provider"), "/", Variable(source="model"))
MORE = {
    "has an error of its own": switches(SERVER_ERROR + close_frame(1011)),
    "has no such model": switches(BAD_MODEL + close_frame(4000, "invalid_request_error.invalid_model")),
    "leaves with an error": switches(SERVER_ERROR, then=finish),
}
FAULTS = {**{row.name: row.does for row in ROWS}, **MORE}


@pytest.mark.parametrize("what", FAULTS)
async def test_what_one_provider_does_not_open_the_next_one_does(what: str) -> None:
    async with pool() as it, calm(it.rig):
        client = await it.asks()
        first = await it.arrives("a")
        FAULTS[what](first)
        second = await it.arrives("b")
        second.write(switching(second.request))
        await it.busy()
        assert client.reader._buffer == b""  # type: ignore[attr-defined]  # not a byte, before there is a first event
        second.send(CREATED)
        assert (await client.answer()).status == 101
        assert (await client.event())["type"] == "session.created"
        second.send(b'{"type":"x"}')
        assert (await client.event())["type"] == "x"
        assert it.shown("b")["sessions"] == 1
        await until(lambda: it.shown("a")["sessions"] == 0, "what failed is no session")
        client.close()
        assert await second.closed() == (1000, "")
        second.close()
    (done,) = (done for done in it.tracer.handshakes if done.status != 400)
    assert (done.status, done.provider, done.attempts) == (101, "b", 2)
    assert (len(it.rig.meter.failovers), it.rig.meter.turns) == (1, [])
    assert [summary.provider for summary in it.rig.meter.closed] == ["b"]


async def test_a_provider_that_nobody_listens_at() -> None:
    """Before the first one is asked, and behind it."""
    async with upstreams() as far:
        nobody = [provider("http://127.0.0.1:1/v1", name=name) for name in ("a", "b")]
        served = table(backend(nobody[0], provider(far.url, name="c"), nobody[1]))
        async with gateway(served) as rig, calm(rig):
            client = await dial(rig)
            client.write(handshake())
            await far.opened()
            assert (await client.answer()).status == 101
            client.reset()
    assert rig.meter.failovers == ["unreachable"]


@pytest.mark.parametrize(
    "does",
    [
        switches(BAD_SHAPE + close_frame(4000, "invalid_request_error.invalid_value")),
        lambda far: far.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno"),
    ],
)
async def test_what_is_the_clients_fault_is_asked_of_nobody_else(does: Callable[[Peer], None]) -> None:
    async with pool() as it, calm(it.rig):
        client = await it.asks()
        does(await it.arrives("a"))
        assert (await client.answer()).status in (400, 502)
        assert it.far["b"].arrivals.empty()
        assert (it.shown("a")["state"], it.rig.meter.failovers) == ("healthy", [])


@pytest.mark.parametrize(
    "does",
    [
        lambda far: far.write(b"HTTP/1.1 429 Full\r\nRetry-After: 20\r\nContent-Length: 2\r\n\r\nno"),
        switches(frames.frame(frames.TEXT, RATE_LIMITED)),
        lambda far: far.write(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"),
    ],
)
async def test_the_limits_of_a_clients_own_account_are_nobody_elses(does: Callable[[Peer], None]) -> None:
    own = Credential(kind="passthrough")
    async with pool(of=lambda _: {"credential": own}, health=Health(eject_after=1)) as it, calm(it.rig):
        client = await it.asks()
        does(await it.arrives("a"))
        assert (await client.answer()).status in (401, 429)
        (await it.held("a"))[0].reset()
        assert it.rig.meter.failovers == []


async def test_the_last_refusal_is_the_clients() -> None:
    async with pool("a", "b", "c") as it, calm(it.rig):
        client = await it.asks()
        switches(SERVER_ERROR)(await it.arrives("a"))
        (await it.arrives("b")).reset()
        third = await it.arrives("c")
        third.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy")
        answer = await client.answer()
        assert (answer.status, answer.get("retry-after"), answer.body) == (503, "7", b"busy")
    assert (it.rig.meter.failovers, it.rig.meter.handshakes) == (["server_error", "protocol"], [503])
    assert it.tracer.handshakes[0].attempts == 3


async def test_each_provider_is_asked_for_its_own_model_with_its_own_name() -> None:
    targets = (Target(provider="a", model="one"), Target(provider="b", model="two"))
    named = HeaderOps(set=(HeaderValue(name="x-told", value=TOLD),))
    policies = REQUIRED.model_copy(update={"transformations": (Transformation(policy="ai/p", request=named),)})
    async with pool(policies=policies, models=(Model(name="voice", targets=targets),)) as it, calm(it.rig):
        client = await it.asks("/v1/realtime?model=voice&x=%2F")
        first = await it.arrives("a")
        switches(SERVER_ERROR)(first)
        second = await it.far["b"].opened()
        assert (await client.answer()).status == 101
        for far, model, name in ((first, b"one", b"a"), (second, b"two", b"b")):
            assert far.request.startswith(b"GET /v1/realtime?model=" + model + b"&x=%2F HTTP/1.1")
            assert b"x-told: " + name + b"/voice" in far.request
        client.reset()


async def test_a_transcription_goes_to_the_next_one_too() -> None:
    async with pool() as it, calm(it.rig):
        client = await it.asks("/v1/realtime?intent=transcription")
        (await it.arrives("a")).reset()
        far = await it.far["b"].opened()
        assert far.request.startswith(b"GET /v1/realtime?intent=transcription HTTP/1.1")
        assert (await client.answer()).status == 101
        client.reset()


async def test_after_five_that_did_not_answer_the_client_has_waited_long_enough() -> None:
    names = "abcdefg"
    hasty = Timeouts(connect=5.0, handshake=0.1, first_event=0.1)
    async with pool(*names, timeouts=hasty) as it, calm(it.rig):
        client = await it.asks()
        assert (await client.answer()).status == 504
        assert [name for name in names if not it.far[name].arrivals.empty()] == [*"abcde"]


# -- what happens meanwhile --------------------------------------------------------------------------------------------


async def test_the_client_leaves_while_the_second_is_asked() -> None:
    async with pool(timeouts=PATIENT) as it, calm(it.rig):
        client = await it.asks()
        (await it.arrives("a")).reset()
        await it.arrives("b")
        client.reset()
        await it.rig.settled()
    assert it.rig.meter.requests == [("ai/voice", "ai/voice", 499, "client_gone")]
    assert [(done.status, done.provider) for done in it.tracer.handshakes] == [(499, "b")]


async def test_the_gateway_stops_while_the_second_is_asked() -> None:
    async with pool(timeouts=PATIENT) as it, calm(it.rig):
        client = await it.asks()
        (await it.arrives("a")).reset()
        second = await it.arrives("b")
        stopping = asyncio.create_task(it.rig.gateway.stop())
        assert (await client.answer()).error["code"] == "shutting_down"
        await second.gone()
        await stopping


async def test_the_caller_is_revoked_while_the_second_is_asked() -> None:
    limits = (SessionLimits(on_revoke=OnRevoke.END),)
    policies = REQUIRED.model_copy(update={"session": limits})
    async with pool(timeouts=PATIENT, policies=policies) as it, calm(it.rig):
        client = await it.asks()
        (await it.arrives("a")).reset()
        second = await it.arrives("b")
        it.rig.gateway.load(table(backend(provider("http://127.0.0.1:1/v1"), name="ai/other")), SECRETS)
        second.write(switching(second.request) + frames.frame(frames.TEXT, CREATED))
        assert (await client.answer()).error["code"] == "access_revoked"


async def test_limits_admit_a_request_once_whoever_takes_it() -> None:
    limit = CallerLimits(
        policy="ai/p",
        limits=(Limit(kind="requests", per="Day", max=2), Limit(kind="sessions", max=1)),
        reserve=1,
        counted_by="Caller",
    )
    policies = REQUIRED.model_copy(update={"limits": (limit,)})
    async with pool(policies=policies) as it, calm(it.rig):
        for _ in range(2):
            client = await it.asks()
            (await it.arrives("a")).reset()
            far = await it.far["b"].opened()
            assert (await client.answer()).status == 101
            client.reset()
            await far.gone()
            await until(lambda: not it.rig.gateway.sessions(), "the seat is free")
        assert (await ask(it.rig)).error["code"] == "limit_exceeded"
    assert [outcome for _, _, outcome in it.rig.meter.limits] == ["admitted"] * 4 + ["refused"]


# -- health ------------------------------------------------------------------------------------------------------------


async def test_a_provider_that_fails_thrice_is_left_out_and_tried_again_later() -> None:
    async with pool(health=Health(eject_after=3, eject_for=5.0)) as it, calm(it.rig):
        for _ in range(3):
            client = await it.asks()
            switches(SERVER_ERROR)(await it.arrives("a"))
            far = await it.far["b"].opened()
            assert (await client.answer()).status == 101
            client.reset()
            await far.gone()
        assert it.shown("a")["state"] == "ejected"
        assert (it.rig.meter.ejections, it.rig.meter.healthy) == ([("a", "server_error")], {"a": False, "b": True})
        it.clock[0] += 4.4
        client, _ = await it.held("b")
        client.reset()
        it.clock[0] += 0.2  # a tenth sooner, as chance has it here
        client = await it.asks()
        trial = await it.arrives("a")
        assert it.shown("a")["state"] == "on trial"
        other, _ = await it.held("b")  # one at a time
        trial.write(switching(trial.request) + frames.frame(frames.TEXT, CREATED))
        assert (await client.answer()).status == 101
        assert it.shown("a")["state"] == "healthy"
        assert it.rig.meter.healthy == {"a": True, "b": True}
        client.reset()
        other.reset()


async def test_one_that_says_when_to_come_back_rests_until_then() -> None:
    async with pool() as it, calm(it.rig):
        client = await it.asks()
        (await it.arrives("a")).write(b"HTTP/1.1 429 Full\r\nRetry-After: 20\r\nContent-Length: 2\r\n\r\nno")
        await it.far["b"].opened()
        assert (await client.answer()).status == 101
        for late in (0.0, 19.9):
            it.clock[0] = 1000.0 + late
            (await it.held("b"))[0].reset()
        assert (it.shown("a")["state"], it.rig.meter.full, it.rig.meter.ejections) == ("resting", ["a"], [])
        it.clock[0] = 1020.0
        (await it.held("a"))[0].reset()
        client.reset()


async def test_where_all_rest_the_client_is_told_when_to_come_back() -> None:
    async with pool() as it, calm(it.rig):
        client = await it.asks()
        (await it.arrives("a")).write(b"HTTP/1.1 429 Full\r\nRetry-After: 20\r\nContent-Length: 2\r\n\r\nno")
        (await it.arrives("b")).write(b"HTTP/1.1 503 Full\r\nRetry-After: 9\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.answer()).status == 503
        it.clock[0] += 4.5
        answer = await ask(it.rig)
        assert (answer.status, answer.error["code"], answer.get("retry-after")) == (429, "upstream_rate_limited", "5")
        assert it.far["a"].arrivals.empty()


async def test_where_all_are_ejected_they_are_asked_all_the_same() -> None:
    async with pool("a", "b", health=Health(eject_after=1)) as it, calm(it.rig):
        client = await it.asks()
        for name in "ab":
            (await it.arrives(name)).reset()
        assert (await client.answer()).status == 502
        assert [it.shown(name)["state"] for name in "ab"] == ["ejected", "ejected"]
        (await it.held("a"))[0].reset()
        assert it.shown("a")["state"] == "healthy"


async def test_a_session_that_breaks_off_is_a_failure_and_one_that_ends_is_none() -> None:
    async with pool(health=Health(eject_after=2)) as it, calm(it.rig):
        for _ in range(3):
            client, far = await it.held("a")
            far.close(1011)
            assert await client.closed() == (1011, "")
            client.reset()
        assert it.shown("a")["state"] == "healthy"
        sessions = [(await it.held(name)) for name in "abab"]
        for _, far in sessions[::2]:
            far.reset()
        await until(lambda: it.shown("a")["state"] == "ejected", "two broke off")
        assert it.rig.meter.ejections == [("a", "lost")]
        for client, _ in sessions:
            client.reset()


async def test_a_table_keeps_what_is_known_unless_the_provider_is_another() -> None:
    async with pool(health=Health(eject_after=1)) as it, calm(it.rig):
        client, _ = await it.held("a")
        other = await it.asks()
        (await it.arrives("b")).reset()
        await it.far["a"].opened()
        assert (await other.answer()).status == 101
        before = it.rig.gateway.table().backends[0]
        a, b = before.providers

        def serve(*providers: Provider) -> None:
            changed = backend(*providers, health=Health(eject_after=1))
            it.rig.gateway.load(table(changed), SECRETS)

        serve(a, b, provider("http://127.0.0.1:1/v1", name="c"))
        assert (it.shown("a")["sessions"], it.shown("b")["state"]) == (2, "ejected")
        serve(a, b.model_copy(update={"url": "http://127.0.0.1:1/v1"}))
        assert (it.shown("a")["sessions"], it.shown("b")["state"], it.shown("c")) == (2, "healthy", {})
        assert it.rig.meter.healthy == {"a": True, "b": True, "c": None}
        serve(b)
        assert it.shown("a") == {}
        client.reset()
        other.reset()


# -- balance -----------------------------------------------------------------------------------------------------------


async def test_sessions_are_shared_by_who_has_the_fewest() -> None:
    async with pool() as it, calm(it.rig):
        clients = [(await it.held(name))[0] for name in "abababab"]
        assert [it.shown(name)["sessions"] for name in "ab"] == [4, 4]
        for client in clients[::2]:
            client.reset()
        await until(lambda: it.shown("a")["sessions"] == 0, "sessions of a end")
        clients += [(await it.held("a"))[0] for _ in range(4)]
        for client in clients:
            client.reset()


async def test_a_provider_has_no_more_sessions_than_it_may() -> None:
    async with pool(of=lambda name: {"max_sessions": 1, "priority": ord(name) - ord("a")}) as it, calm(it.rig):
        clients = [(await it.held(name))[0] for name in "ab"]
        answer = await ask(it.rig)
        assert (answer.status, answer.error["code"], answer.get("retry-after")) == (503, "backend_overloaded", "5")
        clients[0].reset()
        await until(lambda: it.shown("a")["sessions"] == 0, "there is room again")
        (await it.held("a"))[0].reset()
        clients[1].reset()


async def test_callers_stick_to_a_provider() -> None:
    async with pool("a", "b", "c", balance=Balance(sticky="caller")) as it, calm(it.rig):
        client = await it.asks()
        await until(lambda: any(not far.arrivals.empty() for far in it.far.values()), "one is asked")
        (mine,) = (name for name, far in it.far.items() if not far.arrivals.empty())
        (await it.arrives(mine)).reset()
        client.reset()
        for _ in range(3):
            (await it.held(mine))[0].reset()


async def test_one_that_waits_for_its_client_is_tried_by_others_too_and_back_when_it_speaks() -> None:
    """A session with a provider that says nothing before it is spoken to may last an hour."""
    async with pool(health=Health(eject_after=1)) as it, calm(it.rig):
        client = await it.asks()
        (await it.arrives("a")).write(b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno")
        second = await it.arrives("b")
        second.write(switching(second.request))
        second.send(CREATED)
        assert (await client.answer()).status == 101
        assert it.shown("a")["state"] == "ejected"
        it.clock[0] += 6
        others = [client]
        for _ in range(2):
            others.append(await it.asks())
            silent = await it.arrives("a")
            silent.write(switching(silent.request))
            assert (await others[-1].answer()).status == 101
            assert it.shown("a")["state"] == "on trial"
        silent.send(CREATED)
        await until(lambda: it.shown("a")["state"] == "healthy", "it has said something")
        for other in others:
            other.reset()
