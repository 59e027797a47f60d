"""Statuses into the API server, by the leader: what is not there yet, and nothing else.

It works by level: each pass compares all that should be said with all that is stored. So whatever fails, or is written
over by somebody else, is put right by a later pass.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import structlog

from controller import status as statuses
from controller.api import Api, ApiError
from controller.compile.statuses import Condition, Status
from controller.election import micro
from controller.kinds import EVENT, POLICY, Kind
from controller.mirror import Document, Mirror
from controller.status import Turn, Write

log = structlog.get_logger("controller")

RATE = 50
"""Writes a second."""
AT_ONCE = 8
CONFLICTS = 3
"""How often a write is tried anew where somebody else was faster."""
CALL_S = 5.0
"""For one call. This replica may have renewed its Lease up to `election.DEADLINE` ago, so that a longer one could end
when another leads already."""
REMEMBERED = 4096
NOTE = 1024
"""Bytes of an Event's note."""
AnswerT = TypeVar("AnswerT")


class Wanted(NamedTuple):
    """What is to be said of an object."""

    status: Status
    uid: str
    """Of the object: one of the same name may have been made meanwhile."""
    generation: int
    """Of the object, that it is about."""
    addresses: Sequence[Document] = ()
    """Of a Gateway."""


class Writer:
    """Writes statuses and Events. `leads`: whether this replica may, now. `changed` is called where an answer tells of
    an object what the compiler has to know: no watch tells it again."""

    def __init__(
        self,
        api: Api,
        mirror: Mirror,
        controller: str,
        instance: str,
        leads: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self._api = api
        self._mirror = mirror
        self._controller = controller
        self._instance = instance
        self._leads = leads
        self._changed = changed
        self._pace = Pace(RATE)
        self._told: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()
        self.written = 0
        self.failed = 0

    async def write(self, wanted: Iterable[Wanted]) -> None:
        """One pass. What could not be written is due in the next."""
        slots = asyncio.Semaphore(AT_ONCE)
        now = _now()

        async def one(each: Wanted) -> None:
            async with slots:
                await self._write(each, now)

        await asyncio.gather(*(one(each) for each in wanted if self._due(each, now)))

    def _due(self, wanted: Wanted, now: str) -> Write | None:
        status = wanted.status
        entry = self._mirror.get(status.kind, status.namespace, status.name)
        if entry is None or entry.uid != wanted.uid:
            return None
        return statuses.write(status, entry, wanted.generation, self._controller, now, wanted.addresses)

    async def _write(self, wanted: Wanted, now: str) -> None:
        for _ in range(CONFLICTS):
            write = self._due(wanted, now)
            if write is None:
                return
            await self._pace.wait()
            if not self._leads():
                return
            try:
                await self._send(write)
            except ApiError as error:
                if error.status == 404:
                    return  # deleted meanwhile
                if error.status == 409 and await self._read_again(write):
                    continue
                self.failed += 1
                log.warning("cannot write a status; tried again", of=_path(write), why=str(error))
                return
            self.written += 1
            for turn in write.turns:
                await self._tell(write, turn)
            return

    async def _send(self, write: Write) -> None:
        metadata: dict[str, object] = {"name": write.name, "namespace": write.namespace}
        if not write.namespace:
            del metadata["namespace"]
        if write.version:
            body = {"metadata": {"resourceVersion": write.version}, "status": write.status}
            sent = self._api.merge(write.kind, write.namespace, write.name, body, "status")
        else:
            # The uid keeps a status from one of the same name that was made meanwhile.
            body = {"metadata": {**metadata, "uid": write.uid}, "status": write.status}
            sent = self._api.apply(write.kind, body, "status")
        self._take(write.kind, await _in_time(sent))

    async def _read_again(self, write: Write) -> bool:
        try:
            stored = await _in_time(self._api.get(write.kind, write.namespace, write.name))
        except ApiError:
            return False
        if stored is not None:
            self._take(write.kind, stored)
        return stored is not None

    def _take(self, kind: Kind, stored: Document) -> None:
        """An answer may be the first to tell what somebody has just changed."""
        if self._mirror.see(kind, stored):
            self._changed()

    async def _tell(self, write: Write, turn: Turn) -> None:
        """An Event, once for each turn of an object's condition."""
        if turn.first and turn.condition.status == "True" and write.kind is POLICY:
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
            await _in_time(self._api.create(EVENT, self._event(write, turn.condition)))
        except ApiError as error:
            self.failed += 1
            log.debug("cannot write an Event", of=_path(write), why=str(error))

    def _event(self, write: Write, condition: Condition) -> dict[str, object]:
        stamp = datetime.now(UTC)
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
                "kind": write.kind.name,
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


async def _in_time(call: Awaitable[AnswerT]) -> AnswerT:
    """Raises ApiError."""
    try:
        async with asyncio.timeout(CALL_S):
            return await call
    except TimeoutError:
        raise ApiError(0, f"no answer within {CALL_S:g} s") from None


def _path(write: Write) -> str:
    return f"{write.kind.name} {write.namespace}/{write.name}" if write.namespace else f"{write.kind.name} {write.name}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
