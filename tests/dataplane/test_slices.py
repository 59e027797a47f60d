"""Everything that is done to a table of thousands pauses often, and comes to the same as in one go."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.admin import summary
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.process.gently import gently
from dataplane.slices import SLICE, Slices, at_once
from dataplane.snapshot import Snapshot, TableRefused
from dataplane.table import CallerKey, CallerSet, Model, Route, Table, Target
from tests.dataplane.rig import SECRETS, backend, provider
from tests.integration.lives.generations import others
from tests.integration.lives.tape import Written

MANY = 40 * SLICE
TABLE = others(MANY)


def pauses(work: Slices[object]) -> int:
    return sum(1 for _ in work)


def test_a_table_is_made_ready_in_small_slices() -> None:
    assert pauses(Snapshot.building(TABLE, SECRETS)) >= 3 * MANY // SLICE, "checked, put into the index, sorted there"
    before = Snapshot.build(TABLE, SECRETS)
    assert at_once(Snapshot.building(TABLE, SECRETS, before)).router is before.router


def test_so_are_callers() -> None:
    keys = tuple(CallerKey(name=f"k{n}", sha256=f"{n:064x}") for n in range(MANY))
    one_set = Table(callers=(CallerSet(id="ai/keys", namespace="ai", keys=keys),))
    assert pauses(Snapshot.building(one_set, {})) >= MANY // SLICE


def test_so_are_prices() -> None:
    models = tuple(Model(name=f"m{n}", targets=(Target(provider="openai", model=f"m{n}"),)) for n in range(MANY))
    meter = Meter(Instruments(), PriceBook(), Written())
    served = Table(backends=(backend(provider("https://a.test", kind="custom"), models=models),))
    assert pauses(meter.loading(served)) >= MANY, "a price that has to be looked up is a slice by itself"
    assert pauses(meter.loading(served)) == MANY // SLICE


def test_so_is_what_the_admin_port_shows() -> None:
    assert pauses(summary(TABLE, lambda *_: {})) >= 2 * MANY // SLICE
    assert at_once(summary(TABLE, lambda *_: {}))["versions"] == TABLE.versions()


def test_a_table_that_cannot_be_served_is_refused_in_slices_too() -> None:
    with pytest.raises(TableRefused, match="route twice is in the table twice"):
        at_once(Snapshot.building(Table(routes=(Route(name="twice"), Route(name="twice"))), {}))


async def test_the_loop_goes_round_at_each_pause() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    snapshot = await gently(Snapshot.building(TABLE, SECRETS))
    task.cancel()
    assert snapshot.table is TABLE
    assert turns >= MANY // SLICE
