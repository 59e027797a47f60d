"""Two credentials, three gateway processes with one key: whatever goes on from what a provider keeps lands where it was
made, whichever process is asked; and what is counted is what the provider billed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataplane.http import sse
from simulator.server import Simulator
from tests.tidegate.processes import running

Json = dict[str, Any]
CHAINS, TURNS, AT_A_TIME = 100, 10, 8
"""A thousand turns."""
FILES = """\
apiVersion: tidegate.dev/v1alpha1
kind: Backend
metadata: {{name: pool}}
spec:
  providers:
  - {{name: one, openai: {{}}, url: "{url}/v1", auth: {{secretRef: {{name: keys, key: one}}}}}}
  - {{name: two, openai: {{}}, url: "{url}/v1", auth: {{secretRef: {{name: keys, key: two}}}}}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{one: sk-one, two: sk-two}}
"""
COUNTED = {
    "gen_ai_client_inference_usage_input_tokens_total": "input_tokens",
    "gen_ai_client_inference_usage_output_tokens_total": "output_tokens",
    "gen_ai_client_inference_usage_cache_read_input_tokens_total": "cached_tokens",
    "gen_ai_client_inference_usage_reasoning_output_tokens_total": "reasoning_tokens",
    "tidegate_turns_total": "turns",
}
"""Of `/metrics` and of the ledger."""


@dataclass
class Stand:
    simulator: Simulator
    http: aiohttp.ClientSession
    gateways: list[str]
    admins: list[str]

    async def respond(self, gateway: str, body: Json, *, streamed: bool) -> Json:
        """A response, as JSON or as a stream."""
        async with self.http.post(f"http://{gateway}/v1/responses", json={**body, "stream": streamed}) as reply:
            said = await reply.read()
            assert reply.status == 200, said
        return _last(said) if streamed else orjson.loads(said)

    async def counted(self) -> Mapping[str, float]:
        """Of all processes together, by the ledger's names."""
        sums: Counter[str] = Counter()
        for admin in self.admins:
            async with self.http.get(f"http://{admin}/metrics") as reply:
                for family in text_string_to_metric_families(await reply.text()):
                    for sample in family.samples:
                        if sample.name in COUNTED:
                            sums[COUNTED[sample.name]] += int(sample.value)
        return sums

    async def books_agree(self) -> None:
        """A turn is counted when its last byte is on its way, which its client may see first."""
        totals = self.simulator.ledger.totals
        billed = {name: totals[name] for name in COUNTED.values()}
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                while await self.counted() != billed:
                    await asyncio.sleep(0.1)
        assert await self.counted() == billed


def _last(stream: bytes) -> Json:
    scanner = sse.Scanner(len(stream))
    events = [orjson.loads(data) for event in scanner.feed(stream) if (data := sse.data(event))]
    assert events[-1]["type"] == "response.completed"
    made: Json = events[-1]["response"]
    assert {event["response"]["id"] for event in events if "response" in event} == {made["id"]}
    return made


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    async with standing(tmp_path) as made:
        yield made


@asynccontextmanager
async def standing(folder: Path) -> AsyncIterator[Stand]:
    (folder / "keys").write_text("k" * 64 + "\n")
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(keys=frozenset(["sk-one", "sk-two"])))
        (folder / "pool.yaml").write_text(FILES.format(url=simulator.url))
        made = Stand(simulator, await stack.enter_async_context(aiohttp.ClientSession()), [], [])
        for _ in range(3):
            ports = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
            options = ("-f", str(folder / "pool.yaml"), *ports, "--affinity-key-file", str(folder / "keys"))
            process = await stack.enter_async_context(running("serve", *options))
            found = await process.until(r"serves http://(\S+) \(admin http://(\S+)\)")
            made.gateways.append(found[1])
            made.admins.append(found[2])
            reading = asyncio.create_task(_read(process.process))
            stack.callback(reading.cancel)
        yield made


async def _read(process: asyncio.subprocess.Process) -> None:
    """Or a process that says much would wait for ever."""
    assert process.stdout
    while await process.stdout.read(65536):
        pass


async def chain(stand: Stand, rng: Random, places: asyncio.Semaphore) -> None:
    """Turns that each go on from the one before, at another gateway, by its id or by what was said."""
    by_id = rng.random() < 0.5
    asked: Json = {"model": "gpt-5", "input": "hello", "reasoning": {"effort": "low"}, "store": by_id}
    asked["include"] = ["reasoning.encrypted_content"]
    said: list[Json] = [{"role": "user", "content": "hello"}]
    for _ in range(TURNS):
        async with places:
            made = await stand.respond(rng.choice(stand.gateways), asked, streamed=rng.random() < 0.5)
        said += [*made["output"], {"role": "user", "content": "and?"}]
        asked |= {"input": "and?", "previous_response_id": made["id"]} if by_id else {"input": said}


async def test_a_thousand_turns_land_where_they_belong_and_are_counted(stand: Stand) -> None:
    """The provider refuses what another organisation made, so that every answer proves where it was made."""
    places = asyncio.Semaphore(AT_A_TIME)
    async with asyncio.TaskGroup() as chains:
        for number in range(CHAINS):
            chains.create_task(chain(stand, Random(number), places))
    assert stand.simulator.ledger.totals["turns"] == CHAINS * TURNS
    keys = Counter(dict(each.headers)["authorization"] for each in stand.simulator.requests)
    assert min(keys["Bearer sk-one"], keys["Bearer sk-two"]) > CHAINS * TURNS / 10
    await stand.books_agree()


async def test_what_was_tampered_with_is_refused_everywhere(stand: Stand) -> None:
    made = await stand.respond(stand.gateways[0], {"model": "gpt-5", "input": "hello"}, streamed=False)
    [original] = [turn["id"] for turn in stand.simulator.ledger.turns]
    before = len(stand.simulator.requests)
    hint = made["id"].split("_", 1)[1]
    flipped = ("B" if hint[20] != "B" else "C").join((hint[:20], hint[21:]))
    for gateway in stand.gateways:
        for name in (original, f"resp_{flipped}", made["id"] + "0"):
            url = f"http://{gateway}/v1/responses"
            body = {"model": "gpt-5", "input": "and?", "previous_response_id": name}
            async with stand.http.post(url, json=body) as reply:
                assert (reply.status, (await reply.json())["error"]["code"]) == (404, "response_not_found")
            async with stand.http.get(f"{url}/{name}") as reply:
                assert reply.status == 404
        async with stand.http.get(f"http://{gateway}/v1/responses/{made['id']}") as reply:
            assert (await reply.json())["id"] == made["id"]
    assert len(stand.simulator.requests) == before + len(stand.gateways)
