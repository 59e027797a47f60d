"""Conditions as Kubernetes stores them, merged with those that are stored already. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from controller.compile.statuses import Condition
from controller.mirror import Document, text

OURS = frozenset(
    ["Ready", "Accepted", "ResolvedRefs", "Programmed", "Authenticated", "Healthy", "Enforced", "Conflicted"]
)
"""Types of conditions that nobody else writes on what is ours to judge."""
MOST_TEXT = 4096
"""Characters of a message. CRDs would have eight times as many; but a status has one of up to 64 conditions, and an API
server stores no object of more than 1.5 MB."""


def merged(
    wanted: Iterable[Condition], stored: Sequence[Document], generation: int, now: str
) -> list[dict[str, object]]:
    """Conditions as they are to be. `stored` says since when, where nothing has turned."""
    before = {text(each.get("type")): each for each in stored}
    return [_written(each, before.get(each.type, {}), generation, now) for each in wanted]


def same(wanted: object, stored: object) -> bool:
    """Whether all that is wanted is stored. Lists of things with names or types have no order, and may hold more:
    what others have added stays theirs, but for conditions of our types."""
    if isinstance(wanted, Mapping) and isinstance(stored, Mapping):
        return all(same(value, stored.get(name, [] if value == [] else None)) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(stored, list):
        if not all(isinstance(each, Mapping) and _name(each) for each in (*wanted, *stored)):
            return wanted == stored
        by_name = {_name(each): each for each in stored}
        gone = {name for name, each in by_name.items() if "type" not in each or name in OURS} - set(map(_name, wanted))
        return not gone and all(same(each, by_name.get(_name(each))) for each in wanted)
    return bool(wanted == stored)


def is_newer(stored: Iterable[Document], generation: int, latest: int) -> bool:
    """Whether somebody who knew a later generation of the object has written them. None is later than the `latest` that
    is stored beside them: what says so is from before the storage was put back."""
    return any(generation < cast("int", each.get("observedGeneration", 0)) <= latest for each in stored)


def _name(value: Document) -> str:
    return text(value.get("type")) or text(value.get("name"))


def _written(wanted: Condition, stored: Document, generation: int, now: str) -> dict[str, object]:
    since = text(stored.get("lastTransitionTime")) if stored.get("status") == wanted.status else ""
    return {
        "type": wanted.type,
        "status": wanted.status,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
        "reason": wanted.reason,
        "message": wanted.message if len(wanted.message) <= MOST_TEXT else wanted.message[: MOST_TEXT - 1] + "…",
    }
