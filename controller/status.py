"""What has to be written into an object's status, given what is there and what the compiler says. Pure.

Times of transitions are kept where nothing turned, entries of other controllers always; where all is said already,
nothing is written. Whatever is newer than what the compiler saw stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, cast

from controller import conditions
from controller.compile.statuses import Ancestor, Condition, ListenerStatus, Status, Target, summed
from controller.conditions import merged
from controller.kinds import BY_NAME, GATEWAY_API, Kind
from controller.mirror import Document, Entry, text

TOLD = ("Ready", "Accepted")
"""Conditions whose turns are told as Events, too: the first of these that a kind has."""
TOLD_BESIDE = ("ResolvedRefs", "Enforced")
"""And these of what has no Ready, while it is accepted: that they do not hold, and that they hold again."""
TOLD_BESIDE_READY = ("Healthy",)
"""And these of what has it: why they turned is nobody's doing, and in no file."""


class Shared(NamedTuple):
    """A list in a status that many controllers write, each its own entries; the API server replaces it whole."""

    field: str
    ref: str
    most: int
    """Entries, as the CRD has it. Where there are more, those of others stay, and of ours the first."""


SHARED = {
    "Policy": Shared("ancestors", "ancestorRef", 16),
    "HTTPRoute": Shared("parents", "parentRef", 32),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """A condition that has become another."""

    condition: Condition
    first: bool
    """It was not there before."""


@dataclass(frozen=True, slots=True)
class Write:
    """A status to be written."""

    kind: Kind
    namespace: str
    name: str
    uid: str
    status: Document
    """Those of its fields that are to be written."""
    version: str = ""
    """The resourceVersion that `status` was made from, where it holds entries of others; empty: it holds ours alone."""
    turns: tuple[Turn, ...] = ()


_NOT_SERVED = Condition("Programmed", "False", "Invalid", "It has no certificate to show; see ResolvedRefs.")
_NONE_SERVED = Condition("Programmed", "False", "Invalid", "No listener can be served; see the conditions of each.")


def write(
    status: Status, entry: Entry, generation: int, controller: str, now: str, addresses: Sequence[Document] = ()
) -> Write | None:
    """What to write, or None where that is there already.

    `status` was made from this `generation` of the object, and `entry` is how the object is stored now. `controller`:
    our name in entries that are one of many controllers'. `now`: the time of day, as Kubernetes writes it.
    `addresses`: of a Gateway."""
    stored, shared = _mapping(entry.body.get("status")), SHARED.get(status.kind)
    before = _ours(status.kind, stored, controller)
    wanted: dict[str, object]
    if shared:
        wanted = {shared.field: _entries(status, shared, stored, controller, generation, now)}
    else:
        wanted = _whole(status, stored, generation, now, addresses)
    if conditions.same(wanted, stored) or conditions.is_newer(before, generation, entry.generation):
        return None
    version = text(_mapping(entry.body.get("metadata")).get("resourceVersion")) if shared else ""
    kind, turns = BY_NAME[status.kind], tuple(_turns(status, stored, before))
    return Write(kind, status.namespace, status.name, entry.uid, wanted, version, turns)


def unconfirmed(entry: Entry, controller: str, generation: int) -> Condition:
    """Programmed, where nothing can be said of it now: what was said of this generation stays."""
    said = _stored(entry, controller, "Programmed")
    if said and all(each.get("observedGeneration") == generation for each in said):
        return _read(said[0])
    return Condition("Programmed", "False", "Pending", "Not every ready gateway has confirmed it yet.")


def as_before(entry: Entry, controller: str, first: Condition) -> Condition:
    """A condition of which nothing can be said now: what was said stays, and else it is `first`."""
    said = _stored(entry, controller, first.type)
    return _read(said[0]) if said else first


def _stored(entry: Entry, controller: str, type_: str) -> list[Document]:
    kind, stored = text(entry.body.get("kind")), _mapping(entry.body.get("status"))
    return [each for each in _ours(kind, stored, controller) if each.get("type") == type_]


def _read(said: Document) -> Condition:
    known = cast("Literal['True', 'False', 'Unknown']", said.get("status"))
    return Condition(text(said.get("type")), known, text(said.get("reason")), text(said.get("message")))


def with_programmed(status: Status, programmed: Condition) -> Status:
    """The status with what gateways have confirmed: of the whole, of every ancestor and listener, and counted by
    Ready. What is not accepted is not programmed, whatever they have confirmed."""
    own = _if_accepted(status.conditions, programmed)
    if own.reason != "Invalid" and status.listeners and not any(each.served for each in status.listeners):
        own = _NONE_SERVED
    found = tuple(each for each in status.conditions if each.type != "Ready")
    if len(found) < len(status.conditions):
        found = (summed((*status.conditions, own)), *found)
    ancestors = tuple(Ancestor(each.ref, _with(each.conditions, programmed)) for each in status.ancestors)
    listeners = tuple(_listening(each, programmed) for each in status.listeners)
    return replace(status, conditions=(*found, own), ancestors=ancestors, listeners=listeners)


def with_healthy(status: Status, healthy: Condition) -> Status:
    """A Backend's status with what gateways find of its providers, counted by Ready. Of one that is not accepted no
    provider is asked, and nothing is said."""
    if any(each.type == "Accepted" and each.status != "True" for each in status.conditions):
        return status
    others = tuple(each for each in status.conditions if each.type != "Ready")
    return replace(status, conditions=(summed((*status.conditions, healthy)), *others, healthy))


def _listening(listener: ListenerStatus, programmed: Condition) -> ListenerStatus:
    own = _if_accepted(listener.conditions, programmed)
    if own.reason != "Invalid" and not listener.served:
        own = _NOT_SERVED
    return replace(listener, conditions=(*listener.conditions, own))


def _with(found: Sequence[Condition], programmed: Condition) -> tuple[Condition, ...]:
    return (*found, _if_accepted(found, programmed))


def _if_accepted(found: Sequence[Condition], programmed: Condition) -> Condition:
    accepted = next((each for each in found if each.type == "Accepted"), None)
    if accepted is None or accepted.status == "True" or programmed.status != "True":
        return programmed
    return Condition("Programmed", "False", "Invalid", "It is not accepted, so it is not served; see Accepted.")


def _whole(
    status: Status, stored: Document, generation: int, now: str, addresses: Sequence[Document]
) -> dict[str, object]:
    """A status that nobody else writes."""
    wanted: dict[str, object] = {
        "conditions": merged(status.conditions, _list(stored.get("conditions")), generation, now)
    }
    if status.kind == "GatewayClass":
        wanted["supportedFeatures"] = [{"name": each} for each in status.features]
    if status.kind == "Gateway":
        before = {text(each.get("name")): each for each in _list(stored.get("listeners"))}
        listeners = [_listener(each, before.get(each.name, {}), generation, now) for each in status.listeners]
        wanted |= {"addresses": list(addresses), "listeners": listeners}
    return wanted


def _listener(listener: ListenerStatus, stored: Document, generation: int, now: str) -> dict[str, object]:
    return {
        "name": listener.name,
        "supportedKinds": [{"group": group, "kind": kind} for group, kind in listener.kinds],
        "attachedRoutes": listener.attached,
        "conditions": merged(listener.conditions, _list(stored.get("conditions")), generation, now),
    }


def _entries(
    status: Status, shared: Shared, stored: Document, controller: str, generation: int, now: str
) -> list[Document]:
    every = _list(stored.get(shared.field))
    ours = [each for each in every if each.get("controllerName") == controller]
    entries: list[Document] = [each for each in every if each.get("controllerName") != controller]
    for ref, wanted in _places(status):
        before = next((each for each in ours if each.get(shared.ref) == ref), {})
        found = merged(wanted, _list(before.get("conditions")), generation, now)
        entries.append({shared.ref: ref, "controllerName": controller, "conditions": found})
    return entries[: shared.most]


def _places(status: Status) -> list[tuple[Document, tuple[Condition, ...]]]:
    """Of a Policy what it is attached to, of an HTTPRoute where it is served."""
    ancestors: list[tuple[Document, tuple[Condition, ...]]] = [
        (_reference(each.ref), each.conditions) for each in status.ancestors
    ]
    # As an API server completes what is written.
    kind = {"group": GATEWAY_API, "kind": "Gateway"}
    return [*ancestors, *(({**kind, **each.ref}, each.conditions) for each in status.parents)]


def _reference(target: Target) -> dict[str, object]:
    group = "tidegate.dev" if target.kind == "Backend" else GATEWAY_API
    ref = {"group": group, "kind": target.kind, "namespace": target.namespace, "name": target.name}
    return {name: value for name, value in (ref | {"sectionName": target.section}).items() if value}


def _ours(kind: str, stored: Document, controller: str) -> list[Document]:
    """All conditions of the whole, or of an entry, that we wrote."""
    if not (shared := SHARED.get(kind)):
        return _list(stored.get("conditions"))
    mine = [each for each in _list(stored.get(shared.field)) if each.get("controllerName") == controller]
    return [condition for each in mine for condition in _list(each.get("conditions"))]


def _turns(status: Status, stored: Document, before: Sequence[Document]) -> Iterator[Turn]:
    """Of the conditions whose turns are told. `before`: those that we wrote of the whole, or of its entries."""
    told = next((each for name in TOLD for each in status.conditions if each.type == name), None)
    if told is None:
        return
    if turn := _turn(told, before):
        yield turn
    if told.type != "Ready" and told.status != "True":
        return  # of what is not accepted nothing else matters
    for each, known in _beside(status, stored, before, TOLD_BESIDE_READY if told.type == "Ready" else TOLD_BESIDE):
        turn = _turn(each, known) if each.status != "Unknown" else None
        if turn and not (turn.first and each.status == "True"):
            yield turn


def _turn(told: Condition, stored: Sequence[Document]) -> Turn | None:
    before = [each for each in stored if each.get("type") == told.type and each.get("status") != "Unknown"]
    known = {text(each.get("status")) for each in before}
    # Of a Policy with many targets it has not turned while any of them says the same.
    return None if told.status in known else Turn(told, not before)


def _beside(
    status: Status, stored: Document, before: Sequence[Document], types: Collection[str]
) -> Iterator[tuple[Condition, Sequence[Document]]]:
    """Further conditions that are told, with what was said before. Those of a Gateway's listeners are told as one."""
    yield from ((each, before) for each in status.conditions if each.type in types)
    if not status.listeners:
        return
    now = [(each.name, said) for each in status.listeners for said in each.conditions if said.type == "ResolvedRefs"]
    wrong = [(name, said) for name, said in now if said.status == "False"]
    message = "; ".join(f"listener {name}: {said.message}" for name, said in wrong)
    then = [said for each in _list(stored.get("listeners")) for said in _list(each.get("conditions"))]
    then = [said for said in then if said.get("type") == "ResolvedRefs"]
    yield (
        Condition("ResolvedRefs", "False", wrong[0][1].reason, message)
        if wrong
        else Condition("ResolvedRefs", "True", "ResolvedRefs", "Everything that the listeners refer to was found."),
        [said for said in then if said.get("status") == "False"] or then,
    )


def _mapping(value: object) -> Document:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Document]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
