"""Whether a caller who is connected would still be let in: the rule of `session.onRevoke: EndSession`. Pure.

A session rests on what its caller showed when it began, and on the way that it came: a route, and a Backend behind it.
Whether that stands is asked again whenever the table changes, and now and then, since keys and tokens expire:

1. The Backend is gone from the table: revoked.
2. A token's own time is over: revoked, whatever the table says.
3. The Backend or the route answers 500, or the HTTPRoute cannot be read, since somebody's edit broke it: that says
   nothing of anybody, and the session goes on.
4. The way is still there, and decides: its Policy admits what was shown (or whoever comes), or it does not: revoked.
   What other ways admit does not matter.
5. The way is gone, since the route was renamed or deleted, or leads to another Backend now: another way of that
   route, or to that Backend, will do, if a Policy of the same namespace asks for keys there and admits what was shown;
   or if it answers 500. Without one: revoked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dataplane.callers import CallerIndex, Proof
from dataplane.slices import SLICE, Slices
from dataplane.table import Authentication, AuthenticationMode, Table

EXPIRED = "The token that opened this session has expired. Connect again with a new one."
NOT_ADMITTED = "What opened this session (a key, a token, or nothing) is not admitted here any more."


@dataclass(frozen=True, slots=True)
class Access:
    """What a session rests on."""

    route: str
    backend: str
    proof: Proof
    """What the caller showed."""


@dataclass(frozen=True, slots=True)
class Way:
    """A route's share that leads to a Backend."""

    route: str
    broken: bool
    """It answers 500."""
    authentication: Authentication | None


@dataclass(frozen=True, slots=True)
class Ways:
    """How the Backends of a table are reached."""

    to: Mapping[str, Sequence[Way]]
    """By Backend, for every one of them."""
    by: Mapping[str, Sequence[Way]]
    """By route."""
    broken: frozenset[str]
    """Backends, routes, and HTTPRoutes, that cannot be used as they are."""

    @classmethod
    def of(cls, table: Table) -> Slices[Ways]:
        """All of a table, in slices."""
        to: dict[str, list[Way]] = {backend.name: [] for backend in table.backends}
        by: dict[str, list[Way]] = {}
        broken = {backend.name for backend in table.backends if backend.error} | set(table.unreadable)
        yield
        for count, route in enumerate(table.routes, 1):
            if route.error:
                broken.add(route.name)
            there = [Way(route.name, bool(each.error), each.policies.authentication) for each in route.forwards]
            by[route.name] = there
            for forward, way in zip(route.forwards, there, strict=True):
                if forward.backend in to:
                    to[forward.backend].append(way)
            if count % SLICE == 0:
                yield
        return cls(to, by, frozenset(broken))


def why_revoked(access: Access, ways: Ways, callers: CallerIndex, now: float) -> str:
    """Why this access is revoked at `now` (seconds since the epoch), for the client; empty where it stands."""
    there = ways.to.get(access.backend)
    if there is None:
        return f"Backend {access.backend} was deleted."
    if _is_over(access.proof, now):
        return EXPIRED
    if not ways.broken.isdisjoint((access.backend, access.route, access.route.partition("#")[0])):
        return ""
    own = [way for way in there if way.route == access.route]
    others = (way for way in (*there, *ways.by.get(access.route, ())) if way.broken or _asks(way, access.proof))
    if any(way.broken or callers.holds(way.authentication, access.proof, now) for way in own or others):
        return ""
    return NOT_ADMITTED


def _is_over(proof: Proof, now: float) -> bool:
    """Of a key the table knows the time, which may have been changed; that of a token is its own."""
    return proof.kind == "token" and proof.expires is not None and now >= proof.expires


def _asks(way: Way, proof: Proof) -> bool:
    """Whether it can say something of who showed this: where nobody is asked, a key may be gone or not, and another
    namespace has callers of its own."""
    authentication = way.authentication
    if authentication is None or proof.kind == "none":
        return True
    asks = authentication.mode is not AuthenticationMode.NONE
    return asks and authentication.policy.partition("/")[0] == proof.namespace
