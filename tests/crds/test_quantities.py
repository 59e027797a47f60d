"""Durations and sizes: what they mean, and that an API server takes and refuses the same."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crds.quantities import lasting, seconds, size, sized
from crds.rules import Rule
from tests.crds.cel import evaluate

DURATION = lasting("100ms", "1h", such_as="5s")
SIZE = sized("1Ki", "64Mi", such_as="24Mi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("500ms", 0.5),
        ("1h", 3600),
        ("1h1m1s1ms", 3661.001),
        ("1m1ms", 60.001),
        ("5s5s", 10),
    ],
)
def test_seconds(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("65536", 65_536), ("1Ki", 1024), ("24Mi", 25_165_824), ("5k", 5_000), ("16M", 16_000_000)]
)
def test_bytes(text: str, expected: int) -> None:
    assert size(text) == expected


def agrees(rule: Rule, text: str) -> None:
    assert rule.check(text) is evaluate(rule.cel, text)


@given(st.lists(st.tuples(st.integers(0, 120_000), st.sampled_from(["h", "m", "s", "ms", "us", ""])), max_size=5))
@example([(1, "h")])
@example([(60, "m"), (1, "ms")])
def test_both_sides_judge_a_duration_alike(parts: list[tuple[int, str]]) -> None:
    agrees(DURATION, "".join(f"{number}{unit}" for number, unit in parts))


@given(st.integers(0, 10**9), st.sampled_from(["", "k", "M", "Ki", "Mi", "Gi", "K", "m"]))
@example(64, "Mi")
@example(1024, "")
@example(67_108_865, "")
def test_both_sides_judge_a_size_alike(number: int, unit: str) -> None:
    agrees(SIZE, f"{number}{unit}")


@given(st.text("0159hms.- kKMiµ\u0661\n", max_size=8))
def test_both_sides_judge_any_text_alike(text: str) -> None:
    agrees(DURATION, text)
    agrees(SIZE, text)
