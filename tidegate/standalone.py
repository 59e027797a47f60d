"""The composition root: files, compiler and data plane in one process.

A reload is all or nothing as far as files go: with an error in any of them the table that is served stays. An
object that is read but not valid costs only itself, as in a cluster, and is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import structlog

from dataplane.admin import Admin
from dataplane.process.gently import gently
from dataplane.server import AddressPolicy, Gateway, TableRefused
from tidegate import watching
from tidegate.addresses import Address
from tidegate.assembly import Assembly, Settings
from tidegate.compiling import Outcome
from tidegate.documents import Documents
from tidegate.loading import NotLoaded, Source
from tidegate.worker import Failed

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True)
class Options:
    """What a gateway on one machine serves, and where."""

    paths: Sequence[Path]
    listen: Address
    admin: Address
    reuse_port: bool = False
    """Share `listen` with other processes that do so, too."""
    upstreams_allow: Sequence[IPv4Network | IPv6Network] = ()
    """Private networks that upstreams may be in. Loopback always is allowed."""
    settings: Settings = field(default_factory=Settings)


@dataclass(slots=True)
class Standalone:
    """A gateway that serves files. Configure logging first; make it inside the loop that it runs on."""

    options: Options
    documents: InitVar[Documents | None] = None
    """What reads the files; only tests have one of their own."""
    served: Outcome | None = None
    """What was made of the files that are served."""
    assembly: Assembly = field(init=False)
    _source: Source = field(init=False)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refused: bool = False
    """Is what the files said last not what is served?"""
    _stopped: bool = False

    def __post_init__(self, documents: Documents | None) -> None:
        addresses = AddressPolicy(allow_loopback=True, allow=tuple(self.options.upstreams_allow))
        self.assembly = Assembly(self.options.settings, addresses)
        has_store = bool(self.options.settings.state)
        self._source = Source(self.options.paths, self.options.listen.is_loopback, documents or Documents(), has_store)

    @property
    def gateway(self) -> Gateway:
        return self.assembly.gateway

    @property
    def admin(self) -> Admin:
        return self.assembly.admin

    async def load(self) -> None:
        """Read the files and serve them from now on. Raises NotLoaded and Failed, and what is served stays."""
        with self.assembly.garbage.kept_away() as growing:
            read = await self._source.read(growing)
            try:
                await self.gateway.replace(read.built.table, read.built.secrets)
            except TableRefused as refused:
                raise NotLoaded(refused.reasons) from None
            await gently(self.assembly.meter.loading(read.built.table))
            self.served = read.outcome
            await self._source.serves(read)

    async def start(self) -> None:
        """Load, unless that was done, and listen. Raises NotLoaded, and Stop where a port cannot be had."""
        if self.served is None:
            await self.load()
        await self.assembly.open_admin(self.options.admin)
        await self.assembly.open(self.options.listen, reuse_port=self.options.reuse_port)

    async def stop(self, hurry: asyncio.Event | None = None) -> None:
        """See `Assembly.stop`."""
        await self.assembly.stop(hurry or asyncio.Event(), self._release)

    async def _release(self) -> None:
        self._stopped = True
        await self._source.close()

    async def reload(self, *, asked: bool = False) -> None:
        """Load again, and log what came of it; that nothing did, only to whoever asked. Never raises: whatever goes
        wrong, what is served stays."""
        async with self._one_at_a_time:
            if self._stopped:
                return
            before = self.versions, self.problems(), self._refused
            self._refused = True
            try:
                await self.load()
            except NotLoaded as refused:
                for reason in refused.reasons:
                    log.error("not reloaded; what was served before stays", error=reason)
            except Failed as failed:
                if not self._stopped:
                    log.error("the reload failed; what was served before stays", error=str(failed))
            except Exception:
                log.exception("the reload failed; what was served before stays")
            else:
                self._refused = False
                if (self.versions, self.problems(), self._refused) != before:
                    await self._reloaded()
                elif asked:
                    log.info("reloaded: nothing has changed")

    async def _reloaded(self) -> None:
        versions = {section: version[:12] for section, version in self.versions.items()}
        log.info("reloaded", routes=len(self.gateway.table().routes), versions=versions)
        await self.report()

    async def report(self) -> None:
        """Log what was skipped, and everything that is not right."""
        for note in self.served.notes if self.served else ():
            log.info(note)
        if not self.gateway.table().routes:
            log.warning("nothing is served: these files hold no Backend that can be, so every request is answered 404")
        for problem in self.problems():
            log.warning(problem)
            await asyncio.sleep(0)  # there may be thousands

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the table's sections."""
        return self.served.versions if self.served else {}

    def problems(self) -> Sequence[str]:
        """What is said of objects that are not all right, each with its place."""
        return self.served.problems if self.served else []

    async def watch(self) -> None:
        """Reload whenever the files change, until it is cancelled."""
        paths = [path for path in self.options.paths if path not in self._source.come_once]
        try:
            async for _ in watching.changes(paths):
                await self.reload()
        except (OSError, RuntimeError) as error:  # out of inotify watches, an odd file system
            log.warning("the files are not watched; send SIGHUP to reload", error=str(error))

    @property
    def address(self) -> Address:
        """Where it listens, with the port that it got."""
        return Address(self.options.listen.host, self.gateway.port)

    @property
    def admin_address(self) -> Address:
        return Address(self.options.admin.host, self.admin.port)
