"""Every reason that a condition may have, in one sentence each. The page on troubleshooting has a line for every one.

A message of the condition says which object, which field and what to write; this says what the word means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GOOD: Final[Mapping[str, str]] = {
    "Accepted": "The object is valid and in force.",
    "Anonymous": "A Policy lets callers in who show no key; the message says which, and how to close it.",
    "Authenticated": "A Policy says how callers authenticate.",
    "Enforced": "The Policy holds wherever it is attached.",
    "NothingInjected": "No credential of the gateway's goes to a provider, so callers need none.",
    "OpenOnLoopback": "A gateway on loopback serves without authentication; elsewhere callers would get 401.",
    "Programmed": "Every gateway that is ready has confirmed that it serves this generation.",
    "Ready": "Everything else that is said of the object holds.",
    "ResolvedRefs": "Everything that the object refers to was found.",
    "WeakKeys": "The Policy holds, but some callers' keys are so short that they are found by trying.",
}
"""Of conditions that are True."""

BAD: Final[Mapping[str, str]] = {
    "AddressNotAssigned": "The Gateway's Service has no address yet.",
    "BackendInvalid": "The rule leads to a Backend that is not accepted; see the Backend.",
    "BackendNotFound": "The rule leads to a Backend or a Service that does not exist, or to no port of it.",
    "Closed": "A Policy that guards the Backend cannot hold, so requests are answered 500 rather than let through.",
    "Conflicted": "Every block of the Policy is replaced by another Policy's on the same way; the message says whose.",
    "DuplicateName": "Several different documents have this kind, namespace and name, so none is used.",
    "IncompatibleFilters": "A rule has filters, or backendRefs, that cannot be together.",
    "Invalid": "The object says something that cannot be; the message names each field.",
    "InvalidAddress": "A provider's url is no address that can be called.",
    "InvalidCertificateRef": "What a listener is to show its clients is no certificate with its key.",
    "InvalidCredential": "A Secret's entry cannot be used as a provider's credential.",
    "InvalidKeys": "Some of the keys that a Policy names cannot be used; the others hold.",
    "InvalidKind": "A rule leads to something that is neither a Backend nor, in a cluster, a Service.",
    "InvalidParameters": "A GatewayClass or Gateway has a parametersRef, and there are no parameters.",
    "InvalidRouteKinds": "A listener allows kinds of routes that are not served; HTTPRoutes are.",
    "ListenerNotAccepted": "The route fits a listener that is not accepted itself; see the Gateway.",
    "LocationNeeded": "A provider is sent the client's own credential, so the gateway's needs a place of its own.",
    "NoCluster": "The Backend names a Service, which files cannot: there is no cluster to look it up in.",
    "NoMatchingListenerHostname": "No hostname of the route is one of the listeners that it names.",
    "NoMatchingParent": "The route's parentRef leads to no listener of that name and port.",
    "NoGateways": "No gateway of the install is ready, so nothing is served; see its pods.",
    "NoPolicy": "A credential is injected and no Policy says how callers authenticate, so they get 401.",
    "NoSessions": "The Policy is about realtime sessions, and none can come where it is attached.",
    "NoSuchCallers": "The Policy is for callers whom nobody can be there.",
    "NotAccepted": "Nothing can be said of this before the object is accepted.",
    "NotAllowed": "The install does not let this namespace be served there, or decide for the whole fleet.",
    "NotAllowedByListeners": "The listeners that the route names take no HTTPRoutes of its namespace.",
    "NotReady": "Another condition of the object does not hold; the message names it.",
    "PassthroughNotRead": "Paths of type Passthrough are relayed unread, so the Policy cannot hold for them.",
    "Pending": "Some gateway has not confirmed this generation yet; the message names it.",
    "PolicyNotAccepted": "A Policy that should say how callers authenticate is not accepted.",
    "PortUnavailable": "So many Gateways are served that no port is left for this listener.",
    "Refused": "A gateway does not take the table and serves the one before it; the message has its reasons.",
    "RefNotPermitted": "The reference leads to another namespace, which has no ReferenceGrant for it.",
    "SecretAccessDenied": "The namespace has not let Tidegate read its Secrets; the message has the command.",
    "SecretKeyNotFound": "The Secret has no entry of that name.",
    "SecretNotFound": "The Secret does not exist.",
    "ServiceNotFound": "The Service that is a provider does not exist.",
    "ServicePortNotFound": "The Service has no TCP port of that number.",
    "StoreMissing": "The Policy counts for the whole fleet, and the gateways share no store.",
    "TargetNotFound": "The Policy's target does not exist, or has no such section.",
    "UnsupportedAddress": "The Gateway asks for an address; it gets its Service's.",
    "UnsupportedProtocol": "The listener is of another protocol than HTTP and HTTPS.",
    "UnsupportedService": "The Service has no endpoints by its nature (ExternalName), or cannot be read.",
    "UnsupportedValue": "The object asks for something that Tidegate does not do, and never skips silently.",
}
"""Of conditions that are False or Unknown."""

EITHER: Final[Mapping[str, str]] = {
    "HostnameConflict": "Another listener has the same port and host, or an older Backend the same host and path.",
    "ListenersNotValid": "Some listeners of the Gateway, or all, are not accepted; see theirs.",
    "NoConflicts": "No other listener of the Gateway is in the way of this one.",
    "ProtocolConflict": "Listeners of one port have different protocols, so none of them is served.",
}
"""Of conditions of Gateways and listeners that may be True or False; `Conflicted` is better False."""

REASONS: Final[Mapping[str, str]] = {**GOOD, **BAD, **EITHER}
