"""What is said about GatewayClasses, Gateways and, at each of their parents, HTTPRoutes.

Whoever writes them adds what only a running fleet tells, to each Gateway and to each of its listeners: `Programmed`,
which is True once the Gateway's Service has an address (else AddressNotAssigned) and every ready data plane holds a
table with this generation (else Pending), and False (Invalid) where nobody can be served for want of a certificate; and
`status.addresses`, from the Service's load balancer, or else its cluster IP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from controller.compile.gateway_api import HTTPRoute
from controller.compile.gateways import GatewayClass
from controller.compile.grants import HTTP_ROUTE
from controller.compile.listeners import Fleet, Key, Listener, class_fault
from controller.compile.objects import Identity, Read
from controller.compile.parents import AtParent
from controller.compile.statuses import Condition, ListenerStatus, Parent, Status, false, true

FEATURES: Final = (
    "Gateway",
    "GatewayHTTPListenerIsolation",
    "GatewayInfrastructurePropagation",
    "GatewayPort8080",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
)
"""What conformance tests may ask for, by the names of Gateway API v1.6."""


def gateway_statuses(fleet: Fleet, parents: Mapping[Identity, Sequence[AtParent]]) -> list[Status]:
    """Of classes and Gateways. `parents`: of all HTTPRoutes."""
    attached = Counter(
        path
        for of_route in parents.values()
        for path in {each.listener.path for parent in of_route for each in parent.attached}
    )
    return [
        *(_class(each) for each in fleet.classes.values()),
        *(
            Status(
                *each.identity,
                (_accepted(fleet, key),),
                listeners=tuple(_listener(listener, attached[listener.path]) for listener in fleet.listeners[key]),
            )
            for key, each in fleet.gateways.items()
        ),
    ]


def route_status(
    route: Read[HTTPRoute], conditions: tuple[Condition, Condition], parents: Sequence[AtParent]
) -> Status:
    """Of an HTTPRoute in a cluster. `conditions`: what is said of it wherever it is served."""
    accepted, resolved = conditions
    told = tuple(Parent(each.ref, (_at(each, accepted), resolved)) for each in parents)
    if not told:
        accepted = false("Accepted", "NoMatchingParent", "spec.parentRefs: none leads to a Gateway of this install")
    else:
        every = [each.conditions[0] for each in told]
        accepted = next((each for each in every if each.status != "True"), every[0])
    return Status(*route.identity, (accepted, resolved), parents=told)


def _at(parent: AtParent, accepted: Condition) -> Condition:
    return false("Accepted", parent.problem.reason, parent.problem.message) if parent.problem else accepted


def _class(class_: Read[GatewayClass]) -> Status:
    fault = class_.value and class_fault(class_.value)
    accepted = false("Accepted", fault.reason, fault.message) if fault else true("Accepted", "Served by this install.")
    return Status(*class_.identity, (accepted,), features=FEATURES)


def _accepted(fleet: Fleet, key: Key) -> Condition:
    if fault := fleet.faults.get(key):
        return false("Accepted", fault.reason, fault.message)
    listeners = fleet.listeners[key]
    wrong = [each.name for each in listeners if not each.served]
    if not wrong:
        return true("Accepted", "Served.")
    message = f"See the conditions of listeners: {', '.join(wrong)}."
    if all(each.refused for each in listeners):
        return false("Accepted", "ListenersNotValid", f"No listener can be served. {message}")
    some = "No listener can be served" if len(wrong) == len(listeners) else "Served, but for some listeners"
    return true("Accepted", f"{some}. {message}", "ListenersNotValid")


def _listener(listener: Listener, attached: int) -> ListenerStatus:
    refused, unresolved = listener.refused, listener.unresolved
    conditions = (
        false("Accepted", refused.reason, refused.message) if refused else _valid(listener),
        true("Conflicted", refused.message, refused.reason)
        if refused and listener.conflict
        else false("Conflicted", "NoConflicts", "No other listener is in its way."),
        false("ResolvedRefs", unresolved[0].reason, "; ".join(each.message for each in unresolved))
        if unresolved
        else true("ResolvedRefs", "Everything that the listener refers to was found."),
    )
    kinds = (HTTP_ROUTE,) if listener.takes_routes else ()
    return ListenerStatus(listener.name, kinds, attached, conditions, listener.served)


def _valid(listener: Listener) -> Condition:
    if listener.served:
        return true("Accepted", "Served.")
    return true("Accepted", "Valid, but not served: it has no certificate to show; see ResolvedRefs.")
