"""When a provider is left out, and when it is back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.faults import CREDENTIAL, FORBIDDEN, LOST, RATE_LIMITED, Fault
from dataplane.table import Health
from dataplane.upstreams.health import Rest, Standing

HEALTH = Health(eject_after=3, eject_for=5.0, eject_for_most=60.0)
FULL = Fault("rate_limited", counts=False, rest=20.0)
AWAY = Fault("unavailable", counts=False, rest=20.0, whole=True)


def fails(standing: Standing, now: float = 0.0, fault: Fault = LOST, chance: float = 0.5) -> float:
    """A request begins, and fails."""
    standing.begin(now)
    out = standing.failed(standing.epoch, fault, "it broke off", HEALTH, now, chance)
    standing.trying = False
    return out


def test_it_is_ejected_after_so_many_failures_in_a_row() -> None:
    standing = Standing()
    assert [fails(standing), fails(standing)] == [0.0, 0.0]
    standing.succeeded(standing.epoch)
    assert [fails(standing) for _ in range(3)] == [0.0, 0.0, 5.0]
    assert standing.out(4.9)
    assert not standing.out(5.0)


def test_one_that_refuses_our_credential_is_ejected_at_once() -> None:
    assert fails(Standing(), fault=CREDENTIAL) == 5.0


def test_each_time_is_twice_as_long_up_to_a_bound() -> None:
    standing, now, found = Standing(), 0.0, []
    for _ in range(3):
        fails(standing)
    for _ in range(6):
        now = standing.out_until
        found.append(fails(standing, now))
    assert found == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


@given(st.floats(0, 1, exclude_max=True))
def test_it_is_a_tenth_shorter_or_longer(chance: float) -> None:
    assert 4.5 <= fails(Standing(), fault=CREDENTIAL, chance=chance) <= 5.5


def test_a_success_after_it_brings_it_back_and_the_next_time_is_the_first() -> None:
    standing = Standing()
    fails(standing, fault=CREDENTIAL)
    fails(standing, now=5.0)
    assert standing.begin(now=15.0)
    assert standing.succeeded(standing.epoch)
    assert (standing.out_until, standing.why, standing.failures) == (0.0, "", 0)
    assert [fails(standing, 20.0) for _ in range(3)] == [0.0, 0.0, 5.0]


def test_what_began_before_an_ejection_says_nothing_after_it() -> None:
    standing = Standing()
    epochs = [standing.epoch] * 100
    out = [standing.failed(epoch, LOST, "it broke off", HEALTH, 0.0, 0.5) for epoch in epochs]
    assert out == [0.0, 0.0, 5.0, *[0.0] * 97]
    assert not standing.succeeded(epochs[0])
    assert standing.out_until == 5.0


def test_who_is_asked_while_ejected_changes_nothing_by_failing_and_all_by_success() -> None:
    standing = Standing()
    fails(standing, fault=CREDENTIAL)
    assert fails(standing, now=1.0, fault=CREDENTIAL) == 0.0
    assert standing.out_until == 5.0
    assert standing.succeeded(standing.epoch)
    assert not standing.out(1.0)


def test_it_rests_as_long_as_it_said_for_the_model_that_it_said_it_of() -> None:
    standing = Standing()
    assert standing.rest("gpt", FULL, "429", now=100.0)
    assert not standing.rest("gpt", Fault("rate_limited", counts=False, rest=5.0), "429", now=101.0)
    assert standing.resting("gpt", 119.9) == 120.0
    assert not standing.resting("gpt", 120.0)
    assert not standing.resting("other", 101.0)
    assert standing.failures == 0


def test_a_rest_of_all_models_holds_for_each() -> None:
    standing = Standing()
    standing.rest("gpt", AWAY, "503", now=0.0)
    assert standing.resting("gpt", 1.0) == standing.resting("", 1.0) == 20.0


def test_what_names_no_model_says_nothing_of_any() -> None:
    standing = Standing()
    standing.rest("", FULL, "429", now=0.0)
    assert standing.resting("", 1.0) == 20.0
    assert not standing.resting("gpt", 1.0)


def test_what_a_credential_may_not_do_keeps_it_from_nothing_else() -> None:
    """However many models somebody thinks of."""
    standing = Standing()
    for number in range(1000):
        standing.rest(f"m{number}", FORBIDDEN, "403", now=0.0)
    assert standing.resting("m1", 1.0)
    assert not standing.resting("m1", 1.0, asked=True), "if nobody else is left, it is asked"
    assert not standing.resting("gpt", 1.0)


def test_a_rest_that_it_asked_for_is_told_from_one_that_it_did_not() -> None:
    standing = Standing()
    standing.rest("gpt", RATE_LIMITED, "429", now=0.0)
    assert standing.resting("gpt", 0.5) == 1.0
    assert not standing.resting("gpt", 0.5, asked=True)


def test_names_of_models_do_not_fill_the_memory() -> None:
    standing = Standing()
    for number in range(10_000):
        standing.rest(f"model-{number}", FULL, "429", now=0.0)
    assert len(standing.rests) <= 65
    assert standing.resting("model-9999", 1.0)
    standing.rest("later", FULL, "429", now=100.0)
    assert standing.rests == {"later": Rest(120.0, asked=True, full=True, seconds=20.0)}


def test_another_address_or_credential_begins_anew() -> None:
    standing = Standing("ai/voice", "a", ("https://a.test", "key@1"), sessions=3)
    fails(standing, fault=CREDENTIAL)
    standing.rest("gpt", FULL, "429", now=0.0)
    assert not standing.moved(("https://a.test", "key@1"))
    assert standing.out(1.0)
    assert standing.moved(("https://a.test", "key@2"))
    assert (standing.shown(1.0)["state"], standing.sessions) == ("healthy", 3)


@pytest.mark.parametrize(
    ("now", "shown"),
    [
        (2.0, {"state": "ejected", "why": "it broke off", "back_in_seconds": 3.0,
               "rests_for_seconds": {"gpt": 6.0, "every model": 18.0}}),
        (7.0, {"state": "on trial", "why": "it broke off", "rests_for_seconds": {"gpt": 1.0, "every model": 13.0}}),
    ],
)  # fmt: skip
def test_what_is_shown_of_it(now: float, shown: dict[str, object]) -> None:
    standing = Standing(sessions=1, requests=2)
    fails(standing, fault=CREDENTIAL)
    standing.rest("gpt", Fault("rate_limited", counts=False, rest=8.0), "429", now=0.0)
    standing.rest("gpt", AWAY, "503", now=0.0)
    assert standing.shown(now) == {"sessions": 1, "requests": 2, **shown}


def test_what_is_shown_of_one_that_rests() -> None:
    standing = Standing()
    assert standing.shown(0.0) == {"state": "healthy", "sessions": 0, "requests": 0}
    standing.rest("gpt", FULL, "it answered 429", now=0.0)
    assert standing.shown(1.0) == {"state": "resting", "why": "it answered 429", "rests_for_seconds": {"gpt": 19.0},
                                   "sessions": 0, "requests": 0}  # fmt: skip
