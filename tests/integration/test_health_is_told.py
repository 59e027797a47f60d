"""A gateway tells a controller of which Backends no provider is healthy: the real one the real server of tables, and
what a Backend's condition makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from websockets.exceptions import InvalidStatus

from controller.healthy import CALM, HEALTHY, Healthy
from controller.programmed import Gateway as Pod
from controller.push.publication import published
from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut
from dataplane.metering.updates import Updates
from dataplane.process.garbage import Garbage
from dataplane.sources import controller, dialling, telling
from dataplane.sources.controller import Controllers
from dataplane.sources.dialling import Credentials, Name
from dataplane.sources.loading import Loader
from dataplane.table.watermark import Watermark
from simulator.server import Simulator
from tests.controller.push.test_reviews import TOKEN
from tests.controller.push.test_server import NAME, Install, running
from tests.dataplane.realtime.wires import until
from tests.dataplane.upstream import says, upstream_of
from tests.integration.test_pools import A, B, Pool, pool

NOWHERE = "http://127.0.0.1:1"


@dataclass
class Controller:
    """That a gateway has dialled, with the verdict that it comes to whenever it looks."""

    install: Install
    healthy: Healthy = field(default_factory=lambda: Healthy(0.0))
    now: float = 1000.0

    def says(self) -> tuple[str, str]:
        """Status and message of the condition."""
        self.now += CALM
        health = {pod.uid: each for pod, each in self.install.server.health.items()}
        self.healthy.look([Pod("dp-0", "u0", since=0.0)], health, self.now)
        found = self.healthy.condition("default/voice")
        assert found
        return found.status, found.message

    async def comes_to(self, status: str) -> str:
        """Wait until it says so; the message."""
        await until(lambda: self.says()[0] == status, f"Healthy is {status}")
        return self.says()[1]


@asynccontextmanager
async def told(it: Pool, folder: Path) -> AsyncIterator[Controller]:
    """A controller that the pool's gateway has its table from."""
    publication = published(it.gateway.table(), it.gateway._snapshot.secrets, Watermark(epoch=1, versions={"a": 1}))
    async with running(publication) as install:
        (folder / "ca.crt").write_text(install.authorities.config()["ca.crt"])
        (folder / "token").write_text(TOKEN)
        instruments = Instruments()
        loader = Loader(it.gateway, Meter(instruments, PriceBook(), FanOut()), Garbage(lambda: True).kept_away)
        controllers = Controllers(
            [Name(NAME, install.port)],
            Credentials(folder / "ca.crt", folder / "token"),
            loader,
            Updates(instruments),
            controller.Pod("dp-0", "1.0"),
            it.gateway.pools,
            rand=lambda: 0.1,
        )
        task = asyncio.create_task(controllers.run())
        try:
            await until(lambda: install.server.health, "it has said how providers are doing")
            yield Controller(install)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    async def loopback(_: Name) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr(telling, "EVERY", 0.02)
    monkeypatch.setattr(dialling, "addresses", loopback)


async def test_no_provider_is_left_and_one_is_back(tmp_path: Path) -> None:
    down = Simulator()
    await down.start()
    await down.stop()
    async with pool([A, B], urls={"a": down.url, "b": NOWHERE}) as it, told(it, tmp_path) as seen:
        assert seen.says() == ("True", HEALTHY.message)
        assert await it.asks(3) == [502] * 3
        message = await seen.comes_to("False")
        assert f"a: 127.0.0.1:{down.port} cannot be reached" in message
        assert "b: 127.0.0.1:1 cannot be reached" in message
        await down.start(port=down.port)
        it.clock[0] += 60.0
        await seen.comes_to("False")  # it is on trial, and nobody knows
        assert await it.asks() == [200]
        assert await seen.comes_to("True") == HEALTHY.message
        await down.stop()


async def test_a_connection_that_is_cut_costs_nothing(tmp_path: Path) -> None:
    async with pool([A], urls={"a": NOWHERE}) as it, told(it, tmp_path) as seen:
        await it.asks(3)
        await seen.comes_to("False")
        for conversation in list(seen.install.server._conversations.values()):
            conversation.end("for a test")
        await until(lambda: not seen.install.server.health, "it is gone")
        await until(lambda: seen.install.server.health, "it has dialled again")
        assert (await seen.comes_to("False")).startswith("1 gateway finds no healthy provider")


async def test_no_key_is_told_whatever_a_provider_says(tmp_path: Path) -> None:
    """It quotes the key that it was shown, and others, on many lines."""
    words = "sk-simulator is busy,\n\tas is Bearer sk-other-77." + " See https://status.test." * 99
    body = orjson.dumps({"error": {"message": words}})
    head = b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nRetry-After: 60\r\nContent-Length: %d\r\n\r\n"
    async with (
        upstream_of(says(head % len(body) + body)) as url,
        pool([A], urls={"a": url}) as it,
        told(it, tmp_path) as seen,
    ):
        with pytest.raises(InvalidStatus):
            await it.opens()
        message = await seen.comes_to("False")
        assert "a: *** is busy, as is Bearer *** See https://status.test." in message
        assert "sk-" not in message
        assert len(message) < 600
