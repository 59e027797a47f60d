"""Two processes on one port, and the unit that runs them."""

from __future__ import annotations

import asyncio
import configparser
import re
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import typer

from dataplane.process.drain import Drain
from simulator.server import Simulator
from tests.tidegate import files
from tests.tidegate.processes import PATIENCE_S, Process, run, running
from tidegate import addresses, cli, client, durations
from tidegate.client import Client

UNIT = Path(__file__).parents[2] / "examples" / "tidegate@.service"
PHASES = ("--drain-lame-duck", "0s", "--drain-patience", "30s", "--drain-closing", "0s")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started


def a_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def sharing(path: Path, port: int) -> AsyncIterator[tuple[Process, str]]:
    """A process on the port, and its admin address."""
    arguments = ("-f", str(path), "--listen", f"127.0.0.1:{port}", "--reuse-port", "--admin", "127.0.0.1:0")
    async with running("serve", *arguments, *PHASES, **files.ENVIRONMENT) as process:
        found = await process.until(r"\(admin http://(\S+)\)")
        yield process, found[1]


async def sessions_of(admin: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"http://{admin}/sessions") as reply:
        return len((await reply.json())["sessions"])


async def test_both_serve_and_when_one_drains_the_other_takes_what_is_new(tmp_path: Path, simulator: Simulator) -> None:
    path, port = tmp_path / "voice.yaml", a_port()
    path.write_text(files.voice(simulator.url))
    url = f"ws://127.0.0.1:{port}/v1/realtime?model=gpt-realtime"
    async with sharing(path, port) as (one, first), sharing(path, port) as (_, second), AsyncExitStack() as sessions:
        opened: list[Client] = []
        async with asyncio.timeout(PATIENCE_S):
            while not (await sessions_of(first) and await sessions_of(second)):
                opened.append(await sessions.enter_async_context(client.session(url)))
        at_first, at_second = await sessions_of(first), await sessions_of(second)
        assert at_first + at_second == len(opened), "each has its own"
        one.signal(signal.SIGTERM)
        await one.until("draining, patience")
        opened += [await sessions.enter_async_context(client.session(url)) for _ in range(20)]
        assert await sessions_of(first) == at_first, "they live on"
        assert await sessions_of(second) == at_second + 20
        for each in opened:
            await each.say("Hello?")
            await each.respond()
            await _until_done(each)
        await sessions.aclose()
        assert await one.ended() == 0


async def _until_done(session: Client) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await session.receive())["type"] != "response.done":
            pass


async def test_nobody_shares_a_port_with_who_does_not_say_so(tmp_path: Path, simulator: Simulator) -> None:
    path, port = tmp_path / "voice.yaml", a_port()
    path.write_text(files.voice(simulator.url))
    async with sharing(path, port):
        alone = ("serve", "-f", str(path), "--listen", f"127.0.0.1:{port}", "--admin", "127.0.0.1:0")
        refused = await run(*alone, **files.ENVIRONMENT)
    assert refused.code == 3
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in refused.err


async def test_a_port_that_is_shared_has_a_number(tmp_path: Path) -> None:
    refused = await run("serve", "-f", str(tmp_path), "--listen", "127.0.0.1:0", "--reuse-port")
    assert refused.code == 2
    assert "--reuse-port shares a port, and --listen leaves it open which: name one." in refused.err


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",), strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


def test_the_unit_calls_the_command_rightly() -> None:
    program, command, *arguments = shlex.split(unit()["ExecStart"].replace("%i", "3"))
    assert (Path(program).name, command) == ("tidegate", "serve")
    group = typer.main.get_command(cli.app)
    assert isinstance(group, typer.core.TyperGroup)
    options = group.commands["serve"].make_context("serve", arguments).params
    assert options["reuse_port"]
    assert addresses.parse(options["admin"], "--admin").port == 9093
    assert not addresses.parse(options["listen"], "--listen").is_loopback, "so the phases of a drain are the usual ones"


def test_the_unit_waits_for_calls_to_end() -> None:
    said = unit()
    assert float(said["TimeoutStopSec"]) >= Drain().grace_period
    assert said["KillMode"] == "mixed"
    assert durations.parse("1h", "--drain-patience") == Drain().patience


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze here")
async def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / "tidegate@1.service"
    copy.write_text(re.sub(r"/usr/local/bin/tidegate", sys.executable, UNIT.read_text()))
    verifying = await asyncio.create_subprocess_exec(
        "systemd-analyze", "verify", "--man=no", str(copy), stdout=-1, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await verifying.communicate()
    about_it = [line for line in said.decode().splitlines() if "tidegate" in line]
    assert about_it == []
