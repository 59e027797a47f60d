"""Whether a caller who is connected would still be let in: the rule of `session.onRevoke: EndSession`. Pure.

A session rests on what its caller showed when it began, and on the way that it came: a route, and a Backend behind it.
Whether that stands is asked again whenever the table changes, and now and then, since keys and tokens expire:

1. The Backend is gone from the table: revoked.
2. A token's own time is over: revoked, whatever the table says.
3. The Backend or the route answers 500, or the HTTPRoute cannot be read, since somebody's edit broke it: that says
   nothing of anybody, and the session goes on. But where the route is of another namespace than the Backend, other ways
   to the Backend decide as in 5, if any can: nobody keeps those whom the Backend's owner has shut out.
4. The way is still there, and decides: its Policy admits what was shown (or whoever comes), or it does not: revoked.
   What other ways admit does not matter.
5. The way is gone, since the route was renamed or deleted, or leads to another Backend now: another way of that
   route, or to that Backend, will do, if a Policy of the same namespace asks for keys there and admits what was shown;
   or if it answers 500, and is of the Backend's namespace. Without one: revoked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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

    namespace: str
    """The route's."""
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
    own: Mapping[tuple[str, str], Sequence[Way]]
    """By both: there may be thousands of routes to one Backend."""
    broken: frozenset[str]
    """Backends, routes, and HTTPRoutes, that cannot be used as they are."""

    @classmethod
    def of(cls, table: Table) -> Slices[Ways]:
        """All of a table, in slices."""
        to: dict[str, list[Way]] = {backend.name: [] for backend in table.backends}
        by: dict[str, list[Way]] = {}
        own: dict[tuple[str, str], list[Way]] = {}
        broken = {backend.name for backend in table.backends if backend.error} | set(table.unreadable)
        yield
        for count, route in enumerate(table.routes, 1):
            if route.error:
                broken.add(route.name)
            here = _namespace(route.name)
            there = [Way(here, bool(each.error), each.policies.authentication) for each in route.forwards]
            by[route.name] = there
            for forward, way in zip(route.forwards, there, strict=True):
                if forward.backend in to:
                    to[forward.backend].append(way)
                    own.setdefault((route.name, forward.backend), []).append(way)
            if count % SLICE == 0:
                yield
        return cls(to, by, own, frozenset(broken))


def why_revoked(access: Access, ways: Ways, callers: CallerIndex, now: float) -> str:
    """Why this access is revoked at `now` (seconds since the epoch), for the client; empty where it stands."""
    there = ways.to.get(access.backend)
    if there is None:
        return f"Backend {access.backend} was deleted."
    if _is_over(access.proof, now):
        return EXPIRED
    if access.backend in ways.broken:
        return ""
    return "" if _stands(access, there, ways, callers, now) else NOT_ADMITTED


def _stands(access: Access, there: Sequence[Way], ways: Ways, callers: CallerIndex, now: float) -> bool:
    """Whether it is admitted by its own way, or by others where that is gone; or nobody can tell."""

    def admitted(ways_: Iterable[Way]) -> bool:
        return any(callers.holds(way.authentication, access.proof, now) for way in ways_)

    own = ways.own.get((access.route, access.backend), ())
    owner = _namespace(access.backend)
    if _is_broken(access.route, ways) or any(way.broken for way in own):
        knowing = [way for way in there if not way.broken and _knows(way, access.proof)]
        return _namespace(access.route) == owner or not knowing or admitted(knowing)
    if own:
        return admitted(own)
    elsewhere = (*there, *ways.by.get(access.route, ()))
    if any(way.broken and way.namespace == owner for way in elsewhere):
        return True
    return admitted(way for way in elsewhere if not way.broken and _asks(way, access.proof))


def _is_broken(route: str, ways: Ways) -> bool:
    return not ways.broken.isdisjoint((route, route.partition("#")[0]))


def _namespace(name: str) -> str:
    return name.partition("/")[0]


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


def _knows(way: Way, proof: Proof) -> bool:
    """Whether it is sure to know who showed this, or that nobody may."""
    return way.authentication is not None and proof.kind != "none" and _asks(way, proof)
