"""Words that may not be said: one RE2 pattern for all of them."""

from __future__ import annotations

import re
from dataclasses import replace

import re2

from dataplane.guardrails.detection import Accept, Detector, Found, Kind, Scan, View, compiled
from dataplane.guardrails.folding import caseless, folded, plain
from dataplane.table.guardrails import Keywords

_MEMORY = 64 * 1024 * 1024
"""Bytes for RE2: a thousand words of 256 characters take some 30 MB."""
# Letters of scripts that put no space between words are never within a word, and marks do not lengthen one.
_SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_OUTSIDE = rf"(?:[^\pL\pN_]|{_SPACELESS})"
_NOTHING = r"[^\x00-\x{10FFFF}]"
_WIDEST = 4
"""Characters of space between the words of a phrase: lines are broken, and indented."""
_GAP = rf"\s{{1,{_WIDEST}}}"
_gaps = re.compile("[\t\n\f\r ]+")
"""What `\\s` is in RE2; other spaces are such ones as they are read."""
_outside = compiled(_OUTSIDE)


def detector(keywords: Keywords, name: str) -> Detector:
    """Its rules are the places of the words in the Policy: `words[3]`. Words are found whole where they end and begin
    with letters or digits. Raises ValueError where RE2 does not take so many."""
    as_is = _rules(keywords, plain)
    view = caseless if keywords.ignore_case else folded
    as_read = _rules(keywords, view)
    first = _scan(keywords, plain, as_is)
    if as_read == as_is:
        scans = [first, replace(first, kind=view)]
    else:
        scans = [first, _scan(keywords, view, as_read)] if as_read else [first]
    return Detector(tuple(scans), lambda _rule: f"[{name}]")


def _rules(keywords: Keywords, view: Kind) -> dict[str, str]:
    """The words as they are seen, each with its rule."""
    rules: dict[str, str] = {}
    for index, word in enumerate(keywords.words):
        if seen := view(word).text:
            rules.setdefault(seen, f"words[{index}]")
    return rules


def _scan(keywords: Keywords, view: Kind, rules: dict[str, str]) -> Scan:
    pattern = _pattern(list(rules), whole=keywords.whole_words)
    try:
        searched = compiled(pattern, _MEMORY, longest_match=True, case_sensitive=not keywords.ignore_case)
    except re2.error:
        raise ValueError("the keywords are too many, or too long") from None
    known = {_key(seen, keywords): rule for seen, rule in reversed(rules.items())}
    return Scan(view, searched, _accept(known, keywords), longest=_longest(rules))


def _pattern(words: list[str], *, whole: bool) -> str:
    """With whole words, one that ends like a word is matched together with what ends it."""
    apart = [word for word in words if whole and not _is_outside(word[-1])]
    other = [word for word in words if not whole or _is_outside(word[-1])]
    return rf"({_any(apart)})(?:\z|{_OUTSIDE})|({_any(other)})"


def _any(words: list[str]) -> str:
    return "|".join([_GAP.join(map(re2.escape, _gaps.split(word))) for word in words]) or _NOTHING


def _longest(words: dict[str, str]) -> int:
    return max(len(word) + (_WIDEST - 1) * len(_gaps.findall(word)) for word in words)


def _is_outside(character: str) -> bool:
    return _outside.fullmatch(character.encode("utf-8", "replace")) is not None


def _accept(rules: dict[str, str], keywords: Keywords) -> Accept:
    def accept(view: View, found: Found) -> tuple[int, int, str] | int:
        begin, end = max(found.span(1), found.span(2))  # the other one is (-1, -1)
        word = view.data[begin:end].decode()
        if keywords.whole_words and not _is_outside(word[0]) and not _begins(view, begin):
            return begin + 1
        return begin, end, rules.get(_key(word, keywords), "words")

    return accept


def _begins(view: View, begin: int) -> bool:
    """Does no word go on here that began before?"""
    before = view.data[max(0, begin - 4) : begin].decode("utf-8", "ignore")
    return not before or _is_outside(before[-1])


def _key(word: str, keywords: Keywords) -> str:
    """A phrase is the same, however its words stand apart."""
    word = _gaps.sub(" ", word)
    return word.casefold() if keywords.ignore_case else word
