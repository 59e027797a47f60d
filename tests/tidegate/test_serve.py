"""`tidegate serve` as a process: its start, its reloads, its end."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import orjson
import pytest

from simulator.server import Simulator
from tests.dataplane.upstreams.proxies import proxying
from tests.tidegate import files
from tests.tidegate.certificates import self_signed
from tests.tidegate.processes import PATIENCE_S, Process, environment, run, running
from tidegate import client
from tidegate.client import Client, Closed
from tidegate.exits import Stop

ASK = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started


@asynccontextmanager
async def serving(path: Path, *options: str) -> AsyncIterator[tuple[Process, str, str]]:
    """A gateway with this file: the process, its address and that of its admin port."""
    async with running("serve", "-f", str(path), *FREE, *options, **files.ENVIRONMENT) as process:
        found = await process.until(r"serves https?://(\S+) \(admin http://(\S+)\)")
        yield process, found[1], found[2]
        for secret in (files.UPSTREAM_KEY, files.CALLER_KEY):
            assert secret not in process.output


async def answer(session: Client, text: str) -> str:
    """Say something and read the whole answer."""
    await session.say(text)
    await session.respond(output_modalities=["text"])
    said = ""
    while True:
        event = await session.receive()
        said += client.text_at(event, "delta")
        if event["type"] == "response.done":
            return said


async def test_it_says_what_it_serves_and_serves_it(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url, files.KEYS))
    async with serving(path) as (process, address, admin):
        await process.until(r"(?s)ai/voice\n.*callers: with a key \(Policy ai/callers\)")
        await process.until(rf"Realtime +ws://{address}/v1/realtime\n")
        async with client.session(f"ws://{address}/v1/realtime?model=gpt-realtime", files.CALLER_KEY) as session:
            assert "Hello" in await answer(session, "Hello")
        await process.until(r"\] turn .*caller\.key=laptop")
        async with aiohttp.ClientSession() as http, http.get(f"http://{admin}/metrics") as reply:
            assert "gen_ai_client_token_usage_sum{" in await reply.text()
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0


async def test_what_is_not_right_is_said_with_its_place(tmp_path: Path, simulator: Simulator) -> None:
    (tmp_path / "a.yaml").write_text(files.voice(simulator.url))
    (tmp_path / "b.yaml").write_text(files.KEYS.replace("name: voice", "name: choice").partition("---\n")[2])
    async with serving(tmp_path) as (process, address, _):
        await process.until(r"TargetNotFound: .*b\.yaml #1: spec\.targetRefs\[0\]\.name: .*voice")
        async with client.session(f"ws://{address}/v1/realtime?model=m"):
            pass


async def test_json_logs_are_json_alone(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with running("serve", "-f", str(path), *FREE, "--log-format", "json", **files.ENVIRONMENT) as process:
        await process.until(r'"event":"serving".*\n')
        process.signal(signal.SIGINT)
        assert await process.ended() == 0
    lines = [orjson.loads(line) for line in process.output.splitlines()]
    assert [line["event"] for line in lines] == ["serving", "stopping", "stopped"]
    assert lines[0]["routes"] == ["ai/voice"]


async def test_the_log_is_for_people_at_a_terminal_and_for_programs_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1"))
    expectations = [(pty.openpty(), b"Tidegate "), (os.pipe(), b'{"event":"serving"')]
    for (reading, stdout), expected in expectations:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidegate", "serve", "-f", str(path), *FREE),
            env=environment(**files.ENVIRONMENT),
            stdout=stdout,
        )
        async with asyncio.timeout(PATIENCE_S):
            assert (await asyncio.to_thread(os.read, reading, 4096)).startswith(expected)
            process.terminate()
            assert await process.wait() == 0
        os.close(reading)
        os.close(stdout)


async def test_a_session_lives_through_good_and_bad_reloads(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    good = files.voice(simulator.url)
    path.write_text(good)
    async with serving(path) as (process, address, _):
        url = f"ws://{address}/v1/realtime?model=gpt-realtime"
        async with client.session(url) as session:
            path.write_text(good + "---\nkind: [\n")
            await process.until(r"not reloaded; what was served before stays.*voice\.yaml:\d+:\d+")
            assert await answer(session, "One?")
            path.write_text(good.replace("/v1/realtime: Realtime", "/v1/talk: Realtime"))
            await process.until(r"reloaded .*routes=1")
            assert await answer(session, "Two?")
            with pytest.raises(Stop, match="404"):
                async with client.session(url):
                    pass
            path.write_text(good)
            await process.until(r"reloaded .*routes=1")
            async with client.session(url) as another:
                assert await answer(another, "Three?")
            assert await answer(session, "Four?")


async def test_hangup_reloads(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with running("serve", "-f", str(path), *FREE, WATCHFILES_FORCE_POLLING="1", WATCHFILES_POLL_DELAY_MS="600000",
                       **files.ENVIRONMENT) as process:  # fmt: skip
        await process.until(r"serves \S+")
        path.write_text(files.voice(simulator.url, name="other"))
        process.signal(signal.SIGHUP)
        await process.until(r"reloaded .*routes=1")
        process.signal(signal.SIGHUP)
        await process.until(r"\] reloaded: nothing has changed")


async def test_a_pipe_that_nobody_fills_is_no_reason_to_stay(tmp_path: Path) -> None:
    """At the start it is waited for, until told to stop."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with running("serve", "-f", str(path), *FREE) as process:
        async with asyncio.timeout(PATIENCE_S):
            while not (writer := opened_by_a_reader(path)):
                await asyncio.sleep(0.05)
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        os.close(writer)
        assert "stopped before it served" in process.output


