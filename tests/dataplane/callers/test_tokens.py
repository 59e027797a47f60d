"""Tokens: whom an issuer vouches for, what is refused, and what is remembered."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import secrets
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.callers import CallerIndex, Credentials, Proof
from dataplane.callers.tokens import FEW, IN_ALL, LEEWAY, LONGEST, REMEMBERED, KeyUnknown
from dataplane.errors import Refusal
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.slices import at_once
from dataplane.table import Authentication, AuthenticationMode, CallerKey, CallerSet
from tests.dataplane.callers.issuers import (
    AUDIENCE,
    ISSUER,
    Json,
    callers,
    claims,
    jwk,
    pem,
    public_keys,
    signed,
    token,
    unsigned,
)

NOW = 1_800_000_000.0
EC = jwk("P-256", kid="a")
USUAL = callers(EC)
KEYS = CallerSet(
    id="ai/keys", namespace="ai", keys=(CallerKey(name="ci-bot", sha256=hashlib.sha256(b"a.b.c").hexdigest()),)
)


def trusting(*sets: CallerSet, mode: AuthenticationMode = AuthenticationMode.REQUIRED) -> Authentication:
    return Authentication(policy="ai/p", mode=mode, callers=tuple(each.id for each in sets))


def shown(text: str, *sets: CallerSet, now: float = NOW, index: CallerIndex | None = None) -> Caller:
    """Whom the token admits, where these sets are trusted. Raises Refusal."""
    sets = sets or (USUAL,)
    index = index or CallerIndex(sets)
    return index.authenticate(trusting(*sets), Credentials((text,)), now, "ai/voice").caller


def refused(text: str, *sets: CallerSet, now: float = NOW) -> str:
    with pytest.raises(Refusal) as refusal:
        shown(text, *sets, now=now)
    assert refusal.value.status == 401
    assert refusal.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert not [part for part in text.split(".") if len(part) > 8 and part in refusal.value.message]
    return f"{refusal.value.code}: {refusal.value.message}"


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("RS256", "RSA"),
        ("RS384", "RSA"),
        ("RS512", "RSA"),
        ("PS256", "RSA"),
        ("PS384", "RSA"),
        ("PS512", "RSA"),
        ("ES256", "P-256"),
        ("ES384", "P-384"),
        ("ES512", "P-521"),
        ("EdDSA", "Ed25519"),
    ],
)
def test_public_keys_of_every_kind(algorithm: str, kind: str) -> None:
    trusted = callers(jwk(kind, kid="a", alg=algorithm))
    good = token(claims(NOW), algorithm, kind)
    assert shown(good, trusted) == Caller("ai", "alice", "")
    assert "signature" in refused(token(claims(NOW), algorithm, kind, number=1), trusted)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"sub": "auth0|alice b@example.com"}, "auth0|alice b@example.com"),
        ({"sub": "x" * 255}, "x" * 255),
        ({"aud": ["other", AUDIENCE]}, "alice"),
        ({"nbf": None}, "alice"),
        ({"nbf": NOW + LEEWAY - 1}, "alice"),
        ({"exp": NOW - LEEWAY + 1}, "alice"),
        ({"exp": int(NOW) + 10}, "alice"),
        ({"iat": "whenever", "groups": ["a", {"b": None}], "é": "é"}, "alice"),
    ],
)
def test_what_is_accepted(said: Json, expected: str) -> None:
    assert shown(token(claims(NOW, **said))).key == expected


EXPIRY = "It needs a claim exp"
NAME = "Its claim sub must name the caller"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"iss": "https://idp.example.com/"}, "Its issuer (iss) is none"),
        ({"iss": None}, "Its issuer (iss) is none"),
        ({"iss": [ISSUER]}, "Its issuer (iss) is none"),
        ({"aud": "other"}, "It is for somebody else"),
        ({"aud": None}, "It is for somebody else"),
        ({"aud": []}, "It is for somebody else"),
        ({"aud": [[AUDIENCE], {AUDIENCE: 1}, 5]}, "It is for somebody else"),
        ({"aud": {AUDIENCE: 1}}, "It is for somebody else"),
        ({"exp": None}, EXPIRY),
        ({"exp": str(NOW + 60)}, EXPIRY),
        ({"exp": True}, EXPIRY),
        ({"exp": -1}, EXPIRY),
        ({"exp": 10**30}, EXPIRY),
        ({"exp": [NOW]}, EXPIRY),
        ({"exp": NOW - LEEWAY}, "It has expired"),
        ({"exp": 0}, "It has expired"),
        ({"nbf": NOW + LEEWAY + 1}, "It is not valid yet"),
        ({"nbf": "now"}, EXPIRY),
        ({"sub": None}, NAME),
        ({"sub": ""}, NAME),
        ({"sub": " alice"}, NAME),
        ({"sub": "alice\n"}, NAME),
        ({"sub": "alice\r\nx-team: admins"}, NAME),
        ({"sub": "\N{CYRILLIC SMALL LETTER A}lice"}, NAME),
        ({"sub": "x" * 256}, NAME),
        ({"sub": 5}, NAME),
        ({"sub": ["alice"]}, NAME),
        ({"sub": {"name": "alice"}}, NAME),
        ({"sub": True}, NAME),
    ],
)
def test_claims_that_are_refused(said: Json, why: str) -> None:
    why = f"invalid_token: The token is not accepted. {why}"
    assert refused(token(claims(NOW, **said))).startswith(why)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"[]", "Its header or its claims are not"),
        (b'"alice"', "Its header or its claims are not"),
        (b"", "It is no signed JWT"),
        (b"{", "Its header or its claims cannot be read"),
        (b'{"exp": NaN}', "Its header or its claims cannot be read"),
        (b'{"exp": 1e999}', "Its header or its claims cannot be read"),
        (b"[" * 3000, "Its header or its claims cannot be read"),
        (b"\xff\xfe", "Its header or its claims cannot be read"),
    ],
)
def test_payloads_that_are_no_claims(payload: bytes, why: str) -> None:
    assert why in refused(signed(payload, kid="a"))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None", "kid": "a"},
        {"alg": "none", "kid": "a"},
        {"alg": "", "kid": "a"},
        {"kid": "a"},
        {"alg": "ES256", "kid": 5},
        {"alg": ["ES256"], "kid": "a"},
        {"alg": "ES256", "kid": "a", "crit": ["b64"], "b64": False},
        {"alg": "ES256", "kid": "a", "crit": []},
        {"alg": "ES256", "kid": "a", "b64": False},
        {"alg": "RS256", "kid": "a"},
        {"alg": "ES384", "kid": "a"},
        {"alg": "HS256", "kid": "a"},
        {"alg": "ES256", "kid": "../../dev/null"},
        {"alg": "ES256", "kid": "b", "jwk": EC, "jku": "https://evil.example.com/", "x5u": "https://evil.example.com/"},
        [],
        "ES256",
    ],
)
def test_headers_that_are_refused(header: object) -> None:
    assert refused(unsigned(header, claims(NOW))).startswith("invalid_token: ")


def test_no_signature_at_all() -> None:
    header, said, _ = unsigned({"alg": "none", "kid": "a"}, claims(NOW)).split(".")
    assert refused(f"{header}.{said}.").startswith("invalid_token: ")


@pytest.mark.parametrize("kind", ["RSA", "P-256"])
def test_a_public_key_is_no_shared_secret(kind: str) -> None:
    """The classic confusion: an HMAC with the public key, which everybody has, as its secret."""
    trusted = callers(jwk(kind, kid="a"))
    for secret in (pem(kind), json.dumps(jwk(kind)).encode(), public_keys(jwk(kind, kid="a"))[0].jwk.encode()):
        header, said, _ = unsigned({"alg": "HS256", "kid": "a"}, claims(NOW)).split(".")
        mac = hmac.new(secret, f"{header}.{said}".encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        assert "Its key (kid) is none" in refused(f"{header}.{said}.{signature}", trusted)


def test_a_key_serves_its_own_algorithm_alone() -> None:
    trusted = callers(jwk("RSA", kid="a", alg="RS256"))
    assert shown(token(claims(NOW), "RS256", "RSA"), trusted).key == "alice"
    assert "or is for another algorithm" in refused(token(claims(NOW), "PS256", "RSA"), trusted)
    assert "or is for another algorithm" in refused(token(claims(NOW), "RS512", "RSA"), trusted)


def test_another_issuers_key_does_not_sign_for_this_one() -> None:
    other = callers(jwk("P-256", 1, kid="b"), name="https://other.example.com")
    forged = token(claims(NOW), number=1, kid="b")
    assert "Its key (kid) is none" in refused(forged, USUAL, other)
    assert "signature" in refused(token(claims(NOW), number=1, kid="a"), USUAL, other)
    assert shown(token(claims(NOW, iss="https://other.example.com"), number=1, kid="b"), USUAL, other).key == "alice"


def test_tokens_that_were_tampered_with() -> None:
    good = token(claims(NOW))
    assert shown(good).key == "alice"
    chance = random.Random(7)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    for _ in range(300):
        place = chance.randrange(len(good))
        other = chance.choice(alphabet.replace(good[place], ""))
        with pytest.raises(Refusal):
            shown(good[:place] + other + good[place + 1 :])
    header, said, signature = good.split(".")
    mallory = unsigned({}, claims(NOW, sub="mallory")).split(".")[1]
    assert "signature" in refused(f"{header}.{mallory}.{signature}")
    for odd in (
        f"{good}=",
        f"{good}.",
        f".{good}",
        f"{good} ",
        f"{header}.{said}.{signature}\n",
        f"{header}..{signature}",
    ):
        with pytest.raises(Refusal):
            shown(odd)


def test_huge_tokens_are_not_looked_at() -> None:
    assert f"longer than {LONGEST} characters" in refused(token(claims(NOW, padding="x" * LONGEST)))
    assert shown(token(claims(NOW, padding="x" * (LONGEST // 2)))).key == "alice"


def test_tokens_without_a_kid() -> None:
    one, more = callers(EC), callers(EC, jwk("P-256", 1, kid="b"), jwk("RSA", kid="c"))
    assert shown(token(claims(NOW), kid=None), one).key == "alice"
    assert "Its key (kid) is none" in refused(token(claims(NOW), kid=None), more)
    assert shown(token(claims(NOW), "RS256", "RSA", kid=None), more).key == "alice"


def test_one_kid_twice_is_nobodys() -> None:
    assert "Its key" in refused(token(claims(NOW)), callers(EC, jwk("P-256", 1, kid="a")))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
_CLAIMS = st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "sub", "team"]), _JSON)
_HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64"]), _JSON)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_=.-]*", fullmatch=True) | st.builds(unsigned, _HEADERS, _CLAIMS))
def test_whatever_is_shown_is_refused_in_good_order(text: str) -> None:
    with pytest.raises(Refusal):
        shown(text.encode("utf-8", "replace").decode(), USUAL, KEYS)


@given(_CLAIMS)
def test_whatever_an_issuer_signs_is_refused_in_good_order(said: Json) -> None:
    with suppress(Refusal):
        assert shown(token({**claims(NOW), **said})).namespace == "ai"


# -- who it is


@pytest.mark.parametrize(
    ("issuer", "said", "expected"),
    [
        ({}, {}, Caller("ai", "alice", "support")),
        ({"key_claim": "email"}, {"email": "a@example.com"}, Caller("ai", "a@example.com", "support")),
        ({"team_claim": "https://x/team"}, {"https://x/team": "sales"}, Caller("ai", "alice", "sales")),
    ],
)
def test_identity(issuer: dict[str, str], said: Json, expected: Caller) -> None:
    assert shown(token(claims(NOW, **said)), callers(EC, team="support", **issuer)) == expected


@pytest.mark.parametrize("team", [None, "", "-x", "x-", "a b", "x" * 64, 5, ["support"], "support\n", "é"])
def test_a_team_of_another_shape_is_refused(team: object) -> None:
    trusted = callers(EC, team_claim="team")
    assert "Its claim team must name the caller's team" in refused(token(claims(NOW, team=team)), trusted)


def test_namespaces_name_their_callers_apart() -> None:
    """One issuer, trusted by two tenants, and a key of the same name: three callers in two namespaces."""
    ours, theirs = callers(EC), callers(EC, namespace="other")
    good = token(claims(NOW, sub="ci-bot"))
    index = CallerIndex([ours, theirs, KEYS])
    assert shown(good, ours, index=index) == Caller("ai", "ci-bot")
    assert shown(good, theirs, index=index) == Caller("other", "ci-bot")
    assert shown("a.b.c", KEYS, ours, index=index) == Caller("ai", "ci-bot")


def test_a_key_may_look_like_a_token_and_keys_may_be_no_tokens() -> None:
    assert shown("a.b.c", USUAL, KEYS).key == "ci-bot"
    assert refused("a.b.d", USUAL, KEYS).startswith("invalid_token: ")
    assert refused("sk-guess", USUAL, KEYS).startswith("invalid_api_key: ")
    assert refused("a.b.d", KEYS).startswith("invalid_api_key: ")


def test_modes() -> None:
    index = CallerIndex([USUAL])
    optional = trusting(USUAL, mode=AuthenticationMode.OPTIONAL)
    assert index.authenticate(optional, Credentials(), NOW, "ai/voice").caller == ANONYMOUS
    assert index.authenticate(optional, Credentials((token(claims(NOW)),)), NOW, "ai/voice").caller.key == "alice"
    with pytest.raises(Refusal, match="signature"):
        index.authenticate(optional, Credentials((token(claims(NOW), number=1),)), NOW, "ai/voice")


# -- keys that are fetched


URL = "https://idp.example.com/jwks.json"
FETCHED = callers(url=URL)


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
    second = _built([FETCHED, other, KEYS], first)
    assert second.sources[URL] is first.sources[URL]
    assert second.verifiers[FETCHED.id] is first.verifiers[FETCHED.id]
    changed = callers(url=URL, audiences=("other",))
    third = _built([changed], second)
    assert third.sources[URL] is first.sources[URL]
    assert third.verifiers[changed.id] is not first.verifiers[changed.id]
    with pytest.raises(Refusal, match="audience"):
        shown(token(claims(NOW)), changed, index=third)
    assert _built([], third).sources == {}


def _built(sets: list[CallerSet], previous: CallerIndex) -> CallerIndex:
    return at_once(CallerIndex.building(sets, previous))


def test_keys_that_stand_in_the_policy_are_read_once() -> None:
    first = CallerIndex([USUAL])
    shown(token(claims(NOW)), index=first)
    second = _built([USUAL, KEYS], first)
    assert second.verifiers[USUAL.id] is first.verifiers[USUAL.id]
    changed = callers(jwk("P-256", 1, kid="a"))
    third = _built([changed], second)
    with pytest.raises(Refusal, match="signature"):
        shown(token(claims(NOW)), changed, index=third)


# -- what is remembered


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
    second = _built(crowd, first)
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
