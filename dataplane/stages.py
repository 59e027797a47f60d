"""The first stages of a request, decided by its head alone: match a route, pick a Backend, authenticate. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataplane import callers, guarding, routing
from dataplane.callers import applying
from dataplane.callers.credentials import at, without
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import paths
from dataplane.http import query as queries
from dataplane.http.accept import Target
from dataplane.http.head import Headers
from dataplane.http.redirects import Redirected, location
from dataplane.snapshot import Snapshot
from dataplane.table import Backend, Forward, Route

_SHOWN = 200
"""Characters of a client's path that an error repeats."""


@dataclass(slots=True)
class Visit:
    """What the meter is told of a request, whatever becomes of it: as much as was found out."""

    id: str
    began: float
    """By the monotonic clock."""
    route: str = ""
    backend: str = ""


def matched(snapshot: Snapshot, visit: Visit, target: Target, method: str, headers: Headers) -> Route:
    """The route that serves the request. Raises Refusal unknown_host, configuration_error, invalid_path."""
    route = snapshot.router.match(target.host, target.path, method, headers.first, target.query, target.port)
    if route is None:
        asked = (target.host + paths.normalised(target.path))[:_SHOWN]
        raise Refusal("unknown_host", f"No route serves {asked}. Check the URL, or expose a Backend there.")
    visit.route = route.name
    _check(route.name, route.error)
    return route


def forwarded(snapshot: Snapshot, visit: Visit, route: Route, rand: Callable[[], float]) -> tuple[Forward, Backend]:
    """Which of the route's Backends takes the request, by weight. Raises Refusal configuration_error."""
    point = rand() * sum([forward.weight for forward in route.forwards])
    for forward in route.forwards:
        point -= forward.weight
        if point < 0:
            visit.backend = forward.backend
            _check(route.name, forward.error)
            backend = snapshot.backends[forward.backend]
            _check(f"Backend {backend.name}", backend.error)
            return forward, backend
    raise Refusal("configuration_error", f"{route.name} has no backend with a weight above 0.")


def authenticated(
    snapshot: Snapshot,
    visit: Visit,
    target: Target,
    method: str,
    headers: Headers,
    *,
    rand: Callable[[], float],
    now: float,
) -> Exchange:
    """The request with all that its head decides. `rand` gives numbers in [0, 1), `now` is seconds since the epoch.

    Raises Refusal: those of the other stages, of `routing.asked`, `CallerIndex.authenticate` and `guarding.taken`; and
    Redirected, whoever asks. After a `callers.KeyUnknown` it is worth asking again, once there are newer keys."""
    route = matched(snapshot, visit, target, method, headers)
    if route.redirect:
        listener = snapshot.router.listener(target.port, target.host)
        raise Redirected(route.redirect.status, location(route.redirect, route, target, listener))
    forward, backend = forwarded(snapshot, visit, route, rand)
    path = paths.stripped(target.path, route.strip_prefix)
    asked = routing.asked(backend, path, target.query, method)
    authentication, query = forward.policies.authentication, asked.query
    if authentication is not None and (place := authentication.location):
        presented = at(place, headers, query)
        headers, query = without(place, headers, query)
    else:
        presented = callers.credentials(headers.fields, query)
    admitted = snapshot.callers.authenticate(authentication, presented, now, backend.name)
    held = applying(forward.policies.guardrails, admitted.caller)
    wanted, query = guarding.taken(query, held, asked.type)
    return Exchange(
        id=visit.id,
        snapshot=snapshot,
        route=route,
        forward=forward,
        backend=backend,
        caller=admitted.caller,
        proof=admitted.proof,
        type=asked.type,
        method=method,
        path=asked.path,
        query=_without_keys(backend, query),
        headers=headers,
        deployment=asked.deployment,
        wanted=wanted,
    )


def _check(name: str, error: str) -> None:
    if error:
        raise Refusal("configuration_error", f"{name} cannot be served: {error}")


def _without_keys(backend: Backend, query: str) -> str:
    if not query or any(provider.credential.kind == "passthrough" for provider in backend.providers):
        return query
    return queries.without(query, callers.QUERY)
