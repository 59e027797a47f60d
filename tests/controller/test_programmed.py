"""Programmed is true of what every ready gateway has confirmed, and it does not flap."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import programmed
from controller.programmed import Gateway, Programmed, Verdict
from controller.push.channel import Holding, Refused
from dataplane.table.watermark import Watermark

PODS = "kubectl get pods -n tidegate"
NOW = 1000.0
SERVED = Verdict(True, "Programmed", "Served by every ready gateway.")
DP0, DP1, DP2 = (Gateway(f"dp-{number}", f"u{number}", since=0.0) for number in range(3))


def mark(number: int, epoch: int = 1) -> Watermark:
    return Watermark(epoch=epoch, versions={"backends": number * 10, "routes": number * 100})


def holds(number: int) -> Holding:
    return Holding(f"table-{number}", mark(number))


class Cluster:
    """Three gateways that are ready, and a controller that has run for long."""

    def __init__(self, begun: float = 0.0) -> None:
        self.programmed: Programmed[str] = Programmed(PODS, begun)
        self.now = NOW
        self.ready: list[Gateway] = [DP0, DP1, DP2]
        self.holdings: dict[str, Holding] = {}
        self.number = 0

    def publishes(self, **generations: int) -> None:
        self.number += 1
        self.programmed.published(self.number, [f"table-{self.number}"], mark(self.number), generations)

    def all_hold(self, number: int) -> None:
        self.holdings = {each.uid: holds(number) for each in self.ready}

    def says(self) -> dict[str, Verdict]:
        return self.programmed.verdicts(self.ready, self.holdings, self.now)

    def reasons(self) -> dict[str, str]:
        return {name: verdict.reason for name, verdict in self.says().items()}


def test_what_all_gateways_serve_is_programmed() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.all_hold(1)
    assert cluster.says() == {"voice": SERVED}


def test_only_what_is_new_waits() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1, chat=1)
    cluster.all_hold(1)
    cluster.publishes(voice=2, chat=1)
    cluster.holdings[DP0.uid] = holds(2)
    assert cluster.says() == {
        "chat": SERVED,
        "voice": Verdict(False, "Pending", "Served by 1 of 3 gateways; not yet by dp-1, dp-2."),
    }


def test_a_table_that_was_skipped_is_confirmed_by_a_later_one() -> None:
    cluster = Cluster()
    for generation in (1, 2, 3):
        cluster.publishes(voice=generation, chat=generation // 2)
    cluster.all_hold(3)
    assert set(cluster.reasons().values()) == {"Programmed"}


def test_a_change_that_changes_no_table_is_programmed_at_once() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.all_hold(1)
    cluster.programmed.published(2, ["table-1"], mark(2), {"voice": 2})
    assert cluster.reasons() == {"voice": "Programmed"}


def test_a_gateway_of_an_older_schema_counts() -> None:
    cluster = Cluster()
    cluster.ready = [DP0]
    cluster.programmed.published(1, ["new", "old"], mark(1), {"voice": 1})
    cluster.holdings = {DP0.uid: Holding("old", None)}
    assert cluster.says() == {"voice": SERVED}


def test_what_another_replica_made_is_known_by_its_watermark() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.publishes(voice=2)
    cluster.holdings = {each.uid: Holding("of another replica", mark(2)) for each in cluster.ready}
    assert cluster.reasons() == {"voice": "Programmed"}
    behind = Watermark(epoch=1, versions={"backends": 20, "routes": 199})
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.publishes(voice=2)
    for unproven in (behind, mark(9, epoch=2), Watermark(epoch=1, versions={"routes": 900}), None):
        cluster.holdings = {each.uid: Holding("of another replica", unproven) for each in cluster.ready}
        assert cluster.reasons() == {"voice": "Pending"}


def test_a_gateway_that_goes_on_to_the_table_of_a_replica_ahead_does_not_go_back() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.all_hold(1)
    assert cluster.reasons() == {"voice": "Programmed"}
    cluster.holdings[DP1.uid] = Holding("that this replica has not made yet", mark(2))
    assert cluster.reasons() == {"voice": "Programmed"}


def test_gateways_that_refuse_say_why() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1, chat=1)
    cluster.all_hold(1)
    cluster.publishes(voice=2, chat=1)
    refused = Refused("table-2", ("out of memory", "out of luck"))
    cluster.holdings[DP0.uid] = holds(2)
    cluster.holdings[DP1.uid] = holds(1)._replace(refused=refused)
    cluster.holdings[DP2.uid] = holds(1)._replace(refused=refused)
    verdict = cluster.says()["voice"]
    assert verdict == Verdict(
        False,
        "Refused",
        "Refused by dp-1, dp-2, which go on with what they served before: out of memory; out of luck",
    )
    assert cluster.says()["chat"].status
    long = Refused("table-2", ("x" * 1000, "y" * 1000))
    cluster.holdings[DP1.uid] = holds(1)._replace(refused=long)
    assert len(cluster.says()["voice"].message) == 1024


def test_who_is_behind_beside_who_refuses_is_named_too() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.all_hold(1)
    cluster.publishes(voice=2)
    cluster.holdings[DP0.uid] = holds(1)._replace(refused=Refused("table-2", ("out of memory",)))
    before = "Refused by dp-0, which go on with what they served before"
    after = ". Not yet served by dp-1, dp-2 either."
    assert cluster.says()["voice"].message == f"{before}: out of memory{after}"
    cluster.holdings[DP0.uid] = holds(1)._replace(refused=Refused("table-2", ("x" * 2000,)))
    message = cluster.says()["voice"].message
    assert message == f"{before}: {'x' * (1024 - len(before) - 2 - len(after) - 1)}…{after}"
    del cluster.holdings[DP2.uid]
    cluster.now += programmed.GRACE
    message = cluster.says()["voice"].message
    assert message.endswith(f"…{after} No connection to the controller: dp-2; see its log.")
    assert len(message) == 1024


def test_nothing_is_programmed_where_no_gateway_is_ready() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.ready = []
    assert cluster.says() == {
        "voice": Verdict(False, "NoGateways", "No gateway is ready to serve it; see: kubectl get pods -n tidegate")
    }


def test_a_gateway_without_a_connection_is_named() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.holdings = {DP0.uid: holds(1), DP1.uid: Holding()}
    assert cluster.says()["voice"].message == (
        "Served by 1 of 3 gateways; not yet by dp-1, dp-2. No connection to the controller: dp-2; see its log."
    )


def test_a_message_names_only_some_of_many() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.ready = [Gateway(f"dp-{number}", f"u{number}", 0.0) for number in range(9)]
    cluster.holdings = {each.uid: Holding() for each in cluster.ready}
    assert cluster.says()["voice"].message.endswith("not yet by dp-0, dp-1, dp-2, dp-3, dp-4 and 4 more.")


def test_a_roll_out_does_not_flap() -> None:
    """Pods go, others come; a new one is ready before it is connected, or with an old table."""
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.publishes(voice=2)
    cluster.all_hold(2)
    assert cluster.reasons() == {"voice": "Programmed"}
    cluster.ready = [DP1, DP2, new := Gateway("dp-3", "u3", since=NOW)]
    assert cluster.says() == {}, "so that what was said stays"
    cluster.holdings[new.uid] = holds(1)
    cluster.now = NOW + 29
    assert cluster.says() == {}
    cluster.now = NOW + 30
    assert cluster.reasons() == {"voice": "Pending"}
    cluster.holdings[new.uid] = holds(2)
    assert cluster.says() == {"voice": SERVED}


def test_what_a_new_gateway_does_not_serve_is_not_programmed() -> None:
    """It takes calls, be it as new as it may: what all others have confirmed is told when it has, too."""
    cluster = Cluster()
    cluster.publishes(voice=1, chat=1)
    cluster.ready = [DP0, DP1, new := Gateway("dp-3", "u3", since=NOW)]
    cluster.all_hold(1)
    cluster.publishes(voice=2, chat=1)
    cluster.holdings |= {DP0.uid: holds(2), DP1.uid: holds(2)}
    assert cluster.says() == {"chat": SERVED}
    cluster.holdings[new.uid] = holds(2)
    assert cluster.says() == {"chat": SERVED, "voice": SERVED}


def test_the_time_to_catch_up_does_not_depend_on_the_nodes_clocks() -> None:
    """A node's may be an hour ahead: the pod seems to become ready only now, again and again."""
    cluster = Cluster()
    cluster.publishes(voice=1)
    for later, said in ((0, {}), (29, {}), (30, {"voice": "Pending"})):
        cluster.now = NOW + later
        cluster.ready = [Gateway("dp-3", "u3", since=cluster.now)]
        assert cluster.reasons() == said
    cluster.ready = []
    assert cluster.reasons() == {"voice": "NoGateways"}
    cluster.ready = [Gateway("dp-3", "u3", since=cluster.now)]
    assert cluster.reasons() == {}, "it became ready once more"


