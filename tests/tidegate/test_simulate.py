from __future__ import annotations

import signal
import socket
from pathlib import Path

import aiohttp

from simulator.scenarios import NAMES
from tests.tidegate.processes import run, running

ASK = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}


async def test_it_serves_says_how_and_keeps_a_ledger() -> None:
    async with running("simulate", "--listen", "127.0.0.1:0") as process:
        found = await process.until(r"serves (http://\S+)/v1 .*sk-simulator")
        await process.until(r"no-upgrade:503 .*\n")
        for name in NAMES:
            assert f"  {name} " in process.output
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-simulator"}) as http:
            async with http.post(f"{found[1]}/v1/chat/completions", json=ASK) as reply:
                assert reply.status == 200
            async with http.get(f"{found[1]}/_ledger") as reply:
                assert (await reply.json())["totals"]["turns"] == 1
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0


async def test_keys_and_scenarios_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_text("- {match: {model: 'gpt-*'}, scenario: 'status:429'}\n")
    options = ("--key", "my-own-key-77", "--scenarios", str(path))
    async with running("simulate", "--listen", "127.0.0.1:0", *options) as process:
        found = await process.until(r"serves (http://\S+)/v1")
        url = f"{found[1]}/v1/chat/completions"
        async with aiohttp.ClientSession() as http:
            async with http.post(url, json=ASK, headers={"Authorization": "Bearer my-own-key-77"}) as reply:
                assert reply.status == 429
            async with http.post(url, json=ASK, headers={"Authorization": "Bearer sk-simulator"}) as reply:
                assert reply.status == 401
        process.signal(signal.SIGINT)
        assert await process.ended() == 0
        assert "my-own-key-77" not in process.output


async def test_what_it_cannot_use(tmp_path: Path) -> None:
    path = tmp_path / "scenarios.yaml"
    path.write_text("- {scenario: nonsense}\n")
    wrong = await run("simulate", "--scenarios", str(path))
    assert wrong.code == 1
    assert f"{path}: rule 1: scenario: unknown scenario 'nonsense'" in wrong.err
    nobody = await run("simulate", "--provider", "nobody")
    assert nobody.code == 2
    assert "nobody is none of openai, azure, xai" in nobody.err
    missing = await run("simulate", "--scenarios", str(tmp_path / "none.yaml"))
    assert missing.code == 1
    assert "none.yaml: No such file or directory" in missing.err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = await run("simulate", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert busy.code == 3
    assert "Address already in use" in busy.err
