"""The Lease: taken, renewed and released. What is decided about it is in `election`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from controller import election
from controller.api import Api, ApiError
from controller.election import Election
from controller.kinds import LEASE
from controller.mirror import Document, Mirror, metadata, text, version_of

log = structlog.get_logger("controller")

NOTED_S = 30.0
"""How often the watermark is written on the Lease."""
CALL_S = 5.0
"""Seconds for one attempt: less than what is left of a lease that was renewed one attempt ago."""


class Leader:
    """This replica's part in the election."""

    def __init__(self, api: Api, mirror: Mirror, namespace: str, name: str, identity: str) -> None:
        self._api = api
        self._mirror = mirror
        self._namespace, self.name = namespace, name
        self._election = Election(identity)
        self._noted = float("-inf")
        self._annotations: dict[str, str] = {}
        self._led = False
        self._away = False
        """Did the last attempt fail?"""
        self._version = 0
        """Of the Lease, as it was seen last."""
        self.failed = 0
        self.uid = ""
        """Of the Lease: it owns what the controller makes."""
        self.changes: list[Callable[[], None]] = []
        """Called when this replica begins to lead, and when it ends."""
        self.returns: list[Callable[[], None]] = []
        """Called when the API server answers again."""
        self.put_back: list[Callable[[], None]] = []
        """Called where its storage was, as the Lease shows: all has to be read anew."""

    @property
    def leads(self) -> bool:
        """Whether it may write now."""
        return self._election.leads(asyncio.get_running_loop().time())

    @property
    def holder(self) -> str:
        return self._election.holder

    async def run(self) -> None:
        """For ever; at the end the Lease is released."""
        try:
            while True:
                await self._attempt()
                self._tell()
                await asyncio.sleep(election.RETRY)
        finally:
            await asyncio.shield(self._release())

    async def look(self) -> None:
        """Read the Lease before anything is listed: it says what was known before this replica's time. Raises
        ApiError."""
        await self._read()

    async def _attempt(self) -> None:
        try:
            async with asyncio.timeout(CALL_S):
                lease = await self._read()
                loop = asyncio.get_running_loop()
                if self._election.may_take(loop.time()):
                    await self._write(lease)
            self._answers()
        except (ApiError, TimeoutError) as error:
            self.failed += 1
            self._away = not isinstance(error, ApiError) or error.status == 0
            level = log.debug if isinstance(error, ApiError) and error.status == 409 else log.warning
            level("cannot take or renew the Lease", lease=self.name, why=str(error) or "no answer in time")

    async def _read(self) -> Document | None:
        lease = await self._api.get(LEASE, self._namespace, self.name)
        now = asyncio.get_running_loop().time()
        if lease is None:
            self._election.observe({}, now)
            return None
        self.uid = text(metadata(lease).get("uid"))
        self._election.observe(lease.get("spec") or {}, now)
        self._compare(lease)
        return lease

    def _answers(self) -> None:
        if self._away:
            self._away = False
            for each in self.returns:
                each()

    def _compare(self, lease: Document) -> None:
        """An object's version grows, unless the storage is put back. Whoever leads sees it, since it writes the Lease
        itself; others are told by the annotations, if not by the version."""
        before, self._version = self._version, version_of(lease)
        annotations = metadata(lease).get("annotations")
        late = self._mirror.told(*election.read_annotations(annotations if isinstance(annotations, dict) else {}))
        if not late and self._version < before:
            self._mirror.put_back()
            late = True
        if late:
            for each in self.put_back:
                each()

    def forget(self) -> None:
        """The storage was put back, as is known already: note the new epoch soon."""
        self._version, self._noted = 0, float("-inf")

    async def _write(self, lease: Document | None) -> None:
        asked = asyncio.get_running_loop().time()
        found = metadata(lease) if lease else {}
        if asked >= self._noted + NOTED_S and self._mirror.versions():
            self._annotations = election.noted(self._mirror.epoch, self._mirror.versions())
            self._noted = asked
        kept = found.get("annotations")
        body = {
            "metadata": {
                **({name: value for name, value in found.items() if name != "managedFields"}),
                "name": self.name,
                "namespace": self._namespace,
                "annotations": {**(kept if isinstance(kept, dict) else {}), **self._annotations},
            },
            "spec": self._election.spec(datetime.now(UTC)),
        }
        written = await (self._api.replace(LEASE, body) if lease else self._api.create(LEASE, body))
        self._version = version_of(written)
        self._election.observe(written["spec"], asyncio.get_running_loop().time())
        self.uid = text(metadata(written).get("uid"))
        self._election.renewed(asked)

    async def _release(self) -> None:
        if not self.leads:
            return
        self._election.lost()
        self._tell()
        try:
            async with asyncio.timeout(CALL_S):
                lease = await self._api.get(LEASE, self._namespace, self.name)
                if lease and (lease.get("spec") or {}).get("holderIdentity") == self._election.identity:
                    lease["spec"] = self._election.released(datetime.now(UTC))
                    await self._api.replace(LEASE, lease)
                    log.info("Lease released", lease=self.name)
        except (ApiError, TimeoutError) as error:
            log.warning("cannot release the Lease; another takes it when it has run out", why=str(error))

    def _tell(self) -> None:
        if self.leads == self._led:
            return
        self._led = self.leads
        log.info("leads now" if self._led else "leads no more", lease=f"{self._namespace}/{self.name}")
        for each in self.changes:
            each()
