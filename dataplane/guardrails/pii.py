"""Personal data and credentials, by their form.

Written here and not taken from a library: `phonenumbers`, the one that could be kept, is 23 MB and knows nothing that
text without a country can use. Phone numbers are found where they look like one: with a `+` or `00`, in North American
groups, or with a leading 0 and separators; ten digits in a row are not.

What is found has no bound (a token may be of any length), but what could become a finding can be told: digits and
separators, or one word without spaces. `opening` matches that, at the end of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from dataplane.guardrails.detection import (
    Accept,
    Compiled,
    Detector,
    Every,
    Found,
    Scan,
    Seek,
    View,
    as_matched,
    by_expression,
    by_list,
    by_pattern,
    compiled,
    sieve,
)
from dataplane.guardrails.folding import folded, plain
from dataplane.guardrails.numbers import cards, ibans
from dataplane.table.guardrails import Pii, PiiKind

_SEP = r"[ \-\x{2010}-\x{2015}\x{2212}]"
"""Between the groups of a number: space, dashes."""
_WIDE = r"[ \t\r\n.\-\x{2010}-\x{2015}\x{2212}]{0,3}"
"""Between those of a card, at most."""
_DIGIT = b"0123456789"
_DIAL = _DIGIT + b"+("
_ALPHANUMERIC = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class _Kind(NamedTuple):
    seek: Callable[[PiiKind], Seek]
    sign: Compiled
    opening: Compiled
    hint: bytes = b""
    """One of these bytes is in whatever is or becomes a finding; empty: nothing is said."""


def detector(pii: Pii) -> Detector:
    """Its rules are the kinds."""
    return _detector(pii.kinds)


@lru_cache(maxsize=64)
def _detector(kinds: tuple[PiiKind, ...]) -> Detector:
    scans: list[Scan] = []
    for name in kinds:
        for kind in _KINDS[name]:
            hint = re.compile(b"[" + re.escape(kind.hint) + b"]").search if kind.hint else None
            scan = Scan(plain, kind.seek(name), opening=kind.opening, hint=hint, sign=kind.sign)
            scans += [scan, replace(scan, kind=folded)]
    return Detector(tuple(scans), lambda rule: f"[{rule.upper()}]", sieve(scans))


def _listed(every: Every, sign: str, opening: str, hint: bytes = b"") -> _Kind:
    return _Kind(lambda rule: by_list(every, rule), compiled(sign), compiled(opening), hint)


def _expression(expression: str, sign: str, opening: str, hint: bytes = b"") -> _Kind:
    """For `re`, with separators as RE2 has them."""
    made = re.compile(re.sub(r"\\x\{(\w+)\}", r"\\u\1", expression))
    return _Kind(lambda rule: by_expression(made, rule), compiled(sign), compiled(opening), hint)


def _pattern(pattern: str, opening: str, accept: Callable[[PiiKind], Accept] = as_matched, hint: bytes = b"") -> _Kind:
    made, sign = compiled(pattern), compiled(_counts.sub("{6}", pattern))
    return _Kind(lambda rule: by_pattern(made, accept(rule)), sign, compiled(opening), hint)


def _apart(data: bytes, begin: int, end: int, inside: bytes = _DIGIT) -> bool:
    """Is it not part of something longer?"""
    return data[begin - 1 : begin] not in _each(inside) and data[end : end + 1] not in _each(inside)


@lru_cache
def _each(inside: bytes) -> frozenset[bytes]:
    return frozenset([bytes([byte]) for byte in inside])


_digit = re.compile(rb"[0-9]").search
_counts = re.compile(r"\{(?:[7-9]|[1-9][0-9])\}")
"""As signs, shorter ones do: RE2 goes through what is long and looks alike by many states."""


def _token(rest: bytes, past: bytes) -> Callable[[PiiKind], Accept]:
    """Made by a machine, so there is a digit in it; and not the end of a word, as in `task-`.

    A match is how one begins: `rest` is what it goes on with, and where it is none, no other is before `past` ends. So
    each character is read but a few times, however often one begins."""
    goes_on, to = re.compile(rest).match, re.compile(past).match

    def of(rule: PiiKind) -> Accept:
        def accept(view: View, found: Found) -> tuple[int, int, str] | int:
            begin, known = found.span()
            if view.data[begin - 1 : begin] in _each(_ALPHANUMERIC):
                return begin + 1
            whole = goes_on(view.data, known)
            if whole and _digit(view.data, begin, whole.end()):
                return begin, whole.end(), rule
            passed = to(view.data, known)
            return passed.end() if passed else begin + 1

        return accept

    return of


def _alone(inside: bytes) -> Callable[[PiiKind], Accept]:
    """What has a length of its own, and is something else within a longer word."""

    def of(rule: PiiKind) -> Accept:
        def accept(view: View, found: Found) -> tuple[int, int, str] | int:
            begin, end = found.span()
            return (begin, end, rule) if _apart(view.data, begin, end, inside) else begin + 1

        return accept

    return of


_LETTER = r"A-Za-z\x{C0}-\x{24F}\x{370}-\x{52F}"
"""Latin, Greek, Cyrillic: scripts with spaces between words, which tell where an address ends."""
_LOCAL = rf"[{_LETTER}0-9._%+'-]{{1,64}}"
_LABEL = rf"[{_LETTER}0-9](?:[{_LETTER}0-9-]*[{_LETTER}0-9])?\."
_NUMBER = (
    r"[+(]{0,2}[0-9](?:[ .()/\-\x{2010}-\x{2015}\x{2212}]{0,3}[0-9]){0,24}[ .()/\-\x{2010}-\x{2015}\x{2212}]{0,3}\z"
)
"""The beginning of a phone number."""
_GAP = r"[ .()/\-\x{2010}-\x{2015}\x{2212}]{0,2}"
_APART = r"(?<![0-9./:\-])"
"""Not within a longer number, a date or a version."""
_PEM = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\:,]*"
_WORD = r"[A-Za-z0-9_.-]+\z"
_IN_WORD = rb"[A-Za-z0-9_-]*+"
_KINDS: dict[PiiKind, tuple[_Kind, ...]] = {
    "card": (_listed(cards, rf"[0-9](?:{_WIDE}[0-9]){{12}}", rf"[0-9](?:{_WIDE}[0-9]){{0,19}}{_WIDE}\z", _DIGIT),),
    "email": (
        _pattern(
            rf"{_LOCAL}@(?:{_LABEL})+(?:xn--[A-Za-z0-9-]+|[{_LETTER}]{{2,24}})",
            rf"{_LOCAL}(?:@[{_LETTER}0-9.-]*)?\z",
        ),
    ),
    "phone": (
        _expression(
            rf"(?:(?<![A-Za-z0-9+])\+|(?<![A-Za-z0-9./:\-])00)[1-9](?:{_GAP}[0-9]){{7,14}}+(?![0-9])",
            rf"(?:\+|00)[1-9](?:{_GAP}[0-9]){{7}}",
            rf"(?:\+|00?)\z|{_NUMBER}",
            _DIAL,
        ),
        _expression(
            rf"{_APART}(?:1[ .-])?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}(?:{_SEP}|\.))"
            rf"[2-9][0-9]{{2}}(?:{_SEP}|\.)[0-9]{{4}}(?![0-9])",
            rf"[2-9][0-9]{{2}}(?:{_SEP}|\.)[0-9]{{4}}",
            rf"\(\z|{_NUMBER}",
            _DIAL,
        ),
        _expression(  # but a ZIP code is none, nor are bytes in a row
            rf"{_APART}(?:(?!0[0-9]{{4}}-[0-9]{{4}}(?![0-9]))"
            rf"\(?0[1-9][0-9]{{1,4}}\)?[ /-][0-9]{{3,8}}+(?:{_SEP}[0-9]{{2,5}}+){{0,2}}+"
            r"|(?<![0-9][ .-])0[1-9](?:[ .-][0-9]{2}){4}(?![ .-][0-9]{2}))(?![0-9])",
            r"0[1-9][0-9]{1,4}\)?[ /-][0-9]{3}|0[1-9](?:[ .-][0-9]{2}){4}",
            rf"\(\z|{_NUMBER}",
            _DIAL,
        ),
    ),
    "iban": (
        _listed(
            ibans,
            rf"[A-Za-z]{{2}}[0-9]{{2}}(?:{_SEP}?[A-Za-z0-9]){{11}}",
            rf"[A-Za-z]{{1,2}}\z|[A-Za-z]{{2}}[0-9]{{1,2}}{_SEP}?\z|"
            rf"[A-Za-z]{{2}}[0-9]{{2}}(?:{_SEP}?[A-Za-z0-9]){{0,29}}{_SEP}?\z",
        ),
    ),
    "ssn": (  # those that are given out: https://www.ssa.gov/employer/randomization.html
        _expression(
            rf"(?<![0-9])(?!000|666|9)[0-9]{{3}}{_SEP}(?!00)[0-9]{{2}}{_SEP}(?!0000)[0-9]{{4}}(?![0-9])",
            rf"[0-9]{{3}}{_SEP}[0-9]{{2}}{_SEP}[0-9]{{4}}",
            rf"[0-9]{{1,3}}\z|[0-9]{{3}}{_SEP}[0-9]{{0,2}}\z|[0-9]{{3}}{_SEP}[0-9]{{2}}{_SEP}[0-9]{{0,4}}\z",
            _DIGIT,
        ),
    ),
    "key": (
        _pattern(r"(?:AKIA|ASIA)[A-Z0-9]{16}", _WORD, _alone(_ALPHANUMERIC)),
        _pattern(
            r"sk-[A-Za-z0-9_-]{20}"  # OpenAI, Anthropic and many others
            r"|xai-[A-Za-z0-9_-]{20}|glpat-[A-Za-z0-9_-]{20}"
            r"|AIza[A-Za-z0-9_-]{35}",  # Google
            _WORD,
            _token(_IN_WORD, _IN_WORD),
        ),
        _pattern(r"xox[abeprs]-[A-Za-z0-9-]{10}", _WORD, _token(rb"[A-Za-z0-9-]*+", rb"[A-Za-z0-9-]*+")),  # Slack
        _pattern(
            r"gh[opsur]_[A-Za-z0-9]{36}"
            r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16}"  # Stripe
            r"|hf_[A-Za-z0-9]{30}",
            _WORD,
            _token(rb"[A-Za-z0-9]*+", rb"[A-Za-z0-9]*+"),
        ),
        _pattern(r"github_pat_[A-Za-z0-9_]{22}", _WORD, _token(rb"[A-Za-z0-9_]*+", rb"[A-Za-z0-9_]*+")),
        _pattern(  # JWT
            r"eyJ[A-Za-z0-9_-]{5}",
            _WORD,
            _token(_IN_WORD + rb"\.eyJ[A-Za-z0-9_-]{5,}+\." + _IN_WORD, _IN_WORD),
        ),
        _pattern(
            rf"{_PEM}(?:-----END [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----)?",
            rf"-{{1,5}}(?:B[A-Z0-9 ]{{0,70}}-{{0,5}})?\z|{_PEM}(?:-{{1,5}}(?:E[A-Z0-9 ]{{0,70}}-{{0,5}})?)?\z",
            hint=b"-",
        ),
    ),
}
