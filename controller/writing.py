"""Statuses into the API server, by the leader: what is not there yet, and nothing else.

It works by level: each pass compares all that should be said with all that is stored. So whatever fails, or is written
over by somebody else, is put right by a later pass.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import structlog

from controller import status as statuses
from controller.api import Api, ApiError
from controller.compile.statuses import Status
from controller.election import micro
from controller.kinds import EVENT, POLICY
from controller.mirror import Mirror
from controller.status import Write

log = structlog.get_logger("controller")

RATE = 50
"""Writes a second."""
AT_ONCE = 8
CONFLICTS = 3
"""How often a write is tried anew where somebody else was faster."""
REMEMBERED = 4096
NOTE = 1024
"""Bytes of an Event's note."""


class Writer:
    """Writes statuses and Events. `leads`: whether this replica may, now."""

    def __init__(self, api: Api, mirror: Mirror, controller: str, instance: str, leads: Callable[[], bool]) -> None:
        self._api = api
        self._mirror = mirror
        self._controller = controller
        self._instance = instance
        self._leads = leads
        self._pace = Pace(RATE)
        self._told: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()
        self.written = 0
        self.failed = 0

    async def write(self, wanted: Iterable[tuple[Status, int]]) -> bool:
        """One pass: statuses, each with the generation that it is about. Whether all is written, as far as is known."""
        slots = asyncio.Semaphore(AT_ONCE)
        now = _now()

        async def one(status: Status, generation: int) -> bool:
            async with slots:
                return await self._write(status, generation, now)

        due = [each for each in wanted if self._due(*each, now)]
        return all(await asyncio.gather(*(one(*each) for each in due)))

    def _due(self, status: Status, generation: int, now: str) -> Write | None:
        entry = self._mirror.get(status.kind, status.namespace, status.name)
        return statuses.write(status, entry, generation, self._controller, now) if entry else None

    async def _write(self, status: Status, generation: int, now: str) -> bool:
        for _ in range(CONFLICTS):
            write = self._due(status, generation, now)
            if write is None:
                return True
            await self._pace.wait()
            if not self._leads():
                return False
            try:
                await self._send(write)
            except ApiError as error:
                if error.status == 404:
                    return True  # deleted meanwhile
                if error.status == 409 and await self._read_again(write):
                    continue
                self.failed += 1
                log.warning("cannot write a status; tried again", of=_path(write), why=str(error))
                return False
            self.written += 1
            await self._tell(write, status)
            return True
        return False

    async def _send(self, write: Write) -> None:
        metadata: dict[str, object] = {"name": write.name, "namespace": write.namespace}
        if not write.namespace:
            del metadata["namespace"]
        if write.version:
            body = {"metadata": {"resourceVersion": write.version}, "status": write.status}
            stored = await self._api.merge(write.kind, write.namespace, write.name, body, "status")
        else:
            # The uid keeps a status from one of the same name that was made meanwhile.
            body = {"metadata": {**metadata, "uid": write.uid}, "status": write.status}
            stored = await self._api.apply(write.kind, body, "status")
        self._mirror.see(write.kind, stored)

    async def _read_again(self, write: Write) -> bool:
        stored = await self._api.get(write.kind, write.namespace, write.name)
        if stored is not None:
            self._mirror.see(write.kind, stored)
        return stored is not None

    async def _tell(self, write: Write, status: Status) -> None:
        """An Event, once for each turn of an object's condition."""
        turn = write.turn
        if turn is None or (turn.first and turn.condition.status == "True" and write.kind is POLICY):
            return
        key = (write.uid, turn.condition.type, turn.condition.status, turn.condition.reason)
        if key in self._told:
            return
        self._told[key] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        # It may turn back later, and that is to be told, too.
        for other in [other for other in self._told if other[:2] == key[:2] and other != key]:
            del self._told[other]
        try:
            await self._api.create(EVENT, self._event(write, status))
        except ApiError as error:
            self.failed += 1
            log.debug("cannot write an Event", of=_path(write), why=str(error))

    def _event(self, write: Write, status: Status) -> dict[str, object]:
        assert write.turn is not None
        condition, stamp = write.turn.condition, datetime.now(UTC)
        note = condition.message.encode()[:NOTE].decode(errors="ignore")
        return {
            "metadata": {
                "name": f"{write.name[:200]}.{int(stamp.timestamp() * 1_000_000):x}",
                "namespace": write.namespace or "default",
            },
            "eventTime": micro(stamp),
            "type": "Normal" if condition.status == "True" else "Warning",
            "reason": condition.reason,
            "action": condition.type,
            "note": note,
            "regarding": {
                "apiVersion": write.kind.api_version,
                "kind": status.kind,
                "namespace": write.namespace,
                "name": write.name,
                "uid": write.uid,
            },
            "reportingController": self._controller,
            "reportingInstance": self._instance,
        }


class Pace:
    """So many a second, evenly; a short burst is let through."""

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._burst = rate / 5
        self._next = 0.0

    async def wait(self) -> None:
        now = asyncio.get_running_loop().time()
        self._next = max(self._next, now - self._burst * self._gap) + self._gap
        if self._next > now:
            await asyncio.sleep(self._next - now)


def _path(write: Write) -> str:
    return f"{write.kind.name} {write.namespace}/{write.name}" if write.namespace else f"{write.kind.name} {write.name}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
