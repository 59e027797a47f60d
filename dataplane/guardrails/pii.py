"""Personal data and credentials, by their form.

Written here and not taken from a library: `phonenumbers`, the one that could be kept, is 23 MB and knows nothing that
text without a country can use. Phone numbers are found where they look like one: with a `+` or `00`, in North American
groups, or with a leading 0 and separators; ten digits in a row are not.

What is found has no bound (a token may be of any length), but what could become a finding can be told: digits and
separators, or one word without spaces. `opening` matches that, at the end of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from dataplane.guardrails import numbers
from dataplane.guardrails.detection import Accept, Compiled, Detector, Found, Scan, View, as_matched, compiled, sieve
from dataplane.guardrails.folding import folded, plain
from dataplane.table.guardrails import Pii, PiiKind

_SEP = r"[ \-\x{2010}-\x{2015}\x{2212}]"
"""Between the groups of a number: space, dashes."""
_DIGIT = b"0123456789"
_NO_DIGITS = bytes(byte for byte in range(256) if byte not in _DIGIT)
_DIAL = _DIGIT + b"+("
_CARD = (13, 19)


class _Kind(NamedTuple):
    pattern: str
    opening: str
    accept: Callable[[PiiKind], Accept] = as_matched
    hint: bytes = b""
    """One of these bytes is in whatever is or becomes a finding; empty: nothing is said."""


def detector(pii: Pii) -> Detector:
    """Its rules are the kinds."""
    return _detector(pii.kinds)


@lru_cache(maxsize=16)
def _detector(kinds: tuple[PiiKind, ...]) -> Detector:
    scans: list[Scan] = []
    for name in kinds:
        for kind, pattern, opening in _COMPILED[name]:
            hint = re.compile(b"[" + re.escape(kind.hint) + b"]").search if kind.hint else None
            scan = Scan(plain, pattern, kind.accept(name), opening=opening, hint=hint)
            scans += [scan, replace(scan, kind=folded)]
    return Detector(tuple(scans), lambda rule: f"[{rule.upper()}]", sieve(scans))


def _apart(data: bytes, begin: int, end: int, inside: bytes = _DIGIT) -> bool:
    """Is it not part of something longer?"""
    return data[begin - 1 : begin] not in _each(inside) and data[end : end + 1] not in _each(inside)


@lru_cache
def _each(inside: bytes) -> frozenset[bytes]:
    return frozenset([bytes([byte]) for byte in inside])


_digit_run = re.compile(rb"[0-9]+").match
_digit = re.compile(rb"[0-9]").search
_digits = re.compile(rb"[0-9]").finditer
_alphanumeric = re.compile(rb"[A-Za-z0-9]").finditer
_ALPHANUMERIC = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _card(rule: PiiKind) -> Accept:
    """The most digits of a match that are a card, of those that end where no digit follows."""

    def accept(view: View, found: Found) -> tuple[int, int, str] | int:
        begin, end = found.span()
        if _within(view.data, begin):
            return _run(view.data, begin)
        digits = view.data[begin:end].translate(None, _NO_DIGITS).decode()
        for length in numbers.card_lengths(digits):
            if numbers.is_card(digits[:length]):
                last = [digit.end() for digit in _digits(view.data, begin, end)][length - 1]
                if view.data[last : last + 1] not in _each(_DIGIT):
                    return begin, last, rule
        return begin + 1

    return accept


def _within(data: bytes, begin: int) -> bool:
    """Does a number go on here that began before?"""
    return data[begin - 1 : begin] in _each(_DIGIT)


def _run(data: bytes, begin: int) -> int:
    """Where the digits end among which nothing can begin."""
    run = _digit_run(data, begin)
    return run.end() if run else begin + 1


def _iban(rule: PiiKind) -> Accept:
    def accept(view: View, found: Found) -> tuple[int, int, str] | int:
        begin, end = found.span()
        places = [each.start() for each in _alphanumeric(view.data, begin, end)]
        characters = bytes([view.data[place] for place in places]).decode().upper()
        length = numbers.IBAN.get(characters[:2], 0)
        if not 0 < length <= len(places) or not numbers.is_iban(characters[:length]):
            return begin + 1
        last = places[length - 1] + 1
        return (begin, last, rule) if _apart(view.data, begin, last, _ALPHANUMERIC) else begin + 1

    return accept


def _ssn(rule: PiiKind) -> Accept:
    def accept(view: View, found: Found) -> tuple[int, int, str] | int:
        begin, end = found.span()
        area, group, serial = [view.data[slice(*found.span(each))].decode() for each in (1, 2, 3)]
        apart = _apart(view.data, begin, end)
        return (begin, end, rule) if apart and numbers.is_ssn(area, group, serial) else begin + 1

    return accept


def _phone(rule: PiiKind) -> Accept:
    """Not within a longer number, a date or a version."""

    def accept(view: View, found: Found) -> tuple[int, int, str] | int:
        begin, end = found.span()
        if _within(view.data, begin):
            return _run(view.data, begin)
        within = view.data[begin - 1 : begin] in _each(b"./:-")
        return begin + 1 if within or view.data[end : end + 1] in _each(_DIGIT) else (begin, end, rule)

    return accept


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


_LOCAL = r"[A-Za-z0-9._%+'-]{1,64}"
_NUMBER = (
    r"[+(]{0,2}[0-9](?:[ .()/\-\x{2010}-\x{2015}\x{2212}]{0,3}[0-9]){0,24}[ .()/\-\x{2010}-\x{2015}\x{2212}]{0,3}\z"
)
"""The beginning of a phone number."""
_GAP = r"[ .()/\-\x{2010}-\x{2015}\x{2212}]{0,2}"
_PEM = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\:,]*"
_WORD = r"[A-Za-z0-9_.-]+\z"
_IN_WORD = rb"[A-Za-z0-9_-]*+"
_KINDS: dict[PiiKind, tuple[_Kind, ...]] = {
    "card": (
        _Kind(
            rf"[2-689](?:{_SEP}?[0-9]){{{_CARD[0] - 1},{_CARD[1] - 1}}}",
            rf"[2-689](?:{_SEP}?[0-9]){{0,{_CARD[1] - 1}}}{_SEP}?\z",
            _card,
            _DIGIT,
        ),
    ),
    "email": (
        _Kind(
            rf"{_LOCAL}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.){{1,8}}[A-Za-z]{{2,24}}",
            rf"{_LOCAL}(?:@[A-Za-z0-9.-]*)?\z",
        ),
    ),
    "phone": (
        _Kind(rf"(?:\+|00)[1-9](?:{_GAP}[0-9]){{7,14}}", rf"(?:\+|00?)\z|{_NUMBER}", _phone, _DIAL),
        _Kind(
            rf"(?:1[ .-])?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}{_SEP}|[2-9][0-9]{{2}}\.)"
            rf"[2-9][0-9]{{2}}(?:{_SEP}|\.)[0-9]{{4}}",
            rf"\(\z|{_NUMBER}",
            _phone,
            _DIAL,
        ),
        _Kind(
            rf"\(?0[1-9][0-9]{{1,4}}\)?[ /-][0-9]{{3,8}}(?:{_SEP}[0-9]{{2,5}}){{0,2}}|0[1-9](?:[ .-][0-9]{{2}}){{4}}",
            rf"\(\z|{_NUMBER}",
            _phone,
            _DIAL,
        ),
    ),
    "iban": (
        _Kind(
            rf"[A-Za-z]{{2}}[0-9]{{2}}(?:{_SEP}?[A-Za-z0-9]){{11,29}}",
            rf"[A-Za-z]{{1,2}}\z|[A-Za-z]{{2}}[0-9]{{1,2}}{_SEP}?\z|"
            rf"[A-Za-z]{{2}}[0-9]{{2}}(?:{_SEP}?[A-Za-z0-9]){{0,29}}{_SEP}?\z",
            _iban,
        ),
    ),
    "ssn": (
        _Kind(
            rf"([0-9]{{3}}){_SEP}([0-9]{{2}}){_SEP}([0-9]{{4}})",
            rf"[0-9]{{1,3}}\z|[0-9]{{3}}{_SEP}[0-9]{{0,2}}\z|[0-9]{{3}}{_SEP}[0-9]{{2}}{_SEP}[0-9]{{0,4}}\z",
            _ssn,
            _DIGIT,
        ),
    ),
    "key": (
        _Kind(r"(?:AKIA|ASIA)[A-Z0-9]{16}", _WORD, _alone(_ALPHANUMERIC)),
        _Kind(
            r"sk-[A-Za-z0-9_-]{20}"  # OpenAI, Anthropic and many others
            r"|xai-[A-Za-z0-9_-]{20}|glpat-[A-Za-z0-9_-]{20}"
            r"|AIza[A-Za-z0-9_-]{35}",  # Google
            _WORD,
            _token(_IN_WORD, _IN_WORD),
        ),
        _Kind(r"xox[abeprs]-[A-Za-z0-9-]{10}", _WORD, _token(rb"[A-Za-z0-9-]*+", rb"[A-Za-z0-9-]*+")),  # Slack
        _Kind(
            r"gh[opsur]_[A-Za-z0-9]{36}"
            r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16}"  # Stripe
            r"|hf_[A-Za-z0-9]{30}",
            _WORD,
            _token(rb"[A-Za-z0-9]*+", rb"[A-Za-z0-9]*+"),
        ),
        _Kind(r"github_pat_[A-Za-z0-9_]{22}", _WORD, _token(rb"[A-Za-z0-9_]*+", rb"[A-Za-z0-9_]*+")),
        _Kind(  # JWT
            r"eyJ[A-Za-z0-9_-]{5}",
            _WORD,
            _token(_IN_WORD + rb"\.eyJ[A-Za-z0-9_-]{5,}+\." + _IN_WORD, _IN_WORD),
        ),
        _Kind(
            rf"{_PEM}(?:-----END [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----)?",
            rf"-{{1,5}}(?:B[A-Z0-9 ]{{0,70}}-{{0,5}})?\z|{_PEM}(?:-{{1,5}}(?:E[A-Z0-9 ]{{0,70}}-{{0,5}})?)?\z",
            hint=b"-",
        ),
    ),
}


def _made() -> Iterator[tuple[PiiKind, list[tuple[_Kind, Compiled, Compiled]]]]:
    for name, kinds in _KINDS.items():
        yield name, [(kind, compiled(kind.pattern), compiled(kind.opening)) for kind in kinds]


_COMPILED = dict(_made())
