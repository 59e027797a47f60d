"""Requests that two readers could take for one or for two: the gateway never sees two where a proxy in front saw
one, and never sends one upstream that it did not understand."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
import pytest

from dataplane.server import Limits
from simulator.server import Simulator
from tests.dataplane.rig import ASK, BEARER, CLIENT_KEY, Rig, backend, provider, running, table

AUTH = f"Authorization: {BEARER['Authorization']}\r\n"
HOST = f"Host: a\r\n{AUTH}"
HIDDEN = f"GET /v1/echo/hidden HTTP/1.1\r\n{HOST}\r\n"
WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"

REFUSED = {
    "CL.TE": (
        f"POST /v1/echo HTTP/1.1\r\n{HOST}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    ),
    "TE.CL": f"POST /v1/echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{HIDDEN}",
    "TE.TE": (
        f"POST /v1/echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
        f"0\r\n\r\n{HIDDEN}"
    ),
    "TE unknown": f"POST /v1/echo HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "TE with a space": f"POST /v1/echo HTTP/1.1\r\n{HOST}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "TE to be undone": f"POST /v1/echo HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE in HTTP/1.0": f"POST /v1/echo HTTP/1.0\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "two lengths": f"POST /v1/echo HTTP/1.1\r\n{HOST}Content-Length: 0\r\nContent-Length: 5\r\n\r\n{HIDDEN}",
    "list of lengths": f"POST /v1/echo HTTP/1.1\r\n{HOST}Content-Length: 0, 5\r\n\r\n{HIDDEN}",
    "signed length": f"POST /v1/echo HTTP/1.1\r\n{HOST}Content-Length: +0\r\n\r\n{HIDDEN}",
    "hex length": f"POST /v1/echo HTTP/1.1\r\n{HOST}Content-Length: 0x0\r\n\r\n{HIDDEN}",
    "negative length": f"POST /v1/echo HTTP/1.1\r\n{HOST}Content-Length: -1\r\n\r\n{HIDDEN}",
    "obs-fold": f"POST /v1/echo HTTP/1.1\r\n{HOST}X: a\r\n Content-Length: 5\r\n\r\n{HIDDEN}",
    "folded TE": f"POST /v1/echo HTTP/1.1\r\n{HOST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "bare LF": f"GET /v1/echo HTTP/1.1\nHost: a\n{AUTH.strip()}\n\n{HIDDEN}",
    "bare LF in a head": f"GET /v1/echo HTTP/1.1\r\n{HOST}X: a\nY: b\r\n\r\n{HIDDEN}",
    "bare CR": f"GET /v1/echo HTTP/1.1\r\n{HOST}X: a\rY: b\r\n\r\n{HIDDEN}",
    "NUL": f"GET /v1/echo HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n{HIDDEN}",
    "no name": f"GET /v1/echo HTTP/1.1\r\n{HOST}: b\r\n\r\n{HIDDEN}",
    "space in a name": f"GET /v1/echo HTTP/1.1\r\n{HOST}X Y: b\r\n\r\n{HIDDEN}",
    "two hosts": f"GET /v1/echo HTTP/1.1\r\n{HOST}Host: b\r\n\r\n{HIDDEN}",
    "no host": f"GET /v1/echo HTTP/1.1\r\n{AUTH}\r\n{HIDDEN}",
    "body on an upgrade": f"GET /v1/echo/ws HTTP/1.1\r\n{HOST}{WEBSOCKET}Content-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "chunks on an upgrade": (
        f"GET /v1/echo/ws HTTP/1.1\r\n{HOST}{WEBSOCKET}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}"
    ),
    "behind a refused upgrade": f"GET /v1/echo/ws HTTP/1.1\r\nHost: a\r\n{WEBSOCKET}\r\n{HIDDEN}",
    "h2c with a body": (
        f"POST /v1/echo HTTP/1.1\r\n{HOST}Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello{HIDDEN}"
    ),
    "chunk size too long": f"POST /v1/echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{'f' * 17}\r\n{HIDDEN}",
    "chunk size with a sign": f"POST /v1/files HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n",
    "connect": f"CONNECT a:80 HTTP/1.1\r\n{HOST}\r\n{HIDDEN}",
    "version": f"GET /v1/echo HTTP/9.9\r\n{HOST}\r\n{HIDDEN}",
    "another version": f"GET /v1/echo HTTP/2.0\r\n{HOST}\r\n",
    "HTTP/2 preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "authority form": f"GET a:80 HTTP/1.1\r\n{HOST}\r\n{HIDDEN}",
    "asterisk form": f"OPTIONS * HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n",
}


@pytest.fixture
async def rig(upstream: Simulator) -> AsyncIterator[Rig]:
    """A gateway that does not wait long for the rest of a broken body."""
    async with running(table(backend(provider(upstream.url))), Limits(client_idle=0.3)) as rig:
        yield rig


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("whole", [True, False])
async def test_ambiguous_requests_are_refused_once(rig: Rig, upstream: Simulator, case: str, whole: bool) -> None:
    data = REFUSED[case].encode()
    answer = await rig.raw(data) if whole else await rig.byte_by_byte(data)
    assert len(re.findall(rb"HTTP/1\.[01] \d{3} ", answer)) == 1, answer
    assert answer[9:12] in (b"400", b"401", b"408"), answer
    assert b'"error"' in answer
    assert CLIENT_KEY.encode() not in answer
    assert [request.path for request in upstream.requests if "hidden" in request.path] == []


@pytest.mark.parametrize("whole", [True, False])
async def test_a_sound_pipeline_is_two_requests(rig: Rig, upstream: Simulator, whole: bool) -> None:
    data = f"POST /v1/echo?headers=1 HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello{HIDDEN}".replace(
        "hidden HTTP/1.1\r\n", "hidden HTTP/1.1\r\nConnection: close\r\n"
    ).encode()
    answer = await rig.raw(data) if whole else await rig.byte_by_byte(data)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [request.path for request in upstream.requests] == ["/v1/echo?headers=1", "/v1/echo/hidden"]


@pytest.mark.parametrize(
    "fields",
    [
        "X: " + "x" * 33_000,
        "\r\n".join(f"X-{number}: {'x' * 4000}" for number in range(9)),
        "\r\n".join(f"X-{number}: x" for number in range(500)),
    ],
)
@pytest.mark.parametrize("end", ["\r\n\r\n", "\r\n"])
async def test_heads_over_32_kib_are_a_431(rig: Rig, fields: str, end: str) -> None:
    """Whether they end or not, and if they come in one piece."""
    answer = await rig.raw(f"GET /v1/echo HTTP/1.1\r\n{HOST}Connection: close\r\n{fields}{end}".encode())
    assert answer[9:12] == b"431"
    assert b"head_too_large" in answer


async def test_a_long_line_is_a_431_too(rig: Rig) -> None:
    answer = await rig.raw(f"GET /v1/echo?{'x' * 33_000} HTTP/1.1\r\n{HOST}\r\n".encode())
    assert answer[9:12] == b"431"


async def test_heads_just_under_the_limit_are_served(rig: Rig) -> None:
    fields = "\r\n".join(f"X-{number}: {'x' * 3900}" for number in range(8))
    answer = await rig.raw(f"GET /v1/models HTTP/1.1\r\n{HOST}Connection: close\r\n{fields}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200")


async def test_absolute_targets_name_the_host(rig: Rig, upstream: Simulator) -> None:
    answer = await rig.raw(f"GET http://other.test/v1/models?x=1 HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 200")
    assert upstream.requests[-1].path == "/v1/models?x=1"


async def test_a_head_that_does_not_end_is_not_waited_for(upstream: Simulator) -> None:
    """The connection ends; one that is merely idle, or waits for its answer, does not."""
    limits = Limits(head_time=0.1)
    async with running(table(backend(provider(upstream.url))), limits) as rig, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        writer.write(f"GET /v1/echo HTTP/1.1\r\n{HOST}".encode())
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        for _ in range(2):
            writer.write(f"GET /v1/models HTTP/1.1\r\n{HOST}".encode())
            await asyncio.sleep(0.02)
            writer.write(b"\r\n")
            assert b"HTTP/1.1 200 " in await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.2)
        writer.close()


async def test_a_target_in_absolute_form_may_have_no_path(rig: Rig, upstream: Simulator) -> None:
    answer = await rig.raw(f"GET http://other.test?/v1/models HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404")
    assert upstream.requests[-1].path == "/?/v1/models"


async def test_trace_is_not_relayed(rig: Rig, upstream: Simulator) -> None:
    """A provider that knows it would send the gateway's own credential back."""
    answer = await rig.raw(f"TRACE /v1/echo HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405")
    assert b"allow: get" in answer.lower()
    assert not upstream.requests


