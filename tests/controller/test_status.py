"""Statuses: what is there already is not written, and what others wrote stays."""

from __future__ import annotations

import pytest

from controller import conditions
from controller import status as statuses
from controller.compile import Ancestor, Condition, Status, Target
from controller.kinds import BACKEND, POLICY, Kind
from controller.mirror import Entry, Mirror
from controller.status import Turn, Write
from tests.controller.cluster import thing

OURS = "tidegate.dev/controller"
BEFORE, NOW = "2026-11-22T10:00:00Z", "2026-11-22T12:00:00Z"
READY = Condition("Ready", "True", "Ready", "Ready to serve.")
NOT_READY = Condition("Ready", "False", "NotReady", "Not ready.")
ACCEPTED = Condition("Accepted", "True", "Accepted", "The spec is valid.")
TARGET = Target("Backend", "ai", "voice", "openai")


def entry(kind: Kind, status: object = None) -> Entry:
    mirror = Mirror()
    mirror.see(kind, {**thing(kind, "voice", 7, spec={}), **({} if status is None else {"status": status})})
    found = mirror.get(kind.name, "ai", "voice")
    assert found is not None
    return found


def backend(*conditions: Condition) -> Status:
    return Status("Backend", "ai", "voice", conditions)


def policy(*ancestors: Ancestor) -> Status:
    return Status("Policy", "ai", "voice", (ACCEPTED,), ancestors)


def stored(condition: Condition, generation: int = 1, since: str = BEFORE) -> dict[str, object]:
    return {
        "type": condition.type,
        "status": condition.status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": condition.reason,
        "message": condition.message,
    }


def written(status: Status, before: object = None, kind: Kind = BACKEND, generation: int = 1) -> Write | None:
    return statuses.write(status, entry(kind, before), generation, OURS, NOW)


def test_the_first_status() -> None:
    write = written(backend(READY, ACCEPTED))
    assert write == Write(
        BACKEND,
        "ai",
        "voice",
        "Backend-voice",
        {"conditions": [stored(READY, since=NOW), stored(ACCEPTED, since=NOW)]},
        turn=Turn(READY, first=True),
    )


def test_what_is_there_is_not_written_again() -> None:
    assert written(backend(READY), {"conditions": [stored(READY)]}) is None


def test_a_new_message_is_no_transition_a_new_status_is() -> None:
    write = written(backend(READY, ACCEPTED), {"conditions": [stored(NOT_READY), stored(ACCEPTED)]}, generation=2)
    assert write is not None
    assert write.status == {"conditions": [stored(READY, 2, NOW), stored(ACCEPTED, 2, BEFORE)]}
    assert write.turn == Turn(READY, first=False)
    other = Condition("Ready", "True", "Ready", "Ready to serve, mostly.")
    write = written(backend(other), {"conditions": [stored(READY)]})
    assert write is not None
    assert (write.status, write.turn) == ({"conditions": [stored(other)]}, None)


def test_what_is_said_no_more_goes() -> None:
    write = written(backend(READY), {"conditions": [stored(READY), stored(ACCEPTED)]})
    assert write is not None
    assert write.status == {"conditions": [stored(READY)]}


def test_what_is_newer_stays() -> None:
    """Another replica led meanwhile, and knew a later generation."""
    assert written(backend(READY), {"conditions": [stored(NOT_READY, 3)]}, generation=2) is None


def test_a_status_without_what_is_told() -> None:
    write = written(backend(Condition("Other", "True", "Other", "")))
    assert write is not None
    assert write.turn is None


def test_a_message_fits() -> None:
    write = written(backend(Condition("Ready", "False", "NotReady", "x" * 40_000)))
    assert write is not None
    found = write.status["conditions"]
    assert isinstance(found, list)
    assert len(found[0]["message"]) == conditions.MOST_TEXT


def ours(target: Target = TARGET, condition: Condition = ACCEPTED, since: str = BEFORE) -> dict[str, object]:
    ref = {"group": "tidegate.dev", "kind": target.kind, "namespace": target.namespace, "name": target.name}
    if target.kind != "Backend":
        ref["group"] = "gateway.networking.k8s.io"
    if target.section:
        ref["sectionName"] = target.section
    return {"ancestorRef": ref, "controllerName": OURS, "conditions": [stored(condition, since=since)]}


