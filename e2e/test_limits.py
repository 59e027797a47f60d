"""Two gateway processes, a real Redis, and very many callers on one budget that is nearly spent: it is passed by no
more than was stated beforehand, whatever becomes of the store; and no record of what was used is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import processes
import pytest
from processes import CLIENT_KEY, ROOT, Process
from redis_server import PASSWORD, Redis

CALLERS = 200
SLOW = {"metadata": {"scenario": "slow:60"}}
ASKED = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}], **SLOW}


@dataclass
class Fleet:
    """Two gateways with one store."""

    folder: Path
    redis: Redis
    simulator: Process
    gateways: list[Process] = field(default_factory=list)
    tokens: int = 0
    """That all answers said were used."""
    turns: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    largest: int = 0

    def start(self, most: int, reserve: int, when: str = "CountLocally") -> None:
        for name in ("one", "two"):
            words = {"SIMULATOR": self.simulator.ports["url"], "MOST": str(most), "RESERVE": str(reserve), "WHEN": when}
            self.gateways.append(
                processes.start_gateway(self.folder, words, "--state", self.redis.url, name=name, config="limits.yaml")
            )

    def edit(self, before: int, after: int) -> None:
        """Another maximum, in the files of both."""
        for name in ("one", "two"):
            file = self.folder / f"{name}.yaml"
            file.write_text(file.read_text().replace(f"max: {before}", f"max: {after}"))
        for gateway in self.gateways:
            gateway.wait_for(lambda gateway=gateway: '"event":"reloaded"' in gateway.text())

    async def call(self, http: httpx.AsyncClient, number: int) -> int:
        """One completion, by one of the gateways."""
        url = f"http://{self.gateways[number % 2].ports['url']}/v1/chat/completions"
        reply = await http.post(url, json=ASKED, headers={"Authorization": f"Bearer {CLIENT_KEY}"})
        self.statuses[reply.status_code] += 1
        if reply.status_code == 200:
            used = reply.json()["usage"]["total_tokens"]
            self.tokens, self.turns, self.largest = self.tokens + used, self.turns + 1, max(self.largest, used)
        return reply.status_code

    async def callers(self, times: int) -> None:
        """All of them at the same time, each so many times."""

        async def caller(number: int) -> None:
            for _ in range(times):
                await self.call(http, number)

        limits = httpx.Limits(max_connections=CALLERS)
        async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as http:
            await asyncio.gather(*map(caller, range(CALLERS)))

    async def until(self, said: Callable[[], object], going: asyncio.Task[None]) -> None:
        """Wait until it is so, which comes while they go on."""
        while not said():
            assert not going.done(), f"all were answered before: {self.statuses}"
            await asyncio.sleep(0.01)

    def stored(self) -> tuple[int, int]:
        """Used, and set aside, by what the store has of both."""
        fields = self.redis.cli("HVALS", "tidegate:limits:1:ai/budget:policy").split()[3::4]
        totals = [field.split(",") for field in fields]
        return sum(int(each[2]) for each in totals), sum(int(each[3]) for each in totals)

    def recorded(self) -> tuple[int, int]:
        """Turns and tokens that are in the logs of both."""
        lines = [
            json.loads(line) for gateway in self.gateways for line in gateway.text().splitlines() if line[:1] == "{"
        ]
        turns = [line for line in lines if line.get("event") == "turn"]
        return len(turns), sum(sum(_tokens(turn)) for turn in turns)

    def billed(self) -> int:
        totals = json.loads(processes.fetch(f"{self.simulator.ports['url']}/_ledger"))["totals"]
        return int(totals["input_tokens"] + totals["output_tokens"])

    def said(self, text: str) -> int:
        return sum(gateway.text().count(text) for gateway in self.gateways)


def _tokens(turn: dict[str, object]) -> Iterator[int]:
    tokens = turn["tokens"]
    assert isinstance(tokens, dict)
    for name, amount in tokens.items():
        if name.startswith(("input_", "output_")):
            yield amount


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("TIDEGATE_STATE_PASSWORD", PASSWORD)
    redis, simulator = Redis(tmp_path), processes.start_simulator(tmp_path)
    redis.start()
    made = Fleet(tmp_path, redis, simulator)
    try:
        yield made
        for gateway in made.gateways:
            assert gateway.stop() == 0
            processes.assert_quiet(gateway.text(), "the log")
            assert PASSWORD not in gateway.text()
    finally:
        redis.thaw()
        redis.kill()
        for process in (*made.gateways, simulator):
            process.kill()


def test_the_double_of_the_store_is_like_a_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_STATE_PASSWORD", PASSWORD)
    redis = Redis(tmp_path)
    redis.start()
    try:
        python = ROOT / ".venv" / "bin" / "python"
        command = [str(python), str(ROOT / "e2e" / "store_alike.py"), redis.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        redis.kill()


async def test_a_budget_is_passed_by_no_more_than_was_stated(fleet: Fleet) -> None:
    """Turns take more than what is set aside for them; and the budget is edited while they do."""
    most, reserve = 900, 10
    fleet.start(most, reserve)
    await fleet.callers(3)
    assert set(fleet.statuses) == {200, 429}
    assert fleet.largest > reserve
    assert most - reserve < fleet.tokens <= most + (most // reserve) * (fleet.largest - reserve)

    going, before = asyncio.create_task(fleet.callers(6)), fleet.tokens
    await asyncio.to_thread(fleet.edit, most, 2 * most)
    await going
    await fleet.callers(2)
    assert before < fleet.tokens
    assert 2 * most - reserve < fleet.tokens <= 2 * most + (2 * most // reserve) * (fleet.largest - reserve)
    assert fleet.recorded() == (fleet.turns, fleet.tokens)
    assert fleet.billed() == fleet.tokens
    fleet.gateways[0].wait_for(lambda: fleet.stored() == (fleet.tokens, 0))


async def test_with_enough_set_aside_it_is_not_passed_at_all(fleet: Fleet) -> None:
    fleet.start(3000, 200)
    await fleet.callers(6)
    assert fleet.largest <= 200
    assert fleet.tokens <= 3000
    assert fleet.statuses[429] > 0


@pytest.mark.parametrize("ends", ["killed", "frozen"])
async def test_the_store_goes_and_is_back_and_nothing_is_passed_where_refuse_is_declared(
    fleet: Fleet, ends: str
) -> None:
    most = 6000
    fleet.start(most, 100, "Refuse")
    going = asyncio.create_task(fleet.callers(8))
    await fleet.until(lambda: fleet.turns >= 30, going)
    fleet.redis.kill() if ends == "killed" else fleet.redis.freeze()
    await fleet.until(lambda: fleet.statuses[503], going)
    fleet.redis.start() if ends == "killed" else fleet.redis.thaw()
    await going
    for gateway in fleet.gateways:
        gateway.wait_for(lambda gateway=gateway: "the store of limits answers" in gateway.text())
    await fleet.callers(3)
    assert fleet.tokens <= most
    assert fleet.recorded() == (fleet.turns, fleet.tokens)
    assert fleet.billed() == fleet.tokens
    fleet.gateways[0].wait_for(lambda: fleet.stored() == (fleet.tokens, 0))
    assert fleet.said("Traceback") == 0


async def test_each_counts_for_itself_while_the_store_is_away_and_all_is_told_when_it_is_back(fleet: Fleet) -> None:
    """By what was left when they last heard of each other it can be passed then, once by each of the others."""
    most = 4000
    fleet.start(most, 100)
    await fleet.callers(1)
    fleet.redis.kill()
    await fleet.callers(4)
    assert fleet.tokens <= 2 * most
    fleet.redis.start()
    for gateway in fleet.gateways:
        gateway.wait_for(lambda gateway=gateway: "the store of limits answers" in gateway.text())
    fleet.gateways[0].wait_for(lambda: fleet.redis.cli("DBSIZE").strip() == "3")
    fleet.gateways[0].wait_for(lambda: fleet.stored() == (fleet.tokens, 0))
    fleet.statuses.clear()
    async with asyncio.timeout(60), httpx.AsyncClient(timeout=60, trust_env=False) as http:
        while fleet.statuses[429] < 2:  # once everybody was heard, neither lets anybody through
            fleet.statuses.clear()
            await asyncio.gather(fleet.call(http, 0), fleet.call(http, 1))
    assert fleet.tokens <= 2 * most
    assert fleet.recorded() == (fleet.turns, fleet.tokens)
    assert fleet.billed() == fleet.tokens
    assert fleet.said("the store of limits cannot be asked") == 2
    fleet.gateways[0].wait_for(lambda: fleet.stored() == (fleet.tokens, 0))
