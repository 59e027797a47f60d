"""Raw queries stay what they were, but for the parameters that are meant."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.http import query

raw = st.lists(st.text("ab=%2F+&;~\u00e9", max_size=8), max_size=6).map("&".join)
names = st.sampled_from(["a", "b", "model", "é"])


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("", "a", None),
        ("a", "a", ""),
        ("a=", "a", ""),
        ("b=1&a=x%2Fy+z", "a", "x/y z"),
        ("%61=1&a=2", "a", "1"),
        ("ab=1", "a", None),
        ("A=1", "a", None),
    ],
)
def test_get(text: str, name: str, value: str | None) -> None:
    assert query.get(text, name) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("key=1", ""),
        ("a=%2F&key=1&b=+", "a=%2F&b=+"),
        ("k%65y=1&a", "a"),
        ("a&&b", "a&&b"),
    ],
)
def test_without(text: str, expected: str) -> None:
    assert query.without(text, ["key", "api-key"]) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "model=a%2Fb"),
        ("x=%2F", "x=%2F&model=a%2Fb"),
        ("model=old&x=1", "model=a%2Fb&x=1"),
        ("x=1&m%6fdel=old&model=older&y", "x=1&model=a%2Fb&y"),
    ],
)
def test_replaced(text: str, expected: str) -> None:
    assert query.replaced(text, "model", "a/b") == expected


@given(raw, names)
def test_the_rest_is_untouched(text: str, name: str) -> None:
    kept = query.without(text, [name])
    assert query.get(kept, name) is None
    assert [part for part in text.split("&") if part in kept.split("&")] == kept.split("&") or not kept
    assert query.without(kept, [name]) == kept


@given(raw, names, st.text(max_size=10))
def test_what_is_replaced_is_there_once(text: str, name: str, value: str) -> None:
    new = query.replaced(text, name, value)
    assert query.getall(new, name) == [value]
    assert query.without(new, [name]) == query.without(text, [name])


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(max_size=5)), max_size=5))
def test_names_and_values_are_read_as_servers_read_them(pairs: list[tuple[str, str]]) -> None:
    text = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in pairs)
    for name, _ in pairs:
        assert query.getall(text, name) == [v for n, v in parse_qsl(text, keep_blank_values=True) if n == name]


def test_names_are_decoded() -> None:
    assert query.names("a=1&%4dodel=x&&b&a") == ["a", "Model", "b", "a"]
    assert query.names("") == []
