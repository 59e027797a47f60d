"""Who judges texts: the moderation API, and a webhook."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
from openai.types import ModerationImageURLInputParam, ModerationTextInputParam

from simulator.server import Simulator

PARTS: list[ModerationTextInputParam | ModerationImageURLInputParam] = [
    {"type": "text", "text": "Only contraband."},
    {"type": "image_url", "image_url": {"url": "data:,"}},
]
KEY = {"Authorization": "Bearer sk-simulator"}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


async def test_the_sdk_reads_what_the_moderation_says(simulator: Simulator) -> None:
    async with openai.AsyncOpenAI(api_key="sk-simulator", base_url=f"{simulator.url}/v1") as client:
        said = await client.moderations.create(input=["Have a good day.", "I will KILL you, idiot."])
        assert [result.flagged for result in said.results] == [False, True]
        found = said.results[1].categories
        assert (found.violence, found.harassment, found.hate) == (True, True, False)
        assert said.results[1].category_scores.violence > 0.5
        one = await client.moderations.create(input=PARTS)
        assert [result.categories.illicit for result in one.results] == [True]
        assert not (await client.moderations.create(input="Good evening.")).results[0].flagged


@pytest.mark.parametrize(
    ("headers", "body", "status"), [({}, {"input": "a"}, 401), (KEY, {}, 400), (KEY, {"input": []}, 400)]
)
async def test_what_the_moderation_refuses(
    simulator: Simulator, headers: dict[str, str], body: object, status: int
) -> None:
    async with (
        aiohttp.ClientSession(simulator.url, headers=headers) as http,
        http.post("/v1/moderations", json=body) as reply,
    ):
        assert reply.status == status
        assert "error" in await reply.json()


@pytest.mark.parametrize(
    ("options", "said", "answer"),
    [
        ("", "a bird", {"action": "pass"}),
        ("", "a BlueBird", {"action": "block", "rule": "bluebird"}),
        ("/word=x/action=mask", "axbX", {"action": "mask", "rule": "x", "text": "a[…]b[…]"}),
        ("/word=x/action=mask/delay=0.01", "a", {"action": "pass"}),
    ],
)
@pytest.mark.parametrize("kind", ["openai", "azure"])
async def test_the_webhook(kind: str, options: str, said: str, answer: object) -> None:
    async with (
        Simulator(kind="azure" if kind == "azure" else "openai") as simulator,
        aiohttp.ClientSession(simulator.url) as http,
        http.post(f"/_judge{options}", json={"text": said}) as reply,
    ):
        assert (reply.status, await reply.json()) == (200, answer)


async def test_the_webhook_fails_where_it_is_told_to(simulator: Simulator) -> None:
    async with aiohttp.ClientSession(simulator.url) as http, http.post("/_judge/status=503", json={}) as reply:
        assert reply.status == 503
