"""What only whoever runs the gateway can mend, and callers are merely told: it is in the log, too, seldom enough."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dataplane.errors import Refusal

OURS = frozenset({"upstream_credential_rejected"})
INTERVAL = 60.0
"""Seconds between two lines about one Backend."""

log = structlog.get_logger("tidegate")


class Complaints:
    """`now`: a clock, in seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._next: dict[tuple[str, str], float] = {}

    def hear(self, refusal: Refusal, backend: str) -> None:
        """A caller is refused."""
        if refusal.code not in OURS:
            return
        about, now = (backend, refusal.code), self._now()
        if now >= self._next.get(about, 0.0):
            self._next = {each: until for each, until in self._next.items() if until > now}
            self._next[about] = now + INTERVAL
            log.warning("callers are refused", code=refusal.code, backend=backend, error=refusal.message)
