"""Where Backends are served without an HTTPRoute: by `expose`, or standalone because nothing else exposes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import crds
from controller.compile.cluster import Cluster
from controller.compile.grants import BACKEND, HTTP_ROUTE, permitted
from controller.compile.leave import forbidden, refusal
from controller.compile.objects import Age, Document, Objects, Read
from controller.compile.paths import comparable
from crds.backend import Expose
from dataplane import table


@dataclass(frozen=True, slots=True)
class Exposure:
    """A Backend on hosts (none: any host) under a path prefix ("" is the root)."""

    backend: str
    """`namespace/name`."""
    age: Age
    hostnames: tuple[str, ...]
    prefix: str


class Unserved(NamedTuple):
    """Why a Backend is not served somewhere, though it says so: for the condition Accepted."""

    reason: str
    message: str


def exposures(objects: Objects, cluster: Cluster | None) -> tuple[list[Exposure], dict[str, Unserved]]:
    """What is served, and by Backend what is not: the install does not allow it, or another holds the host and prefix
    already. Without a `cluster`, Backends that nothing exposes are served all the same, and all may be anywhere."""
    taken = _referenced(objects)
    alone = len(objects.backends) == 1
    wanted: list[Exposure] = []
    unserved: dict[str, Unserved] = {}
    for key, backend in objects.backends.items():
        if (expose := _expose(backend)) is not None:
            exposure, why = _with_leave(_declared(backend, expose), backend, cluster)
            if why:
                unserved[exposure.backend] = Unserved("NotAllowed", why)
            if exposure.hostnames or not why:
                wanted.append(exposure)
        elif cluster is None and key not in taken:
            wanted.append(Exposure(backend.identity.path, backend.age, (), "" if alone else _own_prefix(backend)))
    holders: dict[tuple[str, str], Exposure] = {}
    for exposure in sorted(wanted, key=lambda each: each.age):
        for host in exposure.hostnames or ("",):
            holders.setdefault((host, exposure.prefix), exposure)
    served: list[Exposure] = []
    for exposure in wanted:
        lost = [host for host in exposure.hostnames or ("",) if holders[host, exposure.prefix] is not exposure]
        kept = tuple(host for host in exposure.hostnames if host not in lost)
        if lost:
            winners = {host: holders[host, exposure.prefix].backend for host in lost}
            conflict = Unserved("HostnameConflict", _conflict(winners, exposure.prefix))
            unserved[exposure.backend] = _both(unserved.get(exposure.backend), conflict)
        if kept or not lost:
            served.append(Exposure(exposure.backend, exposure.age, kept, exposure.prefix))
    return served, unserved


def _with_leave(exposure: Exposure, backend: Read[crds.Backend], cluster: Cluster | None) -> tuple[Exposure, str]:
    """Without the hosts at which it may not be, and what is said of these."""
    if cluster is None:
        return exposure, ""
    namespace, own, hosts = backend.identity.namespace, _own_prefix(backend), exposure.hostnames or ("",)
    lost = forbidden(cluster, namespace, own, hosts, exposure.prefix)
    if not lost:
        return exposure, ""
    kept = tuple(host for host in exposure.hostnames if host not in lost)
    return replace(exposure, hostnames=kept), refusal(namespace, own, lost, exposure.prefix)


def _both(first: Unserved | None, second: Unserved) -> Unserved:
    return Unserved(first.reason, f"{first.message}; {second.message}") if first else second


def route_of(exposure: Exposure) -> table.Route:
    """The entry of the table, without its forwards."""
    match = table.Match(path=exposure.prefix or "/", path_kind="prefix")
    return table.Route(
        name=exposure.backend, hostnames=exposure.hostnames, matches=(match,), strip_prefix=exposure.prefix
    )


def _referenced(objects: Objects) -> set[tuple[str, str]]:
    """Backends that some HTTPRoute leads to, if only by a broken rule: they are not exposed by themselves, since
    that would go around the Policies of the route."""
    found: set[tuple[str, str]] = set()
    for route in objects.routes.values():
        for document in route.documents:
            source = route.identity.namespace
            found.update(
                ref for ref in _backend_refs(document, source) if permitted(objects, HTTP_ROUTE, source, BACKEND, *ref)
            )
    return found


def _declared(backend: Read[crds.Backend], expose: Expose) -> Exposure:
    """`expose: {}` is the Backend's own prefix; hosts alone are served from their root."""
    root = "" if expose.hostnames else _own_prefix(backend)
    prefix = comparable(expose.path_prefix).removesuffix("/") if expose.path_prefix else root
    return Exposure(backend.identity.path, backend.age, expose.hostnames, prefix)


def _own_prefix(backend: Read[crds.Backend]) -> str:
    return f"/{backend.identity.path}"


def _expose(backend: Read[crds.Backend]) -> Expose | None:
    """What a Backend says; of a broken one what can be made out, so that it answers 500 where it would be served."""
    if backend.value is not None:
        return backend.value.spec.expose
    spec = backend.documents[0].get("spec")
    written = spec.get("expose") if isinstance(spec, Mapping) else None
    if written is None:
        return None
    try:
        expose = Expose.model_validate(written, by_alias=True, by_name=False)
        comparable(expose.path_prefix or "/")
    except ValueError:  # pydantic's ValidationError is one
        return Expose()
    return expose


def _backend_refs(document: Document, namespace: str) -> Iterator[tuple[str, str]]:
    """(namespace, name) of everything in a raw HTTPRoute that looks like a reference to a Backend."""
    for rule in _list(_mapping(document.get("spec")).get("rules")):
        for ref in map(_mapping, _list(_mapping(rule).get("backendRefs"))):
            if ref.get("kind") in (None, "Backend"):
                yield str(ref.get("namespace") or namespace), str(ref.get("name"))


def _conflict(winners: Mapping[str, str], prefix: str) -> str:
    held = ", ".join(f"{host or 'any host'}{prefix or '/'} (Backend {winner})" for host, winner in winners.items())
    return (
        f"spec.expose: another Backend, older or of equal age and first by name, is served there: {held}; "
        "choose another host or pathPrefix"
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
