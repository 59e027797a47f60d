"""What has to be written into an object's status, given what is there and what the compiler says. Pure.

Times of transitions are kept where nothing turned, entries of other controllers always; where all is said already,
nothing is written. Whatever is newer than what the compiler saw stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from controller.compile.statuses import Ancestor, Condition, Status, Target, summed
from controller.kinds import BY_NAME, GATEWAY_API, Kind
from controller.mirror import Document, Entry, text

MOST_ENTRIES = {"Policy": 16, "HTTPRoute": 32}
"""As the CRDs have it. Where there are more, those of others stay, and of ours the first."""
MOST_TEXT = 32_768
"""Characters of a message, as the CRDs have it."""
TOLD = ("Ready", "Accepted")
"""Conditions whose turns are told as Events, too: the first of these that a kind has."""


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
    turn: Turn | None = None


def write(status: Status, entry: Entry, generation: int, controller: str, now: str) -> Write | None:
    """What to write, or None where that is there already.

    `status` was made from this `generation` of the object, and `entry` is how the object is stored now. `controller`:
    our name in entries that are one of many controllers'. `now`: the time of day, as Kubernetes writes it."""
    stored = _mapping(entry.body.get("status"))
    turned = _turn(status, _ours(status.kind, stored, controller))
    if status.kind == "Policy":
        entries = _entries(status.ancestors, stored, controller, generation, now)
        wanted: Document = {"ancestors": [*_foreign(stored, controller), *entries][: MOST_ENTRIES["Policy"]]}
    else:
        wanted = {"conditions": merged(status.conditions, _list(stored.get("conditions")), generation, now)}
    same = all(stored.get(name, []) == value for name, value in wanted.items())
    if same or _is_newer(_ours(status.kind, stored, controller), generation):
        return None
    metadata = _mapping(entry.body.get("metadata"))
    version = text(metadata.get("resourceVersion")) if status.kind in MOST_ENTRIES else ""
    return Write(BY_NAME[status.kind], status.namespace, status.name, entry.uid, wanted, version, turned)


def merged(
    wanted: Iterable[Condition], stored: Sequence[Document], generation: int, now: str
) -> list[dict[str, object]]:
    """Conditions as Kubernetes has them. `stored` says since when."""
    before = {text(each.get("type")): each for each in stored}
    return [_condition(each, before.get(each.type, {}), generation, now) for each in wanted]


def unconfirmed(entry: Entry, controller: str, generation: int) -> Condition:
    """Programmed, where nothing can be said of it now: what was said of this generation stays."""
    kind, stored = text(entry.body.get("kind")), _mapping(entry.body.get("status"))
    said = [each for each in _ours(kind, stored, controller) if each.get("type") == "Programmed"]
    if said and all(each.get("observedGeneration") == generation for each in said):
        known = cast("Literal['True', 'False', 'Unknown']", said[0].get("status"))
        return Condition("Programmed", known, text(said[0].get("reason")), text(said[0].get("message")))
    return Condition("Programmed", "False", "Pending", "No gateway has confirmed it yet.")


def with_programmed(status: Status, programmed: Condition) -> Status:
    """The status with what gateways have confirmed, of the whole and of every ancestor, and counted by Ready."""
    conditions = (*(each for each in status.conditions if each.type != "Ready"), programmed)
    if len(conditions) == len(status.conditions):  # it has a Ready, too
        conditions = (summed((*status.conditions, programmed)), *conditions)
    ancestors = tuple(Ancestor(each.ref, (*each.conditions, programmed)) for each in status.ancestors)
    return replace(status, conditions=conditions, ancestors=ancestors)


def _condition(wanted: Condition, stored: Document, generation: int, now: str) -> dict[str, object]:
    since = text(stored.get("lastTransitionTime")) if stored.get("status") == wanted.status else ""
    return {
        "type": wanted.type,
        "status": wanted.status,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
        "reason": wanted.reason,
        "message": _short(wanted.message),
    }


def _entries(
    ancestors: Iterable[Ancestor], stored: Document, controller: str, generation: int, now: str
) -> list[dict[str, object]]:
    mine = [each for each in _list(stored.get("ancestors")) if each.get("controllerName") == controller]
    entries: list[dict[str, object]] = []
    for ancestor in ancestors:
        ref = _reference(ancestor.ref)
        before = next((each for each in mine if each.get("ancestorRef") == ref), {})
        conditions = merged(ancestor.conditions, _list(before.get("conditions")), generation, now)
        entries.append({"ancestorRef": ref, "controllerName": controller, "conditions": conditions})
    return entries


def _reference(target: Target) -> dict[str, object]:
    group = "tidegate.dev" if target.kind == "Backend" else GATEWAY_API
    ref = {"group": group, "kind": target.kind, "namespace": target.namespace, "name": target.name}
    return {name: value for name, value in (ref | {"sectionName": target.section}).items() if value}


def _foreign(stored: Document, controller: str) -> list[Document]:
    return [each for each in _list(stored.get("ancestors")) if each.get("controllerName") != controller]


def _ours(kind: str, stored: Document, controller: str) -> list[Document]:
    """All conditions in a stored status that we wrote."""
    if kind != "Policy":
        return _list(stored.get("conditions"))
    mine = [each for each in _list(stored.get("ancestors")) if each.get("controllerName") == controller]
    return [condition for each in mine for condition in _list(each.get("conditions"))]


def _is_newer(stored: Iterable[Document], generation: int) -> bool:
    return any(cast("int", each.get("observedGeneration", 0)) > generation for each in stored)


def _turn(status: Status, stored: Sequence[Document]) -> Turn | None:
    """Of the condition whose turns are told."""
    told = next((each for name in TOLD for each in status.conditions if each.type == name), None)
    if told is None:
        return None
    before = [each for each in stored if each.get("type") == told.type]
    known = {text(each.get("status")) for each in before}
    # Of a Policy with many targets it has not turned while any of them says the same.
    return None if told.status in known else Turn(told, not before)


def _short(message: str) -> str:
    return message if len(message) <= MOST_TEXT else message[: MOST_TEXT - 1] + "…"


def _mapping(value: object) -> Document:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Document]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
