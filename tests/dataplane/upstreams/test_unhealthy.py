"""Which Backends are said to have no healthy provider, and until when."""

from __future__ import annotations

import pytest

from dataplane.faults import CREDENTIAL, LOST, RATE_LIMITED, Fault
from dataplane.slices import SLICE, at_once
from dataplane.table import Health, Model, Target
from dataplane.upstreams.choose import Providers
from dataplane.upstreams.unhealthy import LONG, Report, reported
from tests.dataplane.upstreams.choosing import backend, model, provider, well

NOW = 100.0
HEALTH = Health(eject_after=1, eject_for=5.0, eject_for_most=60.0)
FULL = Fault("rate_limited", counts=False, rest=20.0)
AWAY = Fault("unavailable", counts=False, rest=20.0, whole=True)
ONE = well(backend(provider("a")))
CHAT = (model("chat", Target(provider="a", model="gpt"), Target(provider="b", model="gpt")),)


def of(*names: str, models: tuple[Model, ...] = ()) -> Providers:
    return well(backend(*(provider(name) for name in names), models=models))


def fails(providers: Providers, name: str, fault: Fault = LOST, now: float = NOW, model: str = "gpt") -> None:
    standing = providers.standings[name]
    if fault.rest:
        standing.rest("" if fault.whole else model, fault, f"{name} is away", now)
    if fault.counts:
        standing.failed(standing.epoch, fault, f"{name} broke off", HEALTH, now, 0.5)


def works(providers: Providers, name: str) -> None:
    standing = providers.standings[name]
    standing.succeeded(standing.epoch)


def told(*asked: Providers, now: float = NOW) -> Report:
    return at_once(reported(asked, now))


def unhealthy(providers: Providers, now: float = NOW) -> list[str]:
    """Providers of the Backend, where none is healthy."""
    return [name for found in told(providers, now=now).unhealthy.values() for name in found]


def test_of_what_was_never_asked_nothing_is_said() -> None:
    assert told(ONE) == Report({}, [])


def test_what_works_is_healthy_for_sure() -> None:
    providers = of("a", "b")
    works(providers, "b")
    assert told(providers) == Report({}, ["ai/voice"])
    fails(providers, "b")
    assert told(providers) == Report({}, []), "of a nobody knows"


def test_one_that_is_left_is_enough() -> None:
    providers = of("a", "b")
    fails(providers, "a")
    assert unhealthy(providers) == []
    fails(providers, "b", CREDENTIAL)
    assert unhealthy(providers) == ["a", "b"]
    found = told(providers).unhealthy["ai/voice"]
    assert [(each.reason, each.why) for each in found.values()] == [
        ("lost", "a broke off"),
        ("credential", "b broke off"),
    ]


def test_that_an_ejection_has_run_out_says_nothing_a_success_does() -> None:
    providers = of("a")
    fails(providers, "a")
    assert unhealthy(providers, NOW + 1000) == ["a"]
    providers.standings["a"].begin(NOW + 1000)
    assert unhealthy(providers, NOW + 1000) == ["a"]
    works(providers, "a")
    assert told(providers) == Report({}, ["ai/voice"])


def test_another_address_or_key_begins_anew() -> None:
    providers = of("a")
    fails(providers, "a")
    providers.standings["a"].moved(("https://other.test", "key@2"))
    assert told(providers) == Report({}, [])


def test_one_that_has_asked_to_be_left_alone_is_until_the_time_is_over() -> None:
    providers = of("a", "b")
    fails(providers, "a")
    fails(providers, "b", AWAY)
    assert unhealthy(providers) == ["a", "b"]
    assert unhealthy(providers, NOW + 20) == []


@pytest.mark.parametrize("fault", [AWAY._replace(rest=LONG - 1), RATE_LIMITED._replace(rest=LONG)])
def test_what_is_short_or_was_not_asked_for_is_left_out(fault: Fault) -> None:
    providers = of("a", "b")
    for name in ("a", "b"):
        providers.standings[name].rest("", fault, "away", NOW)
    assert unhealthy(providers) == []


def test_limits_are_by_model() -> None:
    """Where the Backend declares them: else there may be others, and only whoever rests for all is away."""
    providers = of("a", "b", models=CHAT)
    fails(providers, "a", FULL)
    assert unhealthy(providers) == []
    fails(providers, "b", FULL)
    assert unhealthy(providers) == ["a", "b"]
    others = (*CHAT, model("voice", Target(provider="b", model="gpt-realtime")))
    assert unhealthy(Providers(backend(provider("a"), provider("b"), models=others), providers.standings)) == []
    assert unhealthy(Providers(backend(provider("a"), provider("b")), providers.standings)) == []


def test_of_a_pattern_it_is_not_known_which_models_there_are() -> None:
    any_ = (model("openai/*", Target(provider="a", model="*"), Target(provider="b", model="*")),)
    providers = of("a", "b", models=any_)
    for name in ("a", "b"):
        fails(providers, name, FULL)
    assert unhealthy(providers) == []
    for name in ("a", "b"):
        fails(providers, name, AWAY)
    assert unhealthy(providers) == ["a", "b"]


def test_whoever_alone_serves_a_model_is_asked_all_the_same() -> None:
    alone = of("a", models=(model("chat", Target(provider="a", model="gpt")),))
    fails(alone, "a", FULL)
    assert unhealthy(alone) == [], "it takes some"
    fails(alone, "a", AWAY)
    assert unhealthy(alone) == ["a"]
    fails(alone, "a", FULL._replace(rest=60.0))
    assert unhealthy(alone) == ["a"], "whatever else it has said"


def test_a_provider_that_no_model_names_is_one() -> None:
    providers = of("a", "b", "c", models=CHAT)
    fails(providers, "a")
    fails(providers, "b")
    assert unhealthy(providers) == []
    fails(providers, "c")
    assert unhealthy(providers) == ["a", "b", "c"]


def test_one_that_cannot_be_used_at_all_is_none() -> None:
    """Its condition is ResolvedRefs."""
    broken = provider("b", error="its Secret does not exist")
    providers = well(backend(provider("a"), broken))
    fails(providers, "a")
    assert unhealthy(providers) == ["a"]
    none = well(backend(broken))
    none.standings["b"].rest("", AWAY, "away", NOW)
    assert told(none) == Report({}, [])


def test_many_are_looked_at_in_slices() -> None:
    many = [of("a")] * (2 * SLICE)
    assert len(list(reported(many, NOW))) == 2
