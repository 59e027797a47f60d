"""Several processes that count together: whatever becomes of them, and whatever the store answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from dataplane.errors import Refusal
from dataplane.limits import fleet as fleets
from dataplane.limits.budget import Budget
from dataplane.metering.usage import Caller, Tokens
from dataplane.table import Limit
from tests.dataplane.limits.made import BOT, DAWN, PRICED, REQUESTS, SEATS, TOKENS, limits, table, usage, want
from tests.dataplane.limits.processes import SHARED, World, admitted, world


async def test_a_budget_is_one_for_all() -> None:
    async with world(3) as here:
        asked = await admitted([here.budget(number % 3) for number in range(60)])
        assert sum(asked) == 10
        assert here.known() == (0, 1000)


async def test_many_that_ask_at_the_same_time_are_few_scripts() -> None:
    async with world(1) as here:
        before = here.store.scripts
        await admitted([here.budget(0) for _ in range(100)])
        assert here.store.scripts - before <= 5


async def test_what_was_used_takes_the_place_of_what_was_set_aside() -> None:
    async with world(2) as here:
        mine, other = [here.budget(0) for _ in range(10)], here.budget(1)
        assert all(await admitted(mine))
        assert not any(await admitted([other]))
        for each in mine:
            each.used(*usage(Tokens(output_text=95)))
            each.release_turn()
        await here.settled()
        assert here.known() == (950, 0)
        with pytest.raises(Refusal, match=r"950 tokens are used, 50 tokens left\. This needs 100 tokens"):
            await other.admit_turn(PRICED)


async def test_seats_are_of_all() -> None:
    part = limits(SEATS, REQUESTS, fleet=True)
    async with world(2) as here:
        first = here.budget(0, part)
        await first.admit_session()
        for _ in range(2):
            await here.budget(1, part).admit_session()
        with pytest.raises(Refusal, match="3 are open"):
            await here.budget(0, part).admit_session()
        first.leave()
        await here.settled()
        await here.budget(1, part).admit_session()


async def test_openings_without_a_seat_use_up_nothing_in_any_process() -> None:
    part = limits(REQUESTS, SEATS, fleet=True)
    async with world(2) as here:
        openings = [here.budget(0, part) for _ in range(10)]
        asked = [each.admit_session() for each in openings]
        await asyncio.gather(*asked, here.budget(1, part).admit_request(), return_exceptions=True)
        for _ in range(6):
            await here.budget(1, part).admit_request()
        with pytest.raises(Refusal, match="10 requests are used"):
            await here.budget(1, part).admit_request()


async def test_who_has_used_up_what_is_his_own_uses_up_nothing_that_he_shares() -> None:
    """Though others ask while he is refused."""
    team, own = Limit(kind="requests", max=100, per="Day"), Limit(kind="requests", max=5, per="Day")
    shared = limits(team, policy="ai/team", fleet=True, counted_by="Team")
    parts = [shared, limits(own, fleet=True)]
    async with world(2) as here:
        greedy = [Budget(here.processes[0], parts, BOT, "ai/voice") for _ in range(200)]
        other = here.budget(1, shared, Caller("ai", "other", "support"))

        async def others() -> int:
            admitted = 0
            for turn in range(200):
                await asyncio.sleep(0)
                with suppress(Refusal):
                    await other.admit_request()
                    admitted += 1
                if turn > 8:
                    await here.settled()
            return admitted

        *_, admitted = await asyncio.gather(
            *(each.admit_request() for each in greedy), others(), return_exceptions=True
        )
        assert admitted == 95


async def test_the_newest_maximum_holds_at_once() -> None:
    async with world(2) as here:
        assert all(await admitted([here.budget(0) for _ in range(5)]))
        here.processes[1].load(table(limits(TOKENS.model_copy(update={"max": 599}), fleet=True)))
        assert not any(await admitted([here.budget(1)]))
        here.processes[1].load(table(limits(TOKENS.model_copy(update={"max": 600}), fleet=True)))
        assert await admitted([here.budget(1), here.budget(1)]) == [True, False]


async def test_what_thousands_that_died_have_used_is_one_number_after_a_day() -> None:
    """A roll-out in the morning and one at night, all the month: each script reads what is in the store."""
    month = limits(Limit(kind="tokens", max=2000, per="Month"), fleet=True)
    async with world(1) as here:
        for _ in range(20):
            await here.processes[0].stop()
            here.processes = []
            turn = Budget(here.process(), [month], BOT, "ai/voice")
            await here.started()
            await turn.admit_turn(PRICED)
            turn.used(*usage(Tokens(output_text=50)))
            turn.release_turn()
            await here.settled()
            here.clock += 43_200
        key = "tidegate:limits:1:ai/p:caller:ai/ci-bot"
        assert len(here.store.hashes[key]) == 20
        await here.beat()
        assert len(here.store.hashes[key]) == 20, "the others may just have been away, as this one was"
        await here.beat(fleets.SETTLED + 1)
        assert await admitted([here.budget(0, month)]) == [True]
        assert len(here.store.hashes[key]) == 2, "one's own, and all others in one"
        assert here.known() == (1000, 100)
        here.clock = DAWN + 31 * 86_400
        here.budget(0, month).used(*usage(Tokens(output_text=1)))
        await here.settled()
        assert len(here.store.hashes[key]) == 1


async def test_what_a_process_that_died_had_set_aside_falls_away_and_what_it_used_does_not() -> None:
    async with world(2) as here:
        turns = [here.budget(0) for _ in range(8)]
        assert all(await admitted(turns))
        turns[0].used(*usage(Tokens(output_text=250)))
        turns[0].release_turn()
        await here.settled()
        dead = here.processes.pop(0)
        assert dead._fleet is not None
        assert dead._fleet._beating is not None
        dead._fleet._beating.cancel()
        assert not any(await admitted([here.budget(0)]))
        here.clock += 15.1
        assert sum(await admitted([here.budget(0) for _ in range(20)])) == 7


async def test_what_is_under_way_for_long_stays_set_aside() -> None:
    async with world(2) as here:
        assert all(await admitted([here.budget(0) for _ in range(10)]))
        for _ in range(10):
            await here.beat()
        assert not any(await admitted([here.budget(1)]))


async def test_who_has_left_is_given_nothing() -> None:
    async with world(1) as here:
        task = asyncio.create_task(here.budget(0).admit_turn(PRICED))
        for _ in range(4):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await here.settled()
        assert here.known() == (0, 0)


async def test_a_window_ends_by_the_store_s_clock() -> None:
    """A process that is behind is told, and what is set aside goes with it into the new one."""
    part = limits(REQUESTS.model_copy(update={"max": 1}), fleet=True)
    here = World(clock=DAWN + 59)
    here.process()
    here.process(behind=30)
    await here.started()
    await here.budget(0, part).admit_request()
    with pytest.raises(Refusal):
        await here.budget(1, part).admit_request()
    here.clock += 1
    await here.budget(1, part).admit_request()
    with pytest.raises(Refusal, match="in 60 s"):
        await here.budget(0, part).admit_request()
    for each in here.processes:
        await each.stop()


@pytest.mark.parametrize("behind", [0.001, 0.01, 0.019, 0.03])
async def test_a_process_that_is_hardly_behind_goes_on_at_the_end_of_a_window(behind: float) -> None:
    part = limits(REQUESTS, fleet=True)
    here = World(clock=DAWN + 59)
    here.process(behind=behind)
    await here.started()
    here.clock = DAWN + 60
    await here.budget(0, part).admit_request()
    assert all(each.up for each in here.fleets)
    await here.processes[0].stop()


# -- faults ----------------------------------------------------------------------------------------------------


async def test_a_store_that_answers_nonsense_is_one_that_fails() -> None:
    async with world(1) as here:
        here.store.script = lambda *_: [b"what"]  # type: ignore[method-assign]
        await here.budget(0).admit_turn(PRICED)
        assert not here.processes[0]._fleet.up  # type: ignore[union-attr]


async def test_a_store_whose_clock_stands_beyond_every_window_is_one_that_fails() -> None:
    async with world(1) as here:
        here.store.script = lambda *_: [b"stale", round(here.clock * 1000)]  # type: ignore[method-assign]
        await here.budget(0).admit_turn(PRICED)
        assert not here.processes[0]._fleet.up  # type: ignore[union-attr]


async def test_a_fault_of_ours_keeps_nobody_waiting_and_is_over_when_it_is_over() -> None:
    async with world(1) as here:
        here.store.run = _broken  # type: ignore[assignment, method-assign]
        with capture_logs() as lines:
            await here.beat()
        assert "a heartbeat of the limits' store failed" in [line["event"] for line in lines]
        await here.budget(0).admit_turn(PRICED)
        del here.store.run
        await here.beat()
        assert here.known() == (0, 100)


async def _broken(*_: object) -> object:
    raise RuntimeError("a fault of ours")


async def test_one_who_leaves_while_the_store_decides_gives_back_what_it_was_given() -> None:
    async with world(1) as here:
        asked, decided = asyncio.Event(), asyncio.Event()
        run = here.store.run

        async def slow(key: str, arguments: Sequence[str | int]) -> object:
            answer = await run(key, arguments)
            asked.set()
            await decided.wait()
            return answer

        here.store.run = slow  # type: ignore[method-assign]
        task = asyncio.create_task(here.budget(0).admit_turn(PRICED))
        await asked.wait()
        assert here.known() == (0, 100)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        decided.set()
        await here.settled()
        assert here.known() == (0, 0)


async def test_one_who_leaves_right_after_the_answer_gives_it_back() -> None:
    async with world(1) as here:
        fleet = here.processes[0]._fleet
        assert fleet is not None
        tally = here.processes[0].tally(SHARED, "caller:ai/ci-bot")
        task = asyncio.create_task(fleet.take(tally, (want(TOKENS, 100),)))
        while not tally.reserves:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await here.settled()
        assert here.known() == (0, 0)


# -- whatever happens ------------------------------------------------------------------------------------------

Steps = st.lists(
    st.tuples(
        st.sampled_from(["begin", "begin", "begin", "end", "end", "vanish", "late", "beat", "twice"]),
        st.integers(0, 2),
        st.integers(0, 250),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(Steps)
def test_whatever_processes_do_the_bound_holds_and_nothing_used_is_lost(steps: list[tuple[str, int, int]]) -> None:
    """Turns begin and end in three processes, at the same time; scripts come twice, or late. At any time what is used
    and set aside is at most the limit, and what turns took beyond theirs; and in the end the store knows all."""
    asyncio.run(_played(steps))


async def _played(steps: list[tuple[str, int, int]]) -> None:
    async with world(3) as here:
        open_: list[Budget] = []
        used = beyond = 0
        history: list[tuple[str, list[str]]] = []
        original = here.store.script

        def remembered(key: str, arguments: Sequence[str]) -> list[object]:
            history.append((key, list(arguments)))
            return original(key, arguments)

        here.store.script = remembered  # type: ignore[method-assign]
        for what, process, number in steps:
            match what:
                case "begin":
                    asked = [here.budget((process + each) % 3) for each in range(number % 7)]
                    open_ += [each for each, yes in zip(asked, await admitted(asked), strict=True) if yes]
                case "end" | "vanish" if open_:
                    turn = open_.pop(number % len(open_))
                    if what == "end":
                        turn.used(*usage(Tokens(output_text=number)))
                        used, beyond = used + number, beyond + max(0, number - 100)
                    turn.release_turn()
                case "twice" | "late" if history:
                    await here.settled()
                    known = here.known()
                    original(*history[-1 if what == "twice" else number % len(history)])
                    assert here.known() == known
                case "beat":
                    await here.beat(1)
                case _:
                    continue
            assert used + 100 * len(open_) <= TOKENS.max + beyond
        await here.settled()
        assert here.known() == (used, 100 * len(open_))
