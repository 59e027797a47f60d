"""A hint is read by whoever has the key, is of no use on anything else, and nobody can make or change one."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dataplane.affinity.hints import NOBODY, Keys, Unsigned

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = Keys(NEW)
SIGNER = KEYS.signer("ai\0here", "ai\0bot")
IDS = st.text(max_size=30) | st.sampled_from(["resp_68a", "resp_", "_x", "", "resp_a_b", "tg1", "gpt-x"])


@given(IDS)
def test_an_id_comes_back_with_what_its_hint_says(original: str) -> None:
    read = KEYS.read_id(SIGNER.id(original))
    assert (read.original, read.encrypted) == (original, False)
    assert read.of_domain("ai\0here")
    assert read.of_caller("ai\0bot")
    assert not read.of_domain("ai\0there")
    assert not read.of_caller("ai\0other")


@given(IDS)
def test_a_content_too(original: str) -> None:
    read = KEYS.read_content(SIGNER.content(original))
    assert (read.original, read.encrypted) == (original, True)
    assert read.of_domain("ai\0here")
    assert read.of_caller("ai\0bot")


def test_an_id_keeps_its_prefix_and_a_gateway_may_stand_behind_a_gateway() -> None:
    once = SIGNER.id("resp_68a")
    assert once.startswith("resp_tg1")
    assert once.endswith("_68a")
    twice = Keys(OLD).signer("x", "y").id(once)
    assert KEYS.read_id(Keys(OLD).read_id(twice).original).original == "resp_68a"


@given(st.data())
def test_nothing_in_it_can_be_changed(data: st.DataObject) -> None:
    content = data.draw(st.booleans())
    text = SIGNER.content("gAAAAB") if content else SIGNER.id("resp_68a")
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii"))
    assume(other != text[at])
    changed = text[:at] + other + text[at + 1 :]
    with pytest.raises(Unsigned):
        (KEYS.read_content if content else KEYS.read_id)(changed)


@pytest.mark.parametrize("text", ["", "resp_68a", "resp_tg1_68a", "tg1.", f"resp_tg1{'A' * 39}_68a", "tg1" + "A" * 38])
def test_what_has_no_hint_of_ours(text: str) -> None:
    for read in (KEYS.read_id, KEYS.read_content):
        with pytest.raises(Unsigned):
            read(text)


def test_an_ids_hint_is_none_for_a_content() -> None:
    with pytest.raises(Unsigned):
        KEYS.read_content(SIGNER.id("68a").replace("_", "."))


def test_a_key_that_was_replaced_is_still_read_and_a_foreign_one_is_not() -> None:
    signed = Keys(OLD).signer("ai\0here", "ai\0bot").id("resp_68a")
    read = Keys(NEW, OLD).read_id(signed)
    assert read.of_domain("ai\0here")
    assert read.of_caller("ai\0bot")
    assert Keys(NEW, OLD).signer("ai\0here", "ai\0bot").id("resp_68a") == SIGNER.id("resp_68a")
    with pytest.raises(Unsigned):
        KEYS.read_id(signed)


def test_without_a_caller_of_ours_there_is_nobody() -> None:
    read = KEYS.read_id(KEYS.signer("ai\0here", "").id("resp_68a"))
    assert read.caller == NOBODY
    assert not read.of_caller("")


def test_a_hint_tells_no_names_and_no_repr_tells_a_key() -> None:
    keys = Keys.written("secret" * 10)
    signer = keys.signer("ai\0here", "ai\0bot")
    assert "here" not in signer.id("resp_68a")
    for shown in (repr(keys), repr(signer), repr(keys.read_id(signer.id("x")))):
        assert "secret" not in shown


def test_a_file_has_a_key_on_each_line_and_the_first_one_signs() -> None:
    keys = Keys.written(f"\n{NEW.decode()} \r\n\n{OLD.decode()}\n")
    assert keys.signer("d", "c").id("x") == Keys(NEW).signer("d", "c").id("x")
    assert keys.read_id(Keys(OLD).signer("d", "c").id("x"))


@pytest.mark.parametrize(("text", "why"), [(" \n", "no key"), ("a" * 32 + "\n" + "b" * 31, "less than 32 characters")])
def test_a_file_without_a_usable_key(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Keys.written(text)


def test_names_are_forgotten_and_made_again() -> None:
    before = SIGNER.id("x")
    for number in range(5000):
        KEYS.signer(f"domain {number}", "")
    assert KEYS.signer("ai\0here", "ai\0bot").id("x") == before
