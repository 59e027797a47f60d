"""How far the cluster's history had come when a table was made of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from dataplane.table.entry import Frozen

Revision = Annotated[int, Field(ge=0, lt=2**64)]


class Watermark(Frozen):
    """The newest `resourceVersion` that was seen of each kind, in one epoch: another begins when the cluster's storage
    was restored, since numbers start again then."""

    model_config = ConfigDict(extra="ignore")

    epoch: int = Field(ge=0)
    versions: dict[Annotated[str, Field(max_length=253)], Revision] = Field(default_factory=dict, max_length=64)
    """By kind."""


def older(one: Watermark, other: Watermark) -> bool:
    """Whether one must not replace the other: it is of an earlier epoch, or of the same and behind in some kind that
    both know. Each may be behind the other: then neither replaces it, until one has caught up."""
    if one.epoch != other.epoch:
        return one.epoch < other.epoch
    return any(version < other.versions[kind] for kind, version in one.versions.items() if kind in other.versions)


def reached(one: Watermark, other: Watermark) -> bool:
    """Whether one was made with all of the other's history seen: in the same epoch, and of no kind less."""
    return one.epoch == other.epoch and all(
        one.versions.get(kind, -1) >= version for kind, version in other.versions.items()
    )


def joined(one: Watermark, other: Watermark) -> Watermark:
    """Of one table that was made at both: of the later epoch, and within one epoch the newest of each kind."""
    if one.epoch != other.epoch:
        return max(one, other, key=lambda each: each.epoch)
    kinds = {*one.versions, *other.versions}
    newest = {kind: max(one.versions.get(kind, 0), other.versions.get(kind, 0)) for kind in sorted(kinds)}
    return Watermark(epoch=one.epoch, versions=newest)
