"""The keys that tokens are verified with: they are fetched, rotate, and outlive a reload."""

from __future__ import annotations

import pytest

from dataplane.callers import CallerIndex
from dataplane.callers.tokens import KeyUnknown
from dataplane.errors import Refusal
from tests.dataplane.callers.issuers import Json, callers, claims, jwk, public_keys, token
from tests.dataplane.callers.showing import EC, FETCHED, KEYS, NOW, URL, USUAL, built, shown


def unknown(index: CallerIndex, text: str) -> KeyUnknown:
    with pytest.raises(KeyUnknown) as refusal:
        shown(text, FETCHED, index=index)
    return refusal.value


def test_without_any_keys_it_is_not_the_callers_fault() -> None:
    refusal = unknown(CallerIndex([FETCHED]), token(claims(NOW)))
    assert (refusal.status, refusal.code, refusal.url) == (503, "issuer_keys_unavailable", URL)
    assert int(refusal.headers["Retry-After"]) > 0


def test_keys_rotate() -> None:
    index = CallerIndex([FETCHED])
    old, new = token(claims(NOW)), token(claims(NOW), number=1, kid="b")
    index.sources[URL].take(public_keys(EC))
    assert shown(old, FETCHED, index=index).key == "alice"
    refusal = unknown(index, new)
    assert (refusal.status, refusal.code) == (401, "invalid_token")
    index.sources[URL].take(public_keys(EC, jwk("P-256", 1, kid="b")))
    assert {shown(each, FETCHED, index=index).key for each in (old, new)} == {"alice"}
    index.sources[URL].take(public_keys(jwk("P-256", 1, kid="b")))
    assert shown(new, FETCHED, index=index).key == "alice"
    assert unknown(index, old).status == 401


def test_a_key_that_was_replaced_under_its_name_is_another_one() -> None:
    index = CallerIndex([FETCHED])
    index.sources[URL].take(public_keys(EC))
    shown(token(claims(NOW)), FETCHED, index=index)
    index.sources[URL].take(public_keys(jwk("P-256", 1, kid="a")))
    with pytest.raises(Refusal, match="signature"):
        shown(token(claims(NOW)), FETCHED, index=index)


def test_a_signature_of_a_key_that_may_have_taken_the_name_of_a_known_one_asks_for_newer_keys() -> None:
    index = CallerIndex([FETCHED])
    index.sources[URL].take(public_keys(EC))
    new = token(claims(NOW), number=1)
    refusal = unknown(index, new)
    assert (refusal.status, refusal.code, refusal.url) == (401, "invalid_token", URL)
    assert "signature" in refusal.message
    index.sources[URL].take(public_keys(jwk("P-256", 1, kid="a")))
    assert shown(new, FETCHED, index=index).key == "alice"


def test_nobody_is_asked_for_newer_keys_where_none_are_fetched() -> None:
    with pytest.raises(Refusal, match="signature") as refusal:
        shown(token(claims(NOW), number=1))
    assert not isinstance(refusal.value, KeyUnknown)


def test_an_issuer_without_keys_says_so() -> None:
    index = CallerIndex([FETCHED])
    index.sources[URL].take(())
    assert unknown(index, token(claims(NOW))).status == 401


@pytest.mark.parametrize("said", [{"iss": "x"}, {"aud": "x"}, {"exp": NOW - 60}, {"nbf": NOW + 60}])
def test_nobody_is_asked_for_the_key_of_a_token_that_would_be_refused_anyway(said: Json) -> None:
    with pytest.raises(Refusal) as refusal:
        shown(token(claims(NOW, **said)), FETCHED)
    assert not isinstance(refusal.value, KeyUnknown)


def test_fetched_keys_and_known_tokens_outlive_a_reload() -> None:
    first = CallerIndex([FETCHED])
    first.sources[URL].take(public_keys(EC))
    shown(token(claims(NOW)), FETCHED, index=first)
    other = callers(url=URL, audiences=("other",), name="https://idp2.example.com")
    second = built([FETCHED, other, KEYS], first)
    assert second.sources[URL] is first.sources[URL]
    assert second.verifiers[FETCHED.id] is first.verifiers[FETCHED.id]
    changed = callers(url=URL, audiences=("other",))
    third = built([changed], second)
    assert third.sources[URL] is first.sources[URL]
    assert third.verifiers[changed.id] is not first.verifiers[changed.id]
    with pytest.raises(Refusal, match="audience"):
        shown(token(claims(NOW)), changed, index=third)
    assert built([], third).sources == {}


def test_keys_that_stand_in_the_policy_are_read_once() -> None:
    first = CallerIndex([USUAL])
    shown(token(claims(NOW)), index=first)
    second = built([USUAL, KEYS], first)
    assert second.verifiers[USUAL.id] is first.verifiers[USUAL.id]
    changed = callers(jwk("P-256", 1, kid="a"))
    third = built([changed], second)
    with pytest.raises(Refusal, match="signature"):
        shown(token(claims(NOW)), changed, index=third)
