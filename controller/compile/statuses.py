"""What is said about each object, as Kubernetes conditions: every one with a reason for programs and a message
that tells people what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from controller.compile.objects import Identity, Read

SECTIONS = {"Gateway": "listener", "HTTPRoute": "rule", "Backend": "provider"}
"""What a section is called, by kind."""
CLOSED = "Closed"
"""Reason of Ready where all is well with a Backend, and a Policy lets nobody through to it."""


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """What a Policy is attached to: an object, or its section (the name of a listener, a rule, a provider)."""

    kind: str
    namespace: str
    """Empty for a GatewayClass."""
    name: str
    section: str = ""

    def __str__(self) -> str:
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {path}" + (f", {SECTIONS[self.kind]} {self.section}" if self.section else "")


@dataclass(frozen=True, slots=True)
class Ancestor:
    """What a Policy does to one of its targets (GEP-713)."""

    ref: Target
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Parent:
    """What is said about an HTTPRoute at one of its parentRefs that lead to a Gateway of ours: Accepted and
    ResolvedRefs."""

    ref: Mapping[str, object]
    """As it is written."""
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """What is said about a listener: Accepted, Conflicted and ResolvedRefs; Programmed is added as on its Gateway."""

    name: str
    kinds: tuple[tuple[str, str], ...]
    """Groups and kinds of the routes that it takes (supportedKinds)."""
    attached: int
    """HTTPRoutes on it, be it served or not (attachedRoutes)."""
    conditions: tuple[Condition, ...]
    served: bool = True
    """False: nobody can be served by it, though it may be accepted."""


@dataclass(frozen=True, slots=True)
class Status:
    kind: str
    namespace: str
    name: str
    conditions: tuple[Condition, ...]
    """Of the whole object. For a Policy they sum up its ancestors; an API server gets the ancestors alone."""
    ancestors: tuple[Ancestor, ...] = ()
    parents: tuple[Parent, ...] = ()
    """Of an HTTPRoute in a cluster, which gets these alone."""
    listeners: tuple[ListenerStatus, ...] = ()
    """Of a Gateway, as they are written."""
    features: tuple[str, ...] = ()
    """Of a GatewayClass: supportedFeatures, sorted."""


def status(identity: Identity, *conditions: Condition, ancestors: Sequence[Ancestor] = ()) -> Status:
    return Status(*identity, conditions, tuple(ancestors))


def true(type_: str, message: str, reason: str = "") -> Condition:
    return Condition(type_, "True", reason or type_, message)


def false(type_: str, reason: str, message: str) -> Condition:
    return Condition(type_, "False", reason, message)


def not_accepted(broken: Read[object]) -> Condition:
    """The condition Accepted of an object that could not be read."""
    return false("Accepted", broken.reason, broken.error)


def unknown(type_: str) -> Condition:
    """A condition that cannot be told while Accepted is False."""
    return Condition(type_, "Unknown", "NotAccepted", "Not known until the object is accepted; see Accepted.")


def summed(conditions: Sequence[Condition]) -> Condition:
    """Ready: the sum of the others, also of those that are only known once data planes have answered (Programmed).
    Where they hold, what is said of Ready already stands."""
    others = [condition for condition in conditions if condition.type != "Ready"]
    missing = [f"{condition.type} ({condition.reason})" for condition in others if condition.status != "True"]
    if missing:
        return false("Ready", "NotReady", f"Not ready; see the conditions {', '.join(missing)}.")
    said = next((condition for condition in conditions if condition.type == "Ready"), None)
    return said or true("Ready", "Ready to serve.")
