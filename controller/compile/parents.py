"""Where HTTPRoutes are served: the listeners of their parentRefs, under the hostnames that both have (Gateway API,
HTTPRoute.spec.parentRefs and .hostnames)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import ValidationError

from controller.compile.cluster import Cluster
from controller.compile.core_objects import Core
from controller.compile.gateway_api import HTTPRoute
from controller.compile.gateways import GROUP, class_of
from controller.compile.httproutes import ServedRule
from controller.compile.listeners import Fleet, Listener, Problem
from controller.compile.names import what_exists
from controller.compile.objects import Document, Read
from controller.compile.policies import Attachments
from controller.compile.statuses import Target
from dataplane import table


class ParentRef(Core):
    group: str = GROUP
    kind: str = "Gateway"
    namespace: str | None = None
    name: str
    section_name: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Attached:
    """A listener that a route is on."""

    listener: Listener
    hostnames: tuple[str, ...]
    """Empty: all of the listener."""


@dataclass(frozen=True, slots=True)
class AtParent:
    """What a parentRef to a Gateway of ours leads to."""

    ref: Mapping[str, object]
    """As it is written."""
    attached: tuple[Attached, ...] = ()
    problem: Problem | None = None
    """Why nothing is served there."""


def at_parents(route: Read[HTTPRoute], fleet: Fleet, cluster: Cluster) -> list[AtParent]:
    """Those that lead to Gateways of ours, as they are written; of the others nobody here says anything."""
    found: list[AtParent] = []
    for document in route.documents[:1]:
        for ref in _refs(document):
            key = ref.namespace or route.identity.namespace, ref.name
            if (ref.group, ref.kind) == (GROUP, "Gateway") and key in fleet.gateways:
                found.append(_at(ref, fleet.listeners[key], route, cluster))
    return found


def served_at(
    rules: Sequence[ServedRule], parents: Sequence[AtParent], fleet: Fleet, attachments: Attachments
) -> list[ServedRule]:
    """The rules of an HTTPRoute at all of these. Where other Policies hold than elsewhere each is a route of its own:
    the one with the fewest has the rule's name, the others add the first listener there."""
    places = {each.listener.path: each for parent in parents for each in parent.attached if not each.listener.refused}
    groups: dict[tuple[Target, ...], list[table.Attachment]] = defaultdict(list)
    for path in sorted(places):
        above = [target for target in targets_of(places[path].listener, fleet) if attachments.concerns(target)]
        groups[tuple(above)].append(table.Attachment(listener=path, hostnames=places[path].hostnames))
    ordered = sorted(groups.items(), key=lambda group: len(group[0]))
    return [
        replace(rule, above=above, route=_on(rule.route, tuple(group), named=place == 0))
        for rule in rules
        for place, (above, group) in enumerate(ordered)
    ]


def targets_of(listener: Listener, fleet: Fleet) -> tuple[Target, ...]:
    """What Policies target to hold on a listener, broad to narrow."""
    namespace, name = listener.gateway.namespace, listener.gateway.name
    gateway = Target("Gateway", namespace, name)
    class_ = class_of(fleet.gateways[namespace, name].documents[0])
    return Target("GatewayClass", "", class_), gateway, replace(gateway, section=listener.name)


def intersection(listener: str, hostnames: Sequence[str]) -> tuple[str, ...] | None:
    """The hostnames (empty: any) of a route as far as they are the listener's, too; None: there are none."""
    if not listener or not hostnames:
        return tuple(hostnames)
    both = dict.fromkeys(common for each in hostnames if (common := _common(listener, each)))
    return tuple(both) or None


def _common(one: str, other: str) -> str:
    """The narrower of two hostnames where it is part of the other, or nothing."""
    if one == other or _covers(other, one):
        return one
    return other if _covers(one, other) else ""


def _covers(wildcard: str, hostname: str) -> bool:
    """`*.a.test` is for `x.a.test`, `y.x.a.test` and `*.x.a.test`."""
    return wildcard.startswith("*.") and hostname.removeprefix("*").endswith(wildcard[1:]) and hostname != wildcard


def _refs(document: Document) -> Iterator[ParentRef]:
    """What can be read of them: a broken route is told why where it is."""
    spec = document.get("spec")
    written = spec.get("parentRefs") if isinstance(spec, Mapping) else None
    for ref in written if isinstance(written, list) else ():
        try:
            yield ParentRef.model_validate(ref)
        except ValidationError:
            continue


def _at(ref: ParentRef, listeners: Sequence[Listener], route: Read[HTTPRoute], cluster: Cluster) -> AtParent:
    written = ref.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
    named = [each for each in listeners if ref.section_name in (None, each.name) and ref.port in (None, each.port)]
    if not named:
        return AtParent(written, problem=_no_listener(ref, listeners))
    allowed = [each for each in named if _takes(each, route, cluster)]
    if not allowed:
        return AtParent(written, problem=_not_allowed(named, route))
    attached = [
        Attached(each, hostnames)
        for each in allowed
        if (hostnames := intersection(each.hostname, route.value.hostnames if route.value else ())) is not None
    ]
    if not attached:
        theirs = ", ".join(sorted({each.hostname for each in allowed}))
        message = f"spec.hostnames: none is a hostname of the listeners there, which are for {theirs}"
        return AtParent(written, problem=Problem("NoMatchingListenerHostname", message))
    refused = [each.listener for each in attached if each.listener.refused]
    if len(refused) == len(attached) and (why := refused[0].refused):
        message = f"Listener {refused[0].name} is not accepted: {why.message}"
        return AtParent(written, tuple(attached), Problem("ListenerNotAccepted", message))
    return AtParent(written, tuple(attached))


def _takes(listener: Listener, route: Read[HTTPRoute], cluster: Cluster) -> bool:
    if not listener.takes_routes:
        return False
    namespaces, own = listener.namespaces, route.identity.namespace
    match namespaces.source:
        case "All":
            return True
        case "Same":
            return own == listener.gateway.namespace
        case "Selector":
            return namespaces.selector is not None and namespaces.selector.matches(cluster.objects.labels_of(own))
        case "None":
            return False


def _no_listener(ref: ParentRef, listeners: Sequence[Listener]) -> Problem:
    asked = {"sectionName": ref.section_name, "port": ref.port}
    what = " and ".join(f"{field} {value}" for field, value in asked.items() if value is not None)
    known = [f"{each.name} (port {each.port})" for each in listeners]
    message = f"spec.parentRefs: Gateway {ref.name} has no listener with {what or 'any name'}; {what_exists('', known)}"
    return Problem("NoMatchingParent", message)


def _not_allowed(listeners: Sequence[Listener], route: Read[HTTPRoute]) -> Problem:
    names = ", ".join(each.name for each in listeners)
    message = (
        f"No listener there ({names}) takes HTTPRoutes of namespace {route.identity.namespace}; have the Gateway's "
        "owner allow it in allowedRoutes, or move the route"
    )
    return Problem("NotAllowedByListeners", message)


def _on(route: table.Route, attached: tuple[table.Attachment, ...], *, named: bool) -> table.Route:
    name = route.name if named else f"{route.name}@{attached[0].listener}"
    return route.model_copy(update={"name": name, "attached": attached, "hostnames": ()})
