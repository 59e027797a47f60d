"""Words that may not be said: RE2 looks for all of them at once, or for as many as it takes in without a long pause."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import re2

from dataplane.guardrails.detection import Accept, Detector, Found, Kind, Scan, View, by_pattern, compiled, sieve
from dataplane.guardrails.folding import caseless, folded, plain
from dataplane.slices import SLICE, Slices
from dataplane.table.guardrails import Keywords

RULE = "words"
"""What all rules begin with."""
_TOGETHER = 8 * 1024
"""Characters of words in one pattern, which takes some 10 ms to make."""
_MEMORY = 8 * 1024 * 1024
"""Bytes for RE2: so many take some 2 MB, if they are no ASCII."""
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


def detector(keywords: Keywords, name: str) -> Slices[Detector]:
    """Its rules are the places of the words in the Policy: `words[3]`. Words are found whole where they end and begin
    with letters or digits. Raises ValueError where RE2 does not take one."""
    view = caseless if keywords.ignore_case else folded
    scans: list[Scan] = []
    rules = yield from _rules(keywords, view)
    for part in _parts(rules):
        yield
        scan = _scan(keywords, part)
        scans += [scan, replace(scan, kind=view)]
    yield
    return Detector(tuple(scans), lambda _rule: f"[{name}]", sieve(scans))


def _parts(rules: dict[str, str]) -> Iterator[dict[str, str]]:
    """Those that are searched together: the longest that begins at a place is found, of each part."""
    part: dict[str, str] = {}
    size = 0
    for word, rule in rules.items():
        if part and size + len(word) > _TOGETHER:
            yield part
            part, size = {}, 0
        part[word] = rule
        size += len(word)
    yield part


def _rules(keywords: Keywords, view: Kind) -> Slices[dict[str, str]]:
    """The words as they are and as they are seen, each with its rule. One pattern looks for both: few differ."""
    rules: dict[str, str] = {}
    for kind in (plain, view):
        for index, word in enumerate(keywords.words):
            if index % SLICE == 0:
                yield
            if seen := kind(word).text:
                rules.setdefault(seen, f"{RULE}[{index}]")
    return rules


def _scan(keywords: Keywords, rules: dict[str, str]) -> Scan:
    pattern = _pattern(list(rules), whole=keywords.whole_words)
    try:
        searched = compiled(pattern, _MEMORY, longest_match=True, case_sensitive=not keywords.ignore_case)
    except re2.error:
        raise ValueError("a keyword is too long") from None
    known = {_key(seen, keywords): rule for seen, rule in reversed(rules.items())}
    return Scan(plain, by_pattern(searched, _accept(known, keywords)), longest=_longest(rules), sign=searched)


def _pattern(words: list[str], *, whole: bool) -> str:
    """With whole words, one that ends like a word is matched together with what ends it."""
    apart = [word for word in words if whole and not _is_outside(word[-1])]
    other = [word for word in words if not whole or _is_outside(word[-1])]
    return rf"({_any(apart)})(?:\z|{_OUTSIDE})|({_any(other)})"


def _any(words: list[str]) -> str:
    return "|".join([_GAP.join(map(re2.escape, _gaps.split(word))) for word in words]) or _NOTHING


def _longest(words: dict[str, str]) -> int:
    return max(len(word) + (_WIDEST - 1) * len(_gaps.findall(word)) for word in words)


@lru_cache(maxsize=4096)
def _is_outside(character: str) -> bool:
    return _outside.fullmatch(character.encode("utf-8", "replace")) is not None


def _accept(rules: dict[str, str], keywords: Keywords) -> Accept:
    def accept(view: View, found: Found) -> tuple[int, int, str] | int:
        begin, end = found.span(1)
        if begin < 0:  # it is the other
            begin, end = found.span()
        word = view.data[begin:end].decode()
        if keywords.whole_words and not _is_outside(word[0]) and not _begins(view, begin):
            return begin + 1
        return begin, end, rules.get(_key(word, keywords), RULE)

    return accept


def _begins(view: View, begin: int) -> bool:
    """Does no word go on here that began before?"""
    before = view.data[max(0, begin - 4) : begin].decode("utf-8", "ignore")
    return not before or _is_outside(before[-1])


def _key(word: str, keywords: Keywords) -> str:
    """A phrase is the same, however its words stand apart."""
    word = _gaps.sub(" ", word)
    return word.casefold() if keywords.ignore_case else word
