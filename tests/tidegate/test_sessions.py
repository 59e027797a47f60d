from __future__ import annotations

import json
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from simulator.server import Simulator
from tests.tidegate import files
from tests.tidegate.processes import run, running
from tidegate import client
from tidegate.client import Client, Closed

TOKEN = "admin-token-7f3a90"
FREE = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as it:
        yield it


@asynccontextmanager
async def gateway(folder: Path, simulator: Simulator) -> AsyncIterator[tuple[str, str]]:
    """A running gateway: the URL of its sessions, and its admin port."""
    path = folder / "voice.yaml"
    path.write_text(files.voice(simulator.url, files.KEYS))
    async with running("serve", "-f", str(path), *FREE, **files.ENVIRONMENT) as process:
        found = await process.until(r"serves http://(\S+) \(admin http://(\S+)\)")
        yield f"ws://{found[1]}/v1/realtime?model=gpt-realtime", found[2]


async def turn(session: Client) -> None:
    await session.say("Hello?")
    await session.respond()
    while (await session.receive())["type"] != "response.done":
        pass


async def until_closed(session: Client) -> None:
    while True:
        await session.receive()


async def test_sessions_are_listed_with_what_they_used_and_ended(tmp_path: Path, simulator: Simulator) -> None:
    async with gateway(tmp_path, simulator) as (url, admin):
        nothing = await run("sessions", "--admin", f"http://{admin}")
        assert (nothing.code, nothing.out) == (0, "No session is open.\n")
        key = files.CALLER_KEY
        async with client.session(url, key=key) as first, client.session(url, key=key) as second:
            await turn(first)
            listed = await run("sessions", "--admin", admin)
            heading, one, other = listed.out.splitlines()
            assert heading.split()[:4] == ["ID", "ROUTE", "MODEL", "CALLER"]
            assert one.split()[1:4] == ["ai/voice", "gpt-realtime", "support/laptop"]
            assert one.split()[5] == "1"
            assert other.split()[5:8] == ["0", "0", "0"]
            told = json.loads((await run("sessions", "--admin", admin, "--json")).out)
            (billed,) = simulator.ledger.turns
            usage = billed["usage"]
            assert int(one.split()[6]) == usage["input_tokens"]  # type: ignore[index]
            assert int(one.split()[7]) == usage["output_tokens"]  # type: ignore[index]
            assert key not in listed.out + json.dumps(told)

            ended = await run("sessions", "end", told[0]["id"][:12], "--admin", admin)
            assert (ended.code, ended.out) == (0, f"{told[0]['id']} is told to end.\n")
            with pytest.raises(Closed, match="1001"):
                await until_closed(first)
            everyone = await run("sessions", "--admin", admin, "end", "--all")
            assert (everyone.code, everyone.out) == (0, f"{told[1]['id']} is told to end.\n")
            with pytest.raises(Closed, match="1001"):
                await until_closed(second)


async def test_what_cannot_be_ended(tmp_path: Path, simulator: Simulator) -> None:
    async with gateway(tmp_path, simulator) as (url, admin):
        unknown = await run("sessions", "end", "ffff", "--admin", admin)
        assert unknown.code == 1
        assert unknown.err == (
            "tidegate: no session has an id that begins with 'ffff'; `tidegate sessions` lists them.\n"
        )
        async with AsyncExitStack() as open_ones:
            for _ in range(17):  # ids are hexadecimal: two begin with the same digit
                await open_ones.enter_async_context(client.session(url, key=files.CALLER_KEY))
            listed = json.loads((await run("sessions", "--json", "--admin", admin)).out)
            digit, count = Counter(each["id"][0] for each in listed).most_common(1)[0]
            vague = await run("sessions", "end", digit, "--admin", admin)
            assert (vague.code, vague.out) == (1, "")
            assert f"{count} sessions have an id that begins with '{digit}'" in vague.err
        for wrong in (("end",), ("end", ""), ("end", "abc", "--all")):
            misused = await run("sessions", *wrong, "--admin", admin)
            assert misused.code == 2
            assert "say --all" in misused.err


