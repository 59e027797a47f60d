"""Passes of a leader over many statuses, while objects change: what is written when, and of which generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import pytest

from controller import healthy, reporting, writing
from controller.api import Api
from controller.compile import Compiled, Condition, Install, Status
from controller.kinds import BACKEND, POD, Kind
from controller.leader import Leader
from controller.mirror import Mirror
from controller.push.door import Pod
from controller.push.publication import Publication, published
from controller.push.server import Server
from controller.reporting import SLICE, Reporting
from dataplane.table import Table
from dataplane.table.messages import Failing, HealthMessage
from dataplane.table.watermark import Watermark
from tests.controller.cluster import thing

PATIENCE_S = 20.0
MANY = 5 * SLICE
LAST = f"b{MANY - 1:04}"


class Write(NamedTuple):
    name: str
    said: str
    """The generation that the compiler saw, as its message says."""
    observed: int
    healthy: str = ""


@dataclass
class Double:
    """A cluster with many Backends, the controller's mirror of it, and what is written."""

    keeps: bool = True
    """Does it keep what is written? Else all is due in every pass."""
    mirror: Mirror = field(default_factory=Mirror)
    writes: list[Write] = field(default_factory=list)
    at: Callable[[], None] = lambda: None
    """Called when a write comes in."""
    version: int = 0
    generations: dict[str, int] = field(default_factory=lambda: {f"b{number:04}": 0 for number in range(MANY)})
    holdings: dict[object, object] = field(default_factory=dict)
    health: dict[object, object] = field(default_factory=dict)
    leads: bool = True
    changes: list[Callable[[], None]] = field(default_factory=list)
    publication: Publication | None = None

    def change(self, names: Collection[str]) -> None:
        for name in names:
            self.generations[name] += 1
            metadata = {"generation": self.generations[name]}
            self.version += 1
            self.mirror.see(BACKEND, thing(BACKEND, name, self.version, spec={}, metadata=metadata))

    def compile(self, found: Reporting) -> None:
        statuses = tuple(
            Status("Backend", "ai", name, (Condition("Accepted", "True", "Accepted", str(generation)),))
            for name, generation in self.generations.items()
        )
        watermark = Watermark(epoch=0, versions={})
        self.publication = published(Table(), {}, watermark, self.publication)
        versions = {key: (entry.uid, entry.generation) for key, entry in self.mirror.all()}
        found.published(Compiled(Table(), {}, statuses), self.publication, versions)

    async def apply(self, kind: Kind, body: dict[str, Any], _part: str) -> dict[str, Any]:
        self.at()
        await asyncio.sleep(0)
        name = body["metadata"]["name"]
        accepted = next(each for each in body["status"]["conditions"] if each["type"] == "Accepted")
        healthy = next(each["reason"] for each in body["status"]["conditions"] if each["type"] == "Healthy")
        self.writes.append(Write(name, accepted["message"], accepted["observedGeneration"], healthy))
        self.version += 1
        metadata = {"generation": self.generations[name]}
        status = body["status"] if self.keeps else {}
        return thing(kind, name, self.version, spec={}, metadata=metadata, status=status)

    async def create(self, *_: object) -> None:
        """An Event."""


@asynccontextmanager
async def reported(double: Double) -> AsyncIterator[Reporting]:
    server, leader, api = cast("Server", double), cast("Leader", double), cast("Api", double)
    mirror, pods = double.mirror, Mirror()
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    pods.see(POD, thing(POD, "dp-0", 1, status={"conditions": [condition]}))
    found = Reporting(api, mirror, pods, leader, server, Install(), "kubectl get pods", "me", lambda: None, dict)
    double.change(double.generations)
    double.compile(found)
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "RATE", 1e6)
    monkeypatch.setattr(reporting, "QUIET_S", 0.0)


async def until(said: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not said():
            await asyncio.sleep(0.005)


async def test_what_is_said_of_a_generation_is_never_said_of_the_next() -> None:
    """Whatever is compiled while a pass lasts."""
    double = Double()

    def change() -> None:
        double.at = lambda: None
        double.change(double.generations)
        double.compile(found)

    double.at = change
    async with reported(double) as found:
        await until(lambda: {each.name for each in double.writes if each.observed == 2} == set(double.generations))
    assert [each for each in double.writes if each.said != str(each.observed)] == []
    # What is old by then is left soon.
    assert len([each for each in double.writes if each.observed == 1]) <= 2 * SLICE


async def test_what_was_just_changed_comes_before_the_rest() -> None:
    double = Double()

    def change() -> None:
        double.at = lambda: None
        double.change([LAST])
        double.compile(found)

    double.at = change
    async with reported(double) as found:
        await until(lambda: {each.name for each in double.writes} == set(double.generations))
    place = double.writes.index(Write(LAST, "2", 2, "Healthy"))
    assert place <= 2 * SLICE


async def test_however_often_there_is_news_nobody_waits_for_ever() -> None:
    """Also where the same are due each time."""
    double = Double(keeps=False)
    async with reported(double) as found:
        double.at = found.look
        await until(lambda: {each.name for each in double.writes} == set(double.generations))


async def test_who_does_not_lead_writes_nothing_until_it_does() -> None:
    double = Double(leads=False)
    async with reported(double) as found:
        await asyncio.sleep(0.05)
        assert double.writes == []
        double.leads = True
        found.look()
        await until(lambda: len(double.writes) == MANY)


async def test_what_gateways_find_of_providers_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the Backends that they speak of, however often they say it, in whatever words; and of no other."""
    monkeypatch.setattr(reporting, "EVERY_S", 0.01)
    monkeypatch.setattr(healthy, "EVERY", 0.0)
    monkeypatch.setattr(healthy, "CALM", 1e9)
    double = Double()
    gateway = Pod("dp-0", "Pod-dp-0")
    few = sorted(double.generations)[:3]

    def says(*backends: str, times: int = 0) -> None:
        failing = {"eu": Failing(reason="lost", why=f"lost at {times}")}
        double.health = {gateway: HealthMessage(unhealthy={f"ai/{name}": failing for name in backends})}

    def said(reason: str) -> list[str]:
        return sorted(each.name for each in double.writes if each.healthy == reason)

    says()
    async with reported(double):
        await until(lambda: len(said("Healthy")) == MANY)
        double.writes.clear()
        for times in range(10):
            says(*few, times=times)
            await until(lambda: said("NoHealthyProvider") == few)
            says()
            await asyncio.sleep(0.02)
        assert len(double.writes) == len(few)
        monkeypatch.setattr(healthy, "CALM", 0.0)
        await until(lambda: said("Healthy") == few)
        assert len(double.writes) == 2 * len(few)
