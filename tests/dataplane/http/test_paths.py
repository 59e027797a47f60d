"""Paths: what is compared, and what is refused because two readers could differ."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.errors import Refusal
from dataplane.http import paths


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/v1/models", "/v1/models"),
        ("/v1/models/", "/v1/models"),
        ("//v1///models//", "/v1/models"),
        ("/v1/%6dodels", "/v1/models"),
        ("/a%20b/%C3%A9", "/a b/é"),
        ("/...", "/..."),
        ("/.well-known", "/.well-known"),
        ("/a%25b", "/a%b"),
    ],
)
def test_normalised(raw: str, expected: str) -> None:
    assert paths.normalised(raw) == expected


DOTS = ["/.", "/..", "/a/../b", "/a/./b", "/%2e%2E/b", "/.%2e", "/a/..;x/b"]
HIDDEN = ["/a%2fb", "/a%5Cb", "/a\\b", "/%00", "/%0d%0a", "/%7f", "/%252e%252e/b", "/%252f", "/%2500"]
MALFORMED = ["/a%", "/a%zz", "/%ff", "/%c0%ae", "/é", "/a#b", "", "a", "*"]


@pytest.mark.parametrize("raw", [*DOTS, *HIDDEN, *MALFORMED])
def test_refused(raw: str) -> None:
    with pytest.raises(Refusal) as refused:
        paths.normalised(raw)
    assert refused.value.code == "invalid_path"


@pytest.mark.parametrize(
    ("raw", "prefix", "expected"),
    [
        ("/ai/voice/v1/models", "/ai/voice", "/v1/models"),
        ("/ai/voice/v1/models", "/ai/voice/", "/v1/models"),
        ("//ai/%76oice//v1/a%20b/", "/ai/voice", "//v1/a%20b/"),
        ("/ai/voice", "/ai/voice", "/"),
        ("/ai/voice/", "/ai/voice", "/"),
        ("/v1", "", "/v1"),
        ("//v1", "/", "//v1"),
        ("/ai/voices", "/ai/voice", "/ai/voices"),
    ],
)
def test_stripped(raw: str, prefix: str, expected: str) -> None:
    assert paths.stripped(raw, prefix) == expected


segments = st.lists(st.text(min_size=1, max_size=6), max_size=4)


@given(segments)
def test_a_path_is_refused_or_decoded_exactly_once(parts: list[str]) -> None:
    try:
        raw = "/" + "/".join(quote(part, safe="") for part in parts)
        assert paths.normalised(raw) == "/" + "/".join(parts)
    except (Refusal, UnicodeEncodeError):
        text = "".join(parts)
        assert any(c in "/\\%.;" or ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in text)


@given(st.text("/.%2eEfF5cC0aA;\\", max_size=20))
def test_nothing_that_passes_can_climb(raw: str) -> None:
    try:
        path = paths.normalised("/" + raw)
    except Refusal:
        return
    assert not {".", ".."} & set(path.split("/"))
    assert "//" not in path
    assert "\\" not in path
