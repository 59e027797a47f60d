"""The controller's process: what is seen becomes a table, the table goes to gateways, what became of it into statuses.

    watching, sweeping, following  →  mirror  →  compile (beside the loop)  →  publish  →  report, where this one leads

Every replica does all of it but the last. Changes are gathered for a moment, so that a thousand of them are compiled
twice, not a thousand times. Nothing is handed out before the mirror is whole; after that, whatever becomes of the API
server, the last table stays.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass

import structlog

from controller import compile as compiler
from controller import pods
from controller.admin import Admin
from controller.api import Api, ApiError, connect
from controller.compile import Compiled, Install
from controller.duties import Duties
from controller.following import Following
from controller.hint_keys import HintKeys
from controller.keeping import Keeper
from controller.kinds import POD, SERVICE, WATCHED
from controller.leader import Leader
from controller.metrics import Metrics, Numbers
from controller.mirror import Document, Key, Mirror, Scope
from controller.needed import needed
from controller.push.publication import Publication, published
from controller.push.reviews import Reviews
from controller.push.server import Server
from controller.reporting import Reporting
from controller.settings import Settings
from controller.sweeping import PERIOD_S, Sweeping
from controller.trust import Trust
from controller.watching import Mailbox, Watching
from dataplane.table.watermark import Watermark

__all__ = ["ApiError", "Identity", "Operator", "connect"]

log = structlog.get_logger("controller")

QUIET_S, LONGEST_S = 0.05, 1.0
"""Changes are gathered until none has come for so long, and for so long at most."""
NEW_S = 2.0
"""How long a table waits for the first list of a namespace that something refers to."""
STUCK_S = 120.0
"""A table that takes longer than this to be made is never made."""
LOOK_S, LISTED_S = 5.0, 1.0
"""Where this replica lags, it lists all at most so often; and a list of all takes about so long."""
AUDIENCE = "tidegate-controller"


@dataclass(frozen=True, slots=True)
class Identity:
    """Of this replica."""

    name: str
    """Of its pod; on a laptop, of the machine."""
    address: str = ""
    """Of its pod."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was compiled, and of what."""

    compiled: Compiled
    publication: Publication
    versions: dict[Key, tuple[str, int]]
    """The uid and the generation of each object."""


