"""Descriptors that run short: what traffic may have, and what is left for everything else."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import aiohttp
import pytest
from structlog.testing import capture_logs

from dataplane.http import connection
from dataplane.process.files import CALM, LEAST, MOST, Files
from dataplane.server import AddressPolicy, Gateway
from simulator.server import Simulator
from tests.dataplane.realtime.wires import UPGRADE, until
from tests.dataplane.rig import ASK, BEARER, SECRETS, Remembering, backend, provider, table

CHAT = "/v1/chat/completions"


def free() -> int:
    return Files().next()


def leaving(count: int) -> Files:
    """Traffic may have so many more."""
    files = Files()
    files.edge = free() + count
    files.limit, files.brink = files.edge + LEAST, files.edge + LEAST // 2
    return files


def is_short(files: Files) -> bool:
    return files.short


@pytest.fixture(autouse=True)
def taken() -> Iterator[ExitStack]:
    """What holds descriptors until the test is over: those that tests before left free between others."""
    highest = max(int(entry.name) for entry in Path("/dev/fd").iterdir())
    with ExitStack() as held:
        while free() < highest:
            take(held, 1)
        yield held


def take(held: ExitStack, count: int) -> None:
    for _ in range(count):
        held.callback(os.close, os.open(os.devnull, os.O_RDONLY))


@pytest.mark.parametrize(
    ("limit", "reserve"), [(64, LEAST), (256, 32), (1024, 128), (20_000, MOST), (1_048_576, MOST), (8, 8)]
)
def test_the_reserve(limit: int, reserve: int) -> None:
    files = Files(limit)
    assert files.limit - files.edge == reserve
    assert files.edge <= files.brink <= limit


def test_sockets_are_made_up_to_the_edge(taken: ExitStack) -> None:
    files = leaving(5)
    with capture_logs() as logs:
        for _ in range(5):
            taken.enter_context(files.socket(socket.AF_INET, socket.SOCK_STREAM, 0))
        assert not is_short(files)
        for _ in range(3):
            before = free()
            with pytest.raises(OSError, match="open files") as refused:
                files.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
            assert refused.value.errno == errno.EMFILE
            with pytest.raises(OSError, match="open files"), files.place():
                raise AssertionError("there is none")
            assert free() == before
    assert is_short(files)
    assert [(line["log_level"], line["reserve"]) for line in logs] == [("warning", LEAST)]


def test_a_place_is_taken_until_it_is_used() -> None:
    files = leaving(1)
    with files.place():
        assert not files.may_have(free())
    assert files.may_have(free())


def test_what_the_system_refuses_is_noticed() -> None:
    for number in (errno.EMFILE, errno.ENFILE):
        files = Files()
        with patch("socket.socket", side_effect=OSError(number, "none")), pytest.raises(OSError, match="none"):
            files.socket(socket.AF_INET, socket.SOCK_STREAM, 0)
        assert files.short
    files = Files()
    with patch("os.open", side_effect=OSError(errno.EMFILE, "none")):
        assert files.next() == files.limit


def test_it_is_over_when_many_are_free_for_some_time(taken: ExitStack) -> None:
    files = leaving(LEAST // 2)
    assert not files.may_have(files.edge)
    with capture_logs() as logs:
        for _ in range(CALM - 1):
            files.look()
        with ExitStack() as one:
            take(one, 1)
            files.look()  # one too few: it begins anew
        for _ in range(CALM - 1):
            files.look()
        assert is_short(files)
        files.look()
        assert not is_short(files)
        files.look()
    assert [line["log_level"] for line in logs] == ["info"]
    take(taken, LEAST)


@pytest.fixture
async def gateway(upstream: Simulator) -> AsyncIterator[Gateway]:
    files = Files()
    it = Gateway(meter=Remembering(), addresses=AddressPolicy(allow_loopback=True), files=files)
    it.load(table(backend(provider(upstream.url + "/v1"))), SECRETS)
    await it.start("127.0.0.1", 0)
    yield it
    await it.stop()


def into_reserve(gateway: Gateway) -> None:
    """From now on the next descriptor is one of the reserve's."""
    files = gateway._files
    files.edge, files.brink, files.limit = free() - 4, free() + 12, free() + 28


