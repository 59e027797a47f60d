"""What limits a caller, asked and told as a request and a session do; the clock stands still."""

from __future__ import annotations

import asyncio
import re

import pytest

from dataplane.errors import Refusal
from dataplane.limits.budget import Budget
from dataplane.metering.prices import TIMED as BY_TIME
from dataplane.metering.prices import Cost
from dataplane.metering.usage import ANONYMOUS, Caller, Status, Tokens, Usage
from tests.dataplane.limits.made import (
    DAWN,
    INPUT,
    PRICED,
    REQUESTS,
    SEATS,
    SPEND,
    TIMED,
    TOKENS,
    UNPRICED,
    Desk,
    costing,
    limits,
    table,
    usage,
)


async def refused(asked: object) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await asked  # type: ignore[misc]
    return caught.value


async def test_requests_up_to_the_limit_and_anew_in_the_next_window() -> None:
    desk = Desk()
    budget = desk.budget(limits(REQUESTS))
    for _ in range(10):
        await budget.admit_request()
    desk.clock += 30.5
    refusal = await refused(budget.admit_request())
    assert (refusal.status, refusal.code, refusal.kind.type) == (429, "limit_exceeded", "rate_limit_error")
    assert refusal.headers["Retry-After"] == "30"
    assert refusal.message == (
        "Policy ai/p allows caller ai/ci-bot 10 requests per Minute: 10 requests are used, 0 requests left. "
        "It begins anew at 2026-01-01T00:01:00Z, in 30 s."
    )
    desk.clock = DAWN + 60
    await budget.admit_request()


async def test_nothing_is_suspended() -> None:
    """One that waits for nobody is done at its first step."""
    budget = Desk().budget(limits(REQUESTS, TOKENS, SPEND))
    with pytest.raises(StopIteration):
        budget.admit_turn(PRICED).send(None)


async def test_a_turn_sets_tokens_aside_until_it_is_over() -> None:
    desk = Desk()
    budget = desk.budget(limits(TOKENS, INPUT))
    for _ in range(10):
        await budget.admit_turn(PRICED)
    refusal = await refused(budget.admit_turn(PRICED))
    assert "0 tokens are used, 1000 tokens set aside for turns under way, 0 tokens left" in refusal.message
    assert refusal.headers["Retry-After"] == "1", "a turn may end any moment"
    budget.used(*usage(Tokens(input_text=3, output_audio=4)))
    budget.release_turn()
    assert desk.shown() == {"tokens/Day": (7, 900), "tokens/Day/Input": (3, 900)}
    refusal = await refused(budget.admit_turn(PRICED))
    assert "7 tokens are used, 900 tokens set aside for turns under way, 93 tokens left. This needs 100 tokens." in (
        refusal.message
    )


async def test_a_turn_that_never_began_leaves_nothing_but_a_request() -> None:
    desk = Desk()
    budget = desk.budget(limits(REQUESTS, TOKENS))
    await budget.admit_turn(PRICED)
    budget.release_turn()
    assert desk.shown() == {"requests/Minute": (1, 0), "tokens/Day": (0, 0)}


async def test_what_turns_take_beyond_what_was_set_aside_is_all_that_a_limit_is_passed_by() -> None:
    desk = Desk()
    budget = desk.budget(limits(TOKENS))
    for _ in range(10):
        await budget.admit_turn(PRICED)
    for _ in range(10):
        budget.used(*usage(Tokens(output_text=130)))
        budget.release_turn()
    assert desk.shown() == {"tokens/Day": (1300, 0)}
    refusal = await refused(budget.admit_turn(PRICED))
    assert refusal.headers["Retry-After"] == "86400"
    assert "1300 tokens are used, 0 tokens left" in refusal.message


async def test_seats_are_given_back_once() -> None:
    desk = Desk()
    sessions = [desk.budget(limits(SEATS, REQUESTS)) for _ in range(4)]
    for session in sessions[:3]:
        await session.admit_session()
    refusal = await refused(sessions[3].admit_session())
    assert refusal.message == (
        "Policy ai/p allows caller ai/ci-bot 3 sessions at a time; 3 are open. Try again when one of them has ended."
    )
    assert refusal.headers["Retry-After"] == "5"
    sessions[0].leave()
    sessions[0].leave()
    sessions[3].leave()
    assert desk.shown() == {"sessions": (0, 2), "requests/Minute": (3, 0)}
    await sessions[3].admit_session()


