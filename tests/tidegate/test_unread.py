"""A gateway whose stdout nobody reads: the log collector hangs, or the terminal is stopped."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import pytest

from simulator.server import Simulator
from tests.tidegate import files
from tests.tidegate.processes import PATIENCE_S, environment
from tidegate import client

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes have a settable size on Linux alone")

PIPE = 4096
"""Bytes; five usage records fill it."""
TURNS = 12
OPTIONS = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json")
PHASES = ("--drain-lame-duck", "0s", "--drain-patience", "2s", "--drain-closing", "1s", "--drain-linger", "0s")


@dataclass
class Gateway:
    process: Process
    stdout: int
    """Nobody reads it, once it has said where it serves."""
    address: str
    admin: str

    def rest(self) -> list[dict[str, object]]:
        """Read everything after all, to the end of the process. Blocks."""
        with os.fdopen(os.dup(self.stdout), "rb") as pipe:
            return [orjson.loads(line) for line in pipe]


@asynccontextmanager
async def serving(folder: Path, upstream: str) -> AsyncIterator[Gateway]:
    path = folder / "voice.yaml"
    path.write_text(files.voice(upstream))
    command = (sys.executable, "-m", "tidegate", "serve", "-f", str(path), *OPTIONS, *PHASES)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(**files.ENVIRONMENT), stdin=DEVNULL, stdout=writer, stderr=DEVNULL
    )
    os.close(writer)
    try:
        async with asyncio.timeout(PATIENCE_S):
            first = (await asyncio.to_thread(os.read, reader, PIPE)).decode()
        found = re.search(r'"url":"http://([^"]+)","admin":"([^"]+)"', first)
        assert found, first
        yield Gateway(process, reader, found[1], found[2])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(reader)


async def converse(gateway: Gateway) -> None:
    """A session of so many turns that its records do not fit the pipe."""
    url = f"ws://{gateway.address}/v1/realtime?model=gpt-realtime"
    async with asyncio.timeout(PATIENCE_S), client.session(url, "") as session:
        for _ in range(TURNS):
            await session.say("Hello?")
            await session.respond()
            while (await session.receive())["type"] != "response.done":
                pass


async def fetch(url: str) -> str:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE_S)) as http, http.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


async def end(gateway: Gateway) -> int:
    gateway.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        return await gateway.process.wait()


async def test_nothing_waits_for_a_reader_that_does_not_come(tmp_path: Path) -> None:
    async with Simulator() as simulator, serving(tmp_path, simulator.url) as gateway:
        await converse(gateway)
        await fetch(f"{gateway.admin}/healthz")
        await converse(gateway)
        counted = re.findall(r"usage_records_total\{(.*)\} (\S+)", await fetch(f"{gateway.admin}/metrics"))
        [(labels, delivered)] = [(labels, number) for labels, number in counted if float(number)]
        assert labels == 'reason="",result="delivered",sink="log"'
        assert float(delivered) < 2 * TURNS, "what waits for a reader is not delivered"
        assert await end(gateway) == 0


async def test_a_late_reader_finds_every_line(tmp_path: Path) -> None:
    async with Simulator() as simulator, serving(tmp_path, simulator.url) as gateway:
        await converse(gateway)
        reading = asyncio.create_task(asyncio.to_thread(gateway.rest))
        assert await end(gateway) == 0
        lines = await reading
        ids = [str(line["id"]) for line in lines if line["event"] == "turn"]
        assert [name.rpartition("_")[2] for name in ids] == [str(number) for number in range(1, TURNS + 1)]
        assert lines[-1]["event"] == "stopped"
