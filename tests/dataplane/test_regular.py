"""Regular expressions on RE2: whole texts, and nothing that takes long."""

from __future__ import annotations

import re

import pytest

from dataplane.regular import LONGEST, matcher


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("/v[0-9]+/live", "/v1/live", True),
        ("/v[0-9]+/live", "/v1/live/x", False),
        ("/v[0-9]+/live", "x/v1/live", False),
        ("gold|silver", "silver", True),
        ("(?i)gold", "GOLD", True),
        ("/(ä|ö)+", "/äöä", True),
        (".", "ä", True),
        ("a.b", "a\nb", False),
        (".", "\udcff", False),
        ("", "", True),
        ("(a+)+$", "a" * 50_000 + "b", False),
    ],
)
def test_the_whole_text_matches(pattern: str, text: str, matches: bool) -> None:
    assert matcher(pattern)(text) is matches


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "missing )"),
        ("(?=a)", "invalid perl operator: (?="),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("((a{100}){100}){100}", "invalid repetition size"),
        (r"(\pL{50}){20}", "pattern too large"),
        ("a" * (LONGEST + 1), f"has more than {LONGEST} characters"),
        ("\udc80", "is no Unicode text"),
    ],
)
def test_what_is_refused(pattern: str, why: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        matcher(pattern)
    assert capfd.readouterr().err == ""


def test_what_is_said_is_short() -> None:
    with pytest.raises(ValueError, match=re.escape("missing )")) as refused:
        matcher("(" * LONGEST)
    assert len(str(refused.value)) < 200
