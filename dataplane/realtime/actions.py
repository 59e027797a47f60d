"""What a relay asks whoever holds the connections to do."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.realtime.effects import Admit, Ask, Found, Listen, Logged, Metered, Missed, Progress, Released, Unmetered
from dataplane.realtime.endings import Ending
from dataplane.realtime.frames import Close


@dataclass(frozen=True, slots=True)
class ToClient:
    data: bytes


@dataclass(frozen=True, slots=True)
class ToUpstream:
    data: bytes


@dataclass(frozen=True, slots=True)
class DropClient:
    """End the client's connection once what was written is sent."""


@dataclass(frozen=True, slots=True)
class DropUpstream:
    """End the upstream's connection once what was written is sent."""


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Both legs are done. Comes once, last."""

    ending: Ending
    close: Close


Action = (
    ToClient
    | ToUpstream
    | DropClient
    | DropUpstream
    | Wait
    | Ended
    | Metered
    | Unmetered
    | Logged
    | Progress
    | Admit
    | Released
    | Found
    | Missed
    | Ask
    | Listen
)
