"""What is said about each object, as Kubernetes conditions: every one with a reason for programs and a message
that tells people what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from controller.compile.objects import Identity, Read

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
    """What a Policy is attached to: an object, or its section (a rule's name, a provider's name)."""

    kind: str
    namespace: str
    name: str
    section: str = ""

    def __str__(self) -> str:
        section = {"HTTPRoute": f", rule {self.section}", "Backend": f", provider {self.section}"}
        return f"{self.kind} {self.namespace}/{self.name}" + (section[self.kind] if self.section else "")


@dataclass(frozen=True, slots=True)
class Ancestor:
    """What a Policy does to one of its targets (GEP-713)."""

    ref: Target
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Status:
    kind: str
    namespace: str
    name: str
    conditions: tuple[Condition, ...]
    """Of the whole object. For a Policy they sum up its ancestors; an API server gets the ancestors alone."""
    ancestors: tuple[Ancestor, ...] = ()


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
