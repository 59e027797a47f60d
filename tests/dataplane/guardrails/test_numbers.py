"""Numbers that prove themselves, against their definitions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.guardrails.numbers import IBAN, ISSUED, cards, ibans
from tests.dataplane.guardrails.guards import judge, pii

GROUPS = re.compile("[0-9]+")
LAYOUTS = ([4, 4, 4, 4], [4, 6, 5], [4, 6, 4], [4, 4, 4, 4, 3])


def luhn(digits: str) -> bool:
    doubled = [int(each) * (2 if index % 2 else 1) for index, each in enumerate(reversed(digits))]
    return sum(each - 9 if each > 9 else each for each in doubled) % 10 == 0


def naive_cards(text: str) -> Iterator[tuple[int, int]]:
    """The longest card from each group of digits on."""
    groups = [found.span() for found in GROUPS.finditer(text)]
    for first in range(len(groups)):
        for last in reversed(range(first, len(groups))):
            those = groups[first : last + 1]
            digits = "".join(text[begin:end] for begin, end in those)
            between = [text[those[at][1] : those[at + 1][0]] for at in range(len(those) - 1)]
            near = all(re.fullmatch("[ -]", each) for each in between)
            printed = len(set(between)) == 1 and [end - begin for begin, end in those] in LAYOUTS
            issued = [lengths for low, high, lengths in ISSUED if low <= digits[: len(low)] <= high]
            proven = len(digits) in chain(*issued) and len(set(digits)) > 1 and luhn(digits)
            if proven and (near or (printed and re.fullmatch("[ .\t\n-]{1,3}", between[0]))):
                yield those[0][0], those[-1][1]
                break


numbers = st.lists(st.sampled_from(["4", "5", "1", "67", "4111", "5500", "0004", "3782", "822463", "10005", "3696"]))
gaps = st.sampled_from(["", " ", " ", "-", "  ", ".", " - ", "\t", "\n", "x", ", "])


@settings(max_examples=500, deadline=None)
@given(numbers, gaps)
def test_cards_are_found_as_by_their_definition(parts: list[str], gap: str) -> None:
    text = gap.join(parts)
    assert list(cards(text)) == list(naive_cards(text))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("456701"), st.sampled_from(["", " ", "-"])), min_size=10, max_size=60))
def test_cards_are_found_wherever_they_begin(parts: list[tuple[str, str]]) -> None:
    text = "".join(digit + gap for digit, gap in parts)
    assert list(cards(text)) == list(naive_cards(text))


@given(st.text("0123456789", min_size=15, max_size=15))
def test_one_check_digit_of_ten_fits(digits: str) -> None:
    assert sum(bool(list(cards(f"4{digits[1:]}{check}"))) for check in "0123456789") == 1


@given(st.sampled_from(sorted(IBAN)), st.data())
def test_an_iban_is_of_its_countrys_length(country: str, data: st.DataObject) -> None:
    account = data.draw(st.text("0123456789ABCXYZ", min_size=IBAN[country] - 4, max_size=IBAN[country] - 4))
    number = int("".join(str(int(each, 36)) for each in f"{account}{country}00"))
    iban = f"{country}{98 - number % 97:02}{account}"
    assert list(ibans(iban)) == [(0, len(iban))]
    assert not list(ibans(iban + "0"))
    assert not list(ibans(f"{country}{97 - number % 97:02}{account}"))
    assert judge(pii("iban")).whole(f"x {iban} y").text == "x [IBAN] y"


@pytest.mark.parametrize("text", ["9111111111111110", "4" * 16, "0" * 16])
def test_no_cards(text: str) -> None:
    assert not list(cards(text))