THEIRS = {"ancestorRef": {"kind": "Gateway", "name": "g"}, "controllerName": "example.com/other", "conditions": []}


def test_ancestors_of_others_stay_and_ours_are_replaced() -> None:
    route = Target("HTTPRoute", "ai", "r")
    before = {"ancestors": [THEIRS, ours(Target("Backend", "ai", "gone")), ours()]}
    status = policy(Ancestor(TARGET, (ACCEPTED,)), Ancestor(route, (ACCEPTED,)))
    write = written(status, before, POLICY)
    assert write is not None
    assert write.status == {"ancestors": [THEIRS, ours(), ours(route, since=NOW)]}
    assert (write.version, write.turn) == ("7", None)
    assert written(status, write.status, POLICY) is None


def test_a_policy_has_at_most_sixteen() -> None:
    status = policy(*(Ancestor(Target("Backend", "ai", f"b{number:02}"), (ACCEPTED,)) for number in range(20)))
    write = written(status, {"ancestors": [THEIRS]}, POLICY)
    assert write is not None
    entries = write.status["ancestors"]
    assert isinstance(entries, list)
    assert len(entries) == 16
    assert entries[0] == THEIRS


def test_of_a_policy_with_nothing_to_say_nothing_is_written() -> None:
    assert written(policy(), None, POLICY) is None
    write = written(policy(), {"ancestors": [ours()]}, POLICY)
    assert write is not None
    assert write.status == {"ancestors": []}


@pytest.mark.parametrize("odd", [[], {"conditions": 1}, {"conditions": [1]}, "x"])
def test_a_status_that_is_nothing_like_one_is_replaced(odd: object) -> None:
    write = written(backend(READY), odd)
    assert write is not None
    assert write.status == {"conditions": [stored(READY, since=NOW)]}


SERVED = Condition("Programmed", "True", "Programmed", "Served by 2 gateways.")
PENDING = Condition("Programmed", "False", "Pending", "Served by 1 of 2 gateways.")


def test_ready_counts_what_gateways_have_confirmed() -> None:
    assert statuses.with_programmed(backend(ACCEPTED, READY), SERVED).conditions == (READY, ACCEPTED, SERVED)
    (ready, *_) = statuses.with_programmed(backend(ACCEPTED, READY), PENDING).conditions
    assert (ready.status, ready.message) == ("False", "Not ready; see the conditions Programmed (Pending).")
    wrong = Condition("Accepted", "False", "Invalid", "")
    (ready, *_) = statuses.with_programmed(backend(wrong, NOT_READY), PENDING).conditions
    assert ready.message == "Not ready; see the conditions Accepted (Invalid), Programmed (Pending)."
    closed = Condition("Ready", "False", "Closed", "Requests are answered 500.")
    assert statuses.with_programmed(backend(ACCEPTED, closed), SERVED).conditions[0] == closed


def test_every_ancestor_says_what_gateways_have_confirmed() -> None:
    status = statuses.with_programmed(policy(Ancestor(TARGET, (ACCEPTED,))), SERVED)
    assert status.ancestors == (Ancestor(TARGET, (ACCEPTED, SERVED)),)
    assert status.conditions == (ACCEPTED, SERVED)


def test_where_nothing_can_be_said_what_was_said_of_this_generation_stays() -> None:
    def left(before: object, kind: Kind = BACKEND) -> Condition:
        return statuses.unconfirmed(entry(kind, before), OURS, 4)

    unsaid = Condition("Programmed", "False", "Pending", "No gateway has confirmed it yet.")
    assert left(None) == unsaid
    assert left({"conditions": [stored(SERVED, 3)]}) == unsaid
    assert left({"conditions": [stored(READY, 4), stored(SERVED, 4)]}) == SERVED
    ancestors = [{**ours(), "conditions": [stored(SERVED, 4)]}, {**ours(), "conditions": [stored(SERVED, 3)]}]
    assert left({"ancestors": ancestors[:1]}, POLICY) == SERVED
    assert left({"ancestors": ancestors}, POLICY) == unsaid
