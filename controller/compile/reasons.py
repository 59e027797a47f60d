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
    "Ready": "Everything else that is said of the object holds.",
    "ResolvedRefs": "Everything that the object refers to was found.",
    "WeakKeys": "The Policy holds, but some callers' keys are so short that they are found by trying.",
}
"""Of conditions that are True."""

BAD: Final[Mapping[str, str]] = {
    "BackendInvalid": "The rule leads to a Backend that is not accepted; see the Backend.",
    "BackendNotFound": "The rule leads to a Backend or a Service that does not exist, or to no port of it.",
    "Closed": "A Policy that guards the Backend cannot hold, so requests are answered 500 rather than let through.",
    "Conflicted": "Every block of the Policy is replaced by another Policy's on the same way; the message says whose.",
    "DuplicateName": "Several different documents have this kind, namespace and name, so none is used.",
    "HostnameConflict": "An older Backend is exposed at the same host and path.",
    "Invalid": "The object says something that cannot be; the message names each field.",
    "InvalidAddress": "A provider's url is no address that can be called.",
    "InvalidCredential": "A Secret's entry cannot be used as a provider's credential.",
    "InvalidKeys": "Some of the keys that a Policy names cannot be used; the others hold.",
    "InvalidKind": "A rule leads to something that is neither a Backend nor, in a cluster, a Service.",
    "LocationNeeded": "A provider is sent the client's own credential, so the gateway's needs a place of its own.",
    "NoCluster": "The Backend names a Service, which files cannot: there is no cluster to look it up in.",
    "NoPolicy": "A credential is injected and no Policy says how callers authenticate, so they get 401.",
    "NoSessions": "The Policy is about realtime sessions, and none can come where it is attached.",
    "NoSuchCallers": "The Policy is for callers whom nobody can be there.",
    "NotAccepted": "Nothing can be said of this before the object is accepted.",
    "NotAllowed": "The install does not let this namespace be served at that host or path (expose.allow).",
    "NotReady": "Another condition of the object does not hold; the message names it.",
    "PassthroughNotRead": "Paths of type Passthrough are relayed unread, so the Policy cannot hold for them.",
    "PolicyNotAccepted": "A Policy that should say how callers authenticate is not accepted.",
    "RefNotPermitted": "The reference leads to another namespace, which has no ReferenceGrant for it.",
    "SecretAccessDenied": "The namespace has not let Tidegate read its Secrets; the message has the command.",
    "SecretKeyNotFound": "The Secret has no entry of that name.",
    "SecretNotFound": "The Secret does not exist.",
    "ServiceNotFound": "The Service that is a provider does not exist.",
    "ServicePortNotFound": "The Service has no TCP port of that number.",
    "StoreMissing": "The Policy counts for the whole fleet, and the gateways share no store.",
    "TargetNotFound": "The Policy's target does not exist, or has no such section.",
    "UnsupportedService": "The Service has no endpoints by its nature (ExternalName), or cannot be read.",
    "UnsupportedValue": "The object asks for something that Tidegate does not do, and never skips silently.",
}
"""Of conditions that are False or Unknown."""

REASONS: Final[Mapping[str, str]] = {**GOOD, **BAD}
