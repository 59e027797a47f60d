"""Who asks: keys wherever real clients put them, looked up by digest."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest

from dataplane.callers import CallerIndex, Credentials, applies, credentials
from dataplane.errors import Refusal
from dataplane.metering.usage import ANONYMOUS, Caller
from dataplane.table import Authentication, AuthenticationMode, CallerKey, CallerSet, Subject


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
    ("headers", "query"),
    [
        ([("Authorization", "Bearer k")], ""),
        ([("authorization", "bearer  k ")], ""),
        ([("Authorization", "Token k")], ""),
        ([("Api-Key", "k")], ""),
        ([("x-api-key", "k")], ""),
        ([("X-Goog-Api-Key", "k")], ""),
        ([("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.k, openai-beta.realtime-v1")], ""),
        ([("Sec-WebSocket-Protocol", "xai-client-secret.k")], ""),
        ([], "api-key=k"),
        ([], "x=1&key=%6B"),
        ([], "access_token=k"),
        ([("Authorization", "Bearer k"), ("api-key", "k"), ("Authorization", "Bearer k")], "key=k"),
    ],
)
def test_one_key_however_it_is_sent(headers: list[tuple[str, str]], query: str) -> None:
    assert credentials([(name.lower(), value) for name, value in headers], query).keys == ("k",)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Basic k")],
        [("Authorization", "Bearer ")],
        [("api-key", " ")],
        [("x-key", "k")],
        [("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.")],
    ],
)
def test_no_key(headers: list[tuple[str, str]]) -> None:
    assert credentials([(name.lower(), value) for name, value in headers], "model=x").keys == ()


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
        return INDEX.authenticate(wanted, Credentials(keys), now, "ai/voice")
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


def test_keys_are_in_no_repr() -> None:
    assert "key-1" not in repr(Credentials(("key-1",)))


@pytest.mark.parametrize(
    ("subjects", "expected"),
    [
        ((), True),
        ((Subject(namespace="ai", key="ci"),), True),
        ((Subject(namespace="ai", team="support"),), True),
        ((Subject(namespace="ai", team="other"), Subject(namespace="ai", key="ci")), True),
        ((Subject(namespace="ai", key="ci", team="other"),), False),
        ((Subject(namespace="other", key="ci"),), False),
        ((Subject(namespace="ai", key="x"),), False),
    ],
)
def test_subjects(subjects: tuple[Subject, ...], expected: bool) -> None:
    assert applies(subjects, Caller("ai", "ci", "support")) == expected
    assert applies(subjects, ANONYMOUS) == (not subjects)
