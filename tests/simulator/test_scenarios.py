"""Scenarios: what the client or a file may say, and what is said about a wrong one."""

from __future__ import annotations

import pytest

from simulator.scenarios import NAMES, Options, ScenarioError, Scenarios


def test_several_scenarios_with_and_without_numbers() -> None:
    options = Options.parse("slow:20, wait,delta-bytes")
    assert options == {"slow": 20, "wait": 0, "delta-bytes": 4800}
    assert options.pace() == 0.02
    assert options.number("vad-ms") == 500  # the default of one that was not asked for


def test_later_choice_wins() -> None:
    assert Options.parse("slow:20,wait") | Options.parse("slow:5") == {"slow": 5, "wait": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fast", "unknown scenario 'fast'; known: slow, "),
        ("slow:x", "scenario 'slow' takes a whole number, not 'x'"),
        ("wait:3", "scenario 'wait' takes no number, not '3'"),
    ],
)
def test_unknown_scenarios_are_refused_with_what_is_known(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        Options.parse(text)
    assert str(refused.value).startswith(message)


def test_every_listed_name_can_be_chosen() -> None:
    assert all(Options.parse(name) for name in NAMES)
    assert all(about and "\n" not in about for about in NAMES.values())


def test_first_rule_that_matches_holds() -> None:
    rules = Scenarios.load(
        """
        - match: {model: "gpt-realtime*", text: weather}
          scenario: slow:20,fail
        - match: {model: "gpt-*"}
          scenario: null-usage
        """
    )
    assert rules.choose("gpt-realtime-2", "the weather") == {"slow": 20, "fail": 0}
    assert rules.choose("gpt-realtime-2", "the sea") == {"null-usage": 0}
    assert rules.choose("gpt-realtime-2") == {"null-usage": 0}  # a connection has no text
    assert rules.choose("other", "weather") == {}
    assert Scenarios.load("").choose("gpt", "x") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML: "),
        ("scenario: slow", "the file must be a list of rules"),
        ("- slow", "rule 1: must be an object"),
        ("- {scenario: slow}\n- {match: {modle: x}, scenario: slow}", "rule 2: match: unknown field 'modle'"),
        ("- {match: [x], scenario: slow}", "rule 1: match: must be an object"),
        ("- {scenario: slow, when: now}", "rule 1: unknown field 'when'; known: match, scenario"),
        ("- {match: {model: x}}", "rule 1: scenario: must be a string"),
        ("- {match: {text: 5}, scenario: slow}", "rule 1: text: must be a string"),
        ("- {scenario: fast}", "rule 1: scenario: unknown scenario 'fast'"),
    ],
)
def test_wrong_files_are_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        Scenarios.load(text)
    assert str(refused.value).startswith(message)
