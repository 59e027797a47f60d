"""HTTPRoutes: each rule becomes a route of the table, with its Backends looked up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from controller.compile.backends import Compiled
from controller.compile.cluster import Cluster
from controller.compile.filters import Filters, read_filters
from controller.compile.gateway_api import BackendRef, HTTPRoute, RouteMatch, Rule, ValueMatch
from controller.compile.grants import BACKEND, HTTP_ROUTE, SERVICE, permitted
from controller.compile.objects import Age, Identity, Objects, Read
from controller.compile.paths import comparable
from controller.compile.secrets import Unresolved
from controller.compile.service_backends import service_backend
from controller.compile.services import Reference
from controller.compile.statuses import Condition, Target, false, true, unknown
from dataplane import table

_KINDS: dict[str, Literal["exact", "prefix", "regex"]] = {
    "Exact": "exact",
    "PathPrefix": "prefix",
    "RegularExpression": "regex",
}
_IGNORED = {"timeouts": "timeouts", "retry": "retry", "sessionPersistence": "session_persistence"}
"""Fields of a rule that change how it is served, not whether: it is served without them."""


@dataclass(frozen=True, slots=True)
class Share:
    """One backendRef: where its share of the requests goes, or why it goes nowhere."""

    backend: tuple[str, str]
    """Namespace and name."""
    weight: int
    reason: str = ""
    error: str = ""
    service: Compiled | None = None
    """Where it is a Service: what stands for a Backend then."""
    changes: tuple[table.Transformation, ...] = ()
    """What its own filters do."""


@dataclass(frozen=True, slots=True)
class ServedRule:
    """A rule, before Policies."""

    route: table.Route
    age: Age
    targets: tuple[Target, ...]
    """What Policies may be attached to, broad to narrow."""
    shares: tuple[Share, ...] = ()
    above: tuple[Target, ...] = ()
    """The same of where it is served: class, Gateway, listener."""
    changes: tuple[table.Transformation, ...] = ()
    """What its own filters do."""

    @property
    def chain(self) -> tuple[Target, ...]:
        """All targets before the Backend."""
        return (*self.above, *self.targets)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something of an HTTPRoute that is not served, for its condition `type`."""

    type: str
    reason: str
    message: str


def serve_route(
    route: Read[HTTPRoute], objects: Objects, cluster: Cluster | None
) -> tuple[list[ServedRule], list[Problem]]:
    """The rules of one HTTPRoute and what is wrong with it."""
    if route.value is None:
        return [], [Problem("Accepted", route.reason, route.error)]
    rules: list[ServedRule] = []
    problems: list[Problem] = []
    for rule in route.value.rules:
        filters = read_filters(rule, route.identity)
        shares = _shares(rule, route.identity, objects, cluster, filters)
        faults = _faults(rule, shares, filters)
        problems += faults
        problems += [Problem("ResolvedRefs", share.reason, share.error) for share in shares if share.error]
        if rule.matches:
            rules.append(_served(route, route.value.hostnames, rule, shares, faults, filters))
    return rules, problems


def unreadable(objects: Objects) -> list[str]:
    """Those of which something cannot be read, so that rules of theirs may be missing."""
    return [
        route.identity.path
        for route in objects.routes.values()
        if route.value is None or any(rule.value is None for rule in route.value.rules)
    ]


def conditions(route: Read[HTTPRoute], problems: list[Problem]) -> tuple[Condition, Condition]:
    """Accepted and ResolvedRefs of an HTTPRoute with these problems."""
    ignored = [
        f"{rule.path}.{name} has no effect yet."
        for rule in (route.value.rules if route.value else ())
        for name, attribute in _IGNORED.items()
        if rule.value and getattr(rule.value, attribute) is not None
    ]
    accepted = _condition("Accepted", problems, " ".join(["Served.", *ignored]))
    if route.value is None:
        return accepted, unknown("ResolvedRefs")
    return accepted, _condition("ResolvedRefs", problems, "Every Backend that the rules refer to was found.")


def _condition(type_: str, problems: list[Problem], message: str) -> Condition:
    found = [problem for problem in problems if problem.type == type_]
    if found:
        return false(type_, found[0].reason, "; ".join(problem.message for problem in found))
    return true(type_, message)


