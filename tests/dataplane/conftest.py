"""A simulator, a gateway in front of it, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from simulator.server import Simulator
from tests.dataplane.rig import Rig, backend, provider, running, table


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def rig(upstream: Simulator) -> AsyncIterator[Rig]:
    async with running(table(backend(provider(upstream.url + "/v1")))) as rig:
        yield rig


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session
