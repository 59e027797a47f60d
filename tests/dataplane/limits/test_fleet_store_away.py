"""The store of several processes is away, has forgotten everything, or was not told yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from dataplane.errors import Refusal
from dataplane.limits import fleet as fleets
from dataplane.metering.usage import Caller, Tokens
from tests.dataplane.limits.made import PRICED, REQUESTS, SEATS, TOKENS, limits, usage
from tests.dataplane.limits.processes import admitted, world


async def test_nobody_waits_in_line_for_a_store_that_is_away() -> None:
    async with world(1) as here:
        here.store.away = True
        callers = [Caller("ai", f"c{number}") for number in range(100)]
        await admitted([here.budget(0, caller=each) for each in callers])
        assert len(here.told) <= 1 + fleets.AT_ONCE + 1


async def test_a_store_that_is_slow_is_waited_for_by_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it grants to somebody who has gone on without it is given back."""
    monkeypatch.setattr(fleets, "LONGEST", 0.01)
    async with world(1) as here:
        await here.settled()
        run, answers = here.store.run, asyncio.Event()

        async def slow(key: str, arguments: Sequence[str | int]) -> object:
            await answers.wait()
            return await run(key, arguments)

        monkeypatch.setattr(here.store, "run", slow)
        patient = limits(TOKENS, fleet=True)
        strict = limits(TOKENS, fleet=True, refuse_without_store=True)
        late = [here.budget(0, part) for part in (patient, strict)]
        assert await admitted(late) == [True, False]
        late[0].release_turn()
        answers.set()
        await here.settled()
        assert here.known() == (0, 0)


async def test_while_it_is_away_each_goes_on_with_what_it_last_heard() -> None:
    async with world(2) as here:
        assert all(await admitted([here.budget(0) for _ in range(3)]))
        assert all(await admitted([here.budget(1) for _ in range(4)]))
        here.store.away = True
        with capture_logs() as lines:
            assert sum(await admitted([here.budget(1) for _ in range(20)])) == 3
            assert sum(await admitted([here.budget(0) for _ in range(20)])) == 7, "it heard nothing of the other"
        assert [line["event"] for line in lines] == [
            "the store of limits cannot be asked: what whenStoreFails says holds"
        ] * 2
        assert None in here.told


async def test_while_it_is_away_everything_is_refused_where_that_is_declared() -> None:
    part = limits(TOKENS, fleet=True, refuse_without_store=True)
    async with world(1) as here:
        first = here.budget(0, part)
        await first.admit_turn(PRICED)
        here.store.away = True
        for _ in range(3):
            with pytest.raises(Refusal) as caught:
                await here.budget(0, part).admit_turn(PRICED)
            assert (caught.value.status, caught.value.code) == (503, "limits_unavailable")
        first.used(*usage(Tokens(output_text=70)))
        first.release_turn()
        here.store.away = False
        await here.beat(fleets.PROBE)
        assert here.known() == (70, 0)
        await here.budget(0, part).admit_turn(PRICED)


async def test_it_is_asked_once_and_not_for_each_request_while_it_is_away() -> None:
    async with world(1) as here:
        here.store.away = True
        await admitted([here.budget(0)])
        here.told.clear()
        await admitted([here.budget(0) for _ in range(50)])
        assert here.told == []


async def test_what_was_used_meanwhile_is_told_when_it_is_back() -> None:
    async with world(2) as here:
        here.store.away = True
        turns = [here.budget(number % 2) for number in range(8)]
        assert all(await admitted(turns))
        for each in turns:
            each.used(*usage(Tokens(output_text=110)))
            each.release_turn()
        assert here.known() == (0, 0)
        here.store.away = False
        with capture_logs() as lines:
            await here.beat(fleets.PROBE)
        assert [line["event"] for line in lines] == ["the store of limits answers"] * 2
        assert here.known() == (880, 0)
        assert sum(await admitted([here.budget(0), here.budget(1)])) == 1


