"""Several processes that count together, over the store's double: whatever becomes of it and of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from dataplane.errors import Refusal
from dataplane.limits import fleet as fleets
from dataplane.limits.budget import Budget
from dataplane.limits.fleet import Fleet
from dataplane.limits.limiter import Limiter
from dataplane.metering.prices import UnitPrices
from dataplane.metering.usage import Caller, Tokens
from dataplane.slices import at_once
from dataplane.table import CallerLimits
from tests.dataplane.limits.double import Memory
from tests.dataplane.limits.made import BOT, DAWN, PRICED, REQUESTS, SEATS, TOKENS, limits, table, usage, want

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
        for _seq, deadline, counts in self.store.hashes.get("tidegate:limits:1:ai/p:caller:ai/ci-bot", {}).values():
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


async def test_the_newest_maximum_holds_at_once() -> None:
    async with world(2) as here:
        assert all(await admitted([here.budget(0) for _ in range(5)]))
        here.processes[1].load(table(limits(TOKENS.model_copy(update={"max": 599}), fleet=True)))
        assert not any(await admitted([here.budget(1)]))
        here.processes[1].load(table(limits(TOKENS.model_copy(update={"max": 600}), fleet=True)))
        assert await admitted([here.budget(1), here.budget(1)]) == [True, False]


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


async def test_nobody_waits_in_line_for_a_store_that_is_away() -> None:
    async with world(1) as here:
        here.store.away = True
        callers = [Caller("ai", f"c{number}") for number in range(100)]
        await admitted([here.budget(0, caller=each) for each in callers])
        assert len(here.told) <= 1 + fleets.AT_ONCE + 1


# -- the store is away -----------------------------------------------------------------------------------------


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


# -- to see what is counted ------------------------------------------------------------------------------------


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
