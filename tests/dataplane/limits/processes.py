"""Several processes that count together, over the store's double, with one clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dataplane.errors import Refusal
from dataplane.limits import fleet as fleets
from dataplane.limits.budget import Budget
from dataplane.limits.fleet import Fleet
from dataplane.limits.limiter import Limiter
from dataplane.metering.prices import UnitPrices
from dataplane.metering.usage import Caller
from dataplane.table import CallerLimits
from tests.dataplane.limits.double import Memory
from tests.dataplane.limits.made import BOT, DAWN, PRICED, TOKENS, limits

SHARED = limits(TOKENS, fleet=True)


@dataclass
class World:
    """Processes with one store and one clock."""

    clock: float = DAWN + 100
    store: Memory = field(init=False)
    processes: list[Limiter] = field(default_factory=list)
    told: list[float | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Memory(lambda: round(self.clock * 1000))

    def process(self, *, behind: float = 0.0) -> Limiter:
        fleet = Fleet(self.store, self.told.append, lambda: self.clock - behind)
        limiter = Limiter(lambda *_: UnitPrices(), now=lambda: self.clock - behind, fleet=fleet)
        fleet.start(limiter._shared)
        self.processes.append(limiter)
        return limiter

    def budget(self, process: int, part: CallerLimits = SHARED, caller: Caller = BOT) -> Budget:
        return Budget(self.processes[process], [part], caller, "ai/voice")

    async def started(self) -> None:
        """Until each has found the store."""
        async with asyncio.timeout(5):
            while not all(each._beaten for each in self.fleets):
                await asyncio.sleep(0)

    async def settled(self) -> None:
        """Until nobody has anything to say."""
        async with asyncio.timeout(5):
            while any(line.busy for each in self.fleets for line in each._lines.values()):
                await asyncio.sleep(0)

    async def beat(self, after: float = fleets.HEARTBEATS) -> None:
        """Let so many seconds pass, and each process look for the store."""
        self.clock += after
        for each in self.fleets:
            await each._heartbeat()
        await self.settled()

    @property
    def fleets(self) -> Iterator[Fleet]:
        return (each._fleet for each in self.processes if each._fleet is not None)

    def known(self) -> tuple[int, int]:
        """What the store knows of all: used, and set aside by who is alive."""
        used = reserved = 0
        for _seq, deadline, _granted, counts in self.store.hashes.get(
            "tidegate:limits:1:ai/p:caller:ai/ci-bot", {}
        ).values():
            for _name, end, used_, reserved_ in counts:
                used += used_ if end > self.clock * 1000 else 0
                reserved += reserved_ if deadline > self.clock * 1000 else 0
        return used, reserved


@asynccontextmanager
async def world(count: int = 2) -> AsyncIterator[World]:
    made = World()
    for _ in range(count):
        made.process()
    await made.started()
    try:
        yield made
    finally:
        for each in made.processes:
            await each.stop()


async def admitted(budgets: Sequence[Budget]) -> list[bool]:
    """Which of them may begin a turn, asked at the same time."""
    results = await asyncio.gather(*(each.admit_turn(PRICED) for each in budgets), return_exceptions=True)
    assert all(each is None or isinstance(each, Refusal) for each in results), results
    return [each is None for each in results]
