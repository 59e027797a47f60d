"""What became of each object, into its status: what the compiler says, what gateways have confirmed, and what they find
of providers.

By the replica that leads; the others follow along, so that one of them can take over at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from controller import pods
from controller import status as statuses
from controller.addresses import addresses, unreachable
from controller.api import Api
from controller.compile import Compiled, Condition, Install, Status
from controller.healthy import HEALTHY, Healthy
from controller.kinds import BACKEND, GATEWAY, GATEWAY_CLASS, HTTP_ROUTE, POLICY
from controller.leader import Leader
from controller.mirror import Document, Entry, Key, Mirror
from controller.programmed import Programmed, Verdict
from controller.push.publication import Publication
from controller.push.server import Server
from controller.writing import Wanted, Writer

QUIET_S = 0.1
"""Gateways confirm a table within this, so that most statuses are written once."""
EVERY_S = 5.0
"""Where nothing happens, time does: gateways that were excused are not any more, and writes that failed are due."""
WRITTEN = frozenset([BACKEND.name, POLICY.name, GATEWAY_CLASS.name, GATEWAY.name, HTTP_ROUTE.name])
CONFIRMED = frozenset([BACKEND.name, POLICY.name, GATEWAY.name])
"""Kinds with a condition Programmed of their own."""
SLICE = 50
"""Objects between two looks at what is new, and the most that go before all others."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the compiler has said, and of what: it belongs together, whatever is published meanwhile."""

    statuses: Mapping[Key, Status] = field(default_factory=dict)
    versions: Mapping[Key, tuple[str, int]] = field(default_factory=dict)
    """The uid and the generation of each object."""
    services: Sequence[Document] = ()


class Reporting:
    """Of one replica."""

    def __init__(
        self,
        api: Api,
        mirror: Mirror,
        gateways: Mirror,
        leader: Leader,
        server: Server,
        install: Install,
        how_to_list: str,
        instance: str,
        changed: Callable[[], None],
        refused: Callable[[], Mapping[str, str]],
    ) -> None:
        """`gateways`: the mirror of their pods; `how_to_list`: the command for it; `changed` is called where the
        answer to a write tells what the compiler has to know; `refused`: why Gateways have not the Service that they
        are to have, by `namespace/name`."""
        self._mirror = mirror
        self._gateways = gateways
        self._leader = leader
        self._server = server
        self._controller = install.controller_name
        begun = asyncio.get_running_loop().time()
        self._programmed: Programmed[Key] = Programmed(how_to_list, begun)
        self._healthy = Healthy(begun)
        self._said = Said()
        self._touched: tuple[Key, ...] = ()
        """What was changed last, so that somebody may be waiting for its status; the newest first."""
        self._at = 0
        """Where the next pass begins with all the others."""
        self._namespace = install.namespace
        self._refused = refused
        self._wake = asyncio.Event()
        self.writer = Writer(api, mirror, self._controller, instance, lambda: leader.leads, changed)
        leader.changes.append(self.look)

    def look(self) -> None:
        """Something may have to be written."""
        self._wake.set()

    def published(self, compiled: Compiled, publication: Publication, versions: Mapping[Key, tuple[str, int]]) -> None:
        """Take note of what is said of these objects."""
        before = self._said.versions
        touched = [key for key, version in versions.items() if key.kind in WRITTEN and before.get(key) != version]
        self._touched = tuple(dict.fromkeys((*touched, *self._touched)))[:SLICE]
        statuses = {Key(each.kind, each.namespace, each.name): each for each in compiled.statuses}
        written = {key: each for key, each in statuses.items() if key.kind in WRITTEN and key in versions}
        self._said = Said(written, versions, compiled.services)
        self._programmed.published(publication.number, publication.tables, publication.watermark, versions)
        self.look()

    async def run(self) -> None:
        """For ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._wake.wait()
                await asyncio.sleep(QUIET_S)
            self._wake.clear()
            verdicts = self._verdicts()  # by those who do not lead, too: they remember who confirmed what
            if self._leader.leads and self._said.statuses:
                await self._write(verdicts)

    def _verdicts(self) -> Mapping[Key, Verdict]:
        now = asyncio.get_running_loop().time()
        holdings = {pod.uid: holding for pod, holding in self._server.holdings.items()}
        ready = pods.ready(self._gateways, datetime.now(UTC), now)
        self._healthy.look(ready, {pod.uid: health for pod, health in self._server.health.items()}, now)
        return self._programmed.verdicts(ready, holdings, now)

    async def _write(self, verdicts: Mapping[Key, Verdict]) -> None:
        """One pass over all, which ends early where there is news, or time has passed. The next goes on where this one
        ended, so that nobody waits for ever."""
        said, time = self._said, asyncio.get_running_loop().time
        ends = time() + EVERY_S
        await self.writer.write(self._wanted(said, self._touched, verdicts))
        keys = list(said.statuses)
        keys = keys[self._at :] + keys[: self._at]
        for first in range(0, len(keys), SLICE):
            await self.writer.write(self._wanted(said, keys[first : first + SLICE], verdicts))
            self._at = (self._at + SLICE) % len(keys)
            if time() > ends:
                self.look()
            if self._wake.is_set():
                return
            await asyncio.sleep(0)

    def _wanted(self, said: Said, keys: Iterable[Key], verdicts: Mapping[Key, Verdict]) -> Iterator[Wanted]:
        reached = addresses(self._mirror, self._namespace, said.services)
        for key in keys:
            status, entry = said.statuses.get(key), self._mirror.get(*key)
            if status is None or entry is None:
                continue
            uid, generation = said.versions[key]
            if uid != entry.uid:
                continue  # another of the same name, of which nothing is said yet
            path = f"{status.namespace}/{status.name}"
            found = reached.get(path, []) if status.kind == GATEWAY.name else []
            if status.kind in CONFIRMED:
                programmed = self._confirmed(key, entry, generation, verdicts)
                if status.kind == GATEWAY.name and programmed.status == "True" and _is_accepted(status):
                    programmed = unreachable(found, self._refused().get(path, "")) or programmed
                status = statuses.with_programmed(status, programmed)
            if status.kind == BACKEND.name:
                healthy = self._healthy.condition(path)
                status = statuses.with_healthy(status, healthy or statuses.as_before(entry, self._controller, HEALTHY))
            yield Wanted(status, uid, generation, found)

    def _confirmed(self, key: Key, entry: Entry, generation: int, verdicts: Mapping[Key, Verdict]) -> Condition:
        if verdict := verdicts.get(key):
            truth: Literal["True", "False"] = "True" if verdict.status else "False"
            return Condition("Programmed", truth, verdict.reason, verdict.message)
        return statuses.unconfirmed(entry, self._controller, generation)


def _is_accepted(status: Status) -> bool:
    """A Gateway that is not has no Service that could have an address."""
    return all(each.status == "True" for each in status.conditions if each.type == "Accepted")
