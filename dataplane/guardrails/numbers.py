"""Numbers that prove themselves: cards (ISO/IEC 7812, Luhn), IBAN (ISO 13616, mod 97), US social security numbers."""

from __future__ import annotations

from functools import lru_cache

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# First digits, from and to, with the lengths that are issued. Sources: the networks' published ranges.
_ISSUED: tuple[tuple[str, str, tuple[int, ...]], ...] = (
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


def card_lengths(digits: str) -> list[int]:
    """How many of the digits, from the first, may be a card: of a length that is issued in their range. Longest
    first."""
    return [length for length in _issued(digits[:4]) if length <= len(digits)]


@lru_cache(maxsize=10_000)
def _issued(beginning: str) -> list[int]:
    found = {each for low, high, lengths in _ISSUED if low <= beginning[: len(low)] <= high for each in lengths}
    return sorted(found, reverse=True)


def is_card(digits: str) -> bool:
    """Are they of a range and length that is issued, and does the check digit fit?"""
    return len(digits) in card_lengths(digits) and luhn(digits) and digits.count(digits[0]) < len(digits)


def luhn(digits: str) -> bool:
    numbers = [int(digit) for digit in digits[::-1]]
    return (sum(numbers[::2]) + sum([_DOUBLED[each] for each in numbers[1::2]])) % 10 == 0


def is_iban(characters: str) -> bool:
    """In upper case and without spaces."""
    if IBAN.get(characters[:2]) != len(characters):
        return False
    return int("".join([str(int(each, 36)) for each in characters[4:] + characters[:4]])) % 97 == 1


def is_ssn(area: str, group: str, serial: str) -> bool:
    """Is it one that is given out? Source: https://www.ssa.gov/employer/randomization.html"""
    return area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"