async def test_who_leaves_holds_nothing_any_more() -> None:
    desk = Desk()
    budget = desk.budget(limits(SEATS, TOKENS))
    await budget.admit_session()
    await budget.admit_turn(PRICED)
    await budget.admit_turn(PRICED)
    budget.leave()
    assert desk.shown() == {"sessions": (0, 0), "tokens/Day": (0, 0)}


async def test_everything_or_nothing() -> None:
    desk = Desk()
    small = limits(TOKENS.model_copy(update={"max": 150}), policy="ai/small")
    budget = desk.budget(limits(REQUESTS, TOKENS), small)
    await budget.admit_turn(PRICED)
    refusal = await refused(budget.admit_turn(PRICED))
    assert "Policy ai/small" in refusal.message
    assert [(each["policy"], each["limit"], each["used"], each["reserved"]) for each in desk.listing()] == [
        ("ai/p", "requests/Minute", 1, 0),
        ("ai/p", "tokens/Day", 0, 100),
        ("ai/small", "tokens/Day", 0, 100),
    ]
    assert desk.told[-1] == ("ai/small", "tokens/Day", "refused")


async def test_callers_have_their_own_and_teams_theirs_together() -> None:
    desk = Desk()
    mine, other = Caller("ai", "a", "support"), Caller("ai", "b", "support")
    one = limits(REQUESTS.model_copy(update={"max": 1}))
    for caller in (mine, other, ANONYMOUS):
        await desk.budget(one, caller=caller).admit_request()
    for caller in (mine, other, ANONYMOUS):
        await refused(desk.budget(one, caller=caller).admit_request())
    team = limits(REQUESTS.model_copy(update={"max": 1}), policy="ai/team", counted_by="Team")
    await desk.budget(team, caller=mine).admit_request()
    assert "team ai/support" in (await refused(desk.budget(team, caller=other).admit_request())).message


# -- maxima ----------------------------------------------------------------------------------------------------


async def test_the_newest_maximum_holds_for_who_is_here_already_and_nothing_begins_anew() -> None:
    desk = Desk()
    first = limits(REQUESTS)
    desk.limiter.load(table(first))
    budget = desk.budget(first)
    for _ in range(5):
        await budget.admit_request()
    desk.limiter.load(table(limits(REQUESTS.model_copy(update={"max": 5}))))
    assert "5 requests per Minute: 5 requests are used" in (await refused(budget.admit_request())).message
    desk.limiter.load(table(limits(REQUESTS.model_copy(update={"max": 6}), TOKENS)))
    await budget.admit_request()
    await refused(budget.admit_request())
    desk.limiter.load(table())
    await refused(budget.admit_request())  # the Policy is gone, or not accepted: what held last


async def test_an_edit_that_is_about_other_things_begins_nothing_anew() -> None:
    desk = Desk()
    await desk.budget(limits(REQUESTS)).admit_request()
    for changed in (limits(SEATS, REQUESTS, reserve=7), limits(REQUESTS, end_session=True)):
        await desk.budget(changed).admit_request()
    assert desk.shown()["requests/Minute"] == (3, 0)


# -- what was used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "operation", "counted"),
    [
        ("completed", "chat", 100),
        ("cancelled", "chat", 100),
        ("lost", "realtime_inference", 100),
        ("failed", "chat", 0),
        ("completed", "transcription", 0),
    ],
)
async def test_a_turn_of_which_nobody_knows_what_it_took(status: Status, operation: str, counted: int) -> None:
    """It may be all that was set aside. Who always leaves early is counted, too."""
    desk = Desk()
    budget = desk.budget(limits(TOKENS, SPEND))
    await budget.admit_turn(PRICED)
    budget.used(*usage(None, status, operation))  # type: ignore[arg-type]
    budget.release_turn()
    assert desk.shown() == {"tokens/Day": (counted, 0), "spend/Month": (counted * 1_000_000, 0)}


