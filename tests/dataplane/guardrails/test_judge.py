"""What guardrails say of a whole text."""

from __future__ import annotations

import pytest

from dataplane.guardrails.judge import TOO_LARGE, Answer, Guard, Judge, Verdict, answered, making, ready, why
from dataplane.table.guardrails import Guardrail, Keywords, Pattern, Regex
from tests.dataplane.guardrails.guards import judge, patterns, pii, remote, words


def test_nothing_found() -> None:
    assert judge(words("card"), pii(), patterns("x+y")).whole("all is well") == Verdict()


def test_the_block_that_begins_first_is_told() -> None:
    verdict = judge(words("two", action="block", name="b"), words("one", action="block", name="a")).whole("one two")
    assert verdict.blocked is not None
    assert (verdict.blocked.guardrail.name, verdict.blocked.rule) == ("a", "words[0]")
    assert verdict.text is None
    assert len(verdict.hits) == 2


@pytest.mark.parametrize(
    ("guard", "told"),
    [
        (words("two"), "no-words: keywords"),
        (patterns("t.o"), "no-pattern: p0"),
        (words("two")._replace(rule=words("two").rule.model_copy(update={"reason": "not here"})), "not here"),
    ],
)
def test_a_client_is_told_what_it_can_understand(guard: Guard, told: str) -> None:
    """Not which of the words in a Policy it was."""
    rule = guard.rule.model_copy(update={"action": "block"})
    blocked = judge(guard._replace(rule=rule)).whole("one two").blocked
    assert blocked is not None
    assert why(blocked) == f"Guardrail blocked this request: {told}"


def test_masks_are_of_every_guardrail_and_judge_no_labels() -> None:
    guards = words("bob", "card", name="words"), pii("email"), patterns("[A-Z]+", name="capitals")
    assert judge(*guards).whole("bob BOB bob@example.com").text == "[words] [words] [EMAIL]"


def test_of_two_that_overlap_the_wider_names_the_mask() -> None:
    guards = patterns("abcd", name="wide"), patterns("cde", name="narrow")
    assert judge(*guards).whole("-abcde-").text == "-[wide]-"
    assert judge(*reversed(guards)).whole("-abcde-").text == "-[wide]-"
    assert judge(patterns("ab", name="narrow"), patterns("bcde", name="wide")).whole("abcde").text == "[wide]"


def test_who_looks_on_changes_nothing() -> None:
    guards = words("card", action="flag"), words("card", action="block", shadow=True, name="shadow")
    verdict = judge(*guards).whole("card, card")
    assert (verdict.text, verdict.blocked) == (None, None)
    found = [(hit.guardrail.name, hit.rule, hit.action, hit.shadow, hit.findings) for hit in verdict.hits]
    assert found == [("no-words", "words[0]", "flag", False, 2), ("shadow", "words[0]", "block", True, 2)]


def test_a_guardrail_holds_in_its_directions() -> None:
    rule = Guardrail(
        policy="a/p", name="in", input=True, output=False, action="block", keywords=Keywords(words=("card",))
    )
    assert Judge([ready(rule)], "input").whole("card").blocked
    assert not Judge([ready(rule)], "output").whole("card").hits


def test_somebody_else_is_asked() -> None:
    asking = judge(remote(), words("card"))
    assert [rule.name for rule in asking.remote] == ["moderated"]
    assert asking.waits
    assert not judge(remote("flag")).waits
    assert asking.whole("card").text == "[no-words]"


@pytest.mark.parametrize(
    ("word", "text", "shown"),
    [
        ("card", "Card, CARD; discard cards card_ card1 _card", "[k], [k]; discard cards card_ card1 _card"),
        ("foo bar", "foo barn, foo bar", "foo barn, [k]"),
        ("foo bar", "foo  bar foo\nbar foo\r\n  bar foo\u00a0bar foo\u2003 bar", "[k] [k] [k] [k] [k]"),
        ("foo\tbar", "foo bar foobar foo\n\n\n\n\nbar", "[k] foobar foo\n\n\n\n\nbar"),
        ("c++", "c++ c++x xc++", "[k] [k]x xc++"),
        ("@home", "x@home @homes", "x[k] @homes"),
        ("straße", "STRASSE Straße straßen", "[k] [k] straßen"),
        ("strasse", "Straße", "[k]"),
        ("ελλάδα", "ΕΛΛΆΔΑ ελλάδας", "[k] ελλάδας"),
        ("东京", "我在东京都", "我在[k]都"),
        ("café", "cafe\u0301 CAFÉ", "[k] [k]"),
        ("card", "c\u200ba\u00adr\u2060d \uff43\uff41\uff52\uff44", "[k] [k]"),
        ("card", "card\u0331 foo\u00adcard", "[k]\u0331 foo\u00ad[k]"),
        ("fi", "\ufb01 \ufb01n", "[k] \ufb01n"),
        ("a.b", "axb a.b", "axb [k]"),
        ("\u200b", "a\u200bb", "a[k]b"),
    ],
)
def test_keywords(word: str, text: str, shown: str) -> None:
    assert judge(words(word, name="k")).whole(text).text == shown


def test_shorter_keywords_are_found_where_longer_ones_are_not() -> None:
    verdict = judge(words("foo bar", "foo", name="k")).whole("foo bar foo barn")
    assert verdict.text == "[k] [k] barn"
    assert [hit.rule for hit in verdict.hits] == ["words[0]", "words[1]"]


