"""How a data plane that was told to stop lets its sessions end; the phases, in seconds, in their order.

    lame duck   not ready, and still accepting: load balancers need a while to notice
    patience    nothing new; calls end by themselves
    closing     the last of the patience: a session ends as soon as it is between turns
    (deadline)  the others end
    linger      the admin port is scraped for the last time

A pod must be given `grace_period` seconds, or it is killed before it is done.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.realtime.relay import LINGER, SETTLE


@dataclass(frozen=True, slots=True)
class Drain:
    lame_duck: float = 10.0
    patience: float = 3600.0
    closing: float = 60.0
    """Part of the patience, at most all of it."""
    linger: float = 30.0
    """Two scrapes, at the usual 15 seconds."""

    @property
    def settling(self) -> float:
        """What the sessions that are left at the deadline need to be told, settled and closed."""
        return SETTLE + 3 * LINGER

    @property
    def grace_period(self) -> float:
        """The least `terminationGracePeriodSeconds` of a pod (systemd: TimeoutStopSec)."""
        return self.lame_duck + self.patience + self.settling + self.linger


AT_ONCE = Drain(lame_duck=0, patience=0, closing=0, linger=0)
