"""Tokens and keys are shown: whom they admit where an issuer is trusted, or why nobody."""

from __future__ import annotations

import hashlib

import pytest

from dataplane.callers import CallerIndex, Credentials
from dataplane.errors import Refusal
from dataplane.metering.usage import Caller
from dataplane.slices import at_once
from dataplane.table import Authentication, AuthenticationMode, CallerKey, CallerSet
from tests.dataplane.callers.issuers import callers, jwk

NOW = 1_800_000_000.0
EC = jwk("P-256", kid="a")
USUAL = callers(EC)
URL = "https://idp.example.com/jwks.json"
FETCHED = callers(url=URL)
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


def built(sets: list[CallerSet], previous: CallerIndex) -> CallerIndex:
    """The index of a newer table."""
    return at_once(CallerIndex.building(sets, previous))