async def test_a_store_that_has_forgotten_everything_is_told_again() -> None:
    async with world(2) as here:
        turn = here.budget(0)
        await turn.admit_turn(PRICED)
        turn.used(*usage(Tokens(output_text=400)))
        turn.release_turn()
        await here.settled()
        assert sum(await admitted([here.budget(1) for _ in range(3)])) == 3
        here.store.forget()
        assert sum(await admitted([here.budget(1) for _ in range(20)])) == 3, "what was heard is not unheard"
        here.store.forget()
        await here.beat()
        assert here.known() == (400, 600)


async def test_a_store_that_was_started_anew_is_asked_when_it_has_heard_everybody() -> None:
    """Until then what is declared for its absence holds: here, that everything is refused."""
    part = limits(TOKENS, fleet=True, refuse_without_store=True)
    async with world(2) as here:
        first, second = here.processes
        turns = [here.budget(0, part) for _ in range(9)]
        assert all(await admitted(turns))
        here.store.away = True
        await admitted([here.budget(0, part), here.budget(1, part)])
        here.store.forget()
        here.store.away = False
        here.processes = [second]
        await here.beat(fleets.PROBE)
        assert here.known() == (0, 0)
        assert not any(await admitted([here.budget(0, part) for _ in range(20)]))
        here.processes = [first]
        await here.beat(fleets.PROBE)
        here.processes = [first, second]
        here.clock += fleets.REFILL
        assert sum(await admitted([here.budget(1, part) for _ in range(20)])) == 1


async def test_seats_that_are_taken_until_it_has_heard_everybody_are_told() -> None:
    part = limits(SEATS, fleet=True)
    async with world(2) as here:
        here.store.forget()
        await here.beat()
        for _ in range(3):
            await here.budget(0, part).admit_session()
        here.clock += fleets.REFILL + fleets.HEARTBEATS * fleets.PROBE
        await here.settled()
        with pytest.raises(Refusal, match="3 are open"):
            await here.budget(1, part).admit_session()


async def test_a_clock_that_is_set_back_does_not_keep_it_from_being_asked() -> None:
    part = limits(TOKENS, fleet=True, refuse_without_store=True)
    async with world(1) as here:
        here.store.forget()
        await here.beat()
        assert await admitted([here.budget(0, part)]) == [False]
        here.clock -= 3600
        assert await admitted([here.budget(0, part)]) == [True]


async def test_the_last_totals_are_told_before_the_end() -> None:
    async with world(2) as here:
        turn = here.budget(0)
        await turn.admit_turn(PRICED)
        turn.used(*usage(Tokens(output_text=42)))
        turn.release_turn()
        await here.processes[0].stop()
        await here.processes[0].stop()
        assert here.known() == (42, 0)
        late = here.budget(0)
        await late.admit_request()
        late.used(*usage(Tokens(output_text=1)))


async def test_what_the_store_was_not_told_is_not_forgotten() -> None:
    part = limits(REQUESTS, fleet=True)
    async with world(1) as here:
        here.store.away = True
        await here.budget(0, part).admit_request()
        here.budget(0, part).used(*usage(None))
        here.clock += 61
        for _ in range(3):
            here.processes[0]._forget()
        assert len(here.processes[0]._tallies) == 1
        here.store.away = False
        await here.beat()
        for _ in range(3):
            here.processes[0]._forget()
        assert not here.processes[0]._tallies


async def test_many_totals_are_told_some_at_a_time() -> None:
    async with world(1) as here:
        here.store.away = True
        callers = [Caller("ai", f"c{number}") for number in range(5 * fleets.AT_ONCE)]
        await admitted([here.budget(0, caller=each) for each in callers])
        here.store.away = False
        await here.beat()
        async with asyncio.timeout(5):
            while len(here.store.hashes) < 1 + len(callers):
                await asyncio.sleep(0)
