"""What it costs to find out who asks: every figure is of somebody who is let in, but for the guesses."""

from __future__ import annotations

import pytest

from bench import callers


def test_there_is_a_line_for_keys_and_for_each_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in {"KEYS": 6000, "TOKENS": 2, "WARM": 3, "BEST_OF": 1}.items():
        monkeypatch.setattr(callers, name, number)
    lines = list(callers.costs())
    assert len(lines) == 4
    for line, what in zip(lines, ("a key of 6,000", "(RS256)", "(ES256)", "(EdDSA)"), strict=True):
        assert what in line
        assert line.count("µs") == 2
