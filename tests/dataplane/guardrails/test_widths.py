"""No match of RE2 is longer than what `width` says, or shorter; and what people write has the bound that it has."""

from __future__ import annotations

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.guardrails.widths import Width, width

ATOMS = [
    *["a", "b", ".", "[ab]", "[^a]", "[]a]", "[^]a]", r"[\]a]", "[[:alpha:]b]", r"\d", r"\pL", r"\p{Greek}", r"\x61"],
    *[r"\x{62}", r"\.", r"\b", "^", "$", r"\z", r"\141", "é", "(?i)", "", "{", "]", "{,2}"],
]
atoms = st.sampled_from(ATOMS)
repeats = st.sampled_from(["", "?", "*", "+", "{2}", "{1,3}", "{0,2}?", "{2,}", "*?", "+?", "??"])


def _more(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    groups = st.sampled_from(["(", "(?:", "(?P<n>", "(?i:", "(?-s:", "(?<m>"])
    return st.one_of(
        st.tuples(groups, inner, repeats).map(lambda parts: f"{parts[0]}{parts[1]}){parts[2]}"),
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
    )


regexes = st.recursive(st.tuples(atoms, repeats).map("".join), _more, max_leaves=8)
options = re2.Options()
options.log_errors = False


@settings(max_examples=1500, deadline=None)
@given(regexes, st.text("abé. Ab{]2,", max_size=30))
def test_no_match_is_longer_or_shorter(pattern: str, text: str) -> None:
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error:
        return
    found = width(pattern)
    for match in re2.finditer(compiled, text):
        assert found.least <= len(match[0]) or found == Width(1, None)
        assert found.most is None or len(match[0]) <= found.most


@pytest.mark.parametrize(
    ("pattern", "expected"),
    {
        "abc": (3, 3),
        "a{2,5}": (2, 5),
        "a{3}b?": (3, 4),
        "a{2,}": (2, None),
        "a*": (0, None),
        "a+?": (1, None),
        "foo|quux": (3, 4),
        "(?i)(?:ab|c){2}": (2, 4),
        r"\bsecret\b": (6, 6),
        "^$": (0, 0),
        "(?:^)*a": (1, 1),
        "x{,3}": (5, 5),
        r"[^\]\d]": (1, 1),
        r"\pN\p{Lu}\x{1F600}": (3, 3),
        r"\Qa.b\E": (1, None),
        "(?#": (1, None),
        "(a": (1, None),
        "a)": (1, None),
        "[a": (1, None),
        "\\": (1, None),
    }.items(),
)
def test_widths(pattern: str, expected: tuple[int, int | None]) -> None:
    assert width(pattern) == expected
