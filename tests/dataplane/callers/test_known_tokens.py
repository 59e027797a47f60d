"""Tokens that were verified once: what is remembered of them, for how long, and what holds under a newer table."""

from __future__ import annotations

import hashlib
import secrets
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from dataplane.callers import CallerIndex, Credentials, Proof
from dataplane.callers.tokens import FEW, IN_ALL, LEEWAY, REMEMBERED
from dataplane.errors import Refusal
from dataplane.table import CallerSet
from tests.dataplane.callers.issuers import AUDIENCE, ISSUER, callers, claims, jwk, public_keys, token, unsigned
from tests.dataplane.callers.showing import EC, FETCHED, KEYS, NOW, URL, USUAL, built, shown, trusting


def test_a_known_token_ends_with_its_time() -> None:
    index = CallerIndex([USUAL])
    good = token(claims(NOW, exp=NOW + 60))
    assert shown(good, index=index, now=NOW + 60 + LEEWAY - 1).key == "alice"
    assert shown(good, index=index, now=NOW + 60 + LEEWAY - 1).key == "alice"
    with pytest.raises(Refusal, match="expired"):
        shown(good, index=index, now=NOW + 60 + LEEWAY)


def test_it_is_remembered_by_whom_it_was_verified() -> None:
    """A token that one Policy accepts is not known to another that would refuse it."""
    strict = callers(EC, namespace="other", audiences=("other",))
    index = CallerIndex([USUAL, strict])
    shown(token(claims(NOW)), USUAL, index=index)
    with pytest.raises(Refusal, match="audience"):
        shown(token(claims(NOW)), strict, index=index)


def test_a_bounded_number_is_remembered() -> None:
    trusted = callers(jwk("Ed25519", kid="a"))
    index = CallerIndex([trusted])
    for number in range(REMEMBERED + 50):
        shown(token(claims(NOW, jti=number), "EdDSA", "Ed25519"), trusted, index=index)
    assert len(index.verifiers[trusted.id]._remembered) == REMEMBERED


def test_the_more_issuers_there_are_the_less_is_remembered_of_each() -> None:
    many = [callers(EC, name=f"https://idp-{number}.example.com") for number in range(2 * IN_ALL // REMEMBERED)]
    index = CallerIndex(many)
    assert {each.room for each in index.verifiers.values()} == {REMEMBERED // 2}
    first = CallerIndex([USUAL])
    for number in range(FEW + 5):
        shown(token(claims(NOW, jti=number)), index=first)
    crowd = [USUAL, *(callers(EC, name=f"https://idp-{number}.example.com") for number in range(IN_ALL // FEW))]
    second = built(crowd, first)
    shown(token(claims(NOW, jti="last")), index=second)
    assert len(second.verifiers[USUAL.id]._remembered) == FEW


def test_a_hundred_thousand_guesses_leave_nothing() -> None:
    """Random keys, random tokens, tokens with unknown keys and with wrong signatures."""
    index = CallerIndex([USUAL, KEYS, FETCHED])
    index.sources[URL].take(public_keys(jwk("Ed25519", kid="z")))
    asked = trusting(KEYS, USUAL, FETCHED)
    kinds: list[Callable[[], str]] = [
        lambda: secrets.token_urlsafe(24),
        lambda: ".".join([secrets.token_urlsafe(18)] * 3),
        lambda: unsigned({"alg": "ES256", "kid": secrets.token_hex(4)}, claims(NOW)),
        lambda: unsigned({"alg": "none"}, {"iss": secrets.token_hex(4)}),
    ]

    def guesses(number: int) -> None:
        for each in range(number):
            with suppress(Refusal):
                index.authenticate(asked, Credentials((kinds[each % 4](),)), NOW, "ai/voice")
                raise AssertionError("somebody was let in")

    guesses(2000)
    tracemalloc.start()
    try:
        guesses(1000)
        before, _ = tracemalloc.get_traced_memory()
        guesses(8000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 64 * 1024
    guesses(89_000)
    assert not any(each._remembered for each in index.verifiers.values())


# -- later, under a newer table


def _proof(text: str = "", **said: object) -> Proof:
    index = CallerIndex([USUAL])
    text = text or token(claims(NOW, **said))
    return index.authenticate(trusting(USUAL), Credentials((text,)), NOW, "ai/voice").proof


@pytest.mark.parametrize(
    ("newer", "expected"),
    [
        (USUAL, True),
        (callers(EC, jwk("P-256", 1, kid="b")), True),
        (callers(jwk("P-256", 0, kid="renamed")), True),
        (callers(jwk("P-256", 1, kid="a")), False),
        (callers(), False),
        (callers(EC, audiences=("other", AUDIENCE)), True),
        (callers(EC, audiences=("other",)), False),
        (callers(EC, name="https://other.example.com"), False),
        (callers(EC, namespace="other"), False),
        (callers(EC, team="another"), True),
        (callers(url=URL), True),
        (KEYS, False),
    ],
)
def test_a_token_holds_while_it_would_be_accepted(newer: CallerSet, expected: bool) -> None:
    assert CallerIndex([newer]).holds(trusting(newer), _proof(), NOW) == expected


def test_a_token_holds_until_it_expires() -> None:
    held = _proof(exp=NOW + 60)
    assert held.expires == NOW + 60 + LEEWAY
    assert held.issuer == ISSUER
    index = CallerIndex([USUAL])
    assert index.holds(trusting(USUAL), held, NOW + 60 + LEEWAY - 1)
    assert not index.holds(trusting(USUAL), held, NOW + 60 + LEEWAY)
    assert not index.holds(None, held, NOW)


def test_what_is_left_of_a_token_opens_nothing() -> None:
    good = token(claims(NOW))
    held = _proof(good)
    assert good not in repr(held)
    assert held.digest == hashlib.sha256(good.encode()).digest()
    assert held.digest.hex() not in repr(held)