async def test_a_head_that_does_not_end_is_a_431_as_soon_as_it_is_too_long(upstream: Simulator) -> None:
    """Each field is under the limit and there are few. On a new connection, behind a request that was answered, and
    behind one that is not."""
    served = table(backend(provider(upstream.url)))
    slow = orjson.dumps({**ASK, "metadata": {"scenario": "slow:200"}})
    requests = (
        b"",
        f"GET /v1/models HTTP/1.1\r\n{HOST}\r\n".encode(),
        f"POST /v1/chat/completions HTTP/1.1\r\n{HOST}Content-Length: {len(slow)}\r\n\r\n".encode() + slow,
    )
    async with running(served, Limits(head_time=60)) as rig, asyncio.timeout(10):
        for count, before in enumerate(requests, 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
            writer.write(before)
            while len(upstream.requests) < count - 1:  # it is under way
                await asyncio.sleep(0.005)
            writer.write(b"GET /v1/echo HTTP/1.1\r\n")
            for number in range(4):
                writer.write(b"X-%d: %s\r\n" % (number, b"x" * 10_000))
                await asyncio.sleep(0.005)
            answer = await reader.read()
            assert b" 431 " in answer
            assert b"head_too_large" in answer
            assert answer.count(b"HTTP/1.1 200") == (count > 1)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_what_follows_a_big_body_is_not_taken_for_a_head(rig: Rig) -> None:
    body = b"x" * 200_000
    head = f"POST /v1/echo HTTP/1.1\r\n{HOST}Content-Length: {len(body)}\r\n"
    answer = await rig.raw((head + "\r\n").encode() + body + (head + "Connection: close\r\n\r\n").encode() + body)
    assert answer.count(b"HTTP/1.1 200 ") == 2
