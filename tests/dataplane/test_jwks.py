"""Key sets: what of them verifies tokens, and what is said of the rest."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane import jwks
from dataplane.table import PublicKey
from tests.dataplane.callers.issuers import Json, jwk, key_set


@pytest.mark.parametrize(
    ("kind", "members", "algorithm"),
    [
        ("RSA", {}, "RS256"),
        ("RSA", {"alg": "RS256"}, "RS256"),
        ("RSA", {"alg": "RS512"}, "RS512"),
        ("RSA", {"alg": "PS384"}, "PS384"),
        ("P-256", {}, "ES256"),
        ("P-384", {"alg": "ES384"}, "ES384"),
        ("P-521", {}, "ES512"),
        ("Ed25519", {}, "EdDSA"),
        ("Ed25519", {"alg": "Ed25519"}, "EdDSA"),
        ("P-256", {"use": "sig", "key_ops": ["verify", "other"], "x5c": ["AAAA"], "n": 5}, "ES256"),
    ],
)
def test_a_key_has_one_algorithm(kind: str, members: Json, algorithm: str) -> None:
    read = jwks.read(key_set(jwk(kind, kid="k", **members)))
    assert read.problems == ()
    (key,) = read.keys
    assert (key.kid, key.algorithm) == ("k", algorithm)
    assert jwks.loaded(key).algorithm_name == algorithm


def test_only_public_members_are_kept() -> None:
    (key,) = jwks.read(key_set(jwk("P-256", kid="k", x5c=["AAAA"], note="internal"))).keys
    assert set(json.loads(key.jwk)) == {"kty", "crv", "x", "y"}


@pytest.mark.parametrize("members", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}])
def test_keys_for_other_ends_are_left_out_without_a_word(members: Json) -> None:
    assert jwks.read(key_set(jwk("RSA", **members))) == ((), ())


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (jwk("RSA", 0, True), 'has the secret member "d"'),
        (jwk("P-256", 0, True), 'has the secret member "d"'),
        (jwk("Ed25519", 0, True, use="enc"), 'has the secret member "d"'),
        ({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, 'has the secret member "k"'),
        ({"kty": "oct"}, "has a kty that verifies no tokens here"),
        ({}, "has a kty"),
        ({"kty": ["RSA"]}, "has a kty"),
        (jwk("secp256k1"), "has a crv that verifies no tokens here"),
        (jwk("P-256", kty="OKP"), "has a crv"),
        (jwk("Ed25519", kty="EC"), "has a crv"),
        (jwk("RSA", alg="HS256"), "has an alg that does not go with its kty"),
        (jwk("RSA", alg="none"), "has an alg"),
        (jwk("RSA", alg=5), "has an alg"),
        (jwk("P-256", alg="ES384"), "has an alg that does not go with its kty; for it write ES256"),
        (jwk("RSA1024"), "is an RSA key of 1024 bits; from 2048 to 8192 are taken"),
        (jwk("RSA", n="AQAB"), "is no valid key: its members do not fit together"),
        (jwk("RSA", n="!!"), "is no valid key"),
        (jwk("RSA", e=None), 'has no "e" that is text'),
        (jwk("P-256", y=jwk("P-256")["x"]), "is no valid key"),
        (jwk("Ed25519", x="AAAA"), "is no valid key"),
        (jwk("P-256", kid=5), "has a kid that is no text"),
        (jwk("P-256", kid="k" * 257), "has a kid that is no text of at most 256 characters"),
        (5, "is no mapping"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_costs_only_itself(key: object, said: str) -> None:
    read = jwks.read(json.dumps({"keys": [key, jwk("P-256", 7, kid="good")]}))
    assert [each.kid for each in read.keys] == ["good"]
    (problem,) = read.problems
    assert problem.startswith(f"keys[0] {said}")
    values = [value for value in key.values() if isinstance(value, str)] if isinstance(key, dict) else []
    assert not [value for value in values if len(value) > 10 and value in problem]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ('{"keys": [', "is not JSON (line 1, column 11)"),
        ("[]", "is no JSON Web Key Set"),
        ('{"keys": {}}', "is no JSON Web Key Set"),
        (json.dumps(jwk("P-256")), "is no JSON Web Key Set"),
        (json.dumps({"keys": [{}] * 65}), "has 65 keys; at most 64 are read"),
    ],
)
def test_what_is_no_key_set(text: str, said: str) -> None:
    with pytest.raises(jwks.NoKeySet) as refused:
        jwks.read(text)
    assert str(refused.value).startswith(said)


def test_an_empty_set_is_one() -> None:
    assert jwks.read('{"keys": []}') == ((), ())


def test_one_key_twice_is_one() -> None:
    assert len(jwks.read(key_set(jwk("P-256", kid="a"), jwk("P-256", kid="a"))).keys) == 1


def test_a_key_that_is_none_is_a_value_error_without_the_key() -> None:
    with pytest.raises(ValueError, match=r"its members do not fit together$"):
        jwks.loaded(PublicKey(kid="a", algorithm="ES256", jwk='{"kty": "EC", "x": "AAAA"}'))


_MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "kid", "use", "key_ops"])
_VALUES: st.SearchStrategy[object] = st.sampled_from(
    ["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "A" * 43, "A" * 342, "sig", "verify", "ES256", "", 5, None, [], {}]
)


@given(st.dictionaries(_MEMBERS, _VALUES | st.text(max_size=8)))
def test_nothing_breaks_it(key: Json) -> None:
    try:
        text = orjson.dumps({"keys": [key]})
    except TypeError:  # lone surrogates are no JSON
        return
    read = jwks.read(text)
    assert len(read.keys) + len(read.problems) <= 1