class Operator:
    """One replica. Make it in the loop that it runs on."""

    def __init__(self, api: Api, settings: Settings, identity: Identity) -> None:
        loop = asyncio.get_running_loop()
        install, release = settings.compiled_for(frozenset()), settings.install
        self._settings, self._install = settings, install
        self._mirror, self._pods = Mirror(), Mirror()
        self._dirty = asyncio.Event()
        self._made: Made | None = None
        self._looked = float("-inf")
        self._began: float | None = None
        """When the table that is being made now was begun."""
        self.metrics = Metrics(self._numbers, self._catch_up)
        self._mailbox = Mailbox(self._ring)
        self._loop = loop
        self._watching = Watching(api.configuration, self._mailbox)
        self._sweeping = Sweeping(api, self._mirror, WATCHED, self._dirty.set, self._watching.restart, self._read_anew)
        self._following = Following(api, self._mirror, self._dirty.set, self._read_anew)
        self._leader = Leader(api, self._mirror, release.namespace, f"{release.name}-controller", identity.name)
        self._leader.returns.append(self._sweeping.suspect)
        self._leader.put_back.append(self._read_anew)
        keeper = Keeper(api, settings, self._leader)
        self._trust = Trust(keeper, api, settings, identity.address)
        self._server = Server(
            Reviews(api.token_review, AUDIENCE),
            f"{release.namespace}:{settings.dataplane.service_account}",
            lambda name, uid: pods.known(self._pods, release.namespace, name, uid),
            self._trust.context,
            lambda: self._reporting.look(),
            self.metrics,
            loop.time,
        )
        self._reporting = Reporting(
            api,
            self._mirror,
            self._pods,
            self._leader,
            self._server,
            install,
            settings.pods,
            identity.name,
            self._dirty.set,
            lambda: self._duties.refused,
        )
        own = {Scope(POD.name, release.namespace): settings.selector}
        self._gateways = Following(api, self._pods, self._reporting.look, self._read_anew, own)
        self._hint_keys = HintKeys(keeper, api, settings, self._dirty.set)
        self._duties = Duties(
            api,
            install,
            self._mirror,
            self._leader,
            self._trust,
            keeper,
            self._is_absent,
            self._hint_keys,
        )
        self._admin = Admin(self.metrics, self._sick, self.unready)

    async def start(self, listen: tuple[str, int]) -> int:
        """Listen for gateways; returns the port. Raises OSError."""
        return await self._server.start(*listen)

    async def start_admin(self, listen: tuple[str, int]) -> int:
        """Listen for probes; returns the port. Raises OSError."""
        return await self._admin.start(*listen)

    async def run(self) -> None:
        """Until it is cancelled; then the Lease is released, and gateways are told to dial others."""
        self._watching.start()
        self._gateways.want({Scope(POD.name, self._settings.install.namespace)})
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in self._work():
                    tasks.create_task(work())
        finally:
            await asyncio.gather(
                self._server.stop(), self._following.stop(), self._gateways.stop(), self._watching.stop()
            )
            await self._admin.stop()

    def unready(self) -> str:
        """Why no gateway can be served by this replica; empty: it can."""
        if self._made is None:
            absent = ", ".join(sorted(str(kind) for kind in self._sweeping.missing))
            return f"the cluster is not read as a whole yet; missing: {absent or 'what its objects refer to'}"
        return "" if self._trust.ready else "there is no certificate yet: no replica leads, or it cannot write Secrets"

    def _work(self) -> tuple[Callable[[], Coroutine[None, None, None]], ...]:
        return self._leader.run, self._sweeping.run, self._compile, self._reporting.run, self._duties.run

    def _ring(self) -> None:
        """In kopf's thread."""
        with suppress(RuntimeError):  # the loop is closed: this process ends
            self._loop.call_soon_threadsafe(self._collect)

    def _collect(self) -> None:
        events, listed = self._mailbox.empty()
        changed = [self._mirror.see(kind, body, deleted=deleted) for kind, body, deleted in events]
        if any(changed):
            self._dirty.set()
        if known := [kind for kind in listed if Scope(kind.name) in self._mirror.synced]:
            self._sweeping.suspect(known)

    async def _compile(self) -> None:
        while True:
            await self._dirty.wait()
            await self._quiet()
            if not await self._whole():
                continue
            try:
                await self._make()
            except Exception:  # a mistake of ours must not end what is served
                self.metrics.mistakes.inc()
                log.exception("cannot compile what is there; the table of before stays")
            finally:
                self._began = None

    async def _quiet(self) -> None:
        """Wait until the changes pause."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_S):
                while self._dirty.is_set():
                    self._dirty.clear()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(QUIET_S):
                            await self._dirty.wait()
        self._dirty.clear()

    async def _whole(self) -> bool:
        """Whether all is known that a table is made of."""
        if not self._sweeping.whole:
            return False
        own = Scope(SERVICE.name, self._install.namespace)  # those of Gateways, also of Gateways that are gone
        self._following.want({own, *needed(self._mirror.documents(), self._install.controller_name)})
        with suppress(TimeoutError):
            async with asyncio.timeout(NEW_S):
                while not self._following.whole:
                    await self._dirty.wait()
                    self._dirty.clear()
        # Later one that cannot be read costs only those who refer to it.
        return self._following.whole or self._made is not None

    async def _make(self) -> None:
        documents = list(self._mirror.documents())
        versions = {key: (entry.uid, entry.generation) for key, entry in self._mirror.all()}
        watermark = Watermark(epoch=self._mirror.epoch, versions=self._mirror.versions())
        install, before = self._settings.compiled_for(self._following.denied, self._hint_keys.found), self._made
        self._began = began = asyncio.get_running_loop().time()
        compiled, publication = await asyncio.to_thread(_made, documents, install, watermark, before)
        seconds = asyncio.get_running_loop().time() - began
        self._made = Made(compiled, publication, versions)
        self.metrics.compile.observe(seconds)
        if before is None:
            log.info("the first table is made", backends=len(compiled.table.backends), seconds=round(seconds, 3))
        self._server.publish(publication)
        self.metrics.publications.inc()
        self._reporting.published(compiled, publication, versions)
        self._duties.published(publication, compiled.services)

    def _read_anew(self) -> None:
        """The cluster's storage was put back: no watch tells of what is not as it was."""
        log.warning("the cluster's storage was put back: what was known is read anew", epoch=self._mirror.epoch)
        self._leader.forget()
        self._watching.restart()
        self._sweeping.suspect()
        self._following.again()
        self._gateways.again()

    def _catch_up(self, watermark: Watermark) -> None:
        """A gateway has a table of a replica that knows more: look now, and say so."""
        self._mirror.heard(watermark.epoch, watermark.versions)
        now = self._loop.time()
        if now < self._looked + LOOK_S:
            return
        self._looked = now
        self._sweeping.suspect()
        self._loop.call_later(LISTED_S, self._dirty.set)

    def _is_absent(self, kind: object) -> bool:
        return kind in self._sweeping.absent

    def _sick(self) -> str:
        now = asyncio.get_running_loop().time()
        if self._began is not None and now > self._began + STUCK_S:
            return f"a table has been in the making for {now - self._began:.0f} s"
        if self._sweeping.attempted() > 3 * PERIOD_S:
            return f"nothing was listed for {self._sweeping.attempted():.0f} s"
        if self._watching.ended:
            return "the thread that watches has ended"
        return ""

    def _numbers(self) -> Numbers:
        kinds = [*self._mirror.kinds(), POD.name]
        counted = {kind: len((self._pods if kind == POD.name else self._mirror).entries(kind)) for kind in kinds}
        return Numbers(
            counted,
            self._leader.leads,
            self._made is not None,
            self._sweeping.age(),
            self._reporting.writer.written,
            {
                "list": self._sweeping.failed,
                "follow": self._following.failed + self._gateways.failed,
                "status": self._reporting.writer.failed,
                "keep": self._duties.failed,
                "lease": self._leader.failed,
            },
            self._watching.restarts,
            self._mirror.epoch,
            self._duties.too_large,
        )


def _made(
    documents: list[Document], install: Install, watermark: Watermark, before: Made | None
) -> tuple[Compiled, Publication]:
    """In a thread: of 5,000 routes it takes longer than a loop may stand still. What is made has no cycles, and to look
    for some while it grows takes as long as all the rest."""
    gc.disable()
    try:
        compiled = compiler.compile(documents, before.compiled if before else None, install=install)
        return compiled, published(compiled.table, compiled.secrets, watermark, before.publication if before else None)
    finally:
        gc.enable()
