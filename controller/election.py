"""Who of the replicas leads: the one that holds the Lease, as others of Kubernetes' elections do it. Pure.

Nobody's clock is compared with another's: a holder is gone when the Lease has not changed for as long as it says,
counted from when this replica first saw it so. A leader that could not renew stops leading before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from controller.mirror import Document, text

DURATION = 15.0
"""Seconds without a renewal after which others may take the Lease."""
DEADLINE = 10.0
"""Seconds without a renewal after which its holder leads no more."""
RETRY = 2.0
"""Seconds between two attempts to take or to renew it."""
EPOCH = "tidegate.dev/epoch"
WATERMARK = "tidegate.dev/watermark"


@dataclass
class Election:
    """What one replica knows. Times are seconds of its own monotonic clock."""

    identity: str
    _seen: Document = field(default_factory=dict)
    _since: float = 0.0
    _renewed: float = float("-inf")

    def observe(self, spec: Document, now: float) -> None:
        """Take the Lease's spec as it was just read."""
        if spec != self._seen:
            self._seen, self._since = spec, now

    @property
    def holder(self) -> str:
        """Who leads, or did; empty: nobody does."""
        return text(self._seen.get("holderIdentity"))

    def may_take(self, now: float) -> bool:
        """Whether the Lease is this replica's to take or to renew."""
        if self.holder in ("", self.identity):
            return True
        duration = self._seen.get("leaseDurationSeconds")
        return now - self._since >= (duration if isinstance(duration, int) else DURATION)

    def renewed(self, asked: float) -> None:
        """Note that the Lease was taken or renewed by a request that was sent at `asked`."""
        self._renewed = asked

    def lost(self) -> None:
        """Note that this replica leads no more."""
        self._renewed = float("-inf")

    def leads(self, now: float) -> bool:
        return now - self._renewed < DEADLINE

    def spec(self, wall: datetime) -> dict[str, object]:
        """The Lease's spec with this replica as its holder. `wall`: the time of day."""
        stamp = micro(wall)
        transitions = self._seen.get("leaseTransitions")
        count = transitions if isinstance(transitions, int) else 0
        same = self.holder == self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(DURATION),
            "acquireTime": text(self._seen.get("acquireTime")) or stamp if same else stamp,
            "renewTime": stamp,
            "leaseTransitions": count if same else count + 1,
        }

    def released(self, wall: datetime) -> dict[str, object]:
        """The Lease's spec with nobody as its holder, so that the next one need not wait."""
        return {**self.spec(wall), "holderIdentity": "", "leaseDurationSeconds": 1}


def micro(wall: datetime) -> str:
    """A time as Kubernetes writes a MicroTime."""
    return wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_annotations(annotations: Mapping[str, object]) -> tuple[int, dict[str, int]]:
    """The epoch, and the versions by kind, that leaders have written on the Lease; what cannot be read is not there."""
    epoch = text(annotations.get(EPOCH))
    versions: dict[str, int] = {}
    for each in text(annotations.get(WATERMARK)).split(","):
        kind, _, version = each.partition("=")
        if kind and version.isdecimal():
            versions[kind] = int(version)
    return int(epoch) if epoch.isdecimal() else 0, versions


def noted(epoch: int, versions: Mapping[str, int]) -> dict[str, str]:
    """The other way round."""
    return {EPOCH: str(epoch), WATERMARK: ",".join(f"{kind}={versions[kind]}" for kind in sorted(versions))}
