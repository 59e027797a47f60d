"""Requests that two readers could take for one or for two: the gateway never sees two where a proxy in front saw
one, and never sends one upstream that it did not understand."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
import pytest

from dataplane.errors import CATALOGUE
from dataplane.server import Limits
from dataplane.table import CallerKey
from simulator.server import Simulator
from tests.dataplane.marker import Marker
from tests.dataplane.payloads import KEY, TABLE, Outcome
from tests.dataplane.rig import ASK, BEARER, CALLERS, Rig, backend, provider, running, table

HOST = f"Host: a\r\nAuthorization: {BEARER['Authorization']}\r\n"
CALLER = CallerKey(name="ci-bot", sha256=hashlib.sha256(KEY.encode()).hexdigest())
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
REFUSAL = re.compile(rb'\{"error":\{[^}]*\}\}')
MANY = 5000
"""Bytes above which a payload is not sent byte by byte."""


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 200


@pytest.mark.parametrize("name", TABLE)
async def test_nothing_is_understood_in_two_ways(name: str) -> None:
    """Whole, byte by byte, and split at random."""
    payload = TABLE[name]
    size, rand = len(payload.data), random.Random(name)
    places = [[], sorted(rand.sample(range(1, size), min(size - 1, 12)))]
    if size <= MANY:
        places.append(list(range(1, size)))
    whole, *pieces = await asyncio.gather(*(outcome(payload.data, each) for each in places))
    assert whole == payload.whole
    assert {*pieces} <= {payload.whole, payload.pieces}
    if size <= MANY:
        assert pieces[-1] == payload.pieces


async def outcome(data: bytes, places: list[int]) -> Outcome:
    """What becomes of it, cut at these places. Every answer must be one that is documented, and hold no key."""
    callers = (CALLERS.model_copy(update={"keys": (CALLER,)}),)
    async with Marker() as marker:
        served = table(backend(provider(marker.url))).model_copy(update={"callers": callers})
        # The rest of a broken body is not waited for long.
        async with running(served, Limits(client_idle=0.3)) as rig:
            answer = await rig.in_pieces(data, places)
        assert not marker.faults
    statuses = tuple(map(int, STATUS.findall(answer)))
    refusals = [orjson.loads(found)["error"]["code"] for found in REFUSAL.findall(answer)]
    if statuses != (101,):  # a session may be told an error too
        assert [CATALOGUE[code].status for code in refusals] == [status for status in statuses if status >= 400]
    assert KEY.encode() not in answer
    return Outcome(statuses, tuple(marker.seen))


@pytest.fixture
async def rig(upstream: Simulator) -> AsyncIterator[Rig]:
    async with running(table(backend(provider(upstream.url)))) as rig:
        yield rig


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