async def test_money_is_set_aside_at_the_dearest_price_and_counted_at_the_true_one() -> None:
    desk = Desk()
    budget = desk.budget(limits(SPEND))
    await budget.admit_turn(PRICED)
    assert desk.shown() == {"spend/Month": (0, 100_000_000)}
    budget.used(*costing("0.0123", Tokens(output_text=123)))
    budget.release_turn()
    assert desk.shown() == {"spend/Month": (12_300_000, 0)}
    for _ in range(9):
        await budget.admit_turn(PRICED)
    refusal = await refused(budget.admit_turn(PRICED))
    assert "1 USD per Month: 0.0123 USD are used, 0.9 USD set aside for turns under way, 0.0877 USD left. " in (
        refusal.message
    )


async def test_a_kind_of_token_that_turns_out_to_have_no_price_counts_at_the_dearest() -> None:
    desk = Desk()
    budget = desk.budget(limits(SPEND))
    await budget.admit_turn(PRICED)
    budget.used(*usage(Tokens(input_image=50)))
    assert desk.shown() == {"spend/Month": (50_000_000, 100_000_000)}


async def test_a_model_without_a_price_is_refused_and_the_message_says_what_to_write() -> None:
    desk = Desk()
    budget = desk.budget(limits(SPEND, REQUESTS))
    refusal = await refused(budget.admit_turn(UNPRICED))
    assert (refusal.status, refusal.code, refusal.param) == (403, "model_not_priced", "model")
    assert re.search(r"Backend ai/voice.*price: \{inputAudio: .*outputText: .*, outputAudio: ", refusal.message)
    assert desk.told == [("ai/p", "spend/Month", "unpriced")]
    assert not desk.listing(), "and it was no request"


async def test_where_time_is_billed_a_minute_is_set_aside_and_time_is_counted() -> None:
    desk = Desk()
    budget = desk.budget(limits(SPEND, TOKENS))
    await budget.admit_turn(TIMED)
    assert desk.shown() == {"spend/Month": (0, 120_000_000), "tokens/Day": (0, 100)}
    budget.used(*costing("0.06", Tokens(session_seconds=60)))
    budget.used(usage(Tokens(output_text=7))[0], BY_TIME)
    assert desk.shown() == {"spend/Month": (60_000_000, 120_000_000), "tokens/Day": (7, 100)}


async def test_of_what_is_billed_by_time_the_price_of_time_must_be_known() -> None:
    budget = Desk().budget(limits(SPEND))
    refusal = await refused(budget.admit_turn(TIMED._replace(upstream_model="unknown")))
    assert (refusal.code, "in USD per minute: " in refusal.message) == ("model_not_priced", True)
    assert 'price: {sessionMinute: "…"}' in refusal.message


async def test_a_model_without_a_price_costs_nothing_where_that_is_allowed() -> None:
    desk = Desk()
    budget = desk.budget(limits(SPEND, TOKENS, refuse_unpriced=False))
    await budget.admit_turn(UNPRICED)
    budget.used(*usage(Tokens(input_image=50)))
    budget.used(*costing("0.5", Tokens(input_text=1)))  # a price was found after all
    budget.release_turn()
    assert desk.shown() == {"spend/Month": (500_000_000, 0), "tokens/Day": (51, 0)}


async def test_a_turn_that_can_never_begin_is_told_so() -> None:
    refusal = await refused(Desk().budget(limits(SPEND, reserve=10_000)).admit_turn(PRICED))
    assert (refusal.status, refusal.code, refusal.kind.type) == (403, "limit_too_low", "permission_error")
    assert refusal.message == (
        "Policy ai/p allows caller ai/ci-bot 1 USD per Month, and 10 USD are set aside before a turn of this model "
        "begins, so none ever can. Whoever runs the gateway must raise the limit, or lower reserve."
    )
    assert "Retry-After" not in refusal.headers


async def test_of_one_thing_it_is_said_in_the_singular() -> None:
    desk, one = Desk(), {"max": 1}
    budget = desk.budget(limits(REQUESTS.model_copy(update=one)))
    await budget.admit_request()
    message = (await refused(budget.admit_request())).message
    assert "1 request per Minute: 1 request is used, 0 requests left." in message
    seats = [desk.budget(limits(SEATS.model_copy(update=one), policy="ai/q")) for _ in range(2)]
    await seats[0].admit_session()
    assert (await refused(seats[1].admit_session())).message.endswith(
        " 1 session at a time; 1 is open. Try again when it has ended."
    )


