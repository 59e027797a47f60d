"""Who would still be let in: the rule of `session.onRevoke: EndSession`, case by case."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from dataplane.callers import NOBODY, CallerIndex, Proof
from dataplane.revocation import EXPIRED, NOT_ADMITTED, Access, Ways, why_revoked
from dataplane.slices import SLICE, at_once
from dataplane.table import (
    Authentication,
    AuthenticationMode,
    Backend,
    CallerKey,
    CallerSet,
    Forward,
    PolicySet,
    Route,
    Table,
)

DIGEST = hashlib.sha256(b"key-1").hexdigest()
KEY = Proof("key", "ai", bytes.fromhex(DIGEST), 200.0)
TOKEN = Proof("token", "ai", b"t", 200.0, "https://idp.test")
HAS = CallerSet(id="has", namespace="ai", keys=(CallerKey(name="ci", sha256=DIGEST),))
EXPIRES = CallerSet(id="expires", namespace="ai", keys=(CallerKey(name="ci", sha256=DIGEST, expires=200.0),))
LACKS = CallerSet(id="lacks", namespace="ai", keys=(CallerKey(name="ci", sha256="0" * 64),))
OTHERS = CallerSet(id="others", namespace="sales", keys=(CallerKey(name="ci", sha256=DIGEST),))
SETS = (HAS, EXPIRES, LACKS, OTHERS)
DELETED = "Backend ai/voice was deleted."


def keys(*sets: CallerSet, mode: str = "Required", policy: str = "ai/keys") -> Authentication:
    return Authentication(policy=policy, mode=AuthenticationMode(mode), callers=tuple(each.id for each in sets))


OPEN = keys(mode="None")
UNASKED = keys(mode="None", policy="")


def to(authentication: Authentication | None, backend: str = "ai/voice", error: str = "") -> Forward:
    return Forward(backend=backend, policies=PolicySet(authentication=authentication), error=error)


def route(*forwards: Forward, name: str = "ai/front#all", error: str = "") -> Route:
    return Route(name=name, forwards=forwards, error=error)


GUEST = "sales/guest#all"


def guest(forward: Forward) -> Route:
    return route(forward, name=GUEST)


GUEST_BROKEN = guest(to(None, error="a Policy of sales is not accepted"))
VOICE, SPARE = Backend(name="ai/voice"), Backend(name="ai/spare")


@dataclass(frozen=True)
class Case:
    """What a table has now, for a session that came by a route to `ai/voice`."""

    about: str
    why: str
    """Empty: it goes on."""
    routes: Sequence[Route] = (route(to(keys(HAS))),)
    backends: Sequence[Backend] = (VOICE, SPARE)
    proof: Proof = KEY
    now: float = 100.0
    unreadable: tuple[str, ...] = ()
    by: str = "ai/front#all"


CASES = [
    Case("nothing has changed", ""),
    Case("the key was removed", NOT_ADMITTED, [route(to(keys()))]),
    Case("the key was replaced", NOT_ADMITTED, [route(to(keys(LACKS)))]),
    Case("the key is in another Secret now", "", [route(to(keys(LACKS, HAS)))]),
    Case("the key is about to expire", "", [route(to(keys(EXPIRES)))], now=199.9),
    Case("the key has expired", NOT_ADMITTED, [route(to(keys(EXPIRES)))], now=200.0),
    Case("the key would have expired, and was given more time", "", now=200.0),
    Case("keys are optional now", "", [route(to(keys(HAS, mode="Optional")))]),
    Case("keys are optional now, and this one is gone", NOT_ADMITTED, [route(to(keys(LACKS, mode="Optional")))]),
    Case("everybody is let in now", "", [route(to(OPEN))]),
    Case("nobody says any more who is let in, on loopback", "", [route(to(UNASKED))]),
    Case("nobody says any more who is let in", NOT_ADMITTED, [route(to(None))]),
    Case("another Policy of the namespace has the key", "", [route(to(keys(HAS, policy="ai/new")))]),
    Case("a Policy of another namespace has the key", NOT_ADMITTED, [route(to(keys(OTHERS, policy="sales/keys")))]),
    Case("a token is about to expire", NOT_ADMITTED, proof=TOKEN, now=199.9),  # no table here knows its issuer
    Case("a token has expired", EXPIRED, proof=TOKEN, now=200.0),
    Case("a token that does not expire", NOT_ADMITTED, proof=replace(TOKEN, expires=None)),
    Case("a token has expired, and its route is broken", EXPIRED, [route(error="broken")], proof=TOKEN, now=200.0),
    Case("everybody is let in, and the token has expired", EXPIRED, [route(to(OPEN))], proof=TOKEN, now=200.0),
    Case("the Backend was deleted", DELETED, [route(to(keys(HAS), error="no such Backend"))], [SPARE]),
    Case("everything was deleted", DELETED, [], []),
    # An edit broke something
    Case("the Backend is broken", "", [route(to(None, error="broken"))], [Backend(name="ai/voice", error="broken")]),
    Case("the Backend is broken and on no route", "", [], [Backend(name="ai/voice", error="broken")]),
    Case("the share is broken", "", [route(to(None, error="a Policy is not accepted"))]),
    Case("the rule is broken, and where it leads is not known", "", [route(error="broken")]),
    Case("the HTTPRoute cannot be read", "", [], unreadable=("ai/front",)),
    Case("another HTTPRoute cannot be read", NOT_ADMITTED, [], unreadable=("ai/back",)),
    Case("another route is broken", NOT_ADMITTED, [route(error="broken", name="ai/back#all")]),
    # Other ways
    Case("another way admits the key", NOT_ADMITTED, [route(to(keys(LACKS))), route(to(keys(HAS)), name="ai/b")]),
    Case("another way is open", NOT_ADMITTED, [route(to(keys(LACKS))), route(to(UNASKED), name="ai/voice")]),
    Case("one of two shares admits the key", "", [route(to(keys(LACKS)), to(keys(HAS)))]),
    # The way is gone
    Case("the route was renamed", "", [route(to(keys(HAS)), name="ai/front#voice")]),
    Case("the route was renamed, the key removed", NOT_ADMITTED, [route(to(keys(LACKS)), name="ai/front#voice")]),
    Case("the route was renamed, and broken", "", [route(to(None, error="broken"), name="ai/front#voice")]),
    Case("the route was deleted", NOT_ADMITTED, []),
    Case("the route was deleted, another way is open", NOT_ADMITTED, [route(to(UNASKED), name="ai/voice")]),
    Case(
        "the route was deleted, another tenant has the same key",
        NOT_ADMITTED,
        [route(to(keys(OTHERS, policy="sales/keys")), name="sales/front#0")],
    ),
    Case("the route leads elsewhere", "", [route(to(keys(HAS), "ai/spare"))]),
    Case("the route leads elsewhere, the key removed", NOT_ADMITTED, [route(to(keys(LACKS), "ai/spare"))]),
    Case("the route leads to what is not there", "", [route(to(None, "ai/gone", "no such Backend"))]),
    Case("the route was deleted, and another tenant's to this Backend is broken", NOT_ADMITTED, [GUEST_BROKEN]),
    # A route of another namespace, which a ReferenceGrant lets lead to this Backend
    Case("a guest's route is as it was", "", [guest(to(keys(HAS)))], by=GUEST),
    Case("a guest's route is as it was, the key removed", NOT_ADMITTED, [guest(to(keys(LACKS)))], by=GUEST),
    Case("a guest's route is broken", "", [GUEST_BROKEN, route(to(keys(HAS)))], by=GUEST),
    Case("a guest's route is broken, the key removed", NOT_ADMITTED, [GUEST_BROKEN, route(to(keys(LACKS)))], by=GUEST),
    Case("a guest's route is broken, and nobody else can tell", "", [GUEST_BROKEN], by=GUEST),
    Case("a guest's route and ours are broken", "", [GUEST_BROKEN, route(to(None, error="broken"))], by=GUEST),
    Case(
        "a guest's route cannot be read, the key removed",
        NOT_ADMITTED,
        [route(to(keys(LACKS)))],
        unreadable=("sales/guest",),
        by=GUEST,
    ),
    Case("a guest's route is broken, and others ask nobody", "", [GUEST_BROKEN, route(to(None))], by=GUEST),
    Case("an open guest's route is broken", "", [GUEST_BROKEN, route(to(keys(HAS)))], proof=NOBODY.proof, by=GUEST),
    Case("a guest's route is gone", "", [route(to(keys(HAS)))], by=GUEST),
    Case("a guest's route leads to what is not there", NOT_ADMITTED, [guest(to(None, "sales/gone", "no"))], by=GUEST),
    # Nothing was shown
    Case("nothing was shown", "", [route(to(OPEN))], proof=NOBODY.proof),
    Case("nothing was shown, and need not be", "", [route(to(keys(mode="Optional")))], proof=NOBODY.proof),
    Case("nothing was shown, and must be now", NOT_ADMITTED, proof=NOBODY.proof),
    Case("nothing was shown, renamed", "", [route(to(OPEN), name="ai/new")], proof=NOBODY.proof),
    Case("nothing was shown, deleted", NOT_ADMITTED, [], proof=NOBODY.proof),
    Case("nothing was shown, and nobody is let in", NOT_ADMITTED, [route(to(None))], proof=NOBODY.proof),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.about)
def test_the_rule(case: Case) -> None:
    table = Table(backends=tuple(case.backends), routes=tuple(case.routes), callers=SETS, unreadable=case.unreadable)
    access = Access(case.by, "ai/voice", case.proof)
    assert why_revoked(access, at_once(Ways.of(table)), CallerIndex(SETS), case.now) == case.why


def test_a_large_table_is_read_in_slices() -> None:
    table = Table(backends=(VOICE,), routes=tuple(route(to(OPEN), name=f"ai/r{i}") for i in range(3 * SLICE)))
    assert len(list(Ways.of(table))) == 4
    ways = at_once(Ways.of(table))
    assert len(ways.to["ai/voice"]) == len(ways.by) == 3 * SLICE