def _faults(rule: Rule, shares: Sequence[Share], filters: Filters) -> list[Problem]:
    """Why the whole rule answers 500."""
    if rule.value is None:
        return [Problem("Accepted", "Invalid", rule.error)]
    faults = [Problem("Accepted", fault.reason, fault.message) for fault in filters.faults]
    if filters.needs_backends and not any(share.weight for share in shares):
        message = f"{rule.path}.backendRefs: names no Backend with a weight above 0; name one"
        faults.append(Problem("ResolvedRefs", "BackendNotFound", message))
    return faults


def _shares(
    rule: Rule, route: Identity, objects: Objects, cluster: Cluster | None, filters: Filters
) -> tuple[Share, ...]:
    refs = rule.value.backend_refs if rule.value else ()
    return tuple(
        replace(_share(ref, route, f"{rule.path}.backendRefs[{index}]", objects, cluster), changes=changes)
        for index, (ref, changes) in enumerate(zip(refs, filters.of_refs, strict=True))
    )


def _share(ref: BackendRef, route: Identity, path: str, objects: Objects, cluster: Cluster | None) -> Share:
    key = (ref.namespace or route.namespace, ref.name)
    if (ref.group, ref.kind) == SERVICE and cluster:
        return _service_share(ref, route, path, cluster)
    if (ref.group, ref.kind) != ("tidegate.dev", "Backend"):
        message = f'{path}: is of kind {ref.kind}, group "{ref.group}"; write group: tidegate.dev, kind: Backend'
        return Share(key, ref.weight, "InvalidKind", message)
    if not permitted(objects, HTTP_ROUTE, route.namespace, BACKEND, *key):
        message = (
            f"{path}.namespace: Backend {key[0]}/{key[1]} is in another namespace, and no ReferenceGrant there lets "
            f"HTTPRoutes of {route.namespace} refer to it; ask its owner for one, or move the route there"
        )
        return Share(key, ref.weight, "RefNotPermitted", message)
    backend = objects.backends.get(key)
    if backend is None:
        names = (
            name
            for namespace, name in objects.backends
            if namespace == key[0] and permitted(objects, HTTP_ROUTE, route.namespace, BACKEND, namespace, name)
        )
        exists = objects.instead.what_exists(route.namespace, ref.name, names)
        message = f"{path}.name: there is no Backend {key[0]}/{key[1]}; {exists}"
        return Share(key, ref.weight, "BackendNotFound", message)
    if backend.value is None:
        return Share(key, ref.weight, "BackendInvalid", f"{path}: {backend.identity} is not accepted: {backend.error}")
    return Share(key, ref.weight)


def _service_share(ref: BackendRef, route: Identity, path: str, cluster: Cluster) -> Share:
    reference = Reference(HTTP_ROUTE, route.namespace, ref.namespace or route.namespace, ref.name, ref.port or 0, path)
    key = (reference.namespace, f"{ref.name}:{reference.port}")
    try:
        return Share(key, ref.weight, service=service_backend(reference, cluster))
    except Unresolved as problem:
        reason = problem.reason if problem.reason == "RefNotPermitted" else "BackendNotFound"
        return Share(key, ref.weight, reason, str(problem))


def _served(
    route: Read[HTTPRoute],
    hostnames: tuple[str, ...],
    rule: Rule,
    shares: tuple[Share, ...],
    faults: list[Problem],
    filters: Filters,
) -> ServedRule:
    target = Target(*route.identity)
    why = "; ".join(fault.message for fault in faults)
    entry = table.Route(
        name=f"{route.identity.path}#{rule.name}",
        hostnames=hostnames,
        matches=tuple(_match(match) for match in rule.matches),
        redirect=filters.redirect,
        error=f"{route.identity}: {why}" if why else "",
    )
    targets = (target, replace(target, section=rule.name)) if rule.named else (target,)
    return ServedRule(entry, route.age, targets, () if filters.redirect else shares, changes=filters.changes)


def _match(match: RouteMatch) -> table.Match:
    is_text = match.path.type != "RegularExpression"
    return table.Match(
        path=comparable(match.path.value) if is_text else match.path.value,
        path_kind=_KINDS[match.path.type],
        method=match.method or "",
        headers=tuple(_name_match(header, header.name.lower()) for header in match.headers),
        query=tuple(_name_match(parameter, parameter.name) for parameter in match.query_params),
    )


def _name_match(match: ValueMatch, name: str) -> table.NameMatch:
    return table.NameMatch(name=name, value=match.value, regex=match.type == "RegularExpression")
