"""From what has come to what is served."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from dataplane.process.gently import gently, let_go
from dataplane.slices import Slices
from dataplane.snapshot import TableRefused
from dataplane.sources.building import Building, Built
from dataplane.sources.transfer import Delivery
from dataplane.table import Secrets, Table
from dataplane.table.delta import Unreadable


class Serves(Protocol):
    """The gateway."""

    async def replace(self, table: Table, secrets: Secrets) -> None: ...


class Counts(Protocol):
    """The meter."""

    def loading(self, routing: Table) -> Slices[None]: ...


class Loader:
    """Has one table after the other served; one at a time. `kept_away` is of `process.garbage`."""

    def __init__(
        self,
        gateway: Serves,
        meter: Counts,
        kept_away: Callable[[], AbstractContextManager[Callable[[int], None]]],
    ) -> None:
        self._gateway = gateway
        self._meter = meter
        self._kept_away = kept_away
        self.served: Built | None = None

    async def load(self, delivery: Delivery) -> None:
        """Raises TableRefused, and what was served before stays."""
        with self._kept_away() as growing:
            try:
                building = Building(self.served, growing)
                await gently(building.take(delivery.parts, delivery.secrets))
                built = await gently(building.built(delivery.outline))
            except Unreadable as error:
                raise TableRefused([str(error)]) from None
            except KeyError as missing:
                raise TableRefused([f"{missing.args[0]} did not come"]) from None
            await self._gateway.replace(built.table, built.secrets)
            await gently(self._meter.loading(built.table))
            before, self.served = self.served, built
            parts: list[object] = list(before.parts.values()) if before else []
            del before, building
            await let_go(parts)
