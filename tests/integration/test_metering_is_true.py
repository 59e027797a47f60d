"""The promise: what /metrics says equals what the provider billed, to the token, per label set, while sessions
run and after they ended, however they ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random

import aiohttp
import pytest
from websockets.asyncio.client import connect

from dataplane import table
from dataplane.metering.instruments import Counter, Histogram, Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import Cost, PriceBook
from dataplane.metering.records import SessionSummary
from dataplane.metering.telemetry import Telemetry
from dataplane.metering.usage import Usage
from dataplane.realtime.session import Session
from dataplane.server import AddressPolicy, Gateway
from simulator.server import Simulator
from tests.dataplane import rig
from tests.integration.book import Book, of_ledger, of_metrics
from tests.integration.cutter import cutter
from tests.integration.talker import CHAT_MODELS, KINDS, Talker, complete

SESSIONS, ROUNDS = 40, 25
"""A thousand turns and more."""


@dataclass
class Tape:
    """Records in a list, to be played to another meter."""

    turns: list[tuple[Usage, float | None]] = field(default_factory=list)

    def turn(self, usage: Usage, cost: Cost, duration: float | None) -> None:
        self.turns.append((usage, duration))

    def session(self, summary: SessionSummary) -> None:
        """Not needed here."""


@dataclass
class Stand:
    simulator: Simulator
    gateway: Gateway
    telemetry: Telemetry
    tape: Tape
    port: int
    """Where clients connect."""

    def books(self) -> tuple[Book, Book]:
        return of_metrics(self.telemetry.exposition()), of_ledger(self.simulator.ledger.turns)

    async def talk(self, rng: Random, kinds: list[str], *, halfway: asyncio.Barrier | None = None) -> int:
        url = f"ws://127.0.0.1:{self.port}/v1/realtime?model=gpt-realtime"
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{self.port}", headers=rig.BEARER) as http,
            connect(url, additional_headers=rig.BEARER, max_size=None) as socket,
        ):
            talker = Talker(socket, rng)
            for count, kind in enumerate(kinds):
                if halfway is not None and count == len(kinds) // 2:
                    await halfway.wait()  # everybody is between turns: the books can be compared
                    await halfway.wait()
                match kind:
                    case "json" | "stream":
                        await complete(http, rng, streamed=kind == "stream")
                        talker.turns += 1
                    case "vanish":
                        await talker.vanish()
                    case _:
                        await talker.hold(kind)
            return talker.turns

    async def settled(self, *, sessions: int) -> tuple[Book, Book]:
        """The books, once so many sessions are open and as many turns are in both: a completion is counted when its
        last byte is on its way, which its client may see first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                while len(self.gateway.sessions()) != sessions or _turns(self.books()[0]) != _turns(self.books()[1]):
                    await asyncio.sleep(0.02)
        assert len(self.gateway.sessions()) == sessions
        return self.books()


def _turns(book: Book) -> int:
    return sum(count for key, count in book.items() if key[0] == "turns")


def declared(url: str) -> table.Table:
    """A table that declares its models: the name of one that no answer confirms is a label all the same."""
    targets = (table.Target(provider="openai"),)
    models = tuple(table.Model(name=name, targets=targets) for name in ("gpt-realtime", *CHAT_MODELS))
    return rig.table(rig.backend(rig.provider(url), models=models))


def meter(instruments: Instruments, tape: Tape) -> Meter:
    made = Meter(instruments, PriceBook(), tape)
    made.load(declared("http://any"))
    return made