def opened_by_a_reader(pipe: Path) -> int:
    """A descriptor to write to it with; 0 while nobody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


async def test_a_file_that_becomes_a_pipe_changes_nothing(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(path) as (process, _address, _admin):
        path.unlink()
        os.mkfifo(path)
        process.signal(signal.SIGHUP)
        await process.until(r"not reloaded; what was served before stays.*voice\.yaml: is a named pipe")
        path.unlink()
        path.write_text(files.voice(simulator.url, name="other"))
        await process.until(r"reloaded .*routes=1")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0


async def test_what_was_set_is_said(tmp_path: Path) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1"))
    variables = {"TIDEGATE_ADMIN_TOKEN": "token-5f2c", **files.ENVIRONMENT}
    async with running("serve", "-f", str(path), *FREE, "--max-sessions", "7", **variables) as process:
        await process.until(r"\nadmin token: set\nsessions at most: 7\n")
        assert "token-5f2c" not in process.output
    variables["TIDEGATE_ADMIN_TOKEN"] = " "
    async with running("serve", "-f", str(path), *FREE, "--log-format", "json", **variables) as process:
        await process.until(r'"TIDEGATE_ADMIN_TOKEN is empty: ')


async def test_the_end_is_told_to_sessions_and_metered(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(path) as (process, address, _):
        async with client.session(f"ws://{address}/v1/realtime?model=gpt-realtime") as session:
            assert await answer(session, "Hello?")
            process.signal(signal.SIGINT)
            event = await session.receive()
            while event["type"] != "error":
                event = await session.receive()
            assert client.text_at(event, "error", "code") == "gateway_draining"
            with pytest.raises(Closed, match="1001"):
                await session.receive()
        assert await process.ended() == 0
        assert "session id=" in process.output
        assert "reason=draining" in process.output


async def test_a_second_signal_ends_it_at_once(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    async with serving(path) as (process, address, _):
        host, port = address.split(":")
        # A turn is under way upstream, and the client never answers a Close: the end would take seconds.
        url = f"ws://{address}/v1/realtime?model=gpt-realtime&scenario=stall"
        async with client.session(url) as session:
            await session.say("Hello?")
            await session.respond()
            while (await session.receive())["type"] != "conversation.item.done":
                pass
            process.signal(signal.SIGINT)
            await process.until("stopping")
            process.signal(signal.SIGINT)
            assert await process.ended() == 0
        assert re.search(r"session id=.*turns=1", process.output), "it is dropped, and accounted for all the same"
        assert "reason=draining initiator=gateway" in process.output
        assert "[error" not in process.output
        with socket.socket() as probe:
            assert probe.connect_ex((host, int(port))) != 0


@pytest.mark.parametrize("option", ["--listen", "--admin"])
async def test_a_port_that_is_taken_ends_with_3(tmp_path: Path, option: str) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        other = "--admin" if option == "--listen" else "--listen"
        done = await run("serve", "-f", str(path), option, address, other, "127.0.0.1:0", **files.ENVIRONMENT)
    assert done.code == 3
    assert f"cannot listen on {address}: Address already in use." in done.err
    assert option in done.err
    assert "Traceback" not in done.out + done.err


async def test_files_that_cannot_be_read_end_with_1(tmp_path: Path) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1").replace("kind: Secret", "kind: Secret\nkind: Secret"))
    done = await run("serve", "-f", str(path), *FREE, **files.ENVIRONMENT)
    assert done.code == 1
    assert "these files cannot be served:" in done.err
    assert f"{path}:16:1: " in done.err
    assert "Traceback" not in done.out + done.err


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        ("ftp://x/", "write http://HOST:PORT/PATH or https://HOST/PATH"),
        ("127.0.0.1:9000", "write http://HOST:PORT/PATH"),
        ("http://127.0.0.1:99999/", "write a number from 1 to 65535"),
        ("http://127.0.0.1:0/", "write a number from 1 to 65535"),
        ("http://two words/", "it holds blanks"),
        ("http://user:S3CRET@127.0.0.1/", "holds credentials"),
    ],
)
async def test_a_usage_sink_that_is_none_ends_with_2(tmp_path: Path, sink: str, why: str) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1"))
    done = await run("serve", "-f", str(path), *FREE, "--usage-sink", sink, **files.ENVIRONMENT)
    assert done.code == 2
    assert done.err.startswith("tidegate: --usage-sink: The address of the usage sink ")
    assert why in done.err
    assert "S3CRET" not in done.err


@pytest.mark.parametrize(
    ("options", "environment", "why"),
    [
        (("--upstream-proxy", "http://me:S3CRET@127.0.0.1:1"), {}, "put the password into"),
        (("--upstream-proxy", "http://127.0.0.1:1"), {"TIDEGATE_UPSTREAM_PROXY_PASSWORD": "S3CRET"}, "and no user"),
        ((), {"TIDEGATE_UPSTREAM_PROXY_PASSWORD": "S3CRET"}, "is there, and no proxy"),
    ],
)
async def test_a_password_of_a_proxy_that_is_nobody_s_ends_with_2(
    options: tuple[str, ...], environment: dict[str, str], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1"))
    done = await run("serve", "-f", str(path), *FREE, *options, **files.ENVIRONMENT, **environment)
    assert done.code == 2
    assert why in done.err
    assert "S3CRET" not in done.err + done.out


async def test_a_proxy_with_a_password(tmp_path: Path, simulator: Simulator) -> None:
    async with proxying() as proxy:
        proxy.names["voice.example.com:80"] = simulator.port
        path = tmp_path / "voice.yaml"
        path.write_text(files.voice("http://voice.example.com"))
        options = ("--upstream-proxy", f"http://me@127.0.0.1:{proxy.port}", "--upstream-no-proxy", "a.test,b.test")
        secrets = {**files.ENVIRONMENT, "TIDEGATE_UPSTREAM_PROXY_PASSWORD": "S3CRET"}
        async with running("serve", "-f", str(path), *FREE, *options, **secrets) as process:
            found = await process.until(r"serves (http://\S+) ")
            await process.until(rf"upstreams are called through: 127.0.0.1:{proxy.port}")
            async with (
                aiohttp.ClientSession() as http,
                http.post(f"{found[1]}/v1/chat/completions", json=ASK) as reply,
            ):
                assert reply.status == 200, await reply.text()
        assert "Proxy-Authorization: Basic bWU6UzNDUkVU" in proxy.heads[0]


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_ipv6(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    options = ("--listen", "[::1]:0", "--admin", "[::1]:0")
    async with running("serve", "-f", str(path), *options, **files.ENVIRONMENT) as process:
        found = await process.until(r"serves http://(\[::1\]:\d+) \(admin http://(\[::1\]:\d+)\)")
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://{found[2]}/readyz") as reply:
                assert reply.status == 200
            async with http.post(f"http://{found[1]}/v1/chat/completions", json=ASK) as reply:
                assert reply.status == 200


async def test_tls(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    certificate, key = self_signed(tmp_path)
    async with serving(path, "--tls-cert", str(certificate), "--tls-key", str(key)) as (process, address, _):
        await process.until(rf"Realtime +wss://{address}/v1/realtime\n")
        trusting = ssl.create_default_context(cafile=str(certificate))
        url = f"https://{address}/v1/chat/completions"
        async with aiohttp.ClientSession() as http, http.post(url, json=ASK, ssl=trusting) as reply:
            assert reply.status == 200


async def test_a_certificate_that_cannot_be_used_ends_with_3(tmp_path: Path) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text("")
    certificate, key = self_signed(tmp_path)
    bad = await run("serve", "-f", str(path), *FREE, "--tls-cert", str(certificate), "--tls-key", str(path))
    none = await run("serve", "-f", str(path), *FREE, "--tls-cert", str(tmp_path / "none.pem"), "--tls-key", str(key))
    assert (bad.code, none.code) == (3, 3)
    assert "no certificate chain and its private key" in bad.err
    assert "none.pem: No such file or directory" in none.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no key in it"),
        ("short-secret\n", "less than 32 characters"),
        ("é" * 40, "no ASCII text"),
        (None, "No such file"),
    ],
)
async def test_a_file_of_affinity_keys_that_cannot_be_used_ends_with_3(
    tmp_path: Path, text: str | None, why: str
) -> None:
    path, keys = tmp_path / "voice.yaml", tmp_path / "keys"
    path.write_text("")
    if text is not None:
        keys.write_text(text)
    ended = await run("serve", "-f", str(path), *FREE, "--affinity-key-file", str(keys))
    assert ended.code == 3
    assert why in ended.err
    assert "short-secret" not in ended.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
async def test_a_console_that_takes_nothing_is_no_reason_to_end(tmp_path: Path, simulator: Simulator) -> None:
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice(simulator.url))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = (sys.executable, "-m", "tidegate", "serve", "-f", str(path), "--listen", address, "--admin", FREE[1])
    with Path("/dev/full").open("w") as full:
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **files.ENVIRONMENT}, stdout=full)
    try:
        async with asyncio.timeout(PATIENCE_S), aiohttp.ClientSession() as http:
            assert await first_answer(http, f"http://{address}/v1/chat/completions", process) == 200
    finally:
        process.kill()
        await process.wait()


async def first_answer(http: aiohttp.ClientSession, url: str, process: asyncio.subprocess.Process) -> int:
    """The status of a chat completion, as soon as there is a port to ask."""
    while True:
        assert process.returncode is None
        with suppress(aiohttp.ClientConnectionError):
            async with http.post(url, json=ASK) as reply:
                return reply.status
        await asyncio.sleep(0.05)
