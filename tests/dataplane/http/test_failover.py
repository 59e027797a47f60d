"""A request that one provider does not take is taken by another, while the client has nothing of an answer; one that
may be at work is not made twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from dataplane.table import CallerLimits, Health, Limit, Model, PolicySet, Target, Timeouts
from tests.dataplane.realtime.wires import Answered, Peer, Upstream, switching, until, upstreams
from tests.dataplane.rig import ASK, BEARER, REQUIRED, Rig, backend, provider, running, table

CHAT, ECHO, MODELS = "/v1/chat/completions", "/v1/echo", "/v1/models"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
QUICK = Timeouts(connect=5.0, response=0.3)


@dataclass
class Pool:
    """A gateway in front of providers that are scripted; chance has it that `a` is the first."""

    rig: Rig
    far: dict[str, Upstream]
    client: aiohttp.ClientSession
    clock: list[float] = field(default_factory=lambda: [1000.0])

    def asks(self, method: str = "POST", path: str = CHAT, **changes: object) -> asyncio.Task[Answered]:
        """A request of a client, and what it is answered."""
        if path == CHAT:
            changes = {"json": {**ASK, **changes}}

        async def ask() -> Answered:
            async with self.client.request(method, self.rig.url + path, headers=BEARER, **changes) as found:  # type: ignore[arg-type]
                return Answered(found.status, list(found.headers.items()), await found.read())

        return asyncio.create_task(ask())

    async def arrives(self, name: str) -> Peer:
        """The gateway's request at a provider."""
        far = await self.far[name].arrival()
        far.request = await far.head()
        return far

    def shown(self, name: str) -> dict[str, object]:
        return self.rig.gateway.pools.shown("ai/voice", name)


@asynccontextmanager
async def pool(*names: str, policies: PolicySet = REQUIRED, **changes: object) -> AsyncIterator[Pool]:
    clock = [1000.0]
    async with AsyncExitStack() as stack:
        far = {name: await stack.enter_async_context(upstreams()) for name in names or ("a", "b")}
        providers = [provider(each.url, name=name) for name, each in far.items()]
        served = table(backend(*providers, **{"timeouts": QUICK, **changes}), policies)
        rig = await stack.enter_async_context(running(served, clock=lambda: clock[0]))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        yield Pool(rig, far, client, clock)
        await until(lambda: not any(rig.meter.active.values()), "everything that was begun is over")


def answers(status: int, *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *fields, "Content-Length: 2", "", "no"]
    return "\r\n".join(lines).encode()


Does = Callable[[Peer], None]
LOST: dict[str, Does] = {"vanishes": Peer.reset, "leaves": lambda far: far.writer.close()}
REFUSES: dict[str, Does] = {
    str(status): lambda far, status=status: far.write(answers(status))  # type: ignore[misc]
    for status in (401, 403, 429, 500, 502, 503, 504)
}


@pytest.mark.parametrize("what", [*LOST, *REFUSES])
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", ECHO), ("GET", MODELS)])
async def test_the_next_one_is_asked(what: str, method: str, path: str) -> None:
    async with pool() as it:
        asked = it.asks(method, path)
        first = await it.arrives("a")
        {**LOST, **REFUSES}[what](first)
        second = await it.arrives("b")
        second.write(OK)
        assert (await asked).status == 200
        assert len(it.rig.meter.failovers) == 1
    assert [turn.provider for turn in it.rig.meter.turns] == (["b"] if path == CHAT else [])


async def test_nobody_listens_at_the_first() -> None:
    """Then nothing was sent, and anything may be asked of the next, with a body that only comes."""
    async with upstreams() as far:
        served = backend(provider("http://127.0.0.1:1/v1", name="a"), provider(far.url, name="b"))
        async with running(table(served)) as rig, aiohttp.ClientSession() as client:

            async def body() -> AsyncIterator[bytes]:
                yield b"some"

            asked = asyncio.create_task(client.post(rig.url + ECHO, data=body(), headers=BEARER))
            peer = await far.arrival()
            assert b"POST /v1/echo" in await peer.head()
            assert await peer.reader.readuntil(b"0\r\n\r\n") == b"4\r\nsome\r\n0\r\n\r\n"
            peer.write(OK)
            assert (await asked).status == 200
    assert rig.meter.failovers == ["unreachable"]


@pytest.mark.parametrize("what", [*LOST, "500"])
async def test_a_body_that_was_sent_is_not_sent_again_unread(what: str) -> None:
    async with pool() as it:
        asked = it.asks("POST", ECHO, data=b"some")
        {**LOST, **REFUSES}[what](await it.arrives("a"))
        assert (await asked).status in (500, 502)
        assert it.far["b"].arrivals.empty()


@pytest.mark.parametrize("path", [CHAT, ECHO])
async def test_one_that_may_be_at_work_is_waited_for(path: str) -> None:
    """No other makes the same answer, which would cost twice."""
    async with pool() as it:
        asked = it.asks("POST" if path == CHAT else "GET", path)
        await it.arrives("a")
        assert (await asked).status == 504
        assert it.far["b"].arrivals.empty()
    assert [turn.status for turn in it.rig.meter.turns] == (["failed"] if path == CHAT else [])


