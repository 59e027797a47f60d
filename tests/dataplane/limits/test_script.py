"""What the store is told and answers. The script itself runs in e2e/test_limits.py, in a real Redis."""

from __future__ import annotations

import pytest

from dataplane.limits import script
from dataplane.limits.tally import Tally
from tests.dataplane.limits.made import DAWN, REQUESTS, SEATS, TOKENS, want


def test_keys_are_readable_and_of_bounded_length() -> None:
    assert script.key("ai/p", "caller:ai/ci-bot") == "tidegate:limits:1:ai/p:caller:ai/ci-bot"
    odd = [script.key("ai/p", f"caller:ai/{name}") for name in ("a b", "é", "x" * 500, "x" * 501, "\ud800", "a\r\nb")]
    assert len(set(odd)) == len(odd)
    assert all(key.isascii() and key.isprintable() and len(key) < 120 for key in odd)


def test_it_is_told_totals_and_what_is_asked_for() -> None:
    tally = Tally("ai/p", "policy")
    tally.take((want(REQUESTS, 2), want(TOKENS, 100)), DAWN)
    tally.add(TOKENS, 30, DAWN)
    tally.count(TOKENS, DAWN).heard(7, 50, DAWN)
    asks = [(want(REQUESTS, 1), want(TOKENS, 100)), (want(TOKENS, 5, 999),)]
    minute, day = (DAWN + 60) * 1000, (DAWN + 86_400) * 1000
    sent = script.told("me", 9, tally, asks, DAWN).arguments
    assert sent[:7] == ["me", 9, 15_000, 60_000, 2, 2, 0]
    assert sent[7:19] == ["requests/Minute", minute, "u", 2, 0, 0, "tokens/Day", day, "r", 30, 100, 7]
    assert sent[19:] == [2, 1, 1, 10, 2, 100, 1000, 1, 2, 5, 999]


def test_only_who_knows_the_store_for_a_while_adds_up_who_is_gone() -> None:
    assert script.told("me", 9, Tally("ai/p", "policy"), [], DAWN, fold=True).arguments[6] == script.GONE_MS


def test_what_it_answers() -> None:
    tally = Tally("ai/p", "policy")
    for limit in (TOKENS, SEATS):
        tally.count(limit, DAWN)
    sent = script.told("me", 1, tally, [], DAWN)
    reply = script.reply([b"ok", int(DAWN * 1000), 1, b"101", 40, 300, 0, 2])
    assert (reply.status, reply.now, reply.found, reply.granted) == ("ok", DAWN, True, "101")
    script.heard(sent, reply)
    assert [(count.all_used, count.all_reserved) for count in tally.counts.values()] == [(40, 300), (0, 2)]
    tally.count(TOKENS, DAWN + 86_400)
    script.heard(sent, reply)
    assert tally.count(TOKENS, DAWN + 86_400).all_used == 0, "of a window that is over"
    assert script.reply([b"stale", 5000]) == script.Reply("stale", 5.0)


def test_what_the_others_have_set_aside_falls_away_when_nobody_hears_of_them() -> None:
    tally = Tally("ai/p", "policy")
    tally.count(SEATS, DAWN).heard(0, 3, DAWN)
    assert tally.count(SEATS, DAWN + 14.9).all_reserved == 3
    assert tally.count(SEATS, DAWN + 15).all_reserved == 0


@pytest.mark.parametrize("answer", [None, [], b"ok", [1, 2], [b"ok"]])
def test_what_is_no_answer_is_none(answer: object) -> None:
    with pytest.raises(ValueError, match="something else"):
        script.reply(answer)
