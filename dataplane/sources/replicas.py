"""All replicas of the controller: a task for each address that dials it again and again, as long as it is one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from websockets.asyncio.client import ClientConnection

from dataplane.sources import dialling
from dataplane.sources.dialling import Credentials, Failed, Name

RESOLVE_EVERY: Final = 10.0
"""Seconds between two look-ups of a name, where nothing fails."""
UNFORESEEN: Final = "a failure that nobody foresaw; the log has the details"

log = structlog.get_logger("tidegate")

Talk = Callable[[str, ClientConnection], Awaitable[None]]
"""Uses a connection with a peer (`controller.ai.svc:9443 (10.0.0.5)`) until it ends. Raises Failed."""


@dataclass(slots=True)
class _Replica:
    """What has one of the addresses."""

    name: Name
    address: str
    delays: Iterator[float] | None = None
    """Before the next dials."""
    current: bool = True
    """Does the name still have the address?"""
    failed: Failed | None = None
    """Why it offers nothing, since it last did."""
    complaint: str = ""
    """The last one in the log, since it was connected for some time."""
    praised: bool = False
    """Does the log say since then that it is connected?"""

    def offers(self) -> None:
        """It does, for now."""
        if not self.praised:
            log.info("a controller is connected", controller=str(self))
        self.praised, self.failed = True, None

    def fails(self, why: Failed, lasted: float) -> None:
        """After so many seconds of being connected, or of trying it."""
        if lasted > dialling.LAST:
            self.complaint, self.delays = "", None
        self.failed = why
        if str(why) != self.complaint:
            log.warning("no table from a controller: trying again", controller=str(self), error=str(why))
            self.complaint, self.praised = str(why), False

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"


@dataclass(slots=True)
class _Named:
    """What a name leads to."""

    replicas: dict[str, _Replica] = field(default_factory=dict)
    """By their addresses."""
    failed: Failed | None = None
    """Why that is not known."""
    doubted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set where it may have changed."""


class Replicas:
    """`talk` is called with each connection."""

    def __init__(self, names: Sequence[Name], credentials: Credentials, talk: Talk, rand: Callable[[], float]) -> None:
        self._credentials = credentials
        self._talk = talk
        self._rand = rand
        self._named = {name: _Named() for name in names}

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, named in self._named.items():
                tasks.create_task(self._follow(name, named, tasks))

    def heard(self, peer: str) -> None:
        """It has offered something."""
        for replica in self._all():
            if str(replica) == peer:
                replica.offers()

    def faults(self) -> list[str]:
        """Why those that offer nothing do not."""
        named = [f"{name}: {each.failed}" for name, each in self._named.items() if each.failed]
        return named + [f"{replica}: {replica.failed}" for replica in self._all() if replica.failed]

    @property
    def unreachable(self) -> bool:
        """Whether all have been dialled, and none was there."""
        return all(
            each.failed or (each.replicas and all(_absent(replica) for replica in each.replicas.values()))
            for each in self._named.values()
        )

    def _all(self) -> Iterator[_Replica]:
        for named in self._named.values():
            yield from named.replicas.values()

    async def _follow(self, name: Name, named: _Named, tasks: asyncio.TaskGroup) -> None:
        while True:
            named.doubted.clear()
            try:
                found = await dialling.addresses(name)
            except Failed as failed:
                if str(failed) != str(named.failed):
                    log.warning("no table from a controller: trying again", controller=str(name), error=str(failed))
                named.failed = failed
            else:
                named.failed = None
                for address, replica in named.replicas.items():
                    replica.current = address in found
                for address in set(found) - named.replicas.keys():
                    named.replicas[address] = replica = _Replica(name, address)
                    tasks.create_task(self._keep_to(replica, named))
            await asyncio.sleep(dialling.FIRST)
            with suppress(TimeoutError):
                async with asyncio.timeout(RESOLVE_EVERY):
                    await named.doubted.wait()

    async def _keep_to(self, replica: _Replica, named: _Named) -> None:
        """Dial it as long as the name has the address."""
        try:
            while replica.current:
                await self._dial(replica)
                named.doubted.set()
                replica.delays = replica.delays or dialling.delays(self._rand)
                await asyncio.sleep(next(replica.delays))
        finally:
            del named.replicas[replica.address]

    async def _dial(self, replica: _Replica) -> None:
        """Once, and use the connection until it ends."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._talk(str(replica), await dialling.dial(replica.name, replica.address, self._credentials))
        except Failed as failed:
            replica.fails(failed, loop.time() - began)
        except Exception:
            log.exception("the connection with a controller failed", controller=str(replica))
            replica.fails(Failed(UNFORESEEN), loop.time() - began)


def _absent(replica: _Replica) -> bool:
    return replica.failed is not None and replica.failed.unreachable
