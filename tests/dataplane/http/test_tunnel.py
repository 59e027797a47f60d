"""WebSockets of Passthrough paths: joined end to end, compression included."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from dataplane.table import Credential, HeaderOps, HeaderValue, PolicySet, Transformation, Variable
from simulator.server import Simulator
from tests.dataplane.rig import BEARER, CLIENT_KEY, OPEN, REQUIRED, Rig, backend, provider, running, table
from tests.dataplane.upstream import says, upstream_of

ECHO = "/v1/echo/ws"
AUTH = f"Authorization: {BEARER['Authorization']}\r\n"
HANDSHAKE = (
    f"GET {ECHO} HTTP/1.1\r\nHost: a\r\n{AUTH}Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
HELLO = bytes.fromhex("818500000000") + b"hello"
CLOSE = bytes.fromhex("888000000000")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Mixed-Case: 1\r\n\r\n"


@asynccontextmanager
async def session(rig: Rig, path: str = ECHO, **options: object) -> AsyncIterator[ClientConnection]:
    address = f"ws://127.0.0.1:{rig.gateway.port}{path}"
    options = {"additional_headers": BEARER, "max_size": None, "proxy": None, **options}
    async with connect(address, **options) as socket:  # type: ignore[arg-type]
        yield socket


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_messages_of_any_size_both_ways(rig: Rig, compression: str | None) -> None:
    source = random.Random(1)
    async with session(rig, compression=compression) as socket:
        extensions = socket.response.headers.get("Sec-WebSocket-Extensions", "") if socket.response else ""
        assert ("permessage-deflate" in extensions) == (compression == "deflate")
        for size in (0, 1, 125, 126, 65_535, 65_536, 3_000_000):
            message = source.randbytes(size)
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send("é" * 1000)
        assert await socket.recv() == "é" * 1000
    assert rig.meter.requests == [("ai/voice", "ai/voice", 101, "")]


async def test_the_upstream_sees_no_key_of_the_client(rig: Rig, upstream: Simulator) -> None:
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{CLIENT_KEY}")]
    async with session(rig, ECHO + "?a=%2F", subprotocols=offered, additional_headers={}) as socket:
        assert socket.subprotocol == "realtime"
    received = upstream.requests[-1]
    assert received.path == ECHO + "?a=%2F"
    assert CLIENT_KEY not in str(received)
    assert ("sec-websocket-protocol", "realtime") in received.headers


async def test_a_policy_can_take_compression_out_and_add_to_the_answer(upstream: Simulator) -> None:
    change = Transformation(
        policy="ai/t",
        request=HeaderOps(remove=("sec-websocket-extensions",)),
        response=HeaderOps(set=(HeaderValue(name="x-by", value=("gateway",)),)),
    )
    policies = REQUIRED.model_copy(update={"transformations": (change,)})
    async with running(table(backend(provider(upstream.url)), policies)) as rig, session(rig) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        assert socket.response.headers["x-by"] == "gateway"


async def test_close_codes_go_over(rig: Rig) -> None:
    async with session(rig) as socket:
        await socket.close(4321, "so long")
        assert socket.close_code == 4321


async def test_bytes_glued_to_the_handshakes_are_not_lost() -> None:
    """The client's first frame comes with its request, the upstream's with its 101, which comes back as it was."""
    got = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" + SWITCHED + b"first")
        got.set_result(await reader.readexactly(len(HELLO)))
        writer.write(b"second")

    async with upstream_of(answer) as url, running(table(backend(provider(url)))) as rig:
        assert await rig.raw(HANDSHAKE + HELLO) == SWITCHED + b"firstsecond"
        assert await got == HELLO


async def test_an_upgrade_on_a_connection_that_was_used_before(rig: Rig) -> None:
    before = f"GET /v1/bytes/3 HTTP/1.1\r\nHost: a\r\n{AUTH}\r\n".encode()
    answer = await rig.raw(before + HANDSHAKE + HELLO + CLOSE)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.partition(b"101 Switching Protocols")[2].partition(b"\r\n\r\n")[2].startswith(b"\x81\x05hello\x88")


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 404 Nope\r\nContent-Length: 4\r\nX-Why: z\r\n\r\ngone", 404, b"gone"),
        (b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", 429, b"no"),
        (b"HTTP/1.1 503 Later\r\n\r\nuntil the end", 503, b"until the end"),
        (b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n", 502, b"upstream_credential_rejected"),
        (b"", 502, b"upstream_protocol_error"),
        (b"SMTP says hello\r\n\r\n", 502, b"upstream_protocol_error"),
        (b"HTTP/1.1 404 Nope\r\nContent-Length: 40\r\n\r\ngone", 502, b"upstream_protocol_error"),
    ],
)
async def test_answers_that_are_no_101(answer: bytes, status: int, body: bytes) -> None:
    async with upstream_of(says(answer)) as url, running(table(backend(provider(url)))) as rig:
        with pytest.raises(InvalidStatus) as refused:
            async with session(rig):
                pass
    assert refused.value.response.status_code == status
    assert body in (refused.value.response.body or b"")


async def test_the_clients_own_key_passes_through_where_the_provider_wants_it() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"401 Who" if CLIENT_KEY.encode() in head else b"500 Lost"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    async with upstream_of(answer) as url:
        own = provider(url, credential=Credential(kind="passthrough"))
        async with running(table(backend(own), OPEN)) as rig:
            with pytest.raises(InvalidStatus) as refused:
                async with session(rig):
                    pass
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("leaver", ["client", "upstream"])
async def test_when_one_leaves_the_other_is_closed(leaver: str) -> None:
    ended = asyncio.Event()
    connected = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        connected.set()
        if leaver == "client":
            assert await reader.read() == b""
        ended.set()

    before = asyncio.all_tasks()
    async with upstream_of(answer) as url, running(table(backend(provider(url)))) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        writer.write(HANDSHAKE)
        async with asyncio.timeout(5):
            assert await reader.readexactly(len(SWITCHED)) == SWITCHED
            await connected.wait()
            if leaver == "client":
                writer.close()
            await ended.wait()
            assert await reader.read() == b""
            writer.close()
            while len(asyncio.all_tasks() - before) > 0:
                await asyncio.sleep(0.005)


async def test_a_client_that_leaves_during_the_handshake_ends_it() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        ended.set()

    async with upstream_of(silent) as url, running(table(backend(provider(url)))) as rig:
        _, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        writer.write(HANDSHAKE)
        async with asyncio.timeout(5):
            await asked.wait()
            writer.close()
            await ended.wait()
        await rig.settled()
        assert rig.meter.requests == [("ai/voice", "ai/voice", 499, "client_gone")]


async def test_a_slow_client_slows_the_upstream_down() -> None:
    """What a client does not read stays with the upstream: buffers are bounded."""
    sent = 0
    stuck = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        while sent < 200_000_000:
            writer.write(bytes(100_000))
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                return
            sent += 100_000

    async with upstream_of(flood) as url, running(table(backend(provider(url)))) as rig:
        _, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port, limit=1000)
        writer.write(HANDSHAKE)
        async with asyncio.timeout(10):
            await stuck.wait()
        assert sent < 100_000_000
        writer.transport.abort()


async def test_stopping_the_gateway_ends_tunnels(upstream: Simulator) -> None:
    async with running(table(backend(provider(upstream.url)))) as rig, session(rig) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"
        await rig.gateway.stop()
        with pytest.raises(ConnectionClosed):
            await socket.recv()


def answers_with_the_query() -> PolicySet:
    change = HeaderValue(name="x-back", value=(Variable(source="request.query", name="q"),))
    response = Transformation(policy="ai/t", response=HeaderOps(set=(change,)))
    return REQUIRED.model_copy(update={"transformations": (response,)})


async def test_what_fills_the_answer_s_header_may_be_any_text(upstream: Simulator) -> None:
    async with (
        running(table(backend(provider(upstream.url)), answers_with_the_query())) as rig,
        session(rig, f"{ECHO}?q=%C4%8D") as socket,
    ):
        assert socket.response is not None
        assert socket.response.headers["x-back"].encode("latin-1").decode() == "č"


async def test_an_answer_that_cannot_be_given_leaves_no_upstream_open(upstream: Simulator) -> None:
    async with running(table(backend(provider(upstream.url)), answers_with_the_query())) as rig:
        with pytest.raises(InvalidStatus):
            async with session(rig, f"{ECHO}?q=a%0d%0ab"):
                pass
        await rig.settled()
        assert rig.meter.requests == [("ai/voice", "ai/voice", 400, "invalid_value")]
        async with asyncio.timeout(5):
            while upstream.connections:
                await asyncio.sleep(0.005)
