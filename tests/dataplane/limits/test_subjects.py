"""Whose use is added up."""

from __future__ import annotations

from typing import Literal, get_args

import pytest

from dataplane.limits.subjects import REST, subject, words
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.table import CallerLimits, Limit

By = Literal["Caller", "Team", "Backend", "Policy"]
BOT = Caller("ai", "ci-bot", "support")


def of(by: By, caller: Caller, backend: str = "ai/voice") -> str:
    limits = CallerLimits(policy="ai/p", counted_by=by, limits=(Limit(kind="sessions", max=1),), reserve=1)
    return subject(limits, caller, backend)


def differ(by: By) -> dict[str, bool]:
    """What tells two callers apart."""
    others = {
        "namespace": Caller("other", "ci-bot", "support"),
        "key": Caller("ai", "another", "support"),
        "team": Caller("ai", "ci-bot", "sales"),
    }
    found = {name: of(by, BOT) != of(by, other) for name, other in others.items()}
    return found | {"backend": of(by, BOT) != of(by, BOT, "ai/chat")}


def test_callers_are_told_apart_by_what_the_policy_says() -> None:
    assert differ("Caller") == {"namespace": True, "key": True, "team": False, "backend": False}
    assert differ("Team") == {"namespace": True, "key": False, "team": True, "backend": False}
    assert differ("Backend") == {"namespace": False, "key": False, "team": False, "backend": True}
    assert not any(differ("Policy").values())


@pytest.mark.parametrize("by", get_args(By))
def test_anonymous_callers_count_together(by: By) -> None:
    assert of(by, ANONYMOUS) == of(by, Caller())


def test_nobody_can_take_a_name_that_stands_for_others() -> None:
    every = {of(by, Caller("", key, key)) for by in get_args(By) for key in ("policy", REST, "", "caller:")}
    assert REST not in every
    assert of("Caller", Caller("ai", "policy")) != of("Policy", BOT)
    assert of("Caller", Caller("ai", "x")) != of("Team", Caller("ai", "x", "x"))


def test_subjects_in_words() -> None:
    assert [words(of(by, BOT)) for by in get_args(By)] == [
        "caller ai/ci-bot",
        "team ai/support",
        "Backend ai/voice",
        "all callers together",
    ]
    assert words(of("Caller", ANONYMOUS)) == "all callers without a key"
    assert words(of("Team", Caller("ai", "ci-bot"))) == "all callers without a team"
    assert words(REST).startswith("all callers for whom there was no room")
    assert len(words(of("Caller", Caller("ai", "x" * 10_000)))) < 300
