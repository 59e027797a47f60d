"""The Lease: nobody takes it from a holder that renews it, and somebody does from one that is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from controller import election
from controller.election import DEADLINE, DURATION, RETRY, Election

NOON = datetime(2026, 11, 22, 12, 0, 0, 123, UTC)


def test_a_lease_that_nobody_has() -> None:
    one = Election("one")
    assert one.may_take(0.0)
    spec = one.spec(NOON)
    assert spec == {
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-22T12:00:00.000123Z",
        "renewTime": "2026-11-22T12:00:00.000123Z",
        "leaseTransitions": 1,
    }
    assert not one.leads(0.0)
    one.observe(spec, 0.0)
    one.renewed(0.0)
    assert one.leads(0.0)
    assert one.holder == "one"


def test_its_holder_keeps_it_and_when_it_took_it() -> None:
    one = Election("one")
    one.observe(one.spec(NOON), 0.0)
    again = one.spec(NOON + timedelta(seconds=2))
    assert again["acquireTime"] == "2026-11-22T12:00:00.000123Z"
    assert again["renewTime"] == "2026-11-22T12:00:02.000123Z"
    assert again["leaseTransitions"] == 1


def test_another_waits_until_it_has_not_changed_for_its_duration_by_its_own_clock() -> None:
    one, two = Election("one"), Election("two")
    written = one.spec(NOON)
    two.observe(written, 1000.0)
    assert not two.may_take(1000.0 + DURATION - 0.1)
    two.observe(written, 1010.0)  # the same as before: it counts from when it was first seen
    assert two.may_take(1000.0 + DURATION)
    two.observe(one.spec(NOON + timedelta(seconds=14)), 1014.0)
    assert not two.may_take(1014.0 + DURATION - 0.1)
    assert two.spec(NOON)["leaseTransitions"] == 2


def test_a_duration_that_is_not_said_is_the_usual_one() -> None:
    two = Election("two")
    two.observe({"holderIdentity": "one"}, 0.0)
    assert not two.may_take(DURATION - 0.1)
    assert two.may_take(DURATION)


def test_a_leader_that_cannot_renew_stops_before_another_may_begin() -> None:
    one = Election("one")
    one.renewed(0.0)
    assert one.leads(DEADLINE - 0.1)
    assert not one.leads(DEADLINE)
    assert DEADLINE + RETRY < DURATION


def test_a_lease_that_was_released_is_anybodys_at_once() -> None:
    one, two = Election("one"), Election("two")
    one.observe(one.spec(NOON), 0.0)
    one.renewed(0.0)
    released = one.released(NOON)
    one.lost()
    assert not one.leads(0.0)
    two.observe(released, 5.0)
    assert two.may_take(5.0)


def test_times_are_written_in_utc() -> None:
    assert election.micro(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == "2026-01-01T00:00:00.000000Z"


def test_what_is_noted_on_the_lease_is_read_again() -> None:
    written = election.noted(4, {"Policy": 12, "Backend": 7})
    assert written == {"tidegate.dev/epoch": "4", "tidegate.dev/watermark": "Backend=7,Policy=12"}
    assert election.read_annotations(written) == (4, {"Backend": 7, "Policy": 12})


@pytest.mark.parametrize("noted", [{}, {"tidegate.dev/epoch": "x", "tidegate.dev/watermark": "Backend=,=3,x=-1"}])
def test_what_cannot_be_read_was_never_noted(noted: dict[str, object]) -> None:
    assert election.read_annotations(noted) == (0, {})
