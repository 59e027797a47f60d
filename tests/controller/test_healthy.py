"""Healthy is False of a Backend where gateways find no healthy provider and none of them finds one; and it does not
flap."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from controller.compile.statuses import Condition
from controller.healthy import CALM, EVERY, HEALTHY, Healthy
from controller.programmed import GRACE, Gateway
from dataplane.table.messages import Failing, HealthMessage

NOW = 1000.0
DP0, DP1, DP2 = (Gateway(f"dp-{number}", f"u{number}", since=0.0) for number in range(3))
KEY = Failing(reason="credential", why="Provider eu refused the gateway's credential (401). Renew the Secret.")
DOWN = Failing(reason="unreachable", why="us.test:443 cannot be reached: refused.")
VOICE = {"eu": KEY, "us": DOWN}
LISTED = f"eu: {KEY.why[:-1]}; us: {DOWN.why[:-1]}"
MEND = (
    "Mend what is said of one of them. This is True again once one has answered a request, or the time is over for "
    "which it asked to be left alone."
)


def no(backend: str, healthy: tuple[str, ...] | None = (), providers: Mapping[str, Failing] = VOICE) -> HealthMessage:
    return HealthMessage(unhealthy={backend: dict(providers)}, healthy=healthy)


def finds(*backends: str) -> HealthMessage:
    return HealthMessage(healthy=backends)


class Cluster:
    """Three gateways that are ready and say nothing yet, and a controller that has run for long."""

    def __init__(self, begun: float = 0.0) -> None:
        self.healthy = Healthy(begun)
        self.now = NOW
        self.ready: list[Gateway] = [DP0, DP1, DP2]
        self.said: dict[str, HealthMessage] = {}

    def hears(self, **said: HealthMessage) -> None:
        self.said |= said

    def after(self, seconds: float) -> Condition | None:
        """What is said of ai/voice then."""
        self.now += seconds
        self.healthy.look(self.ready, self.said, self.now)
        return self.healthy.condition("ai/voice")

    def soon(self) -> Condition | None:
        return self.after(EVERY)

    def truth(self, seconds: float = EVERY) -> str:
        found = self.after(seconds)
        return found.status if found else ""


def test_what_nobody_was_asked_for_is_healthy() -> None:
    cluster = Cluster()
    assert cluster.soon() == HEALTHY
    cluster.hears(u0=finds(), u1=finds("ai/voice"))
    assert cluster.soon() == HEALTHY


def test_what_one_gateway_finds_unhealthy_and_nobody_healthy_is_not() -> None:
    cluster = Cluster()
    cluster.hears(u0=no("ai/voice"), u1=finds("ai/chat"))
    message = f"1 gateway finds no healthy provider, and none finds one: {LISTED}. {MEND}"
    assert cluster.soon() == Condition("Healthy", "False", "NoHealthyProvider", message)
    assert cluster.healthy.condition("ai/chat") == HEALTHY
    cluster.hears(u2=no("ai/voice"))
    found = cluster.soon()
    assert found
    assert found.message == f"2 gateways find no healthy provider, and none finds one: {LISTED}. {MEND}"


def test_where_gateways_disagree_it_stays_healthy_and_says_who_finds_what() -> None:
    """Perhaps it is their own way to the provider."""
    cluster = Cluster()
    cluster.hears(u0=finds("ai/voice"), u1=no("ai/voice"), u2=finds("ai/voice"))
    message = (
        f"1 of 3 gateways that were asked finds no healthy provider (dp-1), the others do: {LISTED}. If that stays, "
        "look at the network of the gateways that are named."
    )
    assert cluster.soon() == Condition("Healthy", "True", "Healthy", message)
    cluster.hears(u0=no("ai/voice"), u2=finds())
    assert cluster.truth() == "False"


def test_one_that_has_too_many_to_name_finds_all_others_healthy() -> None:
    cluster = Cluster()
    cluster.hears(u0=no("ai/voice"), u1=HealthMessage(healthy=None))
    assert cluster.truth() == "True"
    cluster.hears(u1=no("ai/voice", healthy=None))
    assert cluster.truth() == "False"


def test_a_gateway_that_has_just_come_changes_nothing() -> None:
    cluster = Cluster()
    cluster.hears(u0=no("ai/voice"), u1=no("ai/voice"))
    before = cluster.soon()
    cluster.ready = [*cluster.ready, Gateway("dp-9", "u9", since=NOW)]
    cluster.hears(u9=finds())
    assert cluster.soon() == before


def test_what_a_gateway_said_goes_with_it() -> None:
    cluster = Cluster()
    cluster.hears(u0=no("ai/voice"))
    assert cluster.truth() == "False"
    cluster.ready = [DP1, DP2]
    assert cluster.soon() == HEALTHY
    cluster.ready = [DP0, DP1, DP2]
    assert cluster.truth() == "False", "it is ready again"


def test_the_last_word_of_a_connection_that_is_lost_counts_for_a_while() -> None:
    cluster = Cluster()
    cluster.hears(u0=no("ai/voice"))
    assert cluster.truth() == "False"
    del cluster.said["u0"]
    assert cluster.truth(GRACE - 1) == "False"
    assert cluster.truth() == "True"


def test_what_comes_and_goes_stays_unhealthy() -> None:
    cluster = Cluster()
    cluster.hears(u0=no("ai/voice"))
    before = cluster.soon()
    for _ in range(20):
        cluster.hears(u0=finds("ai/voice"))
        assert cluster.after(CALM - EVERY) == before
        cluster.hears(u0=no("ai/voice"))
        assert cluster.soon() == before
    cluster.hears(u0=finds("ai/voice"))
    assert cluster.truth(CALM - 1) == "False"
    assert cluster.soon() == HEALTHY


def test_other_words_about_the_same_are_no_news() -> None:
    """There are numbers of requests in them, and times."""
    cluster = Cluster()

    def said(reason: str, why: str) -> str:
        cluster.hears(u0=no("ai/voice", providers={"eu": Failing(reason=reason, why=why)}))
        found = cluster.soon()
        assert found
        return found.message

    first = said("credential", "It does not know the key (request 1)")
    assert said("credential", "It does not know the key (request 2)") == first
    assert "gone" in said("unreachable", "gone")
    assert "request 3" in said("credential", "It does not know the key (request 3)")


def test_no_message_depends_on_who_came_first() -> None:
    def message(*order: str) -> str:
        both = {"us": DOWN, "eu": DOWN}
        said = {"u0": no("ai/voice", providers={"eu": KEY}), "u1": no("ai/voice", providers=both)}
        said["u2"] = finds("ai/voice")
        cluster = Cluster()
        cluster.ready = [gateway for uid in order for gateway in (DP0, DP1, DP2) if gateway.uid == uid]
        cluster.hears(**{uid: said[uid] for uid in order})
        found = cluster.soon()
        assert found
        return found.message

    assert message("u0", "u1", "u2") == message("u2", "u1", "u0")
    assert f"(dp-0, dp-1), the others do: {LISTED}. If" in message("u1", "u0", "u2")


def test_a_message_names_only_some_of_many() -> None:
    cluster = Cluster()
    many = {f"p{number:02}": Failing(reason="lost") for number in range(32)}
    cluster.ready = [*(Gateway(f"dp-{number}", f"u{number}", 0.0) for number in range(9))]
    cluster.hears(**{f"u{number}": no("ai/voice", providers=many) for number in range(8)}, u8=finds("ai/voice"))
    found = cluster.soon()
    assert found
    assert "8 of 9 gateways" in found.message
    assert "(dp-0, dp-1, dp-2, dp-3, dp-4 and 3 more)" in found.message
    assert "p00: lost; p01: lost; p02: lost; p03: lost; p04: lost; and 27 more. If" in found.message


@pytest.mark.parametrize("said", [{}, {"u0": no("ai/voice")}])
def test_a_controller_that_has_just_begun_to_listen_says_nothing(said: Mapping[str, HealthMessage]) -> None:
    """Before every gateway has spoken, or had time to: one of another version never will."""
    cluster = Cluster(begun=NOW)
    cluster.hears(**said)
    assert cluster.after(0.0) is None
    assert cluster.after(GRACE - 1) is None
    assert cluster.after(EVERY) is not None
    cluster = Cluster(begun=NOW)
    cluster.ready = []
    assert cluster.after(0.0) is None
    cluster.ready = [DP0]
    cluster.hears(u0=no("ai/voice"))
    assert cluster.truth() == "False"


def test_it_looks_now_and_then() -> None:
    cluster = Cluster()
    assert cluster.after(0.0) == HEALTHY
    cluster.hears(u0=no("ai/voice"))
    assert cluster.after(EVERY / 2) == HEALTHY
    assert cluster.truth(EVERY / 2) == "False"