async def test_from_another_machine_with_the_token_alone(tmp_path: Path) -> None:
    """This machine by its name: whoever says a name may be a page in a browser, and is taken for a stranger."""
    try:
        socket.gethostbyname(socket.gethostname())
    except OSError:
        pytest.skip("this machine does not know its own name")
    path = tmp_path / "voice.yaml"
    path.write_text(files.voice("http://127.0.0.1:1"))
    options = ("serve", "-f", str(path), "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0")
    async with running(*options, **files.ENVIRONMENT) as process:
        admin = f"{socket.gethostname()}:{(await process.until(r'admin http://.*:([0-9]+)'))[1]}"
        closed = await run("sessions", "--admin", admin, TIDEGATE_ADMIN_TOKEN=TOKEN)
        assert closed.code == 1
        assert f"{admin} answered 403 (" in closed.err
        assert "set TIDEGATE_ADMIN_TOKEN in the gateway's environment" in closed.err
    async with running(*options, TIDEGATE_ADMIN_TOKEN=f"{TOKEN}\n", **files.ENVIRONMENT) as process:
        admin = f"{socket.gethostname()}:{(await process.until(r'admin http://.*:([0-9]+)'))[1]}"
        without = await run("sessions", "--admin", admin)
        other = await run("sessions", "--admin", admin, TIDEGATE_ADMIN_TOKEN=TOKEN[:-1])
        assert (without.code, other.code) == (1, 1)
        assert "Set TIDEGATE_ADMIN_TOKEN to it here as well." in without.err
        assert "The TIDEGATE_ADMIN_TOKEN that is set here is another." in other.err
        shown = await run("sessions", "--admin", admin, TIDEGATE_ADMIN_TOKEN=TOKEN)
        assert (shown.code, shown.out) == (0, "No session is open.\n")
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
        assert TOKEN[:-1] not in process.output + without.err + other.err


@pytest.mark.parametrize("command", [("serve", "-f", "none.yaml"), ("sessions",)])
async def test_a_token_that_cannot_be_sent(command: tuple[str, ...]) -> None:
    wrong = await run(*command, TIDEGATE_ADMIN_TOKEN="two words")
    assert wrong.code == 2
    assert "TIDEGATE_ADMIN_TOKEN holds characters that no token may hold" in wrong.err
    assert "two words" not in wrong.err


@pytest.mark.parametrize("command", [("serve", "-f", "none.yaml"), ("sessions",)])
async def test_a_token_that_is_too_long_to_send(command: tuple[str, ...]) -> None:
    wrong = await run(*command, TIDEGATE_ADMIN_TOKEN="x" * 4097)
    assert wrong.code == 2
    assert "TIDEGATE_ADMIN_TOKEN has more than 4,096 characters" in wrong.err
    assert "xx" not in wrong.err


async def test_a_session_that_ends_meanwhile_is_over() -> None:
    """It was listed, and is gone when it is its turn."""
    answers = {("GET", "/sessions"): 200, ("DELETE", "/sessions/a1"): 404, ("DELETE", "/sessions/b2"): 202}

    async def answer(request: web.BaseRequest) -> web.Response:
        listed = [{"id": name, "route": "r", "model": "m", "seconds": 1.0, "turns": 0} for name in ("a1", "b2")]
        return web.json_response({"sessions": listed}, status=answers[request.method, request.path])

    server = web.ServerRunner(web.Server(answer))
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    try:
        done = await run("sessions", "end", "--all", "--admin", f"127.0.0.1:{server.addresses[0][1]}")
    finally:
        await server.cleanup()
    assert (done.code, done.out) == (0, "a1 is over already.\nb2 is told to end.\n")


async def test_no_gateway_there(tmp_path: Path, simulator: Simulator) -> None:
    nobody = await run("sessions", "--admin", "127.0.0.1:1")
    assert nobody.code == 3
    assert "no gateway answers at 127.0.0.1:1" in nobody.err
    stranger = await run("sessions", "--admin", simulator.url.removeprefix("http://"))
    assert stranger.code == 3
    assert "Is it the admin port of a gateway?" in stranger.err
    assert (await run("sessions", "--admin", "nonsense")).code == 2
