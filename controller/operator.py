"""The controller's process: what is seen becomes a table, the table goes to gateways, and what became of it into statuses.

    watching, sweeping, following  →  mirror  →  compile (beside the loop)  →  publish  →  write, where this replica leads

Every replica does all of it but the writing. Changes are gathered for a moment, so that a thousand of them are
compiled twice, not a thousand times. Nothing is handed out before the mirror is whole; after that, whatever becomes of
the API server, the last table stays.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import structlog

from controller import compile as compiler
from controller.api import Api, ApiError, connect
from controller.compile import Compiled
from controller.following import Following
from controller.kinds import POD, WATCHED
from controller.leader import Leader
from controller.mirror import Key, Mirror, Scope
from controller.needed import needed
from controller.settings import Settings
from controller.sweeping import Sweeping
from controller.watching import Mailbox, Watching
from controller.writing import Writer
from dataplane.table.watermark import Watermark

__all__ = ["ApiError", "Identity", "Operator", "connect"]

log = structlog.get_logger("controller")

QUIET_S, LONGEST_S = 0.05, 1.0
"""Changes are gathered until none has come for so long, and for so long at most."""
NEW_S = 2.0
"""How long a table waits for the first list of a namespace that something refers to."""
AGAIN_S = 10.0
"""How often statuses are looked at where nothing happens: some could not be written."""


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
    generations: dict[Key, int]
    watermark: Watermark


class Operator:
    """One replica."""

    def __init__(self, api: Api, settings: Settings, identity: Identity) -> None:
        self._api = api
        self.settings = settings
        loop = asyncio.get_running_loop()
        self.mirror, self.pods = Mirror(), Mirror()
        install = settings.install
        self._install = settings.compiled_for(frozenset())
        self._dirty, self._said = asyncio.Event(), asyncio.Event()
        self._mailbox = Mailbox(lambda: loop.call_soon_threadsafe(self._collect))
        self.watching = Watching(api.configuration, self._mailbox)
        self.sweeping = Sweeping(api, self.mirror, WATCHED, self._dirty.set, self.watching.restart)
        self.following = Following(api, self.mirror, self._dirty.set)
        own = Scope(POD.name, install.namespace)
        labels = ",".join(f"{name}={value}" for name, value in settings.labels("dataplane").items())
        self.gateways = Following(api, self.pods, self._said.set, {own: labels})
        self.leader = Leader(api, self.mirror, install.namespace, f"{install.name}-controller", identity.name)
        self.leader.changes.append(self._said.set)
        self.writer = Writer(
            api, self.mirror, self._install.controller_name, identity.name, lambda: self.leader.leads
        )
        self.made: Made | None = None
        self.compiles = 0
        self.seconds = 0.0
        """That the last compilation took."""

    async def run(self) -> None:
        """Until it is cancelled."""
        self.watching.start()
        self.gateways.want({Scope(POD.name, self.settings.install.namespace)})
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in (self.leader.run, self.sweeping.run, self._compile, self._write):
                    tasks.create_task(work())
        finally:
            await self.following.stop()
            await self.gateways.stop()
            await self.watching.stop()

    def _collect(self) -> None:
        events, listed = self._mailbox.empty()
        changed = [self.mirror.see(kind, body, deleted=deleted) for kind, body, deleted in events]
        if any(changed):
            self._dirty.set()
        if known := [kind for kind in listed if Scope(kind.name) in self.mirror.synced]:
            self.sweeping.suspect(known)

    async def _compile(self) -> None:
        while True:
            await self._dirty.wait()
            await self._quiet()
            if not await self._whole():
                continue
            try:
                await self._make()
            except Exception:  # a mistake of ours must not end what is served
                log.exception("cannot compile what is there; the table of before stays")

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
        if not self.sweeping.whole:
            return False
        self.following.want(needed(self.mirror.documents(), self._install.controller_name))
        with suppress(TimeoutError):
            async with asyncio.timeout(NEW_S):
                while not self.following.whole:
                    await self._dirty.wait()
                    self._dirty.clear()
        # Later one that cannot be read costs only those who refer to it.
        return self.following.whole or self.made is not None

    async def _make(self) -> None:
        documents = list(self.mirror.documents())
        found = {key: entry.generation for key, entry in self.mirror.all()}
        watermark = Watermark(epoch=self.mirror.epoch, versions=self.mirror.versions())
        install = self.settings.compiled_for(self.following.denied)
        before = self.made.compiled if self.made else None
        loop = asyncio.get_running_loop()
        began = loop.time()
        compiled = await asyncio.to_thread(compiler.compile, documents, before, install=install)
        self.seconds = loop.time() - began
        self.compiles += 1
        if self.made is None:
            log.info("the first table is made", backends=len(compiled.table.backends), seconds=round(self.seconds, 3))
        self.made = Made(compiled, found, watermark)
        self._said.set()

    async def _write(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await self._said.wait()
            self._said.clear()
            if self.made and self.leader.leads:
                generations = self.made.generations
                await self.writer.write(
                    [
                        (status, generations[key])
                        for status in self.made.compiled.statuses
                        if (key := Key(status.kind, status.namespace, status.name)) in generations
                        and status.kind in ("Backend", "Policy")
                    ]
                )
