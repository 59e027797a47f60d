"""`tidegate dataplane`: a gateway whose tables come from controllers."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest

from dataplane.server import AddressPolicy
from dataplane.sources.dialling import Credentials, Name
from dataplane.table.messages import Hello, Holds, Refuse, Stale
from simulator.server import Simulator
from tests.dataplane.rig import CLIENT_KEY, SECRETS, UPSTREAM_KEY, backend, provider, table
from tests.dataplane.sources.double import TOKEN, Double, authority, published, replica, saved
from tests.tidegate.processes import PATIENCE_S, Process, run, running
from tidegate import client
from tidegate.addresses import Address
from tidegate.client import Client
from tidegate.subscribed import Options, Subscribed

FREE = Address("127.0.0.1", 0)
FREE_PORTS = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
NOBODY = Name("127.0.0.1", 9)
SERVED = table(backend(provider("https://a.test/v1")))


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Credentials, ssl.SSLContext]:
    ca, context = authority(tmp_path / "tls")
    (tmp_path / "token").write_text(TOKEN)
    return Credentials(ca, tmp_path / "token"), context


@pytest.fixture
def credentials(tls: tuple[Credentials, ssl.SSLContext]) -> Credentials:
    return tls[0]


@pytest.fixture
async def controller(tls: tuple[Credentials, ssl.SSLContext]) -> AsyncIterator[Double]:
    async with replica(*tls) as double:
        yield double


@pytest.fixture
async def second(tls: tuple[Credentials, ssl.SSLContext]) -> AsyncIterator[Double]:
    async with replica(*tls) as double:
        yield double


@asynccontextmanager
async def following(credentials: Credentials, *names: Name) -> AsyncIterator[Subscribed]:
    """A data plane in this process, which may dial upstreams on loopback."""
    served = Subscribed(Options(names, credentials, FREE, FREE), AddressPolicy(allow_loopback=True))
    await served.open_admin()
    await served.start()
    try:
        yield served
    finally:
        await served.stop()


def process(credentials: Credentials, name: Name, *options: str) -> AbstractAsyncContextManager[Process]:
    files = ("--controller-ca", str(credentials.ca), "--token-file", str(credentials.token))
    return running("dataplane", "--controller", str(name), *files, *FREE_PORTS, *options)


async def turn(session: Client) -> str:
    """The type of the event that ends it."""
    await session.say("Hello?")
    await session.respond(output_modalities=["text"])
    async with asyncio.timeout(PATIENCE_S):
        while True:
            event = await session.receive()
            if event["type"] in ("response.done", "error"):
                return str(event["type"])


async def test_a_session_outlives_everything_that_controllers_do(
    credentials: Credentials, controller: Double, second: Double, simulator: Simulator
) -> None:
    served = table(backend(provider(f"{simulator.url}/v1")))
    nothing = published(served.model_copy(update={"backends": (), "routes": ()}), SECRETS, 7)
    await controller.publish(published(served, SECRETS, 5))
    async with following(credentials, controller.name, second.name) as gateway:
        url = f"ws://{gateway.address}/v1/realtime?model=gpt-realtime"
        async with client.session(url, CLIENT_KEY) as session:
            assert await turn(session) == "response.done"
            await controller.publish(published(served.model_copy(update={"backends": ()}), SECRETS, 6))
            await controller.said(Refuse)
            assert await turn(session) == "response.done"
            await second.publish(published(served, SECRETS, 4))
            await second.said(Holds)
            await controller.publish(nothing)
            await second.said(Holds(table=nothing.table, watermark=nothing.offer.watermark))
            assert gateway.assembly.gateway.table().routes == ()
            assert await turn(session) == "response.done"
            await second.publish(published(served, SECRETS, 5))
            await second.said(Stale)
            controller.door = second.door = 503
            await controller.cut()
            await second.cut()
            await controller.dialled(2)
            assert await turn(session) == "response.done"


async def test_it_says_what_it_waits_for_and_serves_when_it_came(credentials: Credentials, controller: Double) -> None:
    controller.door = 403
    async with process(credentials, controller.name) as gateway, aiohttp.ClientSession() as http:
        admin = (await gateway.until(r"waiting for a table .*(http://\S+?)'? "))[1]
        await gateway.until("no table from a controller")
        async with http.get(f"{admin}/readyz") as reply:
            assert reply.status == 503
            told = await reply.text()
        assert told.startswith(f"not ready: no table yet: {controller.name} (127.0.0.1): it does not take this pod")
        async with http.get(f"{admin}/healthz") as reply:
            assert reply.status == 200

        first = published(SERVED, SECRETS, 5)
        await controller.publish(first)
        controller.door = 101
        found = await gateway.until(r"serves http://(\S+) ")
        async with http.get(f"http://{found[1]}/v1/models") as reply:
            assert reply.status == 401
        async with http.get(f"{admin}/readyz") as reply:
            assert (reply.status, await reply.text()) == (200, "ready\n")
        async with http.get(f"{admin}/table") as reply:
            shown = orjson.loads(await reply.read())
        assert shown["source"] == f"{controller.name} (127.0.0.1)"
        assert shown["table"] == first.table
        assert shown["watermark"] == {"epoch": 1, "versions": {"backends": 5}}
        assert [route["name"] for route in shown["routes"]] == ["ai/voice"]
        async with http.get(f"{admin}/metrics") as reply:
            metrics = await reply.text()
        assert 'tidegate_table_updates_total{result="applied"} 1.0' in metrics
        assert "tidegate_controllers_connected 1.0" in metrics
        assert "tidegate_table_from_snapshot 0.0" in metrics
        for secret in (UPSTREAM_KEY, TOKEN):
            assert secret not in gateway.output + metrics + str(shown)


@pytest.mark.parametrize("served", [False, True])
async def test_it_ends_when_it_is_told_to(credentials: Credentials, controller: Double, served: bool) -> None:
    if served:
        await controller.publish(published(SERVED, SECRETS, 5))
    options = ("--drain-lame-duck", "0s", "--drain-patience", "1s", "--drain-linger", "0s")
    async with process(credentials, controller.name, *options) as gateway:
        await controller.said(Holds if served else Hello)
        if served:
            await gateway.until("serves http")
        gateway.signal(signal.SIGTERM)
        assert await gateway.ended() == 0
        assert ("stopped before it served" in gateway.output) is not served


async def test_it_boots_from_a_snapshot(credentials: Credentials, tmp_path: Path) -> None:
    saved(tmp_path / "boot", published(SERVED, SECRETS, 5))
    async with (
        process(credentials, NOBODY, "--boot", str(tmp_path / "boot")) as gateway,
        aiohttp.ClientSession() as http,
    ):
        found = await gateway.until(r"serves http://(\S+) \(admin (\S+)\)")
        async with http.get(f"{found[2]}/readyz") as reply:
            assert reply.status == 200
        async with http.get(f"{found[2]}/table") as reply:
            assert orjson.loads(await reply.read())["source"] == "snapshot"
        async with http.get(f"{found[2]}/metrics") as reply:
            assert "tidegate_table_from_snapshot 1.0" in await reply.text()
        assert "that of the snapshot is served" in gateway.output
        assert UPSTREAM_KEY not in gateway.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--controller", "controller"), "--controller 'controller': write HOST:PORT"),
        (("--controller", "controller:0"), "--controller 'controller:0': write HOST:PORT"),
        (("--controller", "https://controller:9443"), "write HOST:PORT"),
        (("--controller", "controller:9443", "--tls-cert", "c"), "--tls-cert and --tls-key go together"),
        (("--controller", "controller:9443", "--proxy-protocol"), "--trust-proxy"),
        (("--controller", "controller:9443", "--listen", "8080"), "--listen"),
    ],
)
async def test_called_wrongly(options: tuple[str, ...], words: str) -> None:
    result = await run("dataplane", *options, "--controller-ca", "ca.crt", "--token-file", "token")
    assert result.code == 2
    assert words in result.err


async def test_a_port_that_is_taken(credentials: Credentials, controller: Double) -> None:
    await controller.publish(published(SERVED, SECRETS, 5))
    taken = f"127.0.0.1:{controller.name.port}"
    for option in ("--admin", "--listen"):
        ports = {"--admin": "127.0.0.1:0", "--listen": "127.0.0.1:0", option: taken}
        arguments = [each for pair in ports.items() for each in pair]
        result = await run(
            "dataplane",
            *("--controller", str(controller.name), "--controller-ca", str(credentials.ca)),
            *("--token-file", str(credentials.token), *arguments),
        )
        assert result.code == 3
        assert f"choose another address with {option}" in result.err
