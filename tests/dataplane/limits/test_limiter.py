"""What a process keeps of everybody, and for how long."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.errors import Refusal
from dataplane.limits import limiter as limiters
from dataplane.metering.usage import Caller, Tokens
from dataplane.slices import at_once
from dataplane.table import Limit
from tests.dataplane.limits.made import PRICED, REQUESTS, TOKENS, Desk, limits, table, usage


def beat(desk: Desk, times: int = 3) -> None:
    for _ in range(times):
        desk.limiter._forget()


async def test_what_is_listed_has_its_unit() -> None:
    desk = Desk()
    every = [REQUESTS, TOKENS, Limit(kind="sessions", max=1), Limit(kind="spend", max=10**10, per="Day")]
    turn = desk.budget(limits(*every))
    await turn.admit_turn(PRICED)
    await turn.admit_session()
    units = {str(each["limit"]).partition("/")[0]: each["unit"] for each in desk.listing()}
    assert units == {"requests": "requests", "tokens": "tokens", "sessions": "sessions", "spend": "nano-usd"}


async def test_what_is_over_is_forgotten_and_what_is_under_way_is_not() -> None:
    desk = Desk()
    await desk.budget(limits(REQUESTS)).admit_request()
    turn = desk.budget(limits(TOKENS, policy="ai/q"))
    await turn.admit_turn(PRICED)
    beat(desk)
    assert len(desk.listing()) == 2
    desk.clock += 60
    beat(desk)
    assert [each["policy"] for each in desk.listing()] == ["ai/q"]
    desk.clock += 86_400
    beat(desk)
    turn.used(*usage(Tokens(input_text=1)))
    turn.release_turn()
    assert desk.shown() == {"tokens/Day": (1, 0)}
    desk.clock += 86_400
    beat(desk)
    assert desk.listing() == []


async def test_any_number_of_callers_take_bounded_memory_and_nobody_is_without_a_limit() -> None:
    desk = Desk(most=20)
    one = limits(REQUESTS.model_copy(update={"max": 2}))
    admitted: Counter[str] = Counter()
    for number in range(100):
        budget = desk.budget(one, caller=Caller("ai", f"sub-{number}"))
        for _ in range(3):
            try:
                await budget.admit_request()
            except Refusal as refusal:
                assert refusal.code == "limit_exceeded"  # noqa: PT017
                continue
            admitted["alone" if number < 20 else "together"] += 1
    assert admitted == {"alone": 40, "together": 2}
    assert len(desk.listing()) == 21
    desk.clock += 60
    beat(desk)
    await desk.budget(one, caller=Caller("ai", "sub-50")).admit_request()
    assert [each["subject"] for each in desk.listing()] == ["caller:ai/sub-50"]


async def test_one_tenant_with_any_number_of_callers_leaves_the_others_room_to_be_counted_by_themselves() -> None:
    desk = Desk(most=20)
    plenty = REQUESTS.model_copy(update={"max": 1000})
    blue, second = (limits(plenty, policy=f"blue/{name}") for name in "pq")
    red = limits(REQUESTS.model_copy(update={"max": 1}), policy="red/p")
    at_once(desk.limiter.loading(table(blue, second, red)))
    for number in range(50):
        for part in (blue, second):
            await desk.budget(part, caller=Caller("blue", f"sub-{number}")).admit_request()
    for number in range(10):
        await desk.budget(red, caller=Caller("red", f"sub-{number}")).admit_request()
    assert [each["subject"] for each in desk.listing() if each["policy"] == "red/p"] == [
        f"caller:red/sub-{number}" for number in range(10)
    ]
    assert len(desk.listing()) == 32
    fields = dict(desk.budget(red, caller=Caller("red", "sub-11")).headers())
    assert fields["ratelimit"].startswith('"red/p:requests/Minute";r=1;')
    for number in range(11, 13):
        admitted = desk.budget(red, caller=Caller("red", f"sub-{number}")).admit_request()
        if number == 11:
            await admitted
        else:
            with pytest.raises(Refusal, match="for whom there was no room"):
                await admitted


async def test_an_edit_that_is_not_accepted_does_not_bring_back_what_held_before_the_last_one() -> None:
    """Such a Policy is not in the table, while sessions that were opened under it go on."""
    desk = Desk()
    session = desk.budget(limits(REQUESTS.model_copy(update={"max": 5})))
    await session.admit_request()
    desk.limiter.load(table(limits(REQUESTS.model_copy(update={"max": 2}))))
    for _ in range(3):
        desk.limiter.load(table())
    await session.admit_request()
    with pytest.raises(Refusal, match="2 requests are used, 0 requests left"):
        await session.admit_request()
    assert [each["max"] for each in desk.listing()] == [None]
    desk.limiter.load(table(limits(REQUESTS.model_copy(update={"max": 3}))))
    await session.admit_request()
    desk.clock += 60
    beat(desk)
    desk.limiter.load(table())
    assert not desk.limiter._last


async def test_what_was_set_aside_while_there_was_no_room_is_given_back_there() -> None:
    desk = Desk(most=1)
    first, second = desk.budget(limits(TOKENS)), desk.budget(limits(TOKENS), caller=Caller("ai", "second"))
    await first.admit_turn(PRICED)
    await second.admit_turn(PRICED)
    first.release_turn()
    beat(desk)
    second.release_turn()
    assert [(each["subject"], each["reserved"]) for each in desk.listing()] == [("rest", 0)]


async def test_those_who_count_together_say_whether_new_callers_do() -> None:
    desk = Desk(most=2)
    turns = [desk.budget(limits(TOKENS), caller=Caller("ai", name)) for name in ("first", "second", "third")]
    for turn in turns:
        await turn.admit_turn(PRICED)
    said = {each["subject"]: each.get("takes_new") for each in desk.listing()}
    assert said == {"caller:ai/first": None, "caller:ai/second": None, "rest": True}
    for turn in turns[:2]:
        turn.release_turn()
    beat(desk)
    assert [(each["subject"], each["takes_new"]) for each in desk.listing()] == [("rest", False)]


def test_many_tallies_are_looked_at_some_at_a_time() -> None:
    desk = Desk(most=10 * limiters.LOOKED_AT)
    for number in range(3 * limiters.LOOKED_AT):
        desk.limiter._new("ai/p", str(number))
    beat(desk, 2)
    assert len(desk.limiter._tallies) == 2 * limiters.LOOKED_AT
    beat(desk, 3)
    assert not desk.limiter._tallies


@dataclass
class Turn:
    took: int
    over: bool = False


Steps = st.lists(st.tuples(st.sampled_from(["begin", "end", "vanish", "wait"]), st.integers(0, 400)), max_size=60)


@settings(deadline=None, max_examples=60)
@given(Steps)
def test_whatever_turns_do_a_limit_is_passed_by_no_more_than_they_take_beyond_what_is_set_aside(
    steps: list[tuple[str, int]],
) -> None:
    """At any time: used + set aside is at most the limit, and what turns took beyond theirs."""
    desk, reserve = Desk(), 100
    budget = desk.budget(limits(TOKENS, reserve=reserve))
    open_, beyond, day = 0, 0, 0

    async def play() -> None:
        nonlocal open_, beyond, day
        for what, number in steps:
            if what == "begin":
                used, reserved = desk.shown().get("tokens/Day", (0, 0))
                room = int(str(used)) + int(str(reserved)) + reserve <= TOKENS.max
                try:
                    await budget.admit_turn(PRICED)
                except Refusal:
                    assert not room
                else:
                    assert room
                    open_ += 1
            elif what == "wait" and number > 350:
                desk.clock += 86_400
                day, beyond = day + 1, 0
            elif open_ and what in ("end", "vanish"):
                open_ -= 1
                if what == "end":
                    budget.used(*usage(Tokens(output_text=number)))
                    beyond += max(0, number - reserve)
                budget.release_turn()
            used, reserved = desk.shown().get("tokens/Day", (0, 0))
            assert int(str(reserved)) == open_ * reserve
            assert int(str(used)) + int(str(reserved)) <= TOKENS.max + beyond

    asyncio.run(play())