# -- what is told ----------------------------------------------------------------------------------------------


async def test_the_fields_say_what_is_allowed_and_left() -> None:
    desk = Desk(clock=DAWN + 10.2)
    budget = desk.budget(limits(REQUESTS, TOKENS), limits(SEATS, SPEND, policy="ai/q"))
    await budget.admit_session()
    await budget.admit_turn(PRICED)
    assert dict(budget.headers()) == {
        "ratelimit-policy": '"ai/p:requests/Minute";q=10;qu="requests";w=60, "ai/p:tokens/Day";q=1000;qu="tokens"'
        ';w=86400, "ai/q:sessions";q=3;qu="sessions", "ai/q:spend/Month";q=1000000;qu="micro-usd";w=2678400',
        "ratelimit": '"ai/p:requests/Minute";r=8;t=50, "ai/p:tokens/Day";r=900;t=86390, "ai/q:sessions";r=2, '
        '"ai/q:spend/Month";r=900000;t=2678390',
    }


async def test_to_ask_what_is_left_counts_nothing() -> None:
    desk = Desk()
    fields = desk.budget(limits(REQUESTS)).headers()
    assert fields[1] == ("ratelimit", '"ai/p:requests/Minute";r=10;t=60')
    assert not desk.listing()


async def test_a_refusal_has_the_fields_too() -> None:
    budget = Desk().budget(limits(REQUESTS.model_copy(update={"max": 1})))
    await budget.admit_request()
    refusal = await refused(budget.admit_request())
    assert refusal.headers["ratelimit"] == '"ai/p:requests/Minute";r=0;t=60'


async def test_who_refused_last_says_whether_the_session_ends() -> None:
    desk = Desk()
    mild = limits(REQUESTS.model_copy(update={"max": 2}))
    strict = limits(TOKENS.model_copy(update={"max": 100}), policy="ai/strict", end_session=True)
    budget = desk.budget(mild, strict)
    await budget.admit_turn(PRICED)
    await refused(budget.admit_turn(PRICED))
    assert budget.ends
    await budget.admit_request()
    await refused(budget.admit_turn(PRICED))
    assert not budget.ends


async def test_a_fleet_without_a_store_counts_alone_or_refuses() -> None:
    desk = Desk()
    await desk.budget(limits(REQUESTS, fleet=True)).admit_request()
    assert desk.shown() == {"requests/Minute": (1, 0)}
    strict = limits(REQUESTS, policy="ai/strict", fleet=True, refuse_without_store=True, end_session=True)
    budget = desk.budget(limits(TOKENS), strict)
    refusal = await refused(budget.admit_turn(PRICED))
    assert (refusal.status, refusal.code, refusal.headers["Retry-After"]) == (503, "limits_unavailable", "2")
    assert desk.shown() == {"requests/Minute": (1, 0), "tokens/Day": (0, 0)}
    assert budget.ends


async def test_who_is_cancelled_while_it_waits_takes_nothing() -> None:
    desk = Desk()
    waiting = asyncio.Event()

    async def forever(*_: object) -> None:
        waiting.set()
        await asyncio.Event().wait()

    desk.limiter.take_together = forever  # type: ignore[assignment, method-assign]
    budget = desk.budget(limits(REQUESTS, TOKENS), limits(REQUESTS, policy="ai/q", fleet=True))
    task = asyncio.create_task(budget.admit_turn(PRICED))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert desk.shown() == {"requests/Minute": (0, 0), "tokens/Day": (0, 0)}


async def test_a_session_is_opened_where_there_is_room_for_a_turn_and_sets_nothing_aside() -> None:
    desk = Desk()
    budget = desk.budget(limits(REQUESTS, TOKENS, SEATS))
    await budget.admit_session(PRICED)
    assert desk.shown() == {"requests/Minute": (1, 0), "tokens/Day": (0, 0), "sessions": (0, 1)}
    budget.used(*usage(Tokens(input_text=901)))
    refusal = await refused(desk.budget(limits(REQUESTS, TOKENS, SEATS)).admit_session(PRICED))
    assert "99 tokens left" in refusal.message
    assert desk.shown()["requests/Minute"] == (1, 0)
    budget.leave()
    assert desk.shown()["sessions"] == (0, 0)


