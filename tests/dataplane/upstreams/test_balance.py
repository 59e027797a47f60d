"""Who is asked, and in which order: by priority, strategy, weight, room and health."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.faults import Fault
from dataplane.table import Balance, Health, Provider
from dataplane.upstreams.choose import Choice, Providers, nobody
from dataplane.upstreams.health import Standing
from tests.dataplane.upstreams.choosing import backend, provider, well

NOW = 100.0
LEAST, WEIGHTED, DEFAULT = Balance(strategy="LeastActive"), Balance(strategy="Weighted"), Balance()
Rand = Callable[[], float]
CHANCE = random.Random(7).random


def pool(*providers: Provider) -> Providers:
    return well(backend(*providers))


def named(count: int, **fields: object) -> list[Provider]:
    return [provider(f"p{number}", **fields) for number in range(count)]


def choice(providers: Providers, balance: Balance = DEFAULT, rand: Rand = CHANCE, **of: object) -> Choice:
    session, sticky = bool(of.get("session", True)), str(of.get("sticky", ""))
    return Choice(providers.named("m"), balance, rand, session=session, sticky=sticky)


def order(providers: Providers, balance: Balance = DEFAULT, rand: Rand = lambda: 0.0, **of: object) -> list[str]:
    """Everybody who is asked by a request that nobody takes."""
    asked, found = choice(providers, balance, rand, **of), []
    while (member := asked.next(NOW)) is not None:
        found.append(member.provider.name)
    return found


def opened(providers: Providers, count: int, balance: Balance = DEFAULT, rand: Rand = CHANCE) -> None:
    """So many sessions begin, and stay."""
    for _ in range(count):
        member = choice(providers, balance, rand).next(NOW)
        assert member is not None
        member.standing.sessions += 1


def sessions(providers: Providers) -> list[int]:
    return [standing.sessions for standing in providers.standings.values()]


def ejected(standing: Standing, until: float) -> None:
    standing.failed(standing.epoch, Fault("lost", at_once=True), "it was lost", Health(), NOW, 0.5)
    standing.out_until = until


# -- shares ------------------------------------------------------------------------------------------------------------


@given(seed=st.integers())
def test_twenty_sessions_on_two_equal_providers_are_ten_each(seed: int) -> None:
    providers = pool(*named(2))
    opened(providers, 20, rand=random.Random(seed).random)
    assert sessions(providers) == [10, 10]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.integers(1, 200), st.integers())
def test_least_active_shares_by_weight_to_one_session(weights: list[int], count: int, seed: int) -> None:
    """Nobody lacks a whole session of its share."""
    providers = pool(*(provider(f"p{number}", weight=weight) for number, weight in enumerate(weights)))
    opened(providers, count, rand=random.Random(seed).random)
    shares = [count * weight / sum(weights) for weight in weights]
    assert all(have > share - 1 for have, share in zip(sessions(providers), shares, strict=True))


def test_least_active_sends_what_comes_to_who_has_lost_its_sessions() -> None:
    providers = pool(*named(2))
    opened(providers, 20)
    providers.standings["p0"].sessions = 0
    opened(providers, 10)
    assert sessions(providers) == [10, 10]


def test_ties_are_broken_by_chance() -> None:
    firsts = Counter(order(pool(*named(4)), rand=lambda at=step / 100: at)[0] for step in range(100))  # type: ignore[misc]
    assert firsts == {"p0": 25, "p1": 25, "p2": 25, "p3": 25}


@pytest.mark.parametrize("balance", [WEIGHTED, DEFAULT])
def test_requests_are_shared_by_weight(balance: Balance) -> None:
    providers = pool(provider("a", weight=90), provider("b", weight=10))
    found = Counter(
        order(providers, balance, rand=lambda at=step / 1000: at, session=False)[0]  # type: ignore[misc]
        for step in range(1000)
    )
    assert found == {"a": 900, "b": 100}


def test_sessions_are_counted_with_sessions_and_requests_with_requests() -> None:
    providers = pool(*named(2))
    providers.standings["p0"].sessions = 5
    providers.standings["p1"].requests = 5
    assert order(providers, LEAST)[0] == "p1"
    assert order(providers, LEAST, session=False)[0] == "p0"


# -- order -------------------------------------------------------------------------------------------------------------


def test_everybody_is_asked_once_by_priority() -> None:
    providers = pool(provider("last", priority=15), *named(2), provider("second", priority=3))
    assert order(providers) == ["p0", "p1", "second", "last"]


def test_who_is_full_is_not_asked_for_a_session() -> None:
    providers = pool(provider("a", max_sessions=2), provider("b", priority=1, max_sessions=1))
    opened(providers, 3)
    assert sessions(providers) == [2, 1]
    assert order(providers) == []
    refusal = nobody(providers.backend, providers.any(), NOW)
    assert (refusal.code, refusal.status, refusal.headers["Retry-After"]) == ("backend_overloaded", 503, "5")
    assert order(providers, session=False) == ["a", "b"]


def test_who_is_ejected_is_asked_when_nobody_else_is_left() -> None:
    """The one that comes back first is the first."""
    providers = pool(*named(3), provider("spare", priority=1))
    ejected(providers.standings["p0"], NOW + 9)
    ejected(providers.standings["p1"], NOW + 5)
    assert order(providers) == ["p2", "spare", "p1", "p0"]


def test_who_is_back_from_an_ejection_is_tried_by_one_at_a_time() -> None:
    providers = pool(*named(2))
    back = providers.standings["p0"]
    ejected(back, NOW - 1)
    assert order(providers) == ["p0", "p1"]
    assert back.begin(NOW)
    assert not back.begin(NOW)
    assert order(providers) == ["p1", "p0"]


def test_who_rests_is_not_asked_whoever_else_there_is() -> None:
    providers = pool(*named(2))
    for standing, seconds in zip(providers.standings.values(), (30.2, 7.5), strict=True):
        standing.rest("m", Fault("rate_limited", counts=False, rest=seconds), "429", NOW)
    assert order(providers) == []
    refusal = nobody(providers.backend, providers.named("m"), NOW)
    assert (refusal.code, refusal.status, refusal.headers["Retry-After"]) == ("upstream_rate_limited", 429, "8")
    other = Choice(providers.named("n"), LEAST, lambda: 0.0, session=True).next(NOW)
    assert other is not None
    assert other.provider.name == "p0"


def test_who_is_full_may_have_room_at_once_however_long_the_others_rest() -> None:
    providers = pool(provider("a", max_sessions=1), provider("b"))
    providers.standings["b"].rest("m", Fault("rate_limited", counts=False, rest=600.0), "429", NOW)
    providers.standings["a"].sessions = 1
    assert order(providers) == []
    refusal = nobody(providers.backend, providers.named("m"), NOW)
    assert (refusal.code, refusal.headers["Retry-After"]) == ("backend_overloaded", "5")


def test_where_all_are_out_of_order_the_client_is_told_so() -> None:
    providers = pool(*named(2))
    for standing in providers.standings.values():
        standing.rest("", Fault("unavailable", counts=False, rest=9.5, whole=True), "503", NOW)
    refusal = nobody(providers.backend, providers.named("m"), NOW)
    assert (refusal.code, refusal.status, refusal.headers["Retry-After"]) == ("upstream_unavailable", 503, "10")


def test_who_did_not_say_how_long_it_has_no_room_is_asked_last() -> None:
    providers = pool(*named(2))
    providers.standings["p0"].rest("m", Fault("rate_limited", rest=1.0), "429", NOW)
    assert order(providers) == ["p1", "p0"]


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=8),
    st.booleans(),
    st.sampled_from([LEAST, WEIGHTED]),
    st.sampled_from(["", "somebody"]),
    st.integers(),
)
def test_nobody_is_left_out_who_could_take_it(
    of: Sequence[tuple[bool, bool, int, int]], session: bool, balance: Balance, sticky: str, seed: int
) -> None:
    """Each provider comes once; the healthy before the ejected, among these the lower priority first."""
    providers = pool(
        *(provider(f"p{i}", priority=priority, max_sessions=2) for i, (_, _, priority, _) in enumerate(of))
    )
    for standing, (out, rests, _, busy) in zip(providers.standings.values(), of, strict=True):
        standing.sessions = busy
        if out:
            ejected(standing, NOW + 5)
        if rests:
            standing.rest("", Fault("unavailable", counts=False, rest=5.0, whole=True), "503", NOW)
    alone = len(of) == 1
    taken = [(out, priority) for out, rests, priority, busy in of if (alone or not rests) and (busy < 2 or not session)]
    names = order(providers, balance, random.Random(seed).random, session=session, sticky=sticky)
    found = [of[int(name[1:])] for name in names]
    assert len(set(names)) == len(names)
    assert [(out, priority) for out, _, priority, _ in found] == sorted(taken)


# -- what sticks -------------------------------------------------------------------------------------------------------

KEYS = [f"caller-{number}" for number in range(400)]


def stuck(providers: Providers) -> dict[str, str]:
    return {key: order(providers, Balance(sticky="caller"), sticky=key)[0] for key in KEYS}


def test_what_sticks_moves_only_where_its_provider_leaves() -> None:
    everybody = stuck(pool(*named(5)))
    assert set(everybody.values()) == {f"p{number}" for number in range(5)}
    without = stuck(pool(*named(4)))
    assert {key for key in KEYS if without[key] != everybody[key]} == {k for k in KEYS if everybody[k] == "p4"}
    providers = pool(*named(5))
    ejected(providers.standings["p4"], NOW + 5)
    assert stuck(providers) == without


def test_what_sticks_is_shared_by_weight() -> None:
    heavy = Counter(stuck(pool(provider("a", weight=9), provider("b", weight=1))).values())
    assert 330 < heavy["a"] < 390


def test_what_sticks_is_the_same_in_every_process() -> None:
    """Replicas of two versions agree on these."""
    found = "".join(stuck(pool(*named(5)))[key][1:] for key in KEYS[:24])
    assert found == "131401112201104132304441"
