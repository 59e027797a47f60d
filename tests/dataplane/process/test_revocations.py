"""Looking after access that may be revoked: in slices, and a few ends at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from unittest.mock import patch

import pytest

from dataplane.callers import Proof
from dataplane.errors import Refusal
from dataplane.process import pace, revocations
from dataplane.process.pace import Pace
from dataplane.process.revocations import Revocations
from dataplane.revocation import Access, Ways
from dataplane.slices import SLICE, Slices, at_once
from dataplane.snapshot import Snapshot
from dataplane.table import Table
from tests.dataplane.rig import SECRETS, backend, provider, table

MANY = 2000
OF = Ways.of
BEFORE, SERVED = (Snapshot.build(table(backend(provider("http://a.test/v1"))), SECRETS) for _ in range(2))
(KNOWN,) = SERVED.table.callers[0].keys
HOLDS = Access("ai/voice", "ai/voice", Proof("key", "ai", bytes.fromhex(KNOWN.sha256)))
GONE = Access("ai/voice", "ai/voice", Proof("key", "ai", b"gone"))


@pytest.fixture
async def it() -> AsyncIterator[Revocations]:
    revoking = Revocations(lambda: SERVED, lambda: 0.0, Pace())
    yield revoking
    await revoking.stop()


async def test_many_are_looked_at_in_slices_and_end_a_few_at_a_time(it: Revocations) -> None:
    ended: list[int] = []
    for number in range(MANY):
        access = Access("ai/voice", "ai/voice", Proof("key", "ai", number.to_bytes(2, "big")))
        it.watch(access, lambda _, number=number: ended.append(number))  # type: ignore[misc]
    assert len(list(it.look())) > MANY // SLICE
    assert ended == []
    turns = []
    while len(ended) < MANY:
        before = len(ended)
        await asyncio.sleep(0)
        turns.append(len(ended) - before)
    assert max(turns) <= pace.AT_ONCE
    assert sorted(ended) == list(range(MANY))
    at_once(it.look())
    await asyncio.sleep(0)
    assert len(ended) == MANY, "once each"


async def test_who_has_left_is_not_ended_and_who_holds_stays(it: Revocations) -> None:
    ended: list[str] = []
    ends = [lambda why, name=name: ended.append(name) for name in "abc"]
    it.watch(HOLDS, ends[0])
    it.watch(GONE, ends[1])
    it.watch(GONE, ends[2])
    it.forget(GONE, ends[1])
    at_once(it.look())
    await asyncio.sleep(0)
    assert ended == ["c"]
    it.forget(GONE, ends[2])
    it.forget(HOLDS, ends[0])
    assert it._watched == {}


async def test_it_looks_by_itself_and_goes_on_after_a_fault(it: Revocations) -> None:
    ended = asyncio.Event()
    with patch.object(revocations, "LOOK", 0.01):
        it.watch(HOLDS, lambda _: None)
        it.start()
        with patch.object(it, "look", side_effect=RuntimeError("a fault of ours")) as broken:
            async with asyncio.timeout(5):
                while broken.call_count < 2:
                    await asyncio.sleep(0.005)
        it.watch(GONE, lambda _: ended.set())
        async with asyncio.timeout(5):
            await ended.wait()


async def test_a_change_is_looked_at_at_once(it: Revocations) -> None:
    ended = asyncio.Event()
    with patch.object(revocations, "LOOK", 60.0):
        it.start()
        it.watch(GONE, lambda _: ended.set())
        it.changed()
        async with asyncio.timeout(5):
            await ended.wait()


async def test_what_is_about_to_begin_is_checked(it: Revocations) -> None:
    it.check(HOLDS, BEFORE)
    with pytest.raises(Refusal, match="not admitted here any more"):
        it.check(GONE, BEFORE)


async def test_the_ways_of_a_new_table_are_found_in_slices_once_for_all_who_ask(it: Revocations) -> None:
    """Of 5,000 routes it takes 20 ms, in which others are served."""
    found: list[Table] = []

    def of(table: Table) -> Slices[Ways]:
        found.append(table)
        yield
        return (yield from OF(table))

    with patch.object(Ways, "of", of):
        asking = [asyncio.create_task(it.prepare(BEFORE)) for _ in range(5)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in asking)
        await asyncio.gather(*asking)
        it.check(HOLDS, BEFORE)
        with pytest.raises(Refusal, match="not admitted here any more"):
            it.check(GONE, BEFORE)
    assert len(found) == 1


async def test_where_it_changes_meanwhile_those_of_the_newest_are_found() -> None:
    served = BEFORE
    it = Revocations(lambda: served, lambda: 0.0, Pace())
    began = Snapshot.build(BEFORE.table, SECRETS)
    asking = asyncio.create_task(it.prepare(began))
    await asyncio.sleep(0)
    served = SERVED
    await asking
    assert vars(it)["_ways"][0] is SERVED


async def test_where_the_table_is_the_same_nothing_is_prepared(it: Revocations) -> None:
    await it.prepare(SERVED)
    assert vars(it)["_ways"] is None


async def test_where_the_table_is_the_same_nothing_is_looked_up_but_for_what_expires(it: Revocations) -> None:
    """Looking up all ways of 5,000 routes takes 20 ms, in which nobody else is served."""
    it.check(GONE, SERVED)
    assert vars(it)["_ways"] is None
    with pytest.raises(Refusal, match="not admitted here any more"):
        it.check(replace(GONE, proof=replace(GONE.proof, expires=0.0)), SERVED)


async def test_a_change_in_the_middle_of_a_look_is_looked_at_too(it: Revocations) -> None:
    ended = asyncio.Event()
    for number in range(MANY):
        access = Access("ai/voice", "ai/voice", Proof("key", "ai", bytes.fromhex(KNOWN.sha256), float(number)))
        it.watch(access, lambda _: None)
    it.changed()
    await asyncio.sleep(0)
    it.watch(GONE, lambda _: ended.set())  # the look under way does not see it
    it.changed()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_where_nobody_is_watched_nothing_is_kept_and_nothing_runs(it: Revocations) -> None:
    it.check(HOLDS, BEFORE)
    assert vars(it)["_ways"] is not None
    it.changed()
    assert vars(it)["_ways"] is vars(it)["_task"] is None
