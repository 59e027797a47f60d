"""Lists against an API server that is a double: what it does not know, what fails, and what no watch has told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import pytest

from controller import following, sweeping
from controller.api import Api, ApiError, Listed
from controller.following import Following
from controller.kinds import BACKEND, GATEWAY, SECRET, Kind
from controller.mirror import Mirror, Scope
from controller.sweeping import Sweeping
from tests.controller.cluster import thing

PATIENCE_S = 20.0
KINDS = (BACKEND, GATEWAY)


@dataclass
class Double:
    """An API server: objects and errors by kind, at one version."""

    version: int = 1
    objects: dict[Kind, list[dict[str, object]]] = field(default_factory=dict)
    errors: dict[Kind, int] = field(default_factory=dict)
    lists: int = 0
    watching: asyncio.Event = field(default_factory=asyncio.Event)

    async def list(self, kind: Kind, namespace: str = "", _labels: str = "") -> Listed:
        self.lists += 1
        if status := self.errors.get(kind):
            raise ApiError(status, f"GET {kind.path(namespace)}: no")
        return Listed(list(self.objects.get(kind, [])), self.version)

    async def count(self, kind: Kind) -> int:
        return len((await self.list(kind)).items)

    async def watch(self, _kind: Kind, *_: object) -> AsyncIterator[tuple[str, dict[str, object]]]:
        self.watching.set()
        await asyncio.Event().wait()
        yield "", {}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COUNT_S", "ABSENT_S", "FIRST_PAUSE_S", "TICK_S"):
        monkeypatch.setattr(sweeping, name, 0.01)
    monkeypatch.setattr(following, "FIRST_PAUSE_S", 0.01)


@asynccontextmanager
async def swept(
    double: Double,
    mirror: Mirror,
    deaf: Callable[[], None] = lambda: None,
    changed: Callable[[], None] = lambda: None,
) -> AsyncIterator[Sweeping]:
    found = Sweeping(cast("Api", double), mirror, KINDS, changed, deaf, lambda: found.suspect())
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(said: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not said():
            await asyncio.sleep(0.005)


async def test_kinds_that_are_not_there_come() -> None:
    double, mirror = Double(errors={BACKEND: 404, GATEWAY: 404}), Mirror()
    async with swept(double, mirror) as found:
        await until(lambda: found.absent == set(KINDS))
        assert found.missing == [BACKEND]  # of others there need not be any
        del double.errors[BACKEND]
        await until(lambda: found.whole)
        double.objects[GATEWAY] = [thing(GATEWAY, "edge", 2)]
        del double.errors[GATEWAY]
        await until(lambda: mirror.entries("Gateway"))
        assert found.absent == set()
        double.errors[GATEWAY] = 404
        found.suspect()
        await until(lambda: not mirror.entries("Gateway"))
        assert found.whole


async def test_that_the_last_kind_is_not_there_completes_it() -> None:
    """An API server that has just begun knows none of its kinds; whoever waits for all of them has to be told."""
    double, whole = Double(errors={GATEWAY: 503}), list[bool]()
    async with swept(double, Mirror(), changed=lambda: whole.append(found.whole)) as found:
        await until(lambda: found.missing == [GATEWAY])
        double.errors[GATEWAY] = 404
        await until(lambda: found.whole)
        assert whole == [False, True]
        lists = double.lists
        await until(lambda: double.lists >= lists + 5)
        assert whole == [False, True]


async def test_our_own_kinds_may_go_and_come_and_until_then_it_is_not_whole() -> None:
    double, mirror = Double(objects={BACKEND: [thing(BACKEND, "voice", 1)]}), Mirror()
    async with swept(double, mirror) as found:
        await until(lambda: found.whole)
        double.errors[BACKEND] = 404
        found.suspect([BACKEND])
        await until(lambda: not found.whole)


async def test_lists_that_fail_are_tried_again_and_what_is_known_stays() -> None:
    double, mirror = Double(objects={BACKEND: [thing(BACKEND, "voice", 1)]}), Mirror()
    async with swept(double, mirror) as found:
        await until(lambda: found.whole)
        double.errors[BACKEND] = 500
        found.suspect([BACKEND])
        await until(lambda: found.failed)
        assert mirror.entries("Backend")
        del double.errors[BACKEND]
        double.objects[BACKEND] = []
        double.version = 5
        await until(lambda: not mirror.entries("Backend"))
        assert found.age() < PATIENCE_S
        assert found.attempted() < PATIENCE_S


async def test_what_no_watch_has_told_is_found_by_counting() -> None:
    double, mirror, deaf = Double(objects={BACKEND: [thing(BACKEND, "voice", 1)]}), Mirror(), asyncio.Event()
    async with swept(double, mirror, deaf.set) as found:
        await until(lambda: found.whole)
        double.objects[BACKEND] = []
        double.version = 9
        await until(lambda: not mirror.entries("Backend"))
        assert deaf.is_set()


async def test_a_storage_that_was_put_back_has_everything_read_anew() -> None:
    double, mirror = Double(version=50, objects={BACKEND: [thing(BACKEND, "lost", 40)]}), Mirror()
    async with swept(double, mirror) as found:
        await until(lambda: found.whole)
        before = double.lists
        double.version, double.objects[BACKEND] = 9, [thing(BACKEND, "old", 3)]
        found.suspect([BACKEND])
        await until(lambda: [key.name for key in mirror.entries("Backend")] == ["old"])
        await until(lambda: double.lists >= before + 2)
        await until(lambda: found.whole)
        assert mirror.epoch == 1


async def test_what_is_followed_is_listed_again_after_that() -> None:
    double, mirror, scope = Double(version=50), Mirror(), Scope("Secret", "ai")
    double.objects[SECRET] = [thing(SECRET, "key", 40), thing(SECRET, "lost", 41)]
    noticed = asyncio.Event()
    found = Following(cast("Api", double), mirror, lambda: None, noticed.set)
    found.want({scope})
    await double.watching.wait()
    double.objects[SECRET] = [thing(SECRET, "key", 30)]
    double.watching.clear()
    found.again()
    assert not found.whole
    assert len(mirror.entries("Secret")) == 2  # until it is known what there is
    await double.watching.wait()
    assert noticed.is_set()  # no list has ever been so old, but one of its objects was newer
    assert [entry.version for entry in mirror.entries("Secret").values()] == [30]
    await found.stop()


async def test_secrets_that_may_not_be_read_until_they_may() -> None:
    double, mirror, scope = Double(errors={SECRET: 403}), Mirror(), Scope("Secret", "ai")
    double.objects[SECRET] = [thing(SECRET, "key", 1)]
    changes: list[int] = []
    found = Following(cast("Api", double), mirror, lambda: changes.append(1), lambda: None)
    found.want({scope})
    assert not found.whole
    await until(lambda: found.denied == {"ai"})
    await until(lambda: found.whole)  # it is known why not
    del double.errors[SECRET]
    await until(lambda: mirror.entries("Secret"))
    assert (found.denied, found.failed > 0) == (frozenset(), True)
    await double.watching.wait()
    before = len(changes)
    found.want(set())
    assert not mirror.entries("Secret")
    assert len(changes) == before + 1
    await found.stop()
