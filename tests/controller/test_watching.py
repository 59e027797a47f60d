"""What kopf's thread tells: the newest of each object, however much comes before anybody looks."""

from __future__ import annotations

import asyncio

import kopf
import pytest
from kubernetes.aio.client import Configuration

from controller import watching
from controller.kinds import BACKEND, POLICY
from controller.watching import Mailbox, Watching
from tests.controller.cluster import thing


def test_it_rings_once_for_all_that_comes_before_it_is_emptied() -> None:
    rings: list[int] = []
    mailbox = Mailbox(lambda: rings.append(1))
    for version in range(1, 1001):
        mailbox.put(BACKEND, thing(BACKEND, "a", version), deleted=False, listed=False)
    mailbox.put(POLICY, thing(POLICY, "p", 7), deleted=True, listed=False)
    assert len(rings) == 1
    events, listed = mailbox.empty()
    assert events == [(BACKEND, thing(BACKEND, "a", 1000), False), (POLICY, thing(POLICY, "p", 7), True)]
    assert listed == set()
    mailbox.put(BACKEND, thing(BACKEND, "a", 1001), deleted=False, listed=False)
    assert len(rings) == 2


def test_the_newest_of_an_object_stays() -> None:
    mailbox = Mailbox(lambda: None)
    mailbox.put(BACKEND, thing(BACKEND, "a", 5), deleted=True, listed=False)
    mailbox.put(BACKEND, thing(BACKEND, "a", 4), deleted=False, listed=True)
    assert mailbox.empty() == ([(BACKEND, thing(BACKEND, "a", 5), True)], {BACKEND})
    assert mailbox.empty() == ([], set())


@pytest.mark.parametrize("hangs", [False, True])
@pytest.mark.parametrize("error", [ValueError("a watch failed"), asyncio.CancelledError(), SystemExit(1)], ids=repr)
async def test_kopf_that_gives_up_is_started_again_even_if_it_does_not_end(
    hangs: bool, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    async def fails() -> None:
        raise error

    async def spawn(**_: object) -> list[asyncio.Task[None]]:
        runs.append(1)
        return [asyncio.create_task(fails())]

    async def run(tasks: list[asyncio.Task[None]], **_: object) -> None:
        if hangs:
            await asyncio.Event().wait()
        await asyncio.gather(*tasks)

    monkeypatch.setattr(kopf, "spawn_tasks", spawn)
    monkeypatch.setattr(kopf, "run_tasks", run)
    monkeypatch.setattr(watching, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(watching, "STOPS_S", 0.05)
    found = Watching(Configuration(), Mailbox(lambda: None))
    found.start()
    async with asyncio.timeout(20):
        while len(runs) < 3:
            await asyncio.sleep(0.005)
    assert not found.ended
    await found.stop()
    assert found.restarts >= 2
    assert not found.ended  # it was asked to


async def test_a_thread_that_ends_all_the_same_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watching, "_run", lambda _: None)
    found = Watching(Configuration(), Mailbox(lambda: None))
    seen = [found.ended]
    found.start()
    async with asyncio.timeout(20):
        while not seen[-1]:
            await asyncio.sleep(0.005)
            seen.append(found.ended)
    await found.stop()
    assert not seen[0]  # before it began
