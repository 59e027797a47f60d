"""Everything else through a gateway: any method and size, both ways."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from io import BytesIO

import aiohttp
import orjson
import pytest
from yarl import URL

from dataplane.server import Limits
from dataplane.table import HeaderOps, HeaderValue, Transformation, Variable
from simulator.server import Simulator
from tests.dataplane.rig import BEARER, REQUIRED, Rig, backend, provider, running, table
from tests.dataplane.upstream import says, upstream_of

AUTH = f"Authorization: {BEARER['Authorization']}\r\n"


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
async def test_any_method(rig: Rig, upstream: Simulator, client: aiohttp.ClientSession, method: str) -> None:
    body = None if method == "GET" else b"some body"
    async with client.request(method, rig.url + "/v1/echo/x", data=body, headers=BEARER) as response:
        assert response.status == 200
        assert await response.read() == (body or b"")
    assert upstream.requests[-1].method == method
    assert rig.meter.turns == []


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 5_000_000])
@pytest.mark.parametrize("chunked", [True, False])
async def test_bodies_of_any_size_are_the_same_on_the_other_side(
    rig: Rig, client: aiohttp.ClientSession, size: int, chunked: bool
) -> None:
    data = noise(size)
    body = in_pieces(data, 70_000) if chunked else BytesIO(data)
    async with client.post(rig.url + "/v1/echo", data=body, headers=BEARER) as response:
        assert hashlib.sha256(await response.read()).digest() == hashlib.sha256(data).digest()


async def test_a_download_is_the_same_on_the_other_side(rig: Rig, client: aiohttp.ClientSession) -> None:
    size = 20_000_000
    async with client.get(rig.url + f"/v1/bytes/{size}", headers=BEARER) as response:
        assert response.content_length == size
        seen = hashlib.sha256()
        async for piece in response.content.iter_any():
            seen.update(piece)
    assert seen.digest() == hashlib.sha256((bytes(range(256)) * (size // 256 + 1))[:size]).digest()


async def test_the_framing_of_a_body_is_kept(rig: Rig, upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with client.post(rig.url + "/v1/echo", data=b"12345", headers=BEARER) as response:
        assert response.content_length == 5
    sent = {name.lower(): value for name, value in upstream.requests[-1].headers}
    assert sent["content-length"] == "5"
    assert "transfer-encoding" not in sent
    async with client.post(rig.url + "/v1/echo", data=in_pieces(b"12345", 2), headers=BEARER) as response:
        assert await response.read() == b"12345"
    sent = {name.lower(): value for name, value in upstream.requests[-1].headers}
    assert sent["transfer-encoding"] == "chunked"
    assert "content-length" not in sent


async def test_head_keeps_the_length_and_has_no_body(client: aiohttp.ClientSession) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HEAD /v1/files ")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")

    async with upstream_of(script) as url, running(table(backend(provider(url)))) as rig:
        for _ in range(2):  # the second on the same connection: nothing was left over
            async with client.head(rig.url + "/v1/files", headers=BEARER) as response:
                assert (response.status, response.headers["Content-Length"]) == (200, "1000")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body(client: aiohttp.ClientSession, status: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nETag: x\r\nConnection: close\r\n\r\n".encode()
    async with upstream_of(says(answer)) as url, running(table(backend(provider(url)))) as rig:
        raw = await rig.raw(f"GET /v1/files HTTP/1.1\r\nHost: a\r\n{AUTH}Connection: close\r\n\r\n".encode())
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}".encode())
    assert rest == b""
    assert b"transfer-encoding" not in head.lower()


async def test_compressed_answers_stay_compressed(client: aiohttp.ClientSession) -> None:
    packed = bytes.fromhex("1f8b0800000000000003cb48cdc9c9070086a6103605000000")  # "hello", gzip
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    async with (
        upstream_of(says(answer)) as url,
        running(table(backend(provider(url)))) as rig,
        client.get(rig.url + "/v1/files", headers=BEARER) as response,
    ):
        assert await response.read() == packed
        assert response.headers["Content-Encoding"] == "gzip"


async def test_trailers_are_not_relayed(client: aiohttp.ClientSession) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"
    )
    async with upstream_of(says(answer)) as url, running(table(backend(provider(url)))) as rig:
        raw = await rig.raw(f"GET /v1/files HTTP/1.1\r\nHost: a\r\n{AUTH}Connection: close\r\n\r\n".encode())
    assert raw.endswith(b"5\r\nhello\r\n0\r\n\r\n")
    assert b"x-sum" not in raw


async def test_headers_of_answers_duplicates_included(client: aiohttp.ClientSession) -> None:
    answer = (
        b"HTTP/1.1 201 Made Here\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n"
        b"Keep-Alive: 5\r\nAlt-Svc: h3\r\nX-Kept: caf\xe9\r\nContent-Length: 0\r\n\r\n"
    )
    async with upstream_of(says(answer)) as url, running(table(backend(provider(url)))) as rig:
        raw = await rig.raw(f"GET /v1/files HTTP/1.1\r\nHost: a\r\n{AUTH}Connection: close\r\n\r\n".encode())
    assert raw.startswith(b"HTTP/1.1 201 Made Here\r\n")
    assert raw.index(b"Set-Cookie: a=1") < raw.index(b"Set-Cookie: b=2")
    assert "X-Kept: café".encode() in raw
    assert not [name for name in (b"x-hop", b"keep-alive", b"alt-svc", b"content-type") if name in raw.lower()]


async def test_the_path_and_the_query_are_kept_byte_for_byte(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    target = "/v1/echo/a%20b/%7Ec//d?x=%2F&y=a+b&z&&api-key=client-key-1f2e3d4c5b6a&empty="
    async with client.get(URL(rig.url + target, encoded=True), headers=BEARER) as response:
        assert response.status == 200
    assert upstream.requests[-1].path == "/v1/echo/a%20b/%7Ec//d?x=%2F&y=a+b&z&&empty="


async def test_transformations_of_both_directions(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    change = Transformation(
        policy="ai/t",
        request=HeaderOps(
            remove=("x-secret",),
            set=(
                HeaderValue(name="x-team", value=("team:", Variable(source="caller.team"))),
                HeaderValue(name="x-q", value=(Variable(source="request.query", name="q"),)),
            ),
            add=(HeaderValue(name="x-many", value=("2",)),),
        ),
        response=HeaderOps(remove=("openai-version",), set=(HeaderValue(name="x-by", value=("gateway",)),)),
    )
    policies = REQUIRED.model_copy(update={"transformations": (change,)})
    async with running(table(backend(provider(upstream.url)), policies)) as rig:
        sent = {**BEARER, "x-secret": "1", "x-team": "forged", "x-q": "forged", "x-many": "1"}
        async with client.get(rig.url + "/v1/echo?headers=1", headers=sent) as response:
            seen = [(name.lower(), value) for name, value in orjson.loads(await response.read())]
            assert response.headers["x-by"] == "gateway"
        assert ("x-team", "team:support") in seen
        assert [value for name, value in seen if name == "x-many"] == ["1", "2"]
        assert not [value for name, value in seen if name in ("x-secret", "x-q")]
        odd = URL(rig.url + "/v1/echo?q=a%0d%0aX-Injected:%201", encoded=True)
        async with client.get(odd, headers=BEARER) as response:
            assert response.status == 400
            assert (await response.json(content_type=None))["error"]["code"] == "invalid_value"


async def test_a_client_that_waits_for_100_continue_gets_it(rig: Rig) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
    writer.write(
        f"POST /v1/echo HTTP/1.1\r\nHost: a\r\n{AUTH}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert await reader.readexactly(5) == b"hello"
    writer.close()


async def test_a_client_that_waits_is_refused_before_it_sends_the_body(rig: Rig) -> None:
    head = b"POST /v1/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    answer = await rig.raw(head)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"Connection: close" in answer


async def test_an_unreachable_upstream_gets_no_body(client: aiohttp.ClientSession) -> None:
    async with upstream_of(says(b"")) as url:
        pass
    async with running(table(backend(provider(url)))) as rig:
        head = f"POST /v1/echo HTTP/1.1\r\nHost: a\r\n{AUTH}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        answer = await rig.raw(head.encode())
        assert answer.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("expectation", ["200-ok", "100-continue, more"])
async def test_other_expectations_fail(rig: Rig, expectation: str) -> None:
    head = f"POST /v1/echo HTTP/1.1\r\nHost: a\r\n{AUTH}Content-Length: 5\r\nConnection: close\r\n"
    head += f"Expect: {expectation}\r\n\r\nhello"
    assert (await rig.raw(head.encode())).startswith(b"HTTP/1.1 417 ")


async def test_a_body_that_stops_coming_is_a_408(upstream: Simulator) -> None:
    async with running(table(backend(provider(upstream.url))), Limits(client_idle=0.1)) as rig:
        head = f"POST /v1/files HTTP/1.1\r\nHost: a\r\n{AUTH}Content-Length: 50\r\n\r\nhello"
        assert (await rig.raw(head.encode())).startswith(b"HTTP/1.1 408 ")


async def test_a_broken_chunk_is_a_400_and_the_upstream_sees_no_end(rig: Rig) -> None:
    head = f"POST /v1/files HTTP/1.1\r\nHost: a\r\n{AUTH}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n"
    assert (await rig.raw(head.encode())).startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


async def test_http_1_0_clients_get_a_body_that_ends_with_the_connection(rig: Rig) -> None:
    answer = await rig.raw(f"GET /v1/models HTTP/1.0\r\n{AUTH}\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert orjson.loads(body)["data"]


async def test_a_stalled_client_is_given_up(upstream: Simulator) -> None:
    async with running(table(backend(provider(upstream.url))), Limits(client_idle=0.2)) as rig:
        _, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
        writer.write(f"GET /v1/bytes/100000000 HTTP/1.1\r\nHost: a\r\n{AUTH}\r\n".encode())
        await rig.settled()
        assert rig.meter.requests == [("ai/voice", "ai/voice", 499, "client_gone")]
        writer.close()


@pytest.mark.parametrize("status", ["101 Switching Protocols", "000 Nothing"])
async def test_an_answer_that_ends_no_request_is_a_502(client: aiohttp.ClientSession, status: str) -> None:
    answer = f"HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhi".encode()
    async with (
        upstream_of(says(answer)) as url,
        running(table(backend(provider(url)))) as rig,
        client.get(rig.url + "/v1/x", headers=BEARER) as response,
    ):
        assert response.status == 502
        assert (await response.json())["error"]["code"] == "upstream_protocol_error"


@pytest.mark.parametrize("reason", [b"O\x01K", b"\xff\xfe", "Schön".encode()])
async def test_a_reason_that_is_no_text_is_left_out(client: aiohttp.ClientSession, reason: bytes) -> None:
    answer = b"HTTP/1.1 200 " + reason + b"\r\nContent-Length: 2\r\n\r\nhi"
    async with (
        upstream_of(says(answer)) as url,
        running(table(backend(provider(url)))) as rig,
        client.get(rig.url + "/v1/x", headers=BEARER) as response,
    ):
        assert (response.status, response.reason, await response.read()) == (200, "", b"hi")
