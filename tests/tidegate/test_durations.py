from __future__ import annotations

import pytest

from tidegate.durations import parse
from tidegate.exits import Exit, Stop


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("0s", 0), ("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1h", 3600), ("2h5m", 7500)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse(text, "--drain-patience") == seconds


@pytest.mark.parametrize("text", ["", "10", "1d", "1.5s", "-1s", " 1s", "1s ", "123456s", "h"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(Stop, match="--drain-patience") as stopped:
        parse(text, "--drain-patience")
    assert stopped.value.code is Exit.USAGE
