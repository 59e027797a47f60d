"""The promise, with clients that nobody here wrote, over connections that are cut anywhere: what /metrics says equals
what the provider billed, to the token, per label set, while sessions run and after they ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from random import Random

import aiohttp
from websockets.asyncio.client import connect

from dataplane import table
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.server import AddressPolicy, Gateway
from dataplane.telemetry.facade import Telemetry
from simulator.server import Simulator
from tests.dataplane import rig
from tests.integration.cutter import cutter
from tests.integration.lives.exposition import differences, of_metrics
from tests.integration.lives.oracle import Place, of_turns
from tests.integration.lives.tape import Written
from tests.integration.lives.world import PRICE
from tests.integration.talker import CHAT_MODELS, KINDS, TRANSCRIBERS, Talker, complete

SESSIONS, ROUNDS = 40, 25
"""A thousand turns and more."""
PLACE = Place("ai/voice", "ai/voice")


@dataclass
class Stand:
    simulator: Simulator
    gateway: Gateway
    telemetry: Telemetry
    written: Written
    port: int
    """Where clients connect."""

    def faults(self) -> list[str]:
        """What the books do not agree on."""
        found = {each: number for each, number in of_metrics(self.telemetry.exposition()).items() if _of_a_turn(each)}
        records = {usage.response_id: (usage, cost) for usage, cost in self.written.turns}
        return differences(found, of_turns(self.simulator.ledger.turns, lambda _: PLACE, records))

    async def talk(self, rng: Random, kinds: list[str], *, halfway: asyncio.Barrier) -> int:
        url = f"ws://127.0.0.1:{self.port}/v1/realtime?model=gpt-realtime"
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=rig.BEARER) as http,
            connect(url, additional_headers=rig.BEARER, max_size=None) as socket,
        ):
            talker = Talker(socket, rng)
            for count, kind in enumerate(kinds):
                if count == len(kinds) // 2:
                    await halfway.wait()  # everybody is between turns: the books can be compared
                    await halfway.wait()
                match kind:
                    case "json" | "stream":
                        await complete(http, rng, streamed=kind == "stream")
                        talker.turns += 1
                    case "vanish":
                        await talker.begin("slow:30")
                        socket.transport.abort()
                    case _:
                        await talker.hold(kind)
            return talker.turns

    async def settled(self, *, sessions: int) -> None:
        """Wait until so many sessions are open, and as many turns are in both books: a completion is counted when its
        last byte is on its way, which its client may see first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                while len(self.gateway.sessions()) != sessions or self.faults():
                    await asyncio.sleep(0.05)
        assert len(self.gateway.sessions()) == sessions


def _of_a_turn(each: tuple[str, frozenset[tuple[str, str]]]) -> bool:
    return any(name == "gen_ai_operation_name" for name, _ in each[1])


def declared(url: str, policies: table.PolicySet = rig.REQUIRED) -> table.Table:
    """A table that declares its models: the name of one that no answer confirms is a label all the same."""
    targets = (table.Target(provider="openai"),)
    names = ("gpt-realtime", *CHAT_MODELS, *TRANSCRIBERS)
    models = tuple(table.Model(name=name, targets=targets, price=PRICE) for name in names)
    return rig.table(rig.backend(rig.provider(url, kind="custom"), models=models), policies)


@asynccontextmanager
async def stand(
    rng: Random, policies: Callable[[str], table.PolicySet] = lambda _: rig.REQUIRED
) -> AsyncIterator[Stand]:
    """`policies`: those that hold, where the provider has this address."""
    instruments, written = Instruments(), Written()
    meter = Meter(instruments, PriceBook(), written)
    meter.load(declared("http://any"))
    gateway = Gateway(meter=meter, addresses=AddressPolicy(allow_loopback=True))
    telemetry = Telemetry(instruments)
    async with Simulator() as simulator, cutter(simulator.port, rng) as upstream_port:
        await gateway.start("127.0.0.1", 0)
        gateway.load(declared(f"http://127.0.0.1:{upstream_port}/v1", policies(simulator.url)), rig.SECRETS)
        try:
            async with cutter(gateway.port, rng) as port:
                yield Stand(simulator, gateway, telemetry, written, port)
        finally:
            await gateway.stop()
            telemetry.shutdown()


def scripts(rng: Random, sessions: int, rounds: int) -> list[list[str]]:
    """Kinds for each session: all of them over and over, shuffled; every third session ends by vanishing."""
    plans = []
    for number in range(sessions):
        every = [*KINDS, "json", "stream"]
        kinds = [every[(number + i) % len(every)] for i in range(rounds)]
        rng.shuffle(kinds)
        plans.append([*kinds, "vanish"] if number % 3 == 0 else kinds)
    return plans


async def test_a_thousand_turns_of_every_kind() -> None:
    rng = Random(20261121)
    async with stand(rng) as it:
        plans = scripts(rng, SESSIONS, ROUNDS)
        halfway = asyncio.Barrier(SESSIONS + 1)
        async with asyncio.TaskGroup() as group:
            talks = [group.create_task(it.talk(Random(n), plan, halfway=halfway)) for n, plan in enumerate(plans)]
            await halfway.wait()
            await it.settled(sessions=SESSIONS)
            assert it.faults() == [], "while sessions are open"
            await halfway.wait()
        await it.settled(sessions=0)
        assert it.faults() == [], "after they ended"
        assert sum(talk.result() for talk in talks) >= 1000
        assert {usage.status for usage, _ in it.written.turns} >= {"completed", "cancelled", "failed", "incomplete"}
