"""What a process shows of what is counted by all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dataplane.limits import fleet as fleets
from dataplane.limits.limiter import Limiter
from dataplane.metering.prices import UnitPrices
from dataplane.metering.usage import Caller, Tokens
from dataplane.slices import at_once
from tests.dataplane.limits.made import PRICED, TOKENS, limits, usage
from tests.dataplane.limits.processes import world


def used(process: Limiter) -> object:
    """What a process says is used."""
    (shown,) = at_once(process.listing())
    return shown["used"]


async def test_whoever_looks_sees_what_the_others_have_counted_meanwhile() -> None:
    async with world() as here:
        mine, other = here.processes
        await here.budget(0).admit_turn(PRICED)
        here.budget(1).used(*usage(Tokens(output_text=70)))
        await here.settled()
        assert used(mine) == 0, "it has had nothing to say since"
        assert await mine.refresh() == ""
        assert (used(mine), used(other)) == (70, 70)


async def test_of_many_all_are_heard_of() -> None:
    async with world() as here:
        callers = [Caller("ai", f"key-{number}") for number in range(3 * fleets.AT_ONCE)]
        for caller in callers:
            here.budget(0, caller=caller).used(*usage(Tokens(output_text=1)))
        await here.settled()
        for caller in callers:
            here.budget(1, caller=caller).used(*usage(Tokens(output_text=2)))
        await here.settled()
        assert await here.processes[0].refresh() == ""
        assert {each["used"] for each in at_once(here.processes[0].listing())} == {3}


async def test_where_the_store_is_away_what_is_known_is_shown_and_it_is_said() -> None:
    async with world() as here:
        here.budget(0).used(*usage(Tokens(output_text=70)))
        await here.settled()
        here.store.away = True
        for _ in range(2):  # it finds out, and knows
            assert "may be old" in await here.processes[0].refresh()
        assert used(here.processes[0]) == 70


async def test_a_store_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "REFRESH", 0.01)
    async with world() as here:
        here.budget(0).used(*usage(Tokens(output_text=70)))
        await here.settled()
        run, answers = here.store.run, asyncio.Event()

        async def hangs(key: str, arguments: Sequence[str | int]) -> object:
            await answers.wait()
            return await run(key, arguments)

        monkeypatch.setattr(here.store, "run", hangs)
        assert "may be old" in await here.processes[0].refresh()
        answers.set()


async def test_who_counts_alone_asks_nobody() -> None:
    async with world() as here:
        here.budget(0, limits(TOKENS)).used(*usage(Tokens(output_text=70)))
        here.store.away = True
        assert await here.processes[0].refresh() == ""
        assert await Limiter(lambda *_: UnitPrices()).refresh() == ""
