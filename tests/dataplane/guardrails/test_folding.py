"""Text as a reader takes it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.guardrails.folding import caseless, continues, folded, joined, plain

texts = st.text(
    st.sampled_from(
        "aé \x00\x1b\x7f\x85\n\u0301\u0338\u200b\u00ad\ufe0f\ufb01\uff41١日ßﷺ㌀…가\u1100\u1161\u11a8\U0001d41aK"
    ),
    max_size=20,
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("plain", "plain"),
        ("\uff43\uff41\uff52\uff44", "card"),
        ("c\u00ada\u200br\u2060d\ufeff", "card"),
        ("c\x00a\x08r\x7fd\x85", "card"),
        ("\u202ecard\u202c", "card"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("x … y", "x ... y"),
        ("a\u00a0b", "a b"),
        ("\u1112\u1161\u11ab", "한"),
        ("٤٢", "42"),
        ("\U0001d7d8\U0001d41a", "0a"),
        ("\ufb01", "fi"),
        ("\u200b\u200b", ""),
        ("a\U000e0041b", "ab"),
        ("русский", "русский"),
        ("4\ufe0f\u20e31\ufe0f\u20e3", "41"),
        ("41\u280011", "41 11"),
        ("ﷺ", "ﷺ"),
    ],
)
def test_read(text: str, read: str) -> None:
    assert folded(text).text == read


@pytest.mark.parametrize(
    ("text", "read"), [("Straße", "Strasse"), ("ŉ", "ʼn"), ("É", "É"), ("plain", "plain"), ("\ufb01É", "fiÉ")]
)
def test_case(text: str, read: str) -> None:
    assert caseless(text).text == read


@given(texts)
def test_every_character_says_where_it_comes_from(text: str) -> None:
    for view in (plain, folded, caseless):
        seen = view(text)
        assert len(seen.text) == len(seen.starts) == len(seen.ends)
        assert list(seen.starts) == sorted(seen.starts)
        assert list(seen.ends) == sorted(seen.ends)
        for start, end, character in zip(seen.starts, seen.ends, seen.text, strict=True):
            assert character.casefold() in view(text[start:end]).text.casefold()


@given(texts, texts)
def test_segments_are_folded_by_themselves(text: str, more: str) -> None:
    whole = text + more
    if more and not continues(whole, len(text)):
        assert folded(whole).text == folded(text).text + folded(more).text


@given(st.text(max_size=20))
def test_folding_twice_is_folding_once(text: str) -> None:
    once = folded(text).text
    assert folded(once).text in (once, folded(unicodedata.normalize("NFKC", once)).text)


@given(st.text(max_size=20))
def test_text_that_is_whole_stays(text: str) -> None:
    assert joined(text) == text
    halves = text.encode("utf-16-le")
    assert (
        joined("".join(chr(int.from_bytes(halves[at : at + 2], "little")) for at in range(0, len(halves), 2))) == text
    )


def test_half_a_character_stays() -> None:
    assert joined("a\ud800b\udc00") == "a\ud800b\udc00"
