"""Who asks: keys are looked up by their digests, and what they proved is asked about later."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest

from dataplane.callers import NOBODY, CallerIndex, Credentials, Proof
from dataplane.errors import Refusal
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.table import Authentication, AuthenticationMode, CallerKey, CallerSet, Location


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def callers(set_id: str, team: str, *keys: tuple[str, str, float | None]) -> CallerSet:
    made = tuple(CallerKey(name=name, sha256=digest(key), expires=expires) for name, key, expires in keys)
    return CallerSet(id=set_id, namespace="ai", team=team, keys=made)


INDEX = CallerIndex(
    [
        callers("a", "support", ("ci", "key-1", None), ("old", "key-2", 100.0), ("umlaut", "kéy", None)),
        callers("b", "sales", ("ci", "key-3", None)),
        callers("c", "again", ("renewed", "key-2", None)),
    ]
)


def authentication(*sets: str, mode: AuthenticationMode = AuthenticationMode.REQUIRED) -> Authentication:
    return Authentication(policy="ai/p", mode=mode, callers=sets)


@pytest.mark.parametrize(
    ("sets", "key", "now", "expected"),
    [
        (("a",), "key-1", 0.0, Caller("ai", "ci", "support")),
        (("b", "a"), "key-1", 0.0, Caller("ai", "ci", "support")),
        (("b",), "key-3", 0.0, Caller("ai", "ci", "sales")),
        (("a",), "key-2", 99.9, Caller("ai", "old", "support")),
        (("a",), "kéy", 0.0, Caller("ai", "umlaut", "support")),
        (("a", "c"), "key-2", 100.0, Caller("ai", "renewed", "again")),
        (("a",), "key-2", 100.0, "invalid_api_key"),
        (("a",), "key-3", 0.0, "invalid_api_key"),
        ((), "key-1", 0.0, "invalid_api_key"),
        (("a",), "KEY-1", 0.0, "invalid_api_key"),
        (("a",), "\udcff", 0.0, "invalid_api_key"),
    ],
)
def test_look_up(sets: tuple[str, ...], key: str, now: float, expected: Caller | str) -> None:
    assert outcome(authentication(*sets), (key,), now) == expected


def outcome(wanted: Authentication | None, keys: tuple[str, ...], now: float = 0.0) -> Caller | str:
    """The caller, or the code of the refusal."""
    with suppress(Refusal):
        return INDEX.authenticate(wanted, Credentials(keys), now, "ai/voice").caller
    with pytest.raises(Refusal) as refused:
        INDEX.authenticate(wanted, Credentials(keys), now, "ai/voice")
    assert refused.value.status == 401
    assert not [key for key in keys if key in refused.value.message]
    return refused.value.code


@pytest.mark.parametrize(
    ("mode", "keys", "expected"),
    [
        (AuthenticationMode.REQUIRED, (), "credentials_required"),
        (AuthenticationMode.REQUIRED, ("key-1", "key-3"), "ambiguous_credentials"),
        (AuthenticationMode.OPTIONAL, (), ANONYMOUS),
        (AuthenticationMode.OPTIONAL, ("key-1",), Caller("ai", "ci", "support")),
        (AuthenticationMode.OPTIONAL, ("wrong",), "invalid_api_key"),
        (AuthenticationMode.NONE, (), ANONYMOUS),
        (AuthenticationMode.NONE, ("wrong", "other"), ANONYMOUS),
        (None, ("key-1",), "authentication_not_configured"),
    ],
)
def test_modes(mode: AuthenticationMode | None, keys: tuple[str, ...], expected: Caller | str) -> None:
    assert outcome(authentication("a", mode=mode) if mode else None, keys) == expected


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (None, "Send `Authorization: Bearer KEY`."),
        (Location(kind="header", name="x-gateway-key"), "Send it in the header x-gateway-key."),
        (Location(kind="query", name="gw_key"), "Send it in the query parameter gw_key."),
    ],
)
def test_who_shows_nothing_is_told_where(place: Location | None, said: str) -> None:
    wanted = authentication("a").model_copy(update={"location": place})
    with pytest.raises(Refusal) as refused:
        INDEX.authenticate(wanted, Credentials(), 0.0, "ai/voice")
    assert refused.value.message == f"No API key was sent. {said}"


# -- later, under a newer table


def proof(key: str, *sets: str) -> Proof:
    """What remains of a key that was accepted at the beginning of time."""
    return INDEX.authenticate(authentication(*sets), Credentials((key,)), 0.0, "ai/voice").proof


KEY = ("ci", "key-1", None)


@pytest.mark.parametrize(
    ("newer", "now", "expected"),
    [
        ([callers("a", "support", KEY)], 1e12, True),
        ([callers("a", "support", ("renamed", "key-1", None))], 1e12, True),
        ([callers("a", "sales", KEY)], 1e12, True),
        ([callers("b", "", KEY)], 1e12, True),
        ([callers("a", "support", ("ci", "key-1", 100.0))], 99.9, True),
        ([callers("a", "support", ("ci", "key-1", 100.0))], 100.0, False),
        ([callers("a", "support", ("ci", "another", None))], 0.0, False),
        ([callers("a", "support")], 0.0, False),
        ([CallerSet(id="a", namespace="other", keys=callers("a", "", KEY).keys)], 0.0, False),
        ([callers("a", "support", KEY), callers("c", "support", KEY)], 0.0, True),
        ([callers("c", "support", KEY)], 0.0, False),
    ],
)
def test_a_key_holds_while_it_would_be_accepted(newer: list[CallerSet], now: float, expected: bool) -> None:
    assert CallerIndex(newer).holds(authentication("a", "b"), proof("key-1", "a"), now) == expected


def test_an_expiry_can_be_moved() -> None:
    held = proof("key-2", "a")
    assert held.expires == 100.0
    assert INDEX.holds(authentication("a"), held, 99.9)
    assert not INDEX.holds(authentication("a"), held, 100.0)
    assert CallerIndex([callers("a", "support", ("old", "key-2", 200.0))]).holds(authentication("a"), held, 150.0)


@pytest.mark.parametrize(
    ("newer", "nobody", "with_a_key", "with_a_key_that_is_gone"),
    [
        (None, False, False, False),
        (authentication("a", mode=AuthenticationMode.REQUIRED), False, True, False),
        (authentication("a", mode=AuthenticationMode.OPTIONAL), True, True, False),
        (authentication(mode=AuthenticationMode.NONE), True, True, True),
    ],
)
def test_what_holds_by_mode(
    newer: Authentication | None, nobody: bool, with_a_key: bool, with_a_key_that_is_gone: bool
) -> None:
    assert INDEX.holds(newer, NOBODY.proof, 0.0) == nobody
    assert INDEX.holds(newer, proof("key-1", "a"), 0.0) == with_a_key
    assert INDEX.holds(newer, proof("key-3", "b"), 0.0) == with_a_key_that_is_gone


def test_a_proof_opens_nothing() -> None:
    held = proof("key-1", "a")
    assert "key-1" not in repr(held)
    assert held.digest.hex() not in repr(held)
