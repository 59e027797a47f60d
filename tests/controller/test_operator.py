"""The process as a whole, where no API server answers."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
import pytest
from kubernetes.aio.client import Configuration

from controller.api import Api
from controller.operator import Identity, Operator
from controller.settings import Settings
from controller.watching import Watching

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens
PATIENCE_S = 20.0


async def test_a_process_that_no_longer_watches_is_to_be_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watching, "_run", lambda _: None)
    api = Api(Configuration(host=NOWHERE))
    settings = Settings.model_validate({"install": {"name": "tidegate", "namespace": "here", "instance": "tidegate"}})
    operator = Operator(api, settings, Identity("me"))
    port = await operator.start_admin(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{port}/healthz"
    async with aiohttp.ClientSession() as client, asyncio.timeout(PATIENCE_S):
        async with client.get(url) as answer:
            assert (answer.status, await answer.text()) == (200, "ok\n")
        task = asyncio.create_task(operator.run())
        said = ""
        while "the thread that watches has ended" not in said:
            async with client.get(url) as answer:
                said = await answer.text()
        assert answer.status == 503
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await api.close()
