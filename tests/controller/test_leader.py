"""The Lease against an API server that is a double: who comes back from an outage, and what its version tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from controller import election
from controller.api import Api, ApiError
from controller.election import EPOCH
from controller.kinds import BACKEND, Kind
from controller.leader import Leader
from controller.mirror import Mirror, Scope
from tests.controller.cluster import thing

PATIENCE_S = 20.0
ALL = Scope("Backend")


@dataclass
class Double:
    """An API server with nothing but the Lease."""

    version: int = 50
    lease: dict[str, Any] | None = None
    away: bool = False

    async def get(self, _kind: Kind, _namespace: str, _name: str) -> dict[str, Any] | None:
        if self.away:
            raise ApiError(0, "GET: nobody is there")
        return self.lease

    async def create(self, _kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "uid": "u", "resourceVersion": str(self.version)}}
        return self.lease

    replace = create

    @property
    def annotations(self) -> dict[str, str]:
        assert self.lease
        found: dict[str, str] = self.lease["metadata"]["annotations"]
        return found


@dataclass
class Told:
    leader: Leader
    mirror: Mirror
    returns: list[int] = field(default_factory=list)
    put_back: list[int] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(election, "RETRY", 0.005)


@asynccontextmanager
async def electing(double: Double) -> AsyncIterator[Told]:
    mirror = Mirror()
    mirror.replace(BACKEND, ALL, [thing(BACKEND, "voice", 40)], 49, 0)
    leader = Leader(cast("Api", double), mirror, "ai", "lease", "me")
    told = Told(leader, mirror)
    leader.returns.append(lambda: told.returns.append(1))
    leader.put_back.append(lambda: told.put_back.append(mirror.epoch))
    leader.put_back.append(leader.forget)
    task = asyncio.create_task(leader.run())
    try:
        yield told
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(said: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not said():
            await asyncio.sleep(0.005)


async def test_an_api_server_that_was_away_is_told_of_once() -> None:
    double = Double()
    async with electing(double) as told:
        await until(lambda: told.leader.leads)
        assert told.returns == []
        double.away = True
        await until(lambda: told.leader.failed > 2)
        double.away = False
        version = double.version
        await until(lambda: double.version > version + 2)
        assert (told.returns, told.put_back) == ([1], [])


async def test_a_lease_that_is_older_than_it_was_tells_that_the_storage_was_put_back() -> None:
    double = Double()
    async with electing(double) as told:
        await until(lambda: double.lease and double.annotations[EPOCH] == "0")
        before = double.lease
        await until(lambda: double.version > 55)
        double.lease, double.version = before, 51
        await until(lambda: told.put_back)
        assert told.mirror.synced == set()
        told.mirror.replace(BACKEND, ALL, [], 53, 0)
        await until(lambda: double.annotations[EPOCH] == "1")
        await until(lambda: double.version > 60)
        assert told.put_back == [1]


async def test_what_another_replica_has_noted_of_a_later_epoch_holds() -> None:
    double = Double()
    async with electing(double) as told:
        await until(lambda: double.lease)
        double.annotations[EPOCH] = "4"
        await until(lambda: told.put_back)
        assert (told.put_back, told.mirror.epoch) == ([4], 4)
