"""Our own pods, as the cluster tells of them: which gateways are ready, and who is one at all. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from controller.kinds import POD
from controller.mirror import Document, Mirror, metadata, text
from controller.programmed import Gateway


def ready(pods: Mirror, wall: datetime, clock: float) -> list[Gateway]:
    """The gateways that serve: ready, and not about to go. `wall` and `clock` are both now."""
    found = []
    for key, entry in pods.entries(POD.name).items():
        since = _ready_since(entry.body)
        if since is not None and "deletionTimestamp" not in metadata(entry.body):
            age = max(0.0, (wall - since).total_seconds())
            found.append(Gateway(key.name, entry.uid, clock - age))
    return sorted(found)


def known(pods: Mirror, namespace: str, name: str, uid: str) -> bool:
    """Whether it is one of ours, ready or not: it has to have a table before it can be."""
    entry = pods.get(POD.name, namespace, name)
    return entry is not None and bool(uid) and entry.uid == uid


def _ready_since(pod: Document) -> datetime | None:
    for condition in _conditions(pod):
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            try:
                return datetime.fromisoformat(text(condition.get("lastTransitionTime")))
            except ValueError:
                return datetime.min.replace(tzinfo=UTC)
    return None


def _conditions(pod: Document) -> Iterator[Document]:
    status = pod.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    for each in conditions if isinstance(conditions, list) else ():
        if isinstance(each, dict):
            yield each
