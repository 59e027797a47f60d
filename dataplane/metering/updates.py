"""What became of the tables that controllers offered."""

from __future__ import annotations

from typing import Literal

from dataplane.metering.instruments import Instruments

Result = Literal["applied", "refused", "stale", "failed"]


class Updates:
    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        with instruments.lock:
            for result in ("applied", "refused", "stale", "failed"):
                instruments.table_updates.add((result,), 0)
            instruments.controllers_connected.set((), 0)
            instruments.table_from_snapshot.set((), 0)

    def ended(self, result: Result) -> None:
        """An offer was."""
        with self._instruments.lock:
            self._instruments.table_updates.add((result,))

    def applied(self, now: float, *, from_snapshot: bool) -> None:
        """A table is served, since `now` (seconds since the epoch)."""
        with self._instruments.lock:
            self._instruments.table_applied.set((), now)
            self._instruments.table_from_snapshot.set((), int(from_snapshot))

    def connected(self, controllers: int) -> None:
        """So many are."""
        with self._instruments.lock:
            self._instruments.controllers_connected.set((), controllers)