def test_of_gateways_that_have_all_just_started_nothing_is_said_before_they_had_time() -> None:
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.ready = [Gateway("dp-3", "u3", since=NOW)]
    assert cluster.says() == {}
    cluster.now += 30
    assert cluster.reasons() == {"voice": "Pending"}


def test_a_cut_connection_does_not_flap() -> None:
    """What a gateway held it goes on holding; but of what is new since then there is no word."""
    cluster = Cluster()
    cluster.publishes(voice=1, chat=1)
    cluster.all_hold(1)
    assert cluster.reasons() == {"voice": "Programmed", "chat": "Programmed"}
    del cluster.holdings[DP0.uid]
    cluster.publishes(voice=2, chat=1)
    cluster.holdings[DP1.uid] = cluster.holdings[DP2.uid] = holds(2)
    cluster.now += 29
    assert cluster.reasons() == {"voice": "Pending", "chat": "Programmed"}
    cluster.now += 1
    assert cluster.reasons() == {"voice": "Pending", "chat": "Pending"}


def test_a_controller_that_has_just_started_says_nothing_before_gateways_had_time_to_dial() -> None:
    cluster = Cluster(begun=NOW)
    cluster.publishes(voice=1)
    assert cluster.says() == {}
    cluster.holdings = {DP0.uid: holds(1), DP1.uid: holds(1)}
    assert cluster.says() == {}
    cluster.holdings[DP2.uid] = holds(1)
    assert cluster.reasons() == {"voice": "Programmed"}
    late = Cluster(begun=NOW)
    late.publishes(voice=1)
    late.holdings = {DP0.uid: holds(1), DP1.uid: Holding()}
    assert late.reasons() == {"voice": "Pending"}, "dp-1 is connected and has not got it"
    late.holdings = {DP0.uid: holds(1), DP1.uid: holds(1)}
    late.now += 30
    assert late.reasons() == {"voice": "Pending"}


