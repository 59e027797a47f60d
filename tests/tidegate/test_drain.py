"""SIGTERM to a gateway with a hundred live sessions, as a rolling update does it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from simulator.server import Simulator
from tests.tidegate import files
from tests.tidegate.processes import PATIENCE_S, Process, running
from tidegate import client
from tidegate.client import Client, Closed
from tidegate.exits import Stop

FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
PHASES = ("--drain-lame-duck", "3s", "--drain-patience", "7s", "--drain-closing", "3s", "--drain-linger", "10s")
SESSIONS = 100


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started


@asynccontextmanager
async def serving(folder: Path, simulator: Simulator, *options: str) -> AsyncIterator[tuple[Process, str, str]]:
    path = folder / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with running("serve", "-f", str(path), *FREE, *options, **files.ENVIRONMENT) as process:
        found = await process.until(r"serves http://(\S+) \(admin http://(\S+)\)")
        yield process, f"ws://{found[1]}/v1/realtime?model=gpt-realtime", f"http://{found[2]}"


async def ask(session: Client, scenario: str = "") -> None:
    await session.say("Hello?")
    await session.respond(metadata={"scenario": scenario} if scenario else {})


async def until(session: Client, kind: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await session.receive())["type"] != kind:
            pass


async def to_the_end(session: Client) -> tuple[list[str], str]:
    """The types of events that still come, the code of an error instead; and how the session was closed."""
    heard: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                event = await session.receive()
            except Closed as closed:
                return heard, str(closed)
            heard.append(client.text_at(event, "error", "code") or str(event["type"]))


async def numbers(http: aiohttp.ClientSession, admin: str) -> dict[str, float]:
    """All samples of a scrape, summed over their labels."""
    sums: dict[str, float] = {}
    async with http.get(f"{admin}/metrics") as reply:
        for family in text_string_to_metric_families(await reply.text()):
            for sample in family.samples:
                sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


async def test_a_hundred_sessions(tmp_path: Path, simulator: Simulator) -> None:
    async with (
        serving(tmp_path, simulator, *PHASES) as (process, url, admin),
        aiohttp.ClientSession() as http,
        AsyncExitStack() as open_ones,
    ):
        sessions = [await open_ones.enter_async_context(client.session(url)) for _ in range(SESSIONS)]
        leaving, busy, stuck, quiet = sessions[:10], sessions[10:40], sessions[40:45], sessions[45:]
        await asyncio.gather(*(ask(each) for each in quiet))
        await asyncio.gather(*(until(each, "response.done") for each in quiet))
        assert (await numbers(http, admin))["tidegate_realtime_sessions_active"] == SESSIONS

        process.signal(signal.SIGTERM)
        await process.until("lame duck")
        async with http.get(f"{admin}/readyz") as ready, http.get(f"{admin}/healthz") as alive:
            assert (ready.status, alive.status) == (503, 200)
        late = await open_ones.enter_async_context(client.session(url))  # load balancers do not know it yet
        await ask(late)
        await until(late, "response.done")
        await process.until("patience")
        with pytest.raises(Stop, match="cannot reach"):
            async with client.session(url):
                pass

        await asyncio.gather(*(ask(each) for each in leaving))
        await asyncio.gather(*(until(each, "response.done") for each in leaving))
        politely = await asyncio.gather(*(_left(each) for each in leaving))
        assert politely == [1000] * len(leaving)
        await asyncio.gather(
            *(ask(each, "slow:40,deltas:20") for each in busy), *(ask(each, "stall") for each in stuck)
        )
        await asyncio.gather(*(until(each, "response.created") for each in busy))
        await process.until("closing")

        for heard, how in await asyncio.gather(*map(to_the_end, [*quiet, late])):
            assert heard[-1] == "gateway_draining"
            assert "shutting down" in how
        for heard, how in await asyncio.gather(*map(to_the_end, busy)):
            assert "response.done" in heard, "the turn was not cut off"
            assert heard[-1] == "gateway_draining"
            assert "1001" in how
        await process.until("deadline")
        for heard, how in await asyncio.gather(*map(to_the_end, stuck)):
            assert heard[-1] == "gateway_draining"
            assert "1001" in how

        async with asyncio.timeout(PATIENCE_S):
            while (last := await numbers(http, admin))["tidegate_realtime_sessions_active"]:
                await asyncio.sleep(0.05)
        billed = simulator.ledger.totals
        assert last["tidegate_turns_total"] == len(simulator.ledger.turns) == len(busy) + len(leaving) + len(quiet) + 6
        assert last["gen_ai_client_inference_usage_input_tokens_total"] == billed["input_tokens"]
        assert last["gen_ai_client_inference_usage_output_tokens_total"] == billed["output_tokens"]
        assert last["tidegate_realtime_closes_total"] == SESSIONS + 1
        assert last["tidegate_draining"] == 1
        await numbers(http, admin)
        assert await process.ended() == 0


async def _left(session: Client) -> int:
    """Say Close; the code that is answered."""
    socket = session._socket
    await socket.close()
    assert socket.close_code is not None
    return socket.close_code


async def test_a_second_signal_ends_the_waiting(tmp_path: Path, simulator: Simulator) -> None:
    async with serving(tmp_path, simulator, "--drain-lame-duck", "1h") as (process, url, _):
        async with client.session(url) as session:
            process.signal(signal.SIGTERM)
            await process.until("lame duck")
            process.signal(signal.SIGTERM)
            heard, how = await to_the_end(session)
            assert heard[-1] == "gateway_draining"
            assert "1001" in how
        assert await process.ended() == 0


async def test_a_key_that_is_revoked_meanwhile_opens_nothing(tmp_path: Path, simulator: Simulator) -> None:
    async with serving(tmp_path, simulator, "--drain-lame-duck", "1h") as (process, url, _):
        path = tmp_path / "voice.yaml"
        path.write_text(files.voice(simulator.url, files.KEYS))
        await process.until("reloaded")
        async with client.session(url, files.CALLER_KEY) as session:
            process.signal(signal.SIGTERM)
            await process.until("lame duck")
            path.write_text(files.voice(simulator.url, files.KEYS.replace("${CALLER_KEY}", "another-key-5d0c71")))
            await process.until("reloaded")
            with pytest.raises(Stop, match="401"):
                async with client.session(url, files.CALLER_KEY):
                    pass
            await ask(session)
            await until(session, "response.done")
            process.signal(signal.SIGTERM)
            await to_the_end(session)
        assert await process.ended() == 0


async def test_nothing_to_wait_for(tmp_path: Path, simulator: Simulator) -> None:
    """On loopback no load balancer has to notice; with no session and no scrape it is over at once."""
    async with serving(tmp_path, simulator) as (process, _, _):
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0


@pytest.mark.parametrize("wrong", ["10", "1 h", "-5s", "soon", "1h60x"])
async def test_a_duration_that_is_none(tmp_path: Path, wrong: str) -> None:
    async with running("serve", "-f", str(tmp_path), "--drain-patience", wrong) as process:
        assert await process.ended() == 2
    assert f"--drain-patience '{wrong}': write a duration such as 30s" in process.output
