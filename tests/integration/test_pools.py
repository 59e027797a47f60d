"""Pools of providers as people write them, against simulated providers that are out of sorts: nobody is refused while
one provider is well, whoever is out of sorts is left alone, and comes back when it was said to."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from controller import compile as compiler
from dataplane.server import AddressPolicy, Gateway
from simulator.server import Simulator
from tests.dataplane.realtime.wires import until
from tests.dataplane.rig import Remembering
from tests.dataplane.upstream import says, upstream_of

MODEL = "?model=gpt-realtime"
ASK = {"model": "gpt-5", "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class Pool:
    gateway: Gateway
    meter: Remembering
    simulators: dict[str, Simulator]
    clock: list[float]
    sessions: list[ClientConnection] = field(default_factory=list)

    async def opens(self, count: int = 1, headers: Mapping[str, str] | None = None) -> None:
        """So many sessions begin."""
        url = f"ws://127.0.0.1:{self.gateway.port}/v1/realtime{MODEL}"
        for _ in range(count):
            socket = await connect(url, additional_headers=headers, compression=None)
            assert "session.created" in str(await socket.recv())
            self.sessions.append(socket)

    async def ends(self) -> None:
        """All sessions end."""
        for socket in self.sessions:
            await socket.close()
        self.sessions.clear()
        await until(lambda: not any(self.meter.active.values()), "nothing is under way")

    async def asks(self, count: int = 1) -> list[int]:
        """The status of so many chat completions."""
        async with aiohttp.ClientSession() as client:
            return [await self._asked(client) for _ in range(count)]

    async def _asked(self, client: aiohttp.ClientSession) -> int:
        async with client.post(f"http://127.0.0.1:{self.gateway.port}/v1/chat/completions", json=ASK) as response:
            await response.read()
            return response.status

    def lost(self) -> list[ClientConnection]:
        """Sessions that did not end by the client's will."""
        return [socket for socket in self.sessions if socket.close_code is not None]

    def held(self) -> list[int]:
        """How many sessions each provider has."""
        return [self.shown(name)["sessions"] for name in self.simulators]  # type: ignore[misc]

    def shown(self, name: str) -> dict[str, object]:
        return self.gateway.pools.shown("default/voice", name)


@asynccontextmanager
async def pool(
    providers: Sequence[Mapping[str, object]],
    *,
    simulators: Mapping[str, Simulator] | None = None,
    urls: Mapping[str, str] | None = None,
    **spec: object,
) -> AsyncIterator[Pool]:
    """`providers`: what is said of each, which is a simulator of its own unless `urls` has another."""
    clock = [1000.0]
    async with AsyncExitStack() as stack:
        names = [str(each["name"]) for each in providers]
        running = {name: (simulators or {}).get(name) or Simulator() for name in names if name not in (urls or {})}
        for each in running.values():
            await stack.enter_async_context(each)
        addresses = {**{name: each.url for name, each in running.items()}, **(urls or {})}
        gateway = Gateway(
            meter=(meter := Remembering()), addresses=AddressPolicy(allow_loopback=True), clock=lambda: clock[0]
        )
        compiled = compiler.compile(documents(providers, addresses, **spec), open_by_default=True)
        assert [part.error for part in (*compiled.table.backends, *compiled.table.routes)] == ["", ""]
        gateway.load(compiled.table, compiled.secrets)
        await gateway.start("127.0.0.1", 0)
        stack.push_async_callback(gateway.stop)
        yield Pool(gateway, meter, running, clock)


def documents(
    providers: Sequence[Mapping[str, object]], addresses: Mapping[str, str], **spec: object
) -> list[dict[str, object]]:
    auth = {"secretRef": {"name": "key"}}
    listed = [{"custom": {}, "url": f"{addresses[str(each['name'])]}/v1", "auth": auth, **each} for each in providers]
    backend: dict[str, object] = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "voice"},
        "spec": {"providers": listed, **spec},
    }
    secret: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "key"},
        "stringData": {"Authorization": "sk-simulator"},
    }
    return [backend, secret]


A, B, C = {"name": "a"}, {"name": "b"}, {"name": "c"}


async def test_twenty_sessions_on_two_equal_providers_are_ten_each() -> None:
    async with pool([A, B]) as it:
        await it.opens(20)
        assert it.held() == [10, 10]
        await it.ends()
        assert it.held() == [0, 0]


async def test_sessions_are_shared_by_weight() -> None:
    async with pool([{**A, "weight": 90}, {**B, "weight": 10}]) as it:
        await it.opens(20)
        assert it.held() == [18, 2]
        await it.ends()


async def test_requests_are_shared_by_chance_and_weight() -> None:
    async with pool([{**A, "weight": 90}, {**B, "weight": 10}]) as it:
        assert await it.asks(200) == [200] * 200
        assert 160 < len(it.simulators["a"].requests) < 198  # one run in a million is outside


