"""Refuse what is new before there is no room for it: at a cap of sessions, or when memory runs short. What is under
way goes on, and is what the room is kept for: a process that is killed takes all its sessions with it.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dataplane.errors import Refusal
from dataplane.process.memory import Memory, Reading
from dataplane.process.room import Room
from dataplane.services import Limits
from dataplane.table import Backend

SHORT, ENOUGH = 0.85, 0.80
"""Shares of the memory. What is between is left to what runs; two of them, so that it does not flicker."""
LOOK = 1.0
"""Seconds between two looks."""

log = structlog.get_logger("tidegate")


class Overload:
    """Whether memory is short. Pure, but for `memory`, which is asked by `look`, and the log."""

    def __init__(self, memory: Memory, room: Room | None = None) -> None:
        """`room` is made a share of what there is."""
        self.short = False
        self._memory = memory
        self._room = room or Room()

    def look(self) -> None:
        """Read the memory, and decide anew."""
        reading = self._memory()
        self._room.fit(None if reading is None else reading.limit)
        share = reading.share if reading is not None else 0.0
        if not self.short and share >= SHORT:
            self.short = True
            what = "memory is short: new requests are refused until less is used"
            log.warning(what, until_share=ENOUGH, **_shown(reading))
        elif self.short and share < ENOUGH:
            self.short = False
            log.info("memory is enough again: new requests are served", **_shown(reading))

    def check(self) -> None:
        """Raises Refusal overloaded."""
        if self.short:
            raise Refusal(
                "overloaded",
                "This gateway has hardly any memory left. Try again later; whoever runs it should give it more, "
                "or run more gateways.",
            )


def check_caps(live: Callable[[str], int], limits: Limits, backend: Backend) -> None:
    """Whether there is room for one more session. `live`: how many WebSockets a Backend has, or with "" all; those
    that are being opened count, so that a burst does not get past. Raises Refusal overloaded, backend_overloaded."""
    if limits.sessions and live("") >= limits.sessions:
        raise Refusal(
            "overloaded",
            f"This gateway has {limits.sessions} sessions, which is its limit. Try again later; whoever runs it "
            "should run more gateways, or raise the limit.",
        )
    if backend.max_sessions and live(backend.name) >= backend.max_sessions:
        raise Refusal(
            "backend_overloaded",
            f"Backend {backend.name} has {backend.max_sessions} sessions at this gateway, which is its maxSessions. "
            "Try again later; whoever runs it should raise that, or run more gateways.",
        )


def _shown(reading: Reading | None) -> dict[str, object]:
    if reading is None:
        return {}
    mebibyte = 1024 * 1024
    return {"used_mib": reading.used // mebibyte, "limit_mib": reading.limit // mebibyte}
