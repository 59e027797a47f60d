"""Text as a reader takes it: without what cannot be seen, and with one spelling of what looks alike.

`card` in full width, with soft hyphens or with zero-width spaces in it is one word to whoever reads it. Folded are:
compatibility forms (NFKC), digits of other scripts, and characters without width. Letters of other scripts that merely
resemble ours are not: that would stop what Greeks and Russians write.

A segment is what is folded together: a character and the marks that follow it, with what is invisible among them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

_INVISIBLE = (
    r"\x00-\x08\x0e-\x1f\x7f-\x9f"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters that Unicode lets readers ignore (Default_Ignorable_Code_Point), those of interlinear annotation, and
control characters that are no space."""
_invisible = re.compile(f"[{_INVISIBLE}]").match
_suspect = re.compile(rf"[{_INVISIBLE}]|(?![0-9])\d").search
_USUAL = r"\t-\r\x20-\x7e"
_usual = re.compile(f"[{_USUAL}]*+").fullmatch
_stretches = re.compile(f"[{_USUAL}]?[^{_USUAL}]+").finditer
_JAMO = range(0x1160, 0x1200)
"""Vowels and final consonants, which join the Hangul syllable before them."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text, and where in its source each of its characters comes from."""

    text: str
    starts: range | list[int]
    ends: range | list[int]


def plain(text: str) -> Folded:
    """The text as it is."""
    return Folded(text, range(len(text)), range(1, len(text) + 1))


@lru_cache(maxsize=4)
def folded(text: str) -> Folded:
    """The text as a reader takes it."""
    if is_usual(text) or _is_folded(text):
        return plain(text)
    return _folded(text, str)


@lru_cache(maxsize=4)
def caseless(text: str) -> Folded:
    """`folded`, and with letters spelled out whose other case is longer (`ß`): what else differs by case alone is left
    to RE2."""
    as_read = folded(text)
    if is_usual(text) or len(as_read.text.casefold()) == len(as_read.text):
        return as_read
    return _folded(text, str.casefold)


def joined(text: str) -> str:
    """With one character where there are the two halves of one: servers cut text within a character."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return text


def is_usual(text: str) -> bool:
    """Is it of ASCII that can be seen, and of spaces? Then nothing in it is folded."""
    return text.isascii() and _usual(text) is not None


def continues(text: str, at: int) -> bool:
    """May the character be part of a segment that began before it?"""
    return at > 0 and not " " <= text[at] <= "~" and (_joins(text[at]) or bool(_invisible(text[at])))


def _is_folded(text: str) -> bool:
    return unicodedata.is_normalized("NFKC", text) and not _suspect(text)


def _joins(character: str) -> bool:
    return unicodedata.combining(character) != 0 or ord(character) in _JAMO


def _folded(text: str, then: Callable[[str], str]) -> Folded:
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for stretch in _stretches(text):
        begin, end = stretch.span()
        if then is str and _is_folded(stretch[0]):
            continue
        parts.append(text[done:begin])
        starts.extend(range(done, begin))
        ends.extend(range(done + 1, begin + 1))
        for first, last, segment in _segments(text, begin, end):
            shown = then(_reading(segment))
            parts.append(shown)
            alike = shown == text[first:last]
            starts.extend(range(first, last) if alike else [first] * len(shown))
            ends.extend(range(first + 1, last + 1) if alike else [last] * len(shown))
        done = end
    parts.append(text[done:])
    starts.extend(range(done, len(text)))
    ends.extend(range(done + 1, len(text) + 1))
    return Folded("".join(parts), starts, ends)


def _segments(text: str, begin: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Where each begins and ends, and what can be seen of it."""
    first, last, segment = begin, begin, ""
    for at in range(begin, end):
        character = text[at]
        if _invisible(character):
            continue
        if segment and not _joins(character):
            yield first, last, segment
            segment = ""
        if not segment:
            first = at
        segment += character
        last = at + 1
    if segment:
        yield first, last, segment


def _reading(segment: str) -> str:
    normal = unicodedata.normalize("NFKC", segment)
    return "".join([str(unicodedata.decimal(each, each)) for each in normal])
