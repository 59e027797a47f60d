"""One search says that there is nothing to find; where it does, none of many would have found anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.guardrails.detection import Detector, Finding
from dataplane.guardrails.judge import Guard
from dataplane.table.guardrails import PiiKind
from tests.dataplane.guardrails.guards import judge, patterns, pii, words
from tests.dataplane.guardrails.test_window import DATA, GUARDS, broken_data, cut_texts, outs, some_guards, texts


def detector(guard: Guard) -> Detector:
    assert guard.detector is not None
    return guard.detector


def without(guard: Guard) -> Guard:
    return guard._replace(detector=replace(detector(guard), sieve=None))


@settings(max_examples=1000, deadline=None)
@given(st.one_of(broken_data(), texts, st.sampled_from(DATA)))
def test_whole_texts(text: str) -> None:
    for guard in GUARDS.values():
        assert detector(guard).find(text) == detector(without(guard)).find(text)


@settings(max_examples=1000, deadline=None)
@given(some_guards, cut_texts())
def test_texts_in_pieces(names: list[str], pieces: list[str]) -> None:
    guards = [GUARDS[name] for name in names]
    assert outs(judge(*guards), pieces) == outs(judge(*map(without, guards)), pieces)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("card", "4222222222222"),
        ("phone", "+12345678"),
        ("phone", "0012345678"),
        ("phone", "(212)555-0123"),
        ("phone", "030 123"),
        ("phone", "0123/456"),
        ("phone", "01 23 45 67 89"),
        ("iban", "NO9386011117947"),
        ("ssn", "123-45-6789"),
    ],
)
def test_the_shortest_of_each_form(kind: PiiKind, text: str) -> None:
    assert detector(pii(kind)).find(text) == [Finding(0, len(text), kind)]


def test_who_has_one() -> None:
    assert all(detector(guard).sieve for guard in (pii(), words("card", "Straße"), patterns("a[bc]", "(?i)x{2}")))


def test_a_quotation_that_ends_with_its_pattern_is_searched_by_itself() -> None:
    guard = patterns(r"\Qa|b", "c")
    assert detector(guard).sieve is None
    assert [detector(guard).find(text) != [] for text in ("c", "a|b", "a", "b")] == [True, True, False, False]


def test_what_has_no_bound_has_none() -> None:
    assert detector(patterns("secret:.*", "b")).sieve is None