@asynccontextmanager
async def stand(rng: Random) -> AsyncIterator[Stand]:
    instruments, tape = Instruments(), Tape()
    gateway = Gateway(meter=meter(instruments, tape), addresses=AddressPolicy(allow_loopback=True))
    telemetry = Telemetry(instruments)
    async with Simulator() as simulator, cutter(simulator.port, rng) as upstream_port:
        await gateway.start("127.0.0.1", 0)
        gateway.load(declared(f"http://127.0.0.1:{upstream_port}/v1"), rig.SECRETS)
        try:
            async with cutter(gateway.port, rng) as port:
                yield Stand(simulator, gateway, telemetry, tape, port)
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
            metrics, ledger = await it.settled(sessions=SESSIONS)
            assert metrics == ledger, "while sessions are open"
            await halfway.wait()
        metrics, ledger = await it.settled(sessions=0)
        assert metrics == ledger, "after they ended"
        assert sum(talk.result() for talk in talks) >= 1000
        statuses = {key[3] for key in ledger if key[0] == "turns"}
        assert statuses >= {"completed", "cancelled", "failed", "incomplete"}
        assert {key[4] for key in ledger if key[0] == "turns"} == {"reported", "unreported"}


@pytest.fixture(scope="module")
def run() -> tuple[Tape, Book]:
    """The turns of a short run of every kind, and the ledger's book of them."""

    async def short() -> tuple[Tape, Book]:
        rng = Random(7)
        async with stand(rng) as it:
            plans = scripts(rng, 4, 22)
            await asyncio.gather(*(it.talk(Random(n), plan) for n, plan in enumerate(plans)))
            return it.tape, (await it.settled(sessions=0))[1]

    return asyncio.run(short())


def replayed(tape: Tape, instruments: Instruments) -> Book:
    again = meter(instruments, Tape())
    for usage, duration in tape.turns:
        again.turn(usage, None, duration)
    telemetry = Telemetry(instruments)
    try:
        return of_metrics(telemetry.exposition())
    finally:
        telemetry.shutdown()


class Deaf(Counter):
    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        """Counts nothing."""


class DeafHistogram(Histogram):
    def observe(self, labels: tuple[str, ...], value: float) -> None:
        """Counts nothing."""


USED = (
    "token_usage", "input_tokens", "output_tokens", "cache_read", "operation_input", "operation_output", "turns",
    "transcription_seconds", "cost_lookups", "reasoning",
)  # fmt: skip


@pytest.mark.parametrize("name", USED)
def test_the_comparison_fails_where_a_counter_is_dropped(run: tuple[Tape, Book], name: str) -> None:
    tape, ledger = run
    assert replayed(tape, Instruments()) == ledger
    instruments = Instruments()
    whole = getattr(instruments, name)
    deaf = DeafHistogram(whole.definition, whole.bounds) if isinstance(whole, Histogram) else Deaf(whole.definition)
    setattr(instruments, name, deaf)
    assert replayed(tape, instruments) != ledger


@pytest.mark.parametrize("index", range(0, 60, 7))
def test_the_comparison_fails_where_a_turn_is_dropped_or_counted_twice(run: tuple[Tape, Book], index: int) -> None:
    tape, ledger = run
    turns = tape.turns
    assert replayed(Tape(turns[:index] + turns[index + 1 :]), Instruments()) != ledger
    assert replayed(Tape([*turns, turns[index]]), Instruments()) != ledger


async def test_the_comparison_fails_where_transcriptions_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_transcribed", lambda self, event: None)
    rng = Random(1)
    async with stand(rng) as it:
        await it.talk(rng, ["audio", "audio", "audio"])
        async with asyncio.timeout(15):
            while it.gateway.sessions():
                await asyncio.sleep(0.02)
        metrics, ledger = it.books()
        assert metrics != ledger


def test_own_prices_come_first(run: tuple[Tape, Book]) -> None:
    tape, _ = run
    usage = next(usage for usage, _ in tape.turns if usage.tokens and usage.tokens.input_text)
    price = table.Price(input_text="1000000", output_text="0", cached_text="0", input_audio="0", output_audio="0")
    cost = Meter(Instruments(), PriceBook(), Tape()).turn(usage, price)
    assert usage.tokens is not None
    assert cost.usd == usage.tokens.input_text - usage.tokens.cached_text