def test_keywords_by_case() -> None:
    assert judge(words("Card", ignore_case=False, name="k")).whole("card Card CARD").text == "card [k] CARD"


def test_keywords_within_words() -> None:
    assert judge(words("car", whole=False, name="k")).whole("discard").text == "dis[k]d"


def test_a_keyword_that_is_one_only_when_read_has_its_own_rule() -> None:
    guard = words("\uff41", "\u200b", "a", name="k")
    assert {hit.rule for hit in judge(guard).whole("\uff41 a").hits} == {"words[0]", "words[2]"}


def test_what_follows_more_than_is_looked_for_is_one_finding() -> None:
    verdict = judge(words("card", name="k"), pii("email")).whole("card " * 5 + "end, a@b.cd", most=3)
    assert verdict.text == "[k] [k] [k] [k]"
    assert {hit.rule: hit.findings for hit in verdict.hits} == {"words[0]": 4, "email": 1}
    exactly = "card " * 3 + "end"
    assert judge(words("card", name="k")).whole(exactly, most=3).text == "[k] [k] [k] end"


MANY = tuple([f"{index:04}" + "é" * 252 for index in range(1000)])


def test_many_keywords() -> None:
    for index in (0, 500, 999):
        assert judge(words(*MANY, action="flag")).whole(f"x {MANY[index]} y").hits[0].rule == f"words[{index}]"


@pytest.mark.parametrize(
    ("looks", "least"),
    [
        ({"keywords": Keywords(words=MANY)}, 10),
        ({"keywords": Keywords(words=("card",))}, 1),
        ({"regex": Regex(patterns=tuple([Pattern(name=f"p{index}", pattern="a+b") for index in range(64)]))}, 64),
    ],
)
def test_what_takes_long_to_make_is_made_in_slices(looks: dict[str, object], least: int) -> None:
    rule = Guardrail(policy="a/p", name="n", input=True, output=True, action="block")
    assert sum(1 for _ in making(rule.model_copy(update=looks))) >= least


def test_a_keyword_that_cannot_be_searched() -> None:
    with pytest.raises(ValueError, match="a keyword is too long"):
        words("é" * 1_000_000)


@pytest.mark.parametrize(
    ("pattern", "text", "shown"),
    [
        (r"\bfoo\b", "foo food", "[p] food"),
        (r"[0-9]{3}", "12345678", "[p][p]78"),
        (r"é+", "caféé", "caf[p]"),
        (r"[0-9]{2}", "\uff11\uff12 ٣٤", "[p] [p]"),
        (r"secret", "se\u200bcret", "[p]"),
        (r"x.*", "ax\nb", "a[p]\nb"),
        (r"\?", "a\ud800b?", "a[p]b[p]"),
    ],
)
def test_patterns(pattern: str, text: str, shown: str) -> None:
    verdict = judge(patterns(pattern, name="p")).whole(text)
    assert verdict.text == shown
    assert verdict.hits[0].rule == "p0"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a(", "pattern p0: missing"),
        ("(?=a)", "pattern p0: invalid perl operator"),
        ("a*", "pattern p0: it matches the empty text, and so everything"),
        (r"\b", "pattern p0: it matches the empty text"),
        ("a" * 1025, "pattern p0: it has more than 1024 characters"),
        ("\ud800", "pattern p0: it is no Unicode text"),
        ("(?:a{1000}){1000}", "pattern p0: "),
        (r"(?:\pL{500}){2}" * 20, "pattern p0: pattern too large"),
    ],
)
def test_patterns_that_cannot_be_used(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        patterns(pattern)


def test_what_matches_the_empty_text_unforeseen_is_no_finding() -> None:
    assert judge(patterns(r"\Qb\E?", name="p")).whole("abab").text == "a[p]a[p]"


def test_who_does_not_judge_lets_pass_what_is_declared_and_nothing_for_its_size() -> None:
    closed = remote().rule.model_copy(update={"action": "block"})
    opened = closed.model_copy(update={"open": True})
    shadow = closed.model_copy(update={"shadow": True})
    for guardrail, failed, passes in (
        (closed, "timeout", False),
        (opened, "timeout", True),
        (opened, TOO_LARGE, False),
        (shadow, TOO_LARGE, True),
    ):
        assert (answered(guardrail, Answer(failed=failed)).blocked is None) is passes


def test_what_nobody_judged_is_found_where_it_stops_the_text() -> None:
    """So that a line in the log has the request, and whoever asks why it was refused is answered."""
    guardrail = remote(action="block").rule
    for failed, rule in ("timeout", "not_judged"), (TOO_LARGE, TOO_LARGE):
        verdict = answered(guardrail, Answer(failed=failed))
        assert [(hit.rule, hit.action) for hit in verdict.hits] == [(rule, "block")]
        assert verdict.blocked == verdict.hits[0]
    assert answered(guardrail.model_copy(update={"open": True}), Answer(failed="timeout")).hits == ()


def test_a_webhook_that_blocks_what_it_was_to_mask() -> None:
    guardrail = remote(action="mask").rule
    verdict = answered(guardrail, Answer(rule="found"))
    assert [(hit.rule, hit.action) for hit in verdict.hits] == [("found", "block")]
    assert verdict.blocked == verdict.hits[0]
    assert [hit.action for hit in answered(guardrail, Answer(rule="found", text="[it]")).hits] == ["mask"]
