"""Numbers that prove themselves: cards (ISO/IEC 7812, Luhn) and IBAN (ISO 13616, mod 97).

Somebody may write a text in which one could begin everywhere, so it costs little to see that none does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

_VALUES = bytes.maketrans(b"0123456789", bytes(range(10)))
_DOUBLED = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
_LETTERS = {ord(letter): str(value) for value, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)}

_NEAR = r"[ \-\u2010-\u2015\u2212]"
_plainly = re.compile(f"[0-9]++(?:{_NEAR}[0-9]++)*+").fullmatch
_near_ones = re.compile(_NEAR)
_groups = re.compile("[0-9]++").finditer
_runs = re.compile(r"(?<![0-9])[0-9](?:[ \t\r\n.\-\u2010-\u2015\u2212]{0,3}[0-9]){12,}+").finditer
"""Digits enough for a card, and what may be between them."""
_DIGITS = frozenset("0123456789")
_LAYOUTS = frozenset([(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3)])
"""Groups as they are printed on cards."""

# First digits, from and to, with the lengths that are issued. Sources: the networks' published ranges.
ISSUED: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("300", "305", (14, 16, 19)),  # Diners Club
    ("3095", "3095", (14, 16, 19)),
    ("36", "36", (14, 16, 19)),
    ("38", "39", (14, 16, 19)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("81", "82", (16, 17, 18, 19)),  # UnionPay, RuPay
    ("60", "60", (16,)),  # RuPay
    ("508", "508", (16,)),
    ("50", "50", (13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("56", "58", (13, 14, 15, 16, 17, 18, 19)),
    ("61", "61", (13, 14, 15, 16, 17, 18, 19)),
    ("63", "63", (13, 14, 15, 16, 17, 18, 19)),
    ("67", "69", (13, 14, 15, 16, 17, 18, 19)),
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("9792", "9792", (16,)),  # Troy
)

# Countries of the IBAN registry, by the length of theirs.
_LENGTHS = {
    15: "NO",
    16: "BE",
    18: "DK FK FI FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
IBAN = {country: length for length, countries in _LENGTHS.items() for country in countries.split()}
"""How many characters an IBAN has, by its country."""
_countries = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}(?=[0-9]{2})").finditer
_ibans = {
    length: re.compile(rf"[A-Za-z0-9](?:{_NEAR}?[A-Za-z0-9]){{{length - 1}}}(?![A-Za-z0-9])").match
    for length in _LENGTHS
}


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Where each begins and ends: as many whole groups of digits as are a card."""
    for run in _runs(text):
        groups = [found.span() for found in _groups(text, *run.span())]
        digits = "".join([text[begin:end] for begin, end in groups])
        offsets = list(accumulate([end - begin for begin, end in groups], initial=0))
        behind = {offset: index for index, offset in enumerate(offsets)}
        sums = _sums(digits.encode())
        for index, offset in enumerate(offsets[:-1]):
            for length in _issued(digits[offset : offset + 4]):
                end = offset + length
                if end in behind and (sums[end % 2][end] - sums[end % 2][offset]) % 10 == 0:
                    those = groups[index : behind[end]]
                    if digits.count(digits[offset], offset, end) < length and _belong(text, those):
                        yield those[0][0], those[-1][1]
                        break


def _sums(digits: bytes) -> tuple[list[int], list[int]]:
    """What Luhn adds up, from the first digit to each: every second one doubled, from the first on, or the second."""
    from_first, from_second = bytearray(digits.translate(_VALUES)), bytearray(digits.translate(_VALUES))
    from_first[::2] = digits[::2].translate(_DOUBLED)
    from_second[1::2] = digits[1::2].translate(_DOUBLED)
    return list(accumulate(from_first, initial=0)), list(accumulate(from_second, initial=0))


@lru_cache(maxsize=10_000)
def _issued(beginning: str) -> list[int]:
    """How many digits cards have that begin so; longest first."""
    found = {each for low, high, lengths in ISSUED if low <= beginning[: len(low)] <= high for each in lengths}
    return sorted(found, reverse=True)


def _belong(text: str, groups: Sequence[tuple[int, int]]) -> bool:
    """Are the groups of one number? Any may be with a space or a dash between them; else they are as on a card. What is
    behind a decimal point is none."""
    begin, end = groups[0][0], groups[-1][1]
    if _plainly(text, begin, end):
        return len(groups) > 1 or text[begin - 1 : begin] != "." or text[begin - 2 : begin - 1] not in _DIGITS
    between = {text[end:begin] for (_, end), (begin, _) in pairwise(groups)}
    return len(between) == 1 and tuple([end - begin for begin, end in groups]) in _LAYOUTS


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Where each begins and ends."""
    for found in _countries(text):
        length = IBAN.get(found[0].upper(), 0)
        whole = _ibans[length](text, found.start()) if length else None
        if whole and _fits(_near_ones.sub("", whole[0]).upper()):
            yield whole.span()


def _fits(iban: str) -> bool:
    """Do its check digits?"""
    return int((iban[4:] + iban[:4]).translate(_LETTERS)) % 97 == 1
