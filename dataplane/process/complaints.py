"""What only whoever runs the gateway can mend, and callers are merely told: it is in the log, too, seldom enough."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dataplane.errors import Refusal

OURS = frozenset({"upstream_credential_rejected"})
INTERVAL = 60.0
"""Seconds between two lines about the same."""

log = structlog.get_logger("tidegate")


class Seldom:
    """Says when something may be told once more. `now`: a clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._next: dict[tuple[str, ...], float] = {}

    def due(self, *about: str) -> bool:
        """Was nothing told of this for a while? If so, it is now."""
        now = self._now()
        if now < self._next.get(about, 0.0):
            return False
        self._next = {each: until for each, until in self._next.items() if until > now}
        self._next[about] = now + INTERVAL
        return True


class Complaints:
    """`now`: a clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._seldom = Seldom(now)

    def hear(self, refusal: Refusal, backend: str) -> None:
        """A caller is refused."""
        if refusal.code in OURS and self._seldom.due(backend, refusal.code):
            log.warning("callers are refused", code=refusal.code, backend=backend, error=refusal.message)
