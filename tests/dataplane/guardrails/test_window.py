"""However a text is cut, the same of it is shown, found and blocked as of the whole; and never more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.guardrails.folding import joined
from dataplane.guardrails.judge import Guard, Hit, Judge, Mark, Verdict, first_block, masked, masks_of
from dataplane.guardrails.window import Out, Window
from dataplane.table.guardrails import PiiKind
from tests.dataplane.guardrails.guards import ALL, judge, patterns, pii, remote, words
from tests.dataplane.guardrails.test_pii import FOUND, NOT

GUARDS = {
    "words": words("card", "straße", "c++", "two words", "金"),
    "words, blocked": words("bad", "bad luck", "evil", action="block", name="no-evil"),
    "parts of words": words("aba", "bab", whole=False, name="no-parts"),
    "patterns": patterns(r"a[ab]{0,3}b", r"\bfoo\b", r"^x.", r"b$", r"[0-9]{2,4}?"),
    "patterns, blocked": patterns(r"ab{2,4}", r"(?i)straße\b", action="block", name="no-ab"),
    "flagged": patterns("a+", action="flag", name="flagged"),
    "shadow": words("card", action="block", shadow=True, name="shadow"),
    "data": pii(),
    "cards": pii("card"),
    "numbers": pii("phone", "iban", "ssn"),
    "keys, blocked": pii("key", "email", action="block"),
}
UNBOUNDED = {"unbounded": patterns(r"secret:.*"), "unbounded, blocked": patterns("a+b", action="block")}
TOKENS = [
    *"ab01 -.@+:x(\x00\x7f\x85日金\u0301\u200b\u00ad\u0338\uff41ß１\ud835\udc1c\U0001d41a\u1100\u1161\u11a8_\n",
    *[
        "card",
        "bad",
        "luck",
        "evil",
        "two",
        "words",
        "foo",
        "STRASSE",
        "straße",
        "c++",
        "secret:",
        "ｃａｒｄ",
        "ﬁ",
        "㎏",
    ],
    *["4111", "1111", "4111 1111 1111 1111", "3782", "822463", "10005", "bob@", "example.com", "e\u0301"],
    *["+49 30 901820", "(212)", "555-", "0123", "DE89 3704 0044 0532 0130", "GB82WEST12345698765432", "123-45-6789"],
    *["sk-abcdefghij0123456789", "AKIA", "ABCDEFGHIJKLMNOP", "eyJhbGciOi.eyJzdWIiOi.", "ghp_"],
    *["-----BEGIN PRIVATE KEY-----", "MIIB", "-----END PRIVATE KEY-----"],
]
texts = st.lists(st.sampled_from(TOKENS), max_size=30).map("".join)
some_guards = st.lists(st.sampled_from(list(GUARDS)), min_size=1, max_size=3, unique=True)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def outs(judge: Judge, pieces: Sequence[str]) -> list[Out]:
    window = Window(judge)
    return [*[window.add(piece) for piece in pieces], window.end()]


def whole(guards: Sequence[Guard], text: str) -> tuple[str, Verdict]:
    """What may be shown of a text that is judged whole, by its definition; and the verdict."""
    verdict = judge(*guards).whole(text)
    text = joined(text)
    marks = [Mark(finding, guard) for guard in guards if guard.detector for finding in guard.detector.find(text)]
    block = first_block(marks)
    masks = masks_of([mark for mark in marks if block is None or mark.finding.start <= block.finding.start])
    until = block.finding.start if block else len(text)
    until = min([until, *[mask.start for mask in masks if mask.start < until < mask.end]])
    return masked(text, 0, until, masks), verdict


def counted(hits: Sequence[Hit]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for hit in hits:
        counts[hit.guardrail.name, hit.rule] += hit.findings
    return counts


DATA = [text for kind in ALL for text in [*FOUND[kind], *NOT[kind]]]


@st.composite
def broken_data(draw: st.DrawFn) -> str:
    """Parts of what is personal and of what is not, one behind the other."""
    parts = []
    for text in draw(st.lists(st.sampled_from(DATA), max_size=5)):
        begin = draw(st.integers(0, len(text)))
        parts.append(text[begin : draw(st.integers(begin, len(text)))] + draw(st.sampled_from(["", "", " ", "-", "."])))
    return "".join(parts)


@settings(max_examples=1000, deadline=None)
@example(["phone"], "0532 01304111 1111 1111 1112", 1)
@given(st.lists(st.sampled_from(ALL), min_size=1, max_size=2), broken_data(), st.sampled_from([1, 2, 5]))
def test_cuts_make_no_difference_to_data(kinds: list[PiiKind], text: str, size: int) -> None:
    guards = [pii(*kinds), GUARDS["keys, blocked"]]
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert joined("".join(out.shown for out in outs(judge(*guards), pieces))) == whole(guards, text)[0]


@settings(max_examples=1500, deadline=None)
@given(some_guards, cut_texts())
def test_cuts_make_no_difference(names: list[str], pieces: list[str]) -> None:
    guards = [GUARDS[name] for name in names]
    shown, verdict = whole(guards, "".join(pieces))
    said = outs(judge(*guards), pieces)
    blocks = [out.verdict.blocked for out in said if out.verdict.blocked]
    assert joined("".join(out.shown for out in said)) == shown
    assert blocks == ([verdict.blocked] if verdict.blocked else [])
    found = counted([hit for out in said for hit in out.verdict.hits])
    if verdict.blocked:
        assert found <= counted(verdict.hits)
    else:
        assert found == counted(verdict.hits)
        assert shown == (joined("".join(pieces)) if verdict.text is None else verdict.text)


@settings(max_examples=300, deadline=None)
@given(some_guards, cut_texts())
def test_every_character_by_itself(names: list[str], pieces: list[str]) -> None:
    guards = [GUARDS[name] for name in names]
    text = "".join(pieces)
    assert joined("".join(out.shown for out in outs(judge(*guards), list(text)))) == whole(guards, text)[0]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*UNBOUNDED.values(), remote()]), cut_texts())
def test_nothing_is_shown_before_the_end_where_nothing_is_certain(guard: Guard, pieces: list[str]) -> None:
    *before, end = outs(judge(guard), pieces)
    assert all(out == Out("", Verdict()) for out in before)
    assert end.shown == whole([guard], "".join(pieces))[0]


@settings(max_examples=300, deadline=None)
@given(cut_texts(), texts)
def test_nothing_that_blocks_begins_in_what_was_shown(pieces: list[str], more: str) -> None:
    """Whatever may still come: what is shown after each piece holds no beginning of a finding."""
    guards = [GUARDS["words, blocked"], GUARDS["patterns, blocked"], GUARDS["keys, blocked"]]
    window = Window(judge(*guards))
    shown = joined("".join(window.add(piece).shown for piece in pieces))
    marks = [each for guard in guards if guard.detector for each in guard.detector.find(joined("".join(pieces) + more))]
    assert all(finding.start >= len(shown) for finding in marks)


def test_prose_is_shown_word_by_word() -> None:
    shown = [out.shown for out in outs(judge(pii()), ["Hello", " world", ", how", " are", " you?"])]
    assert shown == ["", "Hello ", "world, ", "how ", "are you", "?"]


def test_as_much_is_held_as_the_longest_finding_has() -> None:
    window = Window(judge(words("badger", action="block")))
    assert window.add("x" * 100).shown == "x" * 93


def test_who_only_looks_on_holds_nothing() -> None:
    first, second, end = outs(judge(words("card", action="flag"), remote("flag")), ["a ca", "rd"])
    assert (first.shown, second.shown, end.shown) == ("a ca", "rd", "")
    assert [(hit.rule, hit.action) for hit in end.verdict.hits] == [("words[0]", "flag")]


def test_after_a_block_there_is_nothing() -> None:
    window = Window(judge(words("card", action="block"), words("card", action="flag")))
    blocked = window.add("my card is")
    assert (blocked.shown, window.blocked) == ("my ", True)
    assert blocked.verdict.blocked is not None
    assert window.add(" more") == window.end() == Out("", Verdict())


@pytest.mark.parametrize("text", ["\u200b" * 20_000 + "card", "5" * 20_000, "a" * 20_000 + "@", "-" * 20_000])
def test_what_is_held_for_long_is_not_looked_at_with_every_piece(text: str) -> None:
    guards = [pii(), words("card")]
    assert "".join(out.shown for out in outs(judge(*guards), list(text))) == whole(guards, text)[0]


def test_half_a_character_waits_for_the_other_half() -> None:
    first, second, end = outs(judge(words("card", action="block")), ["card\ud835", "\udc1a"])
    assert (first.shown, second.shown) == ("", "")
    assert end.verdict == Verdict()
    assert end.shown == "card\U0001d41a"
    *_, end = outs(judge(words("card", action="block")), ["\ud835", "\udc1card"])
    assert end.verdict.blocked is not None
