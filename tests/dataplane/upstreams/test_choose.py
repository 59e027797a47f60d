"""Which provider takes a request, and under which name."""

from __future__ import annotations

from collections import Counter

import pytest

from dataplane.errors import Refusal
from dataplane.table import Backend, ModelAllow, Price, Target
from tests.dataplane.upstreams.choosing import backend, choose, model, provider, well

A, B = provider("a"), provider("b")
BROKEN = provider("broken", error="its Secret is missing")


def chosen(served: Backend, name: str, rand: float = 0.0) -> tuple[str, str, str]:
    found = choose(served, name, lambda: rand)
    return found.provider.name, found.public_model, found.upstream_model


def refusal(served: Backend, name: str, *patterns: str) -> Refusal:
    """`patterns`: what a Policy allows, if one says anything."""
    allow = (ModelAllow(policy="ai/p", patterns=patterns),) if patterns else ()
    with pytest.raises(Refusal) as refused:
        choose(served, name, lambda: 0.0, allow)
    return refused.value


def test_without_models_any_name_goes_to_any_usable_provider() -> None:
    served = backend(A, BROKEN, B)
    assert chosen(served, "x", 0.0) == ("a", "x", "x")
    assert chosen(served, "x", 0.49) == ("a", "x", "x")
    assert chosen(served, "x", 0.5) == ("b", "x", "x")
    assert not choose(served, "x", lambda: 0.0).declared


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("gpt-5", "exact"),
        ("gpt-5-mini", "five mini"),
        ("gpt-4", "gpt 4"),
        ("gpt-", "gpt "),
        ("other", "any"),
        ("x-tail", "x tail"),
        ("a.b", "dot"),
        ("axb", "any"),
    ],
)
def test_exact_names_beat_longer_patterns_beat_shorter_ones(asked: str, expected: str) -> None:
    models = (
        model("*", Target(provider="a", model="any")),
        model("gpt-*", Target(provider="a", model="gpt *")),
        model("*-tail", Target(provider="a", model="* tail")),
        model("gpt-5", Target(provider="a", model="exact")),
        model("gpt-5-*", Target(provider="a", model="five *")),
        model("a.b", Target(provider="a", model="dot")),
    )
    assert chosen(backend(A, models=models), asked) == ("a", asked, expected)


def test_a_target_without_a_name_takes_the_name_as_asked() -> None:
    assert chosen(backend(A, models=(model("gpt-*"),)), "gpt-5") == ("a", "gpt-5", "gpt-5")


def test_weights() -> None:
    targets = (Target(provider="a", weight=90), Target(provider="b", weight=10), Target(provider="broken", weight=900))
    served = backend(A, B, BROKEN, models=(model("m", *targets),))
    counted = Counter(chosen(served, "m", step / 1000)[0] for step in range(1000))
    assert counted == {"a": 900, "b": 100}
    nothing = (Target(provider="a", weight=0), Target(provider="b", weight=1))
    assert {chosen(backend(A, B, models=(model("m", *nothing),)), "m", r / 10)[0] for r in range(10)} == {"b"}
    assert chosen(served, "m", 0.999999999999)[0] == "b"


def test_an_override_replaces_whatever_it_would_be() -> None:
    forced = provider("a", model_override="forced")
    assert chosen(backend(forced), "x") == ("a", "x", "forced")
    assert chosen(backend(forced, models=(model("x", Target(provider="a", model="y")),)), "x") == ("a", "x", "forced")
    assert chosen(backend(forced), "") == ("a", "forced", "forced")


def test_a_request_that_names_no_model_gets_the_default_of_its_provider() -> None:
    price = Price(input_text="1")
    with_default = provider("b", default="gpt-realtime")
    served = backend(A, with_default, models=(model("gpt-realtime", Target(provider="a", model="other"), price=price),))
    assert chosen(served, "", 0.9) == ("b", "gpt-realtime", "gpt-realtime")
    assert choose(served, "", lambda: 0.0).price == price
    assert refusal(backend(A, B), "").code == "missing_model"
    assert refusal(backend(A, provider("b", default="x", error="broken")), "").code == "missing_model"


def test_the_price_is_that_of_the_declared_name() -> None:
    price = Price(output_audio="64")
    found = choose(backend(A, models=(model("m", price=price),)), "m", lambda: 0.0)
    assert (found.price, found.declared) == (price, True)


def test_unknown_models_are_told_what_is_close() -> None:
    refused = refusal(backend(A, models=(model("gpt-realtime"), model("claude"))), "gpt-raeltime")
    assert (refused.code, refused.status, refused.param) == ("model_not_found", 404, "model")
    assert "gpt-realtime" in refused.message
    assert "claude" not in refused.message
    assert len(refusal(backend(A, models=(model("m"),)), "x" * 100_000).message) < 1000


@pytest.mark.parametrize("name", ["secret", "unknown", "x" * 100_000])
def test_a_name_that_is_not_allowed_is_refused_alike_whether_or_not_it_is_known(name: str) -> None:
    for served in (backend(A, models=(model("voice"), model("secret"))), backend(A), backend(BROKEN)):
        refused = refusal(served, name, "voice*")
        assert (refused.code, refused.status, refused.param) == ("model_not_allowed", 403, "model")
        assert refused.message.endswith("Allowed: voice*.")


def test_unknown_models_are_told_only_what_the_caller_may_use() -> None:
    served = backend(A, models=(model("voice-1"), model("voice-2"), model("gpt-*")))
    refused = refusal(served, "voice-3", "voice-1", "voice-3", "gpt-5")
    assert refused.code == "model_not_found"
    assert "Did you mean voice-1?" in refused.message
    assert refusal(served, "voice-3", "voice-3").message.endswith("does not know the model 'voice-3'.")


def test_a_default_is_held_to_the_list_and_not_told() -> None:
    first, second = provider("a", default="secret"), provider("b", default="voice")
    allow = (ModelAllow(policy="ai/p", patterns=("voice",)),)
    for rand in (0.0, 0.9):
        assert choose(backend(first, second), "", lambda rand=rand: rand, allow).provider == second  # type: ignore[misc]
    refused = refusal(backend(first), "", "voice")
    assert (refused.code, refused.param) == ("model_not_allowed", "model")
    assert "secret" not in refused.message
    assert refusal(backend(A), "", "voice").code == "missing_model"


def test_without_a_usable_provider_the_reasons_are_told() -> None:
    for served in (backend(BROKEN), backend(A, BROKEN, models=(model("m", Target(provider="broken")),))):
        refused = refusal(served, "m")
        assert (refused.code, refused.status) == ("configuration_error", 500)
        assert "its Secret is missing" in refused.message
    assert refusal(backend(), "m").code == "configuration_error"
    with pytest.raises(Refusal, match="its Secret is missing"):
        well(backend(BROKEN)).any()
    assert [member.provider.name for member in well(backend(BROKEN, A)).any().members] == ["a"]


def test_a_provider_of_weight_0_is_never_asked() -> None:
    none = provider("none", weight=0)
    assert [member.provider.name for member in well(backend(none, A)).any().members] == ["a"]
    served = backend(none, A, models=(model("m", Target(provider="none")),))
    assert refusal(served, "m").message.endswith("has no usable provider: every target has weight 0 or there is none.")


def test_the_weight_of_a_target_is_times_that_of_its_provider() -> None:
    heavy = provider("heavy", weight=9)
    served = backend(A, heavy, models=(model("m", Target(provider="a", weight=3), Target(provider="heavy", weight=1)),))
    counted = Counter(chosen(served, "m", step / 1200)[0] for step in range(1200))
    assert counted == {"a": 300, "heavy": 900}
