"""A gateway with few file descriptors, and more clients than it has room for."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import pytest

from simulator.server import Simulator
from tests.tidegate import files
from tests.tidegate.processes import PATIENCE_S, environment, run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has no such limit")

LIMIT = 64
CLIENTS = 200
HANDSHAKE = (
    b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
OPTIONS = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json", "--drain-patience", "0s")


@dataclass
class Gateway:
    process: asyncio.subprocess.Process
    host: str
    port: int
    admin: str

    async def line(self, about: str) -> dict[str, object]:
        """The next line of the log that says so."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while text := await self.process.stdout.readline():
                line: dict[str, object] = orjson.loads(text)
                if about in str(line["event"]):
                    return line
        raise AssertionError(f"the log does not say {about!r}")

    async def ask(self, data: bytes = HANDSHAKE) -> tuple[asyncio.StreamWriter, int]:
        """A connection, and the status that its request got; 0 where it said nothing."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        if not data:
            return writer, 0
        writer.write(data)
        async with asyncio.timeout(PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
        if b" 503 " in head:
            assert b"retry-after: 5\r\n" in head
            assert b'"overloaded"' in await reader.read()
        return writer, int(head.split(b" ")[1])


@asynccontextmanager
async def serving(folder: Path, upstream: str) -> AsyncIterator[Gateway]:
    path = folder / "voice.yaml"
    path.write_text(files.voice(upstream))
    command = f'ulimit -n {LIMIT}; exec "$0" -m tidegate serve -f "$@"'
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command, sys.executable, str(path), *OPTIONS),
        env=environment(**files.ENVIRONMENT),
        stdout=asyncio.subprocess.PIPE,
    )
    it = Gateway(process, "", 0, "")
    try:
        started = await it.line("serving")
        found = re.fullmatch(r"http://(\S+):(\d+)", str(started["url"]))
        assert found
        it.host, it.port, it.admin = found[1], int(found[2]), str(started["admin"])
        yield it
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def assert_admin_works(gateway: Gateway) -> str:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(PATIENCE_S)) as http:
        for path in ("/healthz", "/metrics"):
            async with http.get(gateway.admin + path) as answer:
                assert answer.status == 200
    listed = await run("sessions", "--admin", gateway.admin.removeprefix("http://"))
    assert listed.code == 0
    return listed.out


async def test_a_burst_takes_what_there_is_and_no_more(tmp_path: Path) -> None:
    async with Simulator() as simulator, serving(tmp_path, simulator.url) as gateway:
        asked = await asyncio.gather(*(gateway.ask() for _ in range(CLIENTS)))
        statuses = Counter(status for _, status in asked)
        assert set(statuses) == {101, 503}
        assert statuses[101] >= 10, "two for a session, and some for the process"
        warning = await gateway.line("descriptors are short")
        assert (warning["level"], warning["limit"], warning["reserve"]) == ("warning", LIMIT, 16)
        assert len((await assert_admin_works(gateway)).splitlines()) == 1 + statuses[101]
        for writer, _ in asked:
            writer.transport.abort()
        assert (await gateway.line("descriptors are"))["event"] == (
            "file descriptors are enough again: new requests are served"
        )
        writer, status = await gateway.ask()
        assert status == 101
        writer.transport.abort()


async def test_clients_that_say_nothing(tmp_path: Path) -> None:
    """They take all that traffic may have; the admin port has its own."""
    async with Simulator() as simulator, serving(tmp_path, simulator.url) as gateway:
        silent = await asyncio.gather(*(gateway.ask(b"") for _ in range(CLIENTS)))
        await gateway.line("descriptors are short")
        assert await assert_admin_works(gateway) == "No session is open.\n"
        for writer, _ in silent:
            writer.transport.abort()
        status = 0
        while status != 101:  # those that still wait to be accepted are gone, too, but have their turn
            writer, status = await gateway.ask()
        writer.transport.abort()
