"""Which of the install's pods are gateways that serve."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from controller import pods
from controller.kinds import POD
from controller.mirror import Mirror
from controller.programmed import Gateway
from tests.controller.cluster import thing

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def condition(status: str, since: str = "2026-11-22T11:59:00Z", type_: str = "Ready") -> dict[str, str]:
    return {"type": type_, "status": status, "lastTransitionTime": since}


def mirror(*found: dict[str, object]) -> Mirror:
    filled = Mirror()
    for each in found:
        filled.see(POD, each)
    return filled


def pod(name: str, *conditions: object, **metadata: object) -> dict[str, object]:
    return thing(POD, name, 1, metadata=metadata, status={"conditions": list(conditions)})


def test_those_that_are_ready_and_stay() -> None:
    found = mirror(
        pod("b", condition("False", type_="PodScheduled"), condition("True")),
        pod("a", condition("True")),
        pod("starting", condition("False")),
        pod("going", condition("True"), deletionTimestamp="2026-11-22T12:00:00Z"),
        thing(POD, "new", 1),
    )
    assert pods.ready(found, NOW, 1000.0) == [Gateway("a", "Pod-a", 940.0), Gateway("b", "Pod-b", 940.0)]


@pytest.mark.parametrize(
    ("since", "counted"), [("2026-11-22T12:00:05Z", 1000.0), ("yesterday", float("-inf")), ("", float("-inf"))]
)
def test_clocks_differ_and_times_may_be_missing(since: str, counted: float) -> None:
    (gateway,) = pods.ready(mirror(pod("a", condition("True", since))), NOW, 1000.0)
    assert gateway.since <= 1000.0
    if counted == 1000.0:
        assert gateway.since == counted
    else:
        assert gateway.since < -1e9


@pytest.mark.parametrize("status", [None, {}, {"conditions": None}, {"conditions": [1]}, "x"])
def test_a_pod_of_which_nothing_is_said_is_not_ready(status: object) -> None:
    assert pods.ready(mirror(thing(POD, "a", 1, status=status)), NOW, 0.0) == []


def test_who_is_one_of_ours() -> None:
    found = mirror(pod("a", condition("False")))
    assert pods.known(found, "ai", "a", "Pod-a")
    assert not pods.known(found, "ai", "a", "another")
    assert not pods.known(found, "ai", "a", "")
    assert not pods.known(found, "elsewhere", "a", "Pod-a")
