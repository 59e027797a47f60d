"""Limits of a gateway on one machine, or of several that have one store: `serve --state`, `validate`, `explain`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dataplane.limits import fleet
from simulator.server import Simulator
from tests.dataplane.limits.double import Server, serving
from tests.tidegate import files
from tests.tidegate.test_cli import call
from tidegate.addresses import Address
from tidegate.assembly import Settings
from tidegate.documents import Documents
from tidegate.exits import Exit, Stop
from tidegate.standalone import Options, Standalone

FREE = Address("127.0.0.1", 0)
KEY = "st0re-p4ssword"
LIMITS = """\
---
apiVersion: tidegate.dev/v1alpha1
kind: Policy
metadata: {{name: budget, namespace: ai}}
spec:
  targetRefs: [{{group: tidegate.dev, kind: Backend, name: voice}}]
  limits: {{{limits}}}
"""
FLEET = "scope: Fleet, requests: [{max: 3, per: Month}], tokens: [{max: 50000, per: Month}]"


def written(folder: Path, url: str, limits: str = FLEET) -> Path:
    path = folder / "voice.yaml"
    path.write_text(files.voice(url, files.KEYS, LIMITS.format(limits=limits)))
    return path


@asynccontextmanager
async def gateways(path: Path, store: Server, count: int = 2) -> AsyncIterator[list[Standalone]]:
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            options = Options([path], FREE, FREE, settings=Settings(state=store.url, state_password=SecretStr(KEY)))
            served = Standalone(options, Documents(files.ENVIRONMENT))
            await served.start()
            stack.push_async_callback(served.stop)
            found.append(served)
        yield found


async def ask(served: Standalone) -> tuple[int, str]:
    """Status and fields of a chat completion."""
    url = f"http://{served.address}/v1/chat/completions"
    asked = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"Authorization": f"Bearer {files.CALLER_KEY}"}
    async with aiohttp.ClientSession() as http, http.post(url, json=asked, headers=headers) as reply:
        await reply.read()
        return reply.status, reply.headers.get("RateLimit", "")


async def admin(served: Standalone, path: str) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://{served.admin_address}{path}") as reply:
        return await reply.text()


async def test_two_gateways_count_together(tmp_path: Path) -> None:
    async with Simulator() as simulator, serving(password=KEY) as store:
        path = written(tmp_path, simulator.url)
        with capture_logs() as lines:
            async with gateways(path, store) as (first, second):
                assert first.problems() == []
                assert [(await ask(each))[0] for each in (first, second, first, second)] == [200, 200, 200, 429]
                counted = json.loads(await admin(second, "/limits"))["limits"]
                assert {each["limit"]: (each["used"], each["max"], each["source"]) for each in counted}[
                    "requests/Month"
                ] == (3, 3, "fleet")
                metrics = await admin(second, "/metrics")
                assert "tidegate_limit_store_up 1.0" in metrics
                assert (
                    'tidegate_limit_decisions_total{limit="requests/Month",outcome="refused",policy="ai/budget"} 1.0'
                    in metrics
                )
        said = json.dumps([str(line) for line in lines]) + metrics
        assert KEY not in said


async def test_the_store_may_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "REFILL", 0.0)
    async with Simulator() as simulator, serving(password=KEY) as store:
        path = written(tmp_path, simulator.url)
        await store.stop()
        async with gateways(path, store) as (first, second):
            assert [(await ask(each))[0] for each in (first, second)] == [200, 200]
            await store.start()
            async with asyncio.timeout(10):
                while len(store.memory.hashes) < 3 or sum(_requests(store)) < 2:
                    await asyncio.sleep(0.02)
            assert [(await ask(each))[0] for each in (first, second)] == [200, 429]


def _requests(store: Server) -> list[int]:
    found = [fields for key, fields in store.memory.hashes.items() if "budget" in key]
    return [
        count[2] for fields in found for _, _, _, counts in fields.values() for count in counts if count[0][0] == "r"
    ]


async def test_an_address_that_is_none_ends_with_2(tmp_path: Path) -> None:
    path = written(tmp_path, "http://127.0.0.1:9")
    with pytest.raises(Stop) as caught:
        Standalone(
            Options([path], FREE, FREE, settings=Settings(state=f"http://:{KEY}@x")), Documents(files.ENVIRONMENT)
        )
    assert caught.value.code == Exit.USAGE
    assert caught.value.message.startswith("--state begins with none of redis://, rediss://")
    assert KEY not in caught.value.message


def test_validate_knows_whether_there_is_a_store(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in files.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    path = str(written(tmp_path, "http://127.0.0.1:9"))
    code, out, _ = call(capsys, "validate", "-f", path)
    assert (code, "StoreMissing" in out) == (1, True)
    assert f"{path} #5: spec.limits.scope: Fleet needs a store that all gateways share" in out
    monkeypatch.setenv("TIDEGATE_STATE", "redis://127.0.0.1")
    code, out, _ = call(capsys, "validate", "-f", path)
    assert code == 0
    assert "50000 tokens per Month: at most 12." in out


async def test_explain_says_what_is_left(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in files.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    budget = (
        "requests: [{max: 3, per: Month}], tokens: [{max: 50000, per: Day, count: Input}], sessions: 2, "
        'spend: [{usd: "5", per: Month}]'
    )
    async with Simulator() as simulator:
        path = written(tmp_path, simulator.url, budget)
        served = Standalone(Options([path], FREE, FREE), Documents(files.ENVIRONMENT))
        await served.start()
        assert (await ask(served))[0] == 200

        async def explained(*more: str) -> str:
            told = ["explain", "/v1/chat/completions", "-f", str(path), "--model", "gpt-5", *more]
            code, out, err = await asyncio.to_thread(call, capsys, *told)
            assert code == 0, err
            return out

        out = await explained("--key-name", "laptop")
        assert (
            "  Limits          3 requests per Month, 50000 tokens (Input) per Day, 2 sessions at a time, 5 USD per "
            "Month, 4096 tokens set aside for each turn; of each Caller, counted by each process (Policy ai/budget)"
        ) in out
        assert "Left" not in out
        out = await explained("--key-name", "laptop", "--admin", str(served.admin_address))
        assert (
            "  Left            2 of 3 requests per Month, for caller ai/laptop: 1 used, 0 set aside, anew at 20" in out
        )
        assert "  Left            2 of 2 sessions, for caller ai/laptop: 0 open (local)" in out
        assert "of 50000 tokens (Input) per Day, for caller ai/laptop: " in out
        assert " of 5 USD per Month, for caller ai/laptop: 0.0" in out
        assert "Left" not in await explained("--admin", str(served.admin_address)), "of nobody"
        await served.stop()
        code, _, err = await asyncio.to_thread(
            call, capsys, "explain", "/v1/realtime", "-f", str(path), "--admin", str(served.address)
        )
        assert (code, "no gateway answers" in err) == (3, True)