def test_an_object_that_is_made_anew_is_another() -> None:
    made: Programmed[str] = Programmed(PODS, 0.0)
    made.published(1, ["table-1"], mark(1), {"voice": ("uid-1", 1)})
    assert made.verdicts([DP0], {DP0.uid: holds(1)}, NOW)["voice"].status
    made.published(2, ["table-2"], mark(2), {"voice": ("uid-2", 1)})
    assert not made.verdicts([DP0], {DP0.uid: holds(1)}, NOW)["voice"].status
    made.published(3, ["table-3"], mark(3), {})
    assert made.verdicts([DP0], {DP0.uid: holds(1)}, NOW) == {}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a gateway whose table was forgotten keeps what it had confirmed."""
    monkeypatch.setattr(programmed, "REMEMBERED", 4)
    cluster = Cluster()
    cluster.publishes(voice=1)
    cluster.holdings = {each.uid: Holding("table-1") for each in cluster.ready}
    assert cluster.reasons() == {"voice": "Programmed"}
    for _ in range(20):
        cluster.publishes(voice=1)
    assert cluster.reasons() == {"voice": "Programmed"}
    cluster.holdings = {each.uid: Holding("table-2") for each in cluster.ready}
    assert cluster.reasons() == {"voice": "Pending"}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=30), st.integers(1, 5))
def test_it_is_true_exactly_when_all_hold_it(steps: Iterable[tuple[int, int]], since: int) -> None:
    """Whatever gateways hold in whatever order: with an object that is in table `since` and later."""
    cluster = Cluster()
    for number in range(1, 6):
        cluster.publishes(voice=1 if number < since else 2)
    held = dict.fromkeys(("u0", "u1", "u2"), 0)
    for pod, number in steps:
        held[f"u{pod}"] = number
        cluster.holdings = {uid: holds(number) if number else Holding() for uid, number in held.items()}
        first = since if since > 1 else 1
        assert cluster.says()["voice"].status == (min(held.values()) >= first)
