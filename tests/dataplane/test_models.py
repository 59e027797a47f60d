"""Which models a caller may use, by the name alone."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane import models
from dataplane.table import Model, ModelAllow, Target

NAMES = st.text(st.characters(codec="ascii", exclude_characters="*"), max_size=12)


def allow(*patterns: str, policy: str = "ai/p") -> ModelAllow:
    return ModelAllow(policy=policy, patterns=patterns)


def model(name: str, *targets: Target) -> Model:
    return Model(name=name, targets=targets or (Target(provider="a"),))


@given(NAMES)
def test_a_pattern_allows_names_that_no_catalogue_knows(rest: str) -> None:
    """`anthropic/*` allows the model that came out this morning."""
    assert not models.refused([allow("anthropic/*")], f"anthropic/{rest}")
    assert models.refused([allow("anthropic/*")], f"anthropi/{rest}")


@given(NAMES, NAMES, NAMES)
def test_a_star_stands_for_any_text_and_everything_else_for_itself(head: str, rest: str, tail: str) -> None:
    assert not models.refused([allow(f"{head}*{tail}")], head + rest + tail)
    assert not models.refused([allow(head)], head)
    assert bool(models.refused([allow(head)], rest)) == (head != rest)


@pytest.mark.parametrize("name", ["gpt-5", "GPT-5-mini", "gpt-5.", "a" * 10_000, "", "\ud83d", "*", "gpt-5-*"])
def test_all_policies_must_allow_a_name(name: str) -> None:
    both = [allow("gpt-*"), allow("*-mini", "o1")]
    assert models.refused(both, name)
    assert not models.refused(both, "gpt-5-mini")
    assert not models.refused([], name)


def test_a_refusal_says_who_refuses_and_what_to_use() -> None:
    why = models.refused([allow("gpt-*", "o1"), allow("gpt-*", policy="ai/q")], "o1")
    assert why == "Policy ai/q does not allow the model 'o1' to this caller. Allowed: gpt-*."
    assert len(models.refused([allow("gpt-5")], "x" * 100_000)) < 400
    many = models.refused([allow(*(f"m-{number}" for number in range(64)))], "x")
    assert many.endswith("m-19, ….")


@given(st.lists(st.lists(NAMES | NAMES.map(lambda text: f"{text}*x"), min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_refusal_tells_of_nothing_that_may_not_be_used(patterns: list[list[str]]) -> None:
    both = [allow(*each) for each in patterns]
    told = models.alternatives(both).removeprefix("Allowed: ").removesuffix(".")
    for each in patterns:
        for pattern in each:
            if f", {pattern}, " in f", {told}, " and pattern.strip(" ,"):
                assert not models.refused(both, pattern.replace("*", "anything"))


def test_what_cannot_be_said_in_a_policys_words_is_not_said() -> None:
    assert models.alternatives([allow("gpt-*"), allow("*-mini")]) == ""
    assert models.refused([allow("gpt-*"), allow("*-mini")], "o1").endswith("to this caller.")
    assert models.alternatives([allow("*"), allow("gpt-*", "gpt-5")]) == "Allowed: gpt-*, gpt-5."


def test_the_list_has_exact_names_that_all_policies_allow() -> None:
    declared = [model("voice"), model("secret"), model("gpt-*")]
    assert models.names(declared, []) == ["voice", "secret"]
    assert models.names(declared, [allow("voice", "gpt-5", "o1", "gpt-*")]) == ["voice", "gpt-5"]
    assert models.names(declared, [allow("*"), allow("gpt-5", "secret"), allow("gpt-5")]) == ["gpt-5"]
    assert models.names([], [allow("gpt-5")]) == []


def test_what_a_provider_calls_a_name() -> None:
    declared = [
        model("hear", Target(provider="a", model="off", weight=0), Target(provider="a", model="whisper-1")),
        model("eu/*", Target(provider="b", model="*"), Target(provider="a", model="eu-*")),
        model("same"),
    ]
    assert models.known_as(declared, "a", "hear") == "whisper-1"
    assert models.known_as(declared, "b", "hear") is None
    assert models.known_as(declared, "a", "eu/x") == "eu-x"
    assert models.known_as(declared, "b", "eu/x") == "x"
    assert models.known_as(declared, "a", "same") == "same"
    assert models.known_as(declared, "a", "unknown") == "unknown"


def test_a_providers_list_keeps_what_is_allowed_as_it_came() -> None:
    entries = [{"id": "gpt-5", "root": "x"}, {"id": "o1"}, {"id": 7}, {}, "gpt-5", None]
    listing = orjson.dumps({"object": "list", "data": entries, "has_more": True})
    assert models.kept(listing, [allow("gpt-*")]) == [{"id": "gpt-5", "root": "x"}]


@pytest.mark.parametrize("listing", [b"", b"<html>", b"[]", b"{}", b'{"data":{}}', b"\xff", b"[" * 5000])
def test_what_is_no_list_of_models_is_an_error(listing: bytes) -> None:
    with pytest.raises(ValueError, match="no list of models"):
        models.kept(listing, [allow("*")])