@pytest.mark.parametrize(("strategy", "shares"), [("LeastActive", [3, 3]), ("Weighted", [6, 0])])
async def test_the_strategy_is_what_it_is_said_to_be(strategy: str, shares: list[int]) -> None:
    """By weight alone nearly all would be the first one's."""
    heavy = [{**A, "weight": 1_000_000}, {**B, "weight": 1}] if strategy == "Weighted" else [A, B]
    async with pool(heavy, balance={"strategy": strategy}) as it:
        await it.opens(6)
        assert it.held() == shares
        await it.ends()


async def test_a_header_keeps_sessions_together() -> None:
    async with pool([A, B, C], balance={"sticky": {"header": "X-User"}}) as it:
        for user in range(8):
            await it.opens(3, {"x-user": str(user)})
            await it.ends()
            await it.opens(1, {"x-user": str(user)})
        sent = Counter(
            (name, dict(request.headers)["x-user"]) for name, each in it.simulators.items() for request in each.requests
        )
        assert len(sent) == 8
        assert set(sent.values()) == {4}
        await it.ends()


async def test_a_provider_that_dies_takes_its_sessions_and_no_others() -> None:
    """The ending says what happened; who comes then is taken by the other, and nobody is refused."""
    async with pool([A, B]) as it:
        await it.opens(10)
        assert it.held() == [5, 5]
        await it.simulators["a"].stop()
        await until(lambda: len(it.lost()) == 5, "its sessions are over")
        for socket in it.lost():
            assert "upstream_lost" in str(await socket.recv())
            assert socket.close_code == 1011
        await it.opens(10)
        assert await it.asks(10) == [200] * 10
        assert it.held() == [0, 15]
        await it.ends()


async def test_one_that_refuses_after_its_101_costs_no_client_a_session() -> None:
    stranger = Simulator(keys=frozenset({"sk-other"}))
    async with pool([A, B], simulators={"a": stranger}) as it:
        await it.opens(12)
        assert it.held() == [0, 12]
        assert it.meter.ejections == [("a", "credential")]
        assert stranger.sessions == 0
        await it.ends()


async def test_a_429_with_retry_after_rests_exactly_that_provider() -> None:
    full = b"HTTP/1.1 429 Full\r\nRetry-After: 20\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    async with upstream_of(says(full)) as url, pool([{**A, "weight": 1000}, B, C], urls={"a": url}) as it:
        await it.opens(8)
        assert it.held() == [4, 4]
        assert it.meter.full == ["a"]
        it.clock[0] += 19.9
        await it.opens(2)
        assert it.meter.full == ["a"]
        it.clock[0] += 0.1
        await it.opens(2)
        assert it.meter.full == ["a", "a"]
        assert (it.meter.ejections, it.held()) == ([], [6, 6])
        await it.ends()


async def test_recovery_within_the_time_that_was_said() -> None:
    """It is ejected for 2 s, 4 s and 5 s, a tenth more at most; then the first request has it back."""
    health = {"ejectAfter": 2, "ejectFor": "2s", "ejectForMost": "5s"}
    down = Simulator()
    await down.start()
    await down.stop()
    async with pool([A, {**B, "priority": 1}], urls={"a": down.url}, health=health) as it:
        for wait in (0.0, 2.2, 4.4, 5.5):
            it.clock[0] += wait
            await it.opens(3)
            assert it.shown("a")["state"] == "ejected"
        assert it.meter.ejections == [("a", "unreachable")] * 4
        assert it.meter.failovers == ["unreachable"] * 5  # two, and one to try each time
        await down.start(port=down.port)
        it.clock[0] += 5.5
        await it.opens(2)
        assert (it.shown("a")["sessions"], it.shown("a")["state"], it.held()) == (2, "healthy", [12])
        await it.ends()
        await down.stop()


async def test_nobody_is_refused_while_one_of_many_is_well() -> None:
    down = dict.fromkeys("abcdefgh", "http://127.0.0.1:1")
    async with pool([*({"name": name} for name in down), {"name": "well"}], urls=down) as it:
        await it.opens(5)
        assert await it.asks(5) == [200] * 5
        assert it.held() == [5]
        await it.ends()


async def test_where_none_is_well_the_client_is_told() -> None:
    async with pool([A, B], urls={"a": "http://127.0.0.1:1", "b": "http://127.0.0.1:1"}) as it:
        for _ in range(4):
            with pytest.raises(InvalidStatus) as refused:
                await it.opens()
            assert refused.value.response.status_code == 502
        assert await it.asks(2) == [502, 502]


@pytest.mark.parametrize("sticky", [{"caller": {}}, {"header": "x-user"}])
async def test_who_has_nothing_to_stick_to_is_shared(sticky: Mapping[str, object]) -> None:
    async with pool([A, B], balance={"sticky": sticky}) as it:
        await it.opens(6)
        assert it.held() == [3, 3]
        await it.ends()
