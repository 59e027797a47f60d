"""The composition root in a cluster: a data plane that serves what controllers offer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dataplane.metering.prices import open_catalogue
from dataplane.metering.updates import Updates
from dataplane.process import garbage
from dataplane.server import AddressPolicy
from dataplane.sources.controller import Controllers, Pod
from dataplane.sources.dialling import Credentials, Name
from dataplane.sources.loading import Loader
from tidegate import __version__, running
from tidegate.addresses import Address
from tidegate.assembly import Assembly, Settings


@dataclass(frozen=True, slots=True)
class Options:
    """Whose tables a data plane serves, and where."""

    controllers: Sequence[Name]
    credentials: Credentials
    listen: Address
    admin: Address
    pod: str = ""
    """Its name, for the controllers."""
    boot: Path | None = None
    """Folder of the snapshot."""
    settings: Settings = field(default_factory=Settings)


class Subscribed:
    """Configure logging first; make it inside the loop that it runs on. `addresses`: of upstreams that may be dialled;
    only tests have some of their own. Raises Stop (usage)."""

    def __init__(self, options: Options, addresses: AddressPolicy | None = None) -> None:
        self.options = options
        self.assembly = Assembly(options.settings, addresses or AddressPolicy(), self)
        self.controllers = Controllers(
            options.controllers,
            options.credentials,
            Loader(self.assembly.gateway, self.assembly.meter, self.assembly.garbage.kept_away),
            Updates(self.assembly.instruments),
            Pod(options.pod, __version__),
            self.assembly.gateway.pools,
            snapshot=options.boot,
        )
        self._following: asyncio.Task[None] | None = None

    async def open_admin(self) -> None:
        """So that somebody can ask what it waits for. Raises Stop."""
        await self.assembly.open_admin(self.options.admin)

    async def start(self) -> None:
        """Wait for a table, and serve it. Raises Stop."""
        await running.beside(open_catalogue)  # beside a loop that serves it would hold that up
        self._following = asyncio.create_task(self.controllers.run())
        await self.controllers.has_table.wait()
        garbage.set_aside()
        await self.assembly.open(self.options.listen)

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """See `Assembly.stop`. Tables are followed until nobody is served: a key that is revoked is of no use."""
        await self.assembly.stop(hurry or asyncio.Event(), self._release)

    async def _release(self) -> None:
        if self._following:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following

    def waits_for(self) -> str:
        """See `dataplane.admin.Source`."""
        return "" if self.controllers.held else self.controllers.waiting_for()

    def shown(self) -> Mapping[str, object]:
        """See `dataplane.admin.Source`."""
        held = self.controllers.held
        if held is None:
            return {}
        return {"source": self.controllers.source, "table": held.table, "watermark": held.watermark.model_dump()}

    @property
    def address(self) -> Address:
        """Where it listens, with the port that it got."""
        return Address(self.options.listen.host, self.assembly.gateway.port)

    @property
    def admin_address(self) -> Address:
        return Address(self.options.admin.host, self.assembly.admin.port)
