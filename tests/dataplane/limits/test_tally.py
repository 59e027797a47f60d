"""Windows end while things are under way, and clocks are set back: what is counted where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import Refusal
from dataplane.limits.tally import Count
from dataplane.limits.windows import window
from dataplane.metering.usage import Tokens
from dataplane.table import Limit, Per
from tests.dataplane.limits.made import DAWN, PRICED, REQUESTS, Desk, limits, usage

ENDS = {"Second": 1.0, "Minute": 60.0, "Hour": 3600.0, "Day": 86_400.0, "Month": 31 * 86_400.0}
"""When the first window of each kind is over, which began at dawn."""


def tokens(per: Per) -> Limit:
    return Limit(kind="tokens", max=250, per=per)


@pytest.mark.parametrize("per", get_args(Per))
async def test_a_turn_counts_in_the_window_in_which_its_usage_becomes_known(per: Per) -> None:
    desk = Desk()
    turn, other = desk.budget(limits(tokens(per))), desk.budget(limits(tokens(per)))
    desk.clock = DAWN + ENDS[per] - 0.001
    await turn.admit_turn(PRICED)
    assert desk.shown() == {f"tokens/{per}": (0, 100)}
    desk.clock = DAWN + ENDS[per]
    assert desk.shown() == {f"tokens/{per}": (0, 100)}, "it is under way, whichever window it began in"
    await other.admit_turn(PRICED)
    with pytest.raises(Refusal):
        await other.admit_turn(PRICED)
    turn.used(*usage(Tokens(input_text=160)))
    turn.release_turn()
    assert desk.shown() == {f"tokens/{per}": (160, 100)}
    other.release_turn()
    desk.clock = window(per, desk.clock).end
    assert desk.shown() == {f"tokens/{per}": (0, 0)}


@pytest.mark.parametrize("per", get_args(Per))
async def test_who_was_refused_is_let_in_when_the_next_window_begins_and_not_before(per: Per) -> None:
    desk = Desk()
    budget = desk.budget(limits(tokens(per)))
    await budget.admit_turn(PRICED)
    budget.used(*usage(Tokens(input_text=200)))
    budget.release_turn()
    desk.clock = DAWN + ENDS[per] - 0.001
    with pytest.raises(Refusal) as refused:
        await budget.admit_turn(PRICED)
    assert refused.value.headers["Retry-After"] == "1"
    fields = dict(budget.headers())
    assert fields["ratelimit"].endswith(";t=1")
    desk.clock = DAWN + ENDS[per]
    await budget.admit_turn(PRICED)
    assert dict(budget.headers())["ratelimit"].startswith(f'"ai/p:tokens/{per}";r=150;')


async def test_what_is_given_back_after_the_end_takes_nothing_from_the_next_window() -> None:
    desk = Desk()
    budget = desk.budget(limits(REQUESTS))
    await budget.admit_turn(PRICED)
    (taken,) = budget._turns.popleft()
    desk.clock = DAWN + 60
    await desk.budget(limits(REQUESTS)).admit_request()
    taken.undo()
    assert desk.shown() == {"requests/Minute": (1, 0)}


# -- clocks that are set back


@pytest.mark.parametrize("per", get_args(Per))
async def test_a_clock_that_is_set_back_by_a_little_gives_nothing_anew(per: Per) -> None:
    desk = Desk(clock=DAWN + 0.1)
    budget = desk.budget(limits(Limit(kind="requests", max=1, per=per)))
    await budget.admit_request()
    for clock in (DAWN - 0.1, DAWN + 0.5, DAWN - 0.2):
        desk.clock = clock
        with pytest.raises(Refusal) as refused:
            await budget.admit_request()
        assert 1 <= int(refused.value.headers["Retry-After"]) <= ENDS[per] + 1
    desk.clock = DAWN + ENDS[per]
    await budget.admit_request()


@pytest.mark.parametrize("per", ["Second", "Minute", "Hour"])
async def test_a_clock_that_is_set_back_by_much_shuts_nobody_out_until_it_has_caught_up(per: Per) -> None:
    desk = Desk(clock=DAWN)
    budget = desk.budget(limits(Limit(kind="requests", max=1, per=per)))
    await budget.admit_request()
    desk.clock = DAWN - 86_400.0
    with pytest.raises(Refusal) as refused:
        await budget.admit_request()
    assert int(refused.value.headers["Retry-After"]) == ENDS[per], "what was used counts in the window that it is now"
    desk.clock += ENDS[per]
    await budget.admit_request()


async def test_what_was_counted_by_a_clock_of_the_future_is_forgotten_in_time() -> None:
    desk = Desk(clock=DAWN + 4 * 365 * 86_400)
    await desk.budget(limits(REQUESTS)).admit_request()
    desk.clock = DAWN
    desk.limiter._forget()
    assert desk.shown() == {"requests/Minute": (1, 0)}
    desk.clock = DAWN + 60
    desk.limiter._forget()
    desk.limiter._forget()
    assert desk.listing() == []


@given(
    st.sampled_from(get_args(Per)),
    st.lists(st.floats(-40 * 86_400, 40 * 86_400), min_size=1, max_size=20),
    st.integers(1, 100),
)
def test_wherever_the_clock_goes_a_window_holds_now_or_began_a_window_ago(
    per: Per, steps: list[float], used: int
) -> None:
    now = DAWN
    count = Count(per, now)
    for step in steps:
        count.used += used
        before = count.used
        now += step
        start, end = count.at(now).window
        assert start - (end - start) <= now < end
        assert (start, end) == window(per, start), datetime.fromtimestamp(start, UTC)
        assert count.used in (before, 0)