async def test_a_connection_of_the_reserve(gateway: Gateway) -> None:
    """It is told, whatever it asks for, and closed; who is no caller learns nothing of it."""
    into_reserve(gateway)
    url = f"http://127.0.0.1:{gateway.port}"
    async with aiohttp.ClientSession() as client:
        for path, headers in ((CHAT, BEARER), ("/v1/realtime?model=gpt-realtime", {**BEARER, **UPGRADE})):
            method, body = ("POST", ASK) if path == CHAT else ("GET", None)
            async with client.request(method, url + path, json=body, headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                assert answer.headers["Connection"] == "close"
                error = (await answer.json())["error"]
                assert error["code"] == "overloaded"
                assert "file descriptors" in error["message"]
        async with client.post(url + CHAT, json=ASK) as answer:
            assert (answer.status, answer.headers["Connection"]) == (401, "close")


async def test_a_connection_from_before_does_not_last(gateway: Gateway) -> None:
    """It is served what needs no descriptor, and makes room."""
    url = f"http://127.0.0.1:{gateway.port}"
    async with aiohttp.ClientSession() as client:
        async with client.post(url + CHAT, json=ASK, headers=BEARER) as answer:
            assert answer.status == 200
            await answer.read()
        gateway._files.may_have(gateway._files.edge)
        async with client.post(url + CHAT, json=ASK, headers=BEARER) as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")


@pytest.mark.parametrize("path", [CHAT, "/v1/realtime?model=gpt-realtime", "/v1/bytes/5"])
async def test_none_is_left_for_the_upstream(gateway: Gateway, path: str) -> None:
    async with aiohttp.ClientSession() as client:
        headers = {**BEARER, **UPGRADE} if "realtime" in path else BEARER
        method, body = ("POST", ASK) if path == CHAT else ("GET", None)
        real, gateway._files.edge = gateway._files.edge, 0
        with patch.object(Files, "next", lambda _: 0):  # the client's connection came before
            url = f"http://127.0.0.1:{gateway.port}{path}"
            async with client.request(method, url, json=body, headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
                assert (await answer.json())["error"]["code"] == "overloaded"
        assert gateway._files.short
        gateway._files.edge = real


async def test_who_says_nothing_gives_its_place_back(gateway: Gateway) -> None:
    into_reserve(gateway)
    with patch.object(connection, "_BRIEFLY", 0.02):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_at_the_brink_clients_wait(gateway: Gateway) -> None:
    """Nobody is accepted and cut off: who comes then is served once there is room."""
    files = gateway._files
    before = files.edge, files.brink
    files.edge = files.brink = 0
    async with aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{gateway.port}{CHAT}"
        first, second = (asyncio.create_task(_status(client, url)) for _ in range(2))
        await until(lambda: first.done() or second.done(), "one is accepted, and told")
        third = asyncio.create_task(_status(client, url))
        await asyncio.sleep(0.1)
        assert gateway.ready()
        assert not third.done()
        files.edge, files.brink = before
        assert await third == 200
        assert 503 in [await first, await second]


async def _status(client: aiohttp.ClientSession, url: str) -> int:
    async with client.post(url, json=ASK, headers=BEARER) as answer:
        return answer.status


async def test_stopping_at_the_brink(gateway: Gateway) -> None:
    files = gateway._files
    files.edge = files.brink = 0
    async with aiohttp.ClientSession() as client:
        assert await _status(client, f"http://127.0.0.1:{gateway.port}{CHAT}") == 503
        await gateway.stop()
        with pytest.raises(aiohttp.ClientConnectionError):
            await _status(client, f"http://127.0.0.1:{gateway.port}{CHAT}")