@pytest.mark.parametrize("status", [400, 404, 413, 422])
async def test_what_is_the_clients_fault_is_asked_of_nobody_else(status: int) -> None:
    async with pool(health=Health(eject_after=1)) as it:
        asked = it.asks()
        (await it.arrives("a")).write(answers(status))
        assert (await asked).status == status
        assert it.far["b"].arrivals.empty()
        assert it.shown("a")["state"] == "healthy"


async def test_the_last_answer_is_the_clients() -> None:
    async with pool() as it:
        asked = it.asks()
        (await it.arrives("a")).write(answers(500))
        (await it.arrives("b")).write(answers(429, "Retry-After: 7"))
        answer = await asked
        assert (answer.status, answer.get("retry-after"), answer.body) == (429, "7", b"no")
    assert it.rig.meter.turns == []


async def test_each_is_asked_for_its_own_model() -> None:
    targets = (Target(provider="a", model="one"), Target(provider="b", model="two"))
    async with pool(models=(Model(name="voice", targets=targets),)) as it:
        asked = it.asks(model="voice")
        first = await it.arrives("a")
        assert b'"model":"one"' in await first.reader.readuntil(b"}]}")
        first.write(answers(503))
        second = await it.arrives("b")
        assert b'"model":"two"' in await second.reader.readuntil(b"}]}")
        second.write(OK)
        assert (await asked).status == 200
    assert [(turn.request_model, turn.public_model) for turn in it.rig.meter.turns] == [("two", "voice")]


async def test_limits_admit_a_request_once() -> None:
    limit = CallerLimits(
        policy="ai/p", limits=(Limit(kind="requests", per="Day", max=1),), reserve=1, counted_by="Caller"
    )
    async with pool(policies=REQUIRED.model_copy(update={"limits": (limit,)})) as it:
        asked = it.asks()
        (await it.arrives("a")).write(answers(500))
        (await it.arrives("b")).write(OK)
        assert (await asked).status == 200
        assert (await it.asks()).status == 429
    assert [outcome for _, _, outcome in it.rig.meter.limits] == ["admitted", "refused"]


async def test_a_streamed_answer_that_has_begun_is_nobody_elses() -> None:
    async with pool() as it:
        asked = it.asks()
        first = await it.arrives("a")
        first.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}\n\n")
        await until(lambda: it.shown("a")["requests"] == 1, "it is under way")
        first.reset()
        with pytest.raises(aiohttp.ClientError):
            await asked
        assert it.far["b"].arrivals.empty()


async def test_a_provider_rests_for_the_model_that_it_has_no_room_for() -> None:
    async with pool() as it:
        asked = it.asks()
        first = await it.arrives("a")
        first.write(answers(429, "x-ratelimit-reset-requests: 6m0s"))
        second = await it.arrives("b")
        second.write(OK)
        await asked
        asked = it.asks()
        await second.head()  # on the same connection
        second.write(OK)
        assert (await asked).status == 200
        asked = it.asks(model="another")
        await first.head()
        first.write(OK)
        assert (await asked).status == 200


async def test_the_client_leaves_while_the_second_is_asked() -> None:
    async with pool(timeouts=Timeouts(response=60.0)) as it:
        asked = it.asks()
        (await it.arrives("a")).write(answers(500))
        second = await it.arrives("b")
        asked.cancel()
        await second.gone()
        await it.rig.settled()
    assert it.rig.meter.requests == [("ai/voice", "ai/voice", 499, "client_gone")]
    assert [(turn.status, turn.provider) for turn in it.rig.meter.turns] == [("cancelled", "b")]


@pytest.mark.parametrize("what", [*LOST, *REFUSES])
async def test_a_websocket_of_a_passthrough_path(what: str) -> None:
    async with pool() as it:
        asked = asyncio.create_task(it.client.ws_connect(f"{it.rig.url}/v1/echo/ws", headers=BEARER))
        {**LOST, **REFUSES}[what](await it.arrives("a"))
        second = await it.arrives("b")
        second.write(switching(second.request))
        socket = await asked
        assert it.shown("b")["sessions"] == 1
        assert it.shown("a")["sessions"] == 0
        await socket.close()
        second.writer.close()


async def test_a_model_that_a_credential_may_not_use_takes_its_provider_from_nobody() -> None:
    """403 is about what was asked for: for that model others are asked first; for all else nothing has changed."""
    async with pool(health=Health(eject_after=1)) as it:
        asked = it.asks(model="not-for-a")
        first = await it.arrives("a")
        first.write(answers(403))
        second = await it.arrives("b")
        second.write(OK)
        assert (await asked).status == 200
        asked = it.asks(model="not-for-a")
        await second.head()
        second.write(OK)
        assert (await asked).status == 200
        asked = it.asks(model="for-both")
        await first.head()
        first.write(OK)
        assert (await asked).status == 200
        assert it.shown("a")["rests_for_seconds"] == {"not-for-a": 60.0}
    assert it.rig.meter.ejections == []
    assert it.rig.meter.failovers == ["forbidden"]


async def test_where_no_credential_may_use_a_model_that_is_the_answer_each_time() -> None:
    async with pool() as it:
        asked = it.asks()
        far = [await it.arrives("a")]
        far[0].write(answers(403))
        far.append(await it.arrives("b"))
        far[1].write(answers(403))
        assert (await asked).error["code"] == "upstream_credential_rejected"
        asked = it.asks()
        for peer in far:  # on the same connections
            await peer.head()
            peer.write(answers(403))
        answer = await asked
        assert (answer.status, answer.error["code"]) == (502, "upstream_credential_rejected")
