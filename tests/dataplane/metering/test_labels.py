"""Room for label sets: bounded, and nobody's callers take that of others."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.metering.instruments import ROUTE, TURN
from dataplane.metering.labels import CALLER, LABEL_SETS, LONGEST_LABEL, OTHER, OVERFLOW, Labels, Room

WHO = (*ROUTE, *CALLER)


def counted(labels: Iterable[Labels], names: tuple[str, ...] = WHO) -> tuple[list[Labels], set[Labels]]:
    """As what each is counted, one after the other, and all that there are then."""
    room, known, found = Room(names), set[Labels](), []
    for each in labels:
        found.append(room.admitted(each, known))
        known.add(found[-1])
    return found, known


def of(tenant: str, team: str = "", key: str = "") -> Labels:
    return (f"{tenant}/front#0", f"{tenant}/voice", team, key)


def tokens(tenant: str, many: int = 5000) -> list[Labels]:
    """Of an issuer that makes a name up for everybody."""
    return [of(tenant, "staff", f"sub-{number}") for number in range(many)]


def teams(tenant: str, many: int = 5000) -> list[Labels]:
    return [of(tenant, f"team-{number}") for number in range(many)]


def named(known: Iterable[Labels], tenant: str = "") -> list[Labels]:
    return [
        each
        for each in known
        if each is not OVERFLOW
        and each[1].startswith(tenant)
        and (each[2] not in ("", OTHER) or each[3] not in ("", OTHER))
    ]


def test_few_are_counted_as_they_are() -> None:
    labels = [of("ai"), of("ai", "support"), of("ai", "support", "ci-bot"), of("ai", "", "ci-bot"), of("b", "support")]
    assert counted(labels)[0] == labels
    assert counted(labels * 3)[0] == labels * 3


def test_keys_that_find_no_room_are_counted_by_their_team() -> None:
    found, known = counted(tokens("ai"))
    assert found[-1] == of("ai", "staff", OTHER)
    assert len(known) == LABEL_SETS // 3 + 1, "as many keys as half of what is free then, and their team"
    assert of("ai", "staff", OTHER) in known


def test_teams_that_find_no_room_are_counted_together() -> None:
    found, known = counted(teams("ai"))
    assert found[-1] == of("ai", OTHER)
    assert len(named(known)) == LABEL_SETS // 2


def test_too_many_keys_of_a_tenant_leave_room_for_its_teams() -> None:
    _, known = counted([*tokens("ai"), *teams("ai", 100)])
    assert len([each for each in named(known) if each[2].startswith("team-")]) == 100


@pytest.mark.parametrize("flood", [tokens("a"), teams("a"), [*tokens("a"), *teams("a")]])
def test_one_tenant_leaves_room_for_others(flood: list[Labels]) -> None:
    others = [*teams("b", 100), *(of("c", "support", f"key-{n}") for n in range(50))]
    assert counted([*flood, *others])[0][len(flood) :] == others


@pytest.mark.parametrize("flood", [tokens, teams])
def test_however_many_have_come_there_is_some_for_the_next(flood: object) -> None:
    assert callable(flood)
    tenants = [f"tenant-{number}" for number in range(6)]
    _, known = counted(each for tenant in tenants for each in flood(tenant))
    shares = [len(named(known, tenant)) for tenant in tenants]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0
    assert sum(shares) <= LABEL_SETS


def test_names_take_nothing_from_sets_without() -> None:
    routes = [(f"r{number}", "z/voice", "", "") for number in range(LABEL_SETS - 10)]
    flood = [each for n in range(9) for each in tokens(f"t{n}", 1500)]
    found, _ = counted([*flood, *routes])
    assert found[len(flood) :] == routes


def test_sets_without_names_are_bounded_and_the_rest_is_one() -> None:
    found, known = counted((f"r{number}", "ai/voice", "", "") for number in range(LABEL_SETS + 5))
    assert (found[-5:], len(known)) == ([OVERFLOW] * 5, LABEL_SETS + 1)
    assert counted(((f"r{number}", "b") for number in range(LABEL_SETS + 5)), ROUTE)[0][-1] == OVERFLOW


def test_a_metric_without_callers_knows_none() -> None:
    assert counted([("a", "b"), ()], ROUTE)[0] == [("a", "b"), ()]
    assert counted([("x",)], ())[0] == [("x",)]


def test_what_is_cleaned_is_the_same_set() -> None:
    found, known = counted([("r\ud800", "b", "", ""), ("r\ud801", "b", "", ""), ("r" * 4000, "b", "", "")])
    assert found[0] == found[1] == ("r?", "b", "", "")
    assert len(found[2][0]) == LONGEST_LABEL
    assert len(known) == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 400), st.integers(0, 400)), max_size=3000))
def test_whatever_comes_it_is_bounded_and_stays_what_it_was(callers: list[tuple[str, int, int]]) -> None:
    labels = [("op", "openai", "m", "m", "r", f"{tenant}/v", f"t{team}", f"k{key}") for tenant, team, key in callers]
    first, known = counted(labels, TURN)
    room = Room(TURN)
    kept: set[Labels] = set()
    for each in labels:
        kept.add(room.admitted(each, kept))
    assert [room.admitted(each, kept) for each in labels] == first, "nobody moves"
    assert len(known) <= 2 * LABEL_SETS + 1
    for each, found in zip(labels, first, strict=True):
        assert found[:6] == each[:6], "only names of callers are left out"
