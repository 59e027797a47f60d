"""Text as a reader takes it: without what cannot be seen, and with one spelling of what looks alike.

`card` in full width, with soft hyphens or with zero-width spaces in it is one word to whoever reads it. Folded are:
compatibility forms (NFKC), digits of other scripts, and characters without width. Letters of other scripts that merely
resemble ours are not: that would stop what Greeks and Russians write.

A segment is what is folded together: a character and the marks that follow it, with what is invisible among them.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_INVISIBLE = (
    *["\x00-\x08", "\x0e-\x1f", "\x7f-\x9f", "\u00ad", "\u034f", "\u061c", "\u115f-\u1160", "\u17b4-\u17b5"],
    *["\u180b-\u180f", "\u200b-\u200f", "\u202a-\u202e", "\u2060-\u206f", "\u3164", "\ufe00-\ufe0f", "\ufeff"],
    *[
        "\u20dd-\u20e0",
        "\u20e2-\u20e4",
        "\uffa0",
        "\ufff9-\ufffb",
        "\U0001bca0-\U0001bca3",
        "\U0001d173-\U0001d17a",
        "\U000e0000-\U000e0fff",
    ],
)
"""Characters that Unicode lets readers ignore (Default_Ignorable_Code_Point), those of interlinear annotation, marks
that enclose the character before them (keycaps), and control characters that are no space."""
_HIDDEN = "".join(_INVISIBLE)
_invisible = re.compile(f"[{_HIDDEN}]").search
_suspect = re.compile(rf"[{_HIDDEN}\u2800]|[^\D0-9]").search
_foreign = re.compile("[^\\D0-9]|\u2800")
"""Digits of other scripts, and Braille's blank."""
_usual = re.compile(r"[\t-\r\x20-\x7e]*+").fullmatch
_JAMO = range(0x1160, 0x1200)
"""Vowels and final consonants, which join the Hangul syllable before them."""
_WIDEST = 4
"""Characters that one is spelled out in at most: nobody hides anything in `ﷺ`, whose 18 would be read by everyone."""


def _joins(character: str) -> bool:
    return unicodedata.combining(character) != 0 or ord(character) in _JAMO


_HIDING = dict.fromkeys([point for span in _INVISIBLE for point in range(ord(span[0]), ord(span[-1]) + 1)])
_JOINING = dict.fromkeys([point for point in range(0x300, 0x20000) if _joins(chr(point))], "\0")
_joining = re.compile("\0+").finditer


Places = range | list[int]


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text, and where in its source each of its characters comes from."""

    text: str
    starts: Places
    ends: Places


def plain(text: str) -> Folded:
    """The text as it is."""
    return Folded(text, range(len(text)), range(1, len(text) + 1))


@lru_cache(maxsize=4)
def folded(text: str) -> Folded:
    """The text as a reader takes it."""
    if is_usual(text) or _is_folded(text):
        return plain(text)
    return _folded(text)


@lru_cache(maxsize=4)
def caseless(text: str) -> Folded:
    """`folded`, and with letters spelled out whose other case is longer (`ß`): what else differs by case alone is left
    to RE2."""
    seen = folded(text)
    longer = {ord(each): each.casefold() for each in set(seen.text) if len(each.casefold()) > 1}
    if not longer:
        return seen
    return Folded(
        seen.text.translate(longer),
        [at for at, each in zip(seen.starts, seen.text, strict=True) for _ in longer.get(ord(each), each)],
        [at for at, each in zip(seen.ends, seen.text, strict=True) for _ in longer.get(ord(each), each)],
    )


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


def _folded(text: str) -> Folded:
    if not _invisible(text):
        return _spelled(text)
    seen = _spelled(text.translate(_HIDING))
    at = [place for place, each in enumerate(text) if ord(each) not in _HIDING]
    return Folded(seen.text, [at[start] for start in seen.starts], [at[end - 1] + 1 for end in seen.ends])


def _spelled(text: str) -> Folded:
    """Of a text in which all can be seen."""
    kinds = text.translate(_JOINING)
    if "\0" not in kinds:
        return Folded(*_each(text, 0, len(text)))
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for found in _joining(kinds):
        begin, end = found.span()
        base = max(done, begin - 1)
        if done < base:
            shown, starting, ending = _each(text, done, base)
            parts.append(shown)
            starts += starting
            ends += ending
        segment = text[base:end]
        parts.append(shown := _reading(segment))
        alike = shown == segment
        starts += range(base, end) if alike else [base] * len(shown)
        ends += range(base + 1, end + 1) if alike else [end] * len(shown)
        done = end
    shown, starting, ending = _each(text, done, len(text))
    return Folded("".join([*parts, shown]), [*starts, *starting], [*ends, *ending])


def _each(text: str, begin: int, end: int) -> tuple[str, Places, Places]:
    """Characters that are a segment each, folded, and where each of what is shown begins and ends."""
    here = shown = text[begin:end]
    if not here.isascii() and not _is_folded(here):
        read = {ord(each): _reading(each) for each in set(here) if not each.isascii()}
        shown = here.translate(read)
        if len(shown) != len(here):
            places = [at for at, each in enumerate(here, begin) for _ in read.get(ord(each), each)]
            return shown, places, [at + 1 for at in places]
    return shown, range(begin, end), range(begin + 1, end + 1)


@lru_cache(maxsize=1024)
def _reading(segment: str) -> str:
    """How a segment is spelled, without what cannot be seen."""
    normal = unicodedata.normalize("NFKC", segment)
    if len(normal) > _WIDEST * len(segment):
        return segment
    return _foreign.sub(lambda found: str(unicodedata.decimal(found[0], " ")), normal)
