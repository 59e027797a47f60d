"""Configuration changes touch no live session: a thousand of them to the routes in use, with 5,000 others there,
during a hundred sessions with traffic. Every session keeps what it began with, a new one gets the newest, and what
nobody uses any more is freed."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.routing import Router
from dataplane.server import AddressPolicy, Gateway
from dataplane.snapshot import Snapshot
from dataplane.table import Table
from simulator.server import Simulator
from tests.dataplane import rig
from tests.integration.lives.generations import BIG, asked, model_of, others, with_used
from tests.integration.lives.left import alive, nothing
from tests.integration.lives.line import upgrade
from tests.integration.lives.tape import Written
from tests.integration.lives.used import Used

# `make nightly` makes all of the thousand; one takes some 70 ms, most of it the index of 5,000 other routes.
CHANGES = int(os.environ.get("TIDEGATE_CHANGES", "250"))
OTHERS, ROUTES, SESSIONS = 5_000, 10, 100
PAUSE = 2.0
"""Seconds between two turns of a session."""
GROWTH, TURN = 6 * 1024 * 1024, 8 * 1024
"""Bytes that the process may grow by after its first changes, and for each turn since: records and the provider's
ledger are kept here, some 3.4 KB a turn. One table of this size takes some 30 MB."""


@dataclass
class Stand:
    simulator: Simulator
    gateway: Gateway
    written: Written
    rest: Table = field(default_factory=lambda: others(OTHERS))
    generations: list[int] = field(default_factory=lambda: [0] * ROUTES)

    async def change(self, place: int, generation: int) -> None:
        """Put a route into another generation."""
        self.generations[place] = generation
        await self.load()

    async def load(self) -> None:
        served = with_used(self.rest, f"{self.simulator.url}/v1", self.generations)
        await self.gateway.replace(served, rig.SECRETS)

    async def newcomer(self, place: int) -> None:
        """A new session has the newest of everything."""
        generation = self.generations[place]
        used = await Used.open(self.gateway.port, on(place))
        assert asked(self.simulator.requests[-1]) == (model_of(generation), str(generation))
        await used.turn()
        if generation % 20 < 2:
            assert await used.takes(BIG) is (generation % 2 == 0)
        if used.line.close is None:
            await used.close()


def on(place: int) -> bytes:
    """A request for a session on a route in use."""
    return upgrade(f"used-{place}.test", "/v1/realtime?model=voice")


async def _chat(used: Used, rng: Random, over: asyncio.Event) -> None:
    """Turns, now and then, until it is over."""
    await asyncio.sleep(rng.random() * PAUSE)
    while not over.is_set():
        await used.turn()
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), PAUSE * (0.5 + rng.random()))


def _memory() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _generations() -> tuple[int, int]:
    """How many tables are there, ready to serve; among them the empty one of the start, and those of other tests."""
    return alive(Snapshot), alive(Router)


async def _changed(it: Stand) -> None:
    async with asyncio.TaskGroup() as group:
        opening = [group.create_task(Used.open(it.gateway.port, on(n % ROUTES))) for n in range(SESSIONS)]
    residents, over = [task.result() for task in opening], asyncio.Event()
    memory, turns, before, kept = 0, 0, _generations(), (0, 0)
    async with asyncio.TaskGroup() as group:
        for n, used in enumerate(residents):
            group.create_task(_chat(used, Random(n), over))
        for generation in range(1, CHANGES + 1):
            place = generation % ROUTES
            await it.change(place, generation)
            await it.newcomer(place)
            if generation == CHANGES // 5:
                memory, turns, kept = _memory(), len(it.written.turns), _generations()
        over.set()
    assert {used.id for used in residents} <= {each["id"] for each in it.gateway.sessions()}, "none was dropped"
    assert _generations() == kept == before, "the newest takes the place of the one before"
    assert _memory() - memory < GROWTH + TURN * (len(it.written.turns) - turns)
    for used in residents:
        assert await used.takes(BIG), "as when it began"
        await used.turn()
        await used.close()
    async with asyncio.timeout(20):
        while it.gateway.sessions():
            await asyncio.sleep(0.02)
    _all_kept_theirs(it, residents)


def _all_kept_theirs(it: Stand, residents: list[Used]) -> None:
    """To the last turn, sessions have the model and the price that they began with."""
    turns = defaultdict(list)
    for usage, cost in it.written.turns:
        turns[usage.session].append((usage, cost))
    assert len(turns) == SESSIONS + CHANGES
    for used in residents:
        mine = turns[used.id]
        assert len(mine) >= 2
        for usage, cost in mine:
            assert usage.tokens is not None
            assert (usage.request_model, usage.public_model) == (model_of(0), "voice")
            assert cost.usd is not None
            assert cost.usd * 1_000_000 == usage.tokens.input + usage.tokens.output
    reasons = {summary.id: summary.reason for summary in it.written.sessions}
    assert [reasons[used.id] for used in residents] == ["client_closed"] * SESSIONS


async def test_live_sessions_are_not_touched() -> None:
    written = Written()
    gateway = Gateway(
        meter=Meter(Instruments(), PriceBook(), written),
        addresses=AddressPolicy(allow_loopback=True),
        memory=lambda: None,
    )
    async with nothing(), Simulator() as simulator:
        it = Stand(simulator, gateway, written)
        await it.load()
        await gateway.start("127.0.0.1", 0)
        try:
            await _changed(it)
        finally:
            await gateway.stop()
