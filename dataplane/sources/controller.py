"""Tables from the controllers of a cluster: what they offer, one after the other, and how it comes to be served.

Tasks: those of `replicas`, one for each connection; one that loads what came; one that sees to what time brings, which
is doubt, and the snapshot where nobody answers at the start; one that says how providers are doing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection

from dataplane.metering.updates import Updates
from dataplane.snapshot import TableRefused
from dataplane.sources import boot, telling
from dataplane.sources.dialling import LAST, Credentials, Name
from dataplane.sources.line import Line
from dataplane.sources.loading import Loader
from dataplane.sources.replicas import UNFORESEEN, Replicas
from dataplane.sources.subscription import Action, Fetch, Held, Redial, Send, Subscription
from dataplane.sources.transfer import Delivery, Transfer
from dataplane.table.bundle import Bundle
from dataplane.table.delta import Unreadable
from dataplane.table.messages import Offer, Stale
from dataplane.table.watermark import older
from dataplane.upstreams.pools import Pools

LOOK: Final = 0.25
"""Seconds between two looks at what time brings."""
ALONE: Final = 3.0
"""Seconds without a table until that of the snapshot is served."""
BOOT_AGAIN: Final = 5.0
"""Seconds until a snapshot that cannot be read is read again."""
SNAPSHOT: Final = "snapshot"
"""The source of a table that came from no controller."""

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True)
class Pod:
    """Whom controllers are told that they talk to."""

    name: str
    version: str
    """Of the program."""


class Controllers:
    """`run` it beside the gateway that `loader` loads for, whose `pools` controllers are told of. `snapshot`: the
    folder of it."""

    def __init__(
        self,
        names: Sequence[Name],
        credentials: Credentials,
        loader: Loader,
        updates: Updates,
        pod: Pod,
        pools: Pools,
        *,
        snapshot: Path | None = None,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._replicas = Replicas(names, credentials, self._talk, rand)
        self._loader = loader
        self._updates = updates
        self._pools = pools
        self._subscription = Subscription(pod.name, pod.version)
        self._lines: dict[str, Line] = {}
        """By their peers."""
        self._fetched = asyncio.Queue[tuple[str, Delivery]](1)
        """From whom, and what."""
        self._loading = asyncio.Lock()
        self._snapshot = snapshot
        self._snapshot_fault = ""
        self._reasons: Sequence[str] = ()
        """Of the last table that was refused, since one was not."""
        self.source = ""
        """Of the table that is served: a controller's address, or `SNAPSHOT`."""
        self.has_table = asyncio.Event()

    @property
    def held(self) -> Held | None:
        """The table that is served."""
        return self._subscription.held

    def waiting_for(self) -> str:
        """Why there is no table yet."""
        faults = self._replicas.faults() or ["the controllers have offered none yet"]
        return "; ".join([*faults, self._snapshot_fault] if self._snapshot_fault else faults)

    async def run(self) -> None:
        """Until it is cancelled. After a failure that nobody foresaw it begins anew; what is served stays."""
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._replicas.run())
                    tasks.create_task(self._load_each())
                    tasks.create_task(self._look())
                    tasks.create_task(self._tell_health())
            except* Exception:
                log.exception("following the controllers failed; what was served before stays")
            self._subscription.restart()
            self._fetched = asyncio.Queue(1)
            await asyncio.sleep(LAST)

    async def _talk(self, peer: str, connection: ClientConnection) -> None:
        """Use a connection until it ends."""
        line = self._lines[peer] = Line(connection, partial(self._offered, peer), partial(self._delivered, peer))
        self._act(self._subscription.connected(peer))
        self._updates.connected(len(self._lines))
        try:
            await line.run()
        finally:
            del self._lines[peer]
            self._updates.connected(len(self._lines))
            if line.fetching:
                self._updates.ended("failed")
            self._act(self._subscription.lost(peer, _now()))

    def _offered(self, peer: str, offer: Offer) -> None:
        if not self._lines[peer].heard:
            self._lines[peer].heard = True
            self._replicas.heard(peer)
        self._act(self._subscription.offered(peer, offer, _now()))

    def _delivered(self, peer: str, delivery: Delivery) -> None:
        self._subscription.loading()
        self._fetched.put_nowait((peer, delivery))

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            line = self._lines[action.peer]
            match action:
                case Send(message=message):
                    if isinstance(message, Stale):
                        self._updates.ended("stale")
                    line.send(message)
                case Fetch(offer=offer):
                    if self.held and older(offer.watermark, self.held.watermark):
                        log.warning("there are only older tables: the newest is taken", controller=action.peer)
                    served = self._loader.served
                    line.fetch(Transfer(offer, served.parts if served else (), served.secrets if served else ()))
                case Redial():
                    if line.fetching:
                        self._updates.ended("stale")
                    line.drop()

    async def _load_each(self) -> None:
        while True:
            peer, delivery = await self._fetched.get()
            async with self._loading:
                if reasons := await self._load(delivery):
                    self._refused(peer, reasons)
                else:
                    self._served(peer)
                    self._updates.ended("applied")
                    self._act(self._subscription.loaded(_now()))
                    self._tell(delivery)

    async def _load(self, delivery: Delivery) -> Sequence[str]:
        """Why it is not served, if so."""
        try:
            await self._loader.load(delivery)
        except TableRefused as refused:
            return refused.reasons
        except Exception:
            log.exception("a table was not loaded")
            return [UNFORESEEN]
        return []

    def _refused(self, peer: str, reasons: Sequence[str]) -> None:
        if reasons != self._reasons:  # it is offered again and again
            log.error("a table is refused; what was served before stays", controller=peer, reasons=reasons)
        self._reasons = reasons
        self._updates.ended("refused")
        self._act(self._subscription.refused(reasons, _now()))

    def _served(self, source: str) -> None:
        self._reasons = ()
        self.source = source
        self.has_table.set()
        self._updates.applied(time.time(), from_snapshot=source == SNAPSHOT)

    def _tell(self, delivery: Delivery) -> None:
        held = self._subscription.held
        table = held.table[:12] if held else ""
        log.info("a table is served", source=self.source, table=table, routes=len(delivery.outline.routes))

    async def _look(self) -> None:
        """At what time brings."""
        began = next_boot = _now()
        while True:
            await asyncio.sleep(LOOK)
            self._act(self._subscription.look(_now()))
            alone = self._replicas.unreachable or _now() - began >= ALONE
            if self._snapshot and alone and not self.held and not self._subscription.busy and _now() >= next_boot:
                next_boot = _now() + BOOT_AGAIN
                await self._boot(self._snapshot)

    async def _tell_health(self) -> None:
        while True:
            self._act(self._subscription.health(await telling.health(self._pools)))
            await asyncio.sleep(telling.EVERY)

    async def _boot(self, folder: Path) -> None:
        """Serve the snapshot, if it can be read."""
        async with self._loading:
            try:
                bundle = await asyncio.to_thread(boot.read, folder)
            except Unreadable as error:
                return self._not_booted(str(error))
            if self.held:  # a controller was there after all
                return None
            delivery = Delivery(bundle.outline, bundle.parts, bundle.secrets)
            if reasons := await self._load(delivery):
                return self._not_booted(f"{folder}: {'; '.join(reasons)}")
            self._booted(bundle, delivery)
        return None

    def _booted(self, bundle: Bundle, delivery: Delivery) -> None:
        self._served(SNAPSHOT)
        log.warning("no controller offers a table: that of the snapshot is served", faults=self._replicas.faults())
        self._act(self._subscription.booted(Held(bundle.table, bundle.watermark), _now()))
        self._tell(delivery)

    def _not_booted(self, fault: str) -> None:
        if fault != self._snapshot_fault:
            log.warning("no table from the snapshot: trying again", error=fault)
        self._snapshot_fault = fault


def _now() -> float:
    return asyncio.get_running_loop().time()