async def test_a_session_without_a_seat_has_asked_for_nothing() -> None:
    desk = Desk()
    part = limits(REQUESTS, TOKENS, SEATS.model_copy(update={"max": 1}))
    await desk.budget(part).admit_session(PRICED)
    await refused(desk.budget(part).admit_session(PRICED))
    assert desk.shown() == {"requests/Minute": (1, 0), "tokens/Day": (0, 0), "sessions": (0, 1)}


async def test_what_never_can_begin_is_not_told_to_wait_for_a_seat() -> None:
    desk = Desk()
    part = limits(SEATS.model_copy(update={"max": 1}), SPEND.model_copy(update={"max": 1}))
    await desk.budget(part).admit_session()
    assert (await refused(desk.budget(part).admit_session(PRICED))).code == "limit_too_low"


async def test_a_session_of_a_model_without_a_price_is_not_opened() -> None:
    refusal = await refused(Desk().budget(limits(SPEND)).admit_session(UNPRICED))
    assert refusal.code == "model_not_priced"


def test_seats_alone_ask_for_no_turns() -> None:
    assert not Desk().budget(limits(SEATS)).limits_turns
    assert Desk().budget(limits(SEATS), limits(REQUESTS)).limits_turns


# -- what cannot be refused ------------------------------------------------------------------------------------


def heard(tokens: int) -> tuple[Usage, Cost]:
    """What a transcription used."""
    return usage(Tokens(input_audio=tokens), operation="transcription")


def transcribed(budget: Budget, tokens: int, *, patient: bool = True) -> Refusal | None:
    """Why the session must end."""
    budget.used(*heard(tokens))
    return budget.overdrawn(*heard(tokens), patient=patient)


@pytest.mark.parametrize(("ends", "patient"), [(True, True), (False, False)])
def test_what_cannot_be_refused_ends_the_session_once_nothing_is_left(*, ends: bool, patient: bool) -> None:
    budget = Desk().budget(limits(TOKENS, REQUESTS, end_session=ends))
    assert transcribed(budget, 999, patient=patient) is None
    refusal = transcribed(budget, 1, patient=patient)
    assert refusal is not None
    assert refusal.code == "limit_exceeded"
    assert refusal.message == (
        "Policy ai/p allows caller ai/ci-bot 1000 tokens per Day: 1000 tokens are used, 0 tokens left. What is said is "
        "transcribed all the same, which cannot be refused, so the session ends. It begins anew at "
        "2026-01-02T00:00:00Z, in 86400 s."
    )


def test_where_turns_are_refused_and_the_session_goes_on_it_may_use_as_much_more_as_a_turn() -> None:
    desk = Desk()
    session, other = desk.budget(limits(TOKENS)), desk.budget(limits(TOKENS))
    assert transcribed(session, 990) is None
    assert transcribed(session, 40) is None
    assert transcribed(session, 60) is None
    assert transcribed(other, 100) is None, "each session by itself"
    assert transcribed(session, 1) is not None
    assert transcribed(other, 1) is not None


def test_what_was_used_beyond_is_forgotten_with_the_window() -> None:
    desk = Desk()
    session = desk.budget(limits(TOKENS))
    assert transcribed(session, 1000) is not None
    session = desk.budget(limits(TOKENS))
    assert transcribed(session, 90) is None
    desk.clock += 86_400
    assert transcribed(session, 990) is None
    assert transcribed(session, 100) is None


async def test_money_is_counted_beyond_in_its_own_terms() -> None:
    desk = Desk()
    session = desk.budget(limits(SPEND))
    await session.admit_session(PRICED)
    session.used(*costing("1", Tokens(input_audio=1)))
    for cost, ends in (("0.09", False), ("0.02", True)):
        told = costing(cost, Tokens(seconds=5.0))
        session.used(*told)
        assert (session.overdrawn(*told, patient=True) is not None) == ends


async def test_a_turn_that_nobody_answers_counts_as_what_was_set_aside() -> None:
    desk = Desk()
    budget = desk.budget(limits(TOKENS))
    await budget.admit_turn(PRICED)
    budget.unanswered()
    budget.release_turn()
    assert desk.shown() == {"tokens/Day": (100, 0)}
