"""Behind a load balancer: whom a session is from, with the PROXY protocol and without, before TLS and without it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dataplane.http.proxy_protocol import SIGNATURE
from dataplane.server import AddressPolicy, Gateway, Limits, Proxies
from tests.dataplane.certificates import certificate
from tests.dataplane.realtime.wires import PATIENCE, Tracer, Upstream, handshake, until, upstreams
from tests.dataplane.rig import SECRETS, Remembering, backend, provider, table

HERE = ip_network("127.0.0.0/8")
V1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n"
V2 = SIGNATURE + b"\x21\x11\x00\x0c" + socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.1") + bytes(4)
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
"""Answered 401, once it is read."""
CLOSED = "a connection from a trusted proxy is closed: with --proxy-protocol it begins with a PROXY header"
"""What the log says."""


@dataclass
class Place:
    gateway: Gateway
    meter: Remembering
    tracer: Tracer
    upstream: Upstream

    async def said(self, data: bytes, tls: ssl.SSLContext | None = None, first: Sequence[bytes] = ()) -> bytes:
        """All that is answered to this; before it, and before TLS, `first` is sent piece by piece."""
        sock = socket.create_connection(("127.0.0.1", self.gateway.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        for piece in first:
            await asyncio.get_running_loop().sock_sendall(sock, piece)
            await asyncio.sleep(0)
        name = "localhost" if tls else None
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name)
            writer.write(data)
            try:
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.transport.abort()

    async def client_of(self, first: bytes, **headers: str) -> object:
        """The client's address of a session that is opened so, as operators are told, wherever they are."""
        return await self.caller(
            first + handshake(headers={name.replace("_", "-"): value for name, value in headers.items()})
        )

    async def caller(self, data: bytes) -> object:
        """The same of a session that is opened with these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(data)
        far = await self.upstream.opened()
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert b"192.0.2" not in far.request, "providers are not told"
        assert b"forwarded" not in far.request.lower()
        (shown,) = self.gateway.sessions()
        writer.transport.abort()
        await until(lambda: self.meter.closed, "the session ends")
        summary, span = self.meter.closed.pop(), self.tracer.handshakes.pop()
        assert shown["client_address"] == summary.client == span.client
        return summary.client


@asynccontextmanager
async def place(
    proxies: Proxies, limits: Limits | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Place]:
    async with upstreams() as upstream:
        meter, tracer = Remembering(), Tracer()
        gateway = Gateway(
            meter=meter, tracer=tracer, limits=limits, addresses=AddressPolicy(allow_loopback=True), proxies=proxies
        )
        gateway.load(table(backend(provider(upstream.url))), SECRETS)
        await gateway.start("127.0.0.1", 0, tls)
        try:
            yield Place(gateway, meter, tracer, upstream)
        finally:
            await gateway.stop()


BELIEVED, STRANGERS = Proxies([HERE]), Proxies([ip_network("10.0.0.0/8")])
INTRODUCED = Proxies([HERE], protocol=True)


@pytest.mark.parametrize(
    ("proxies", "first", "forwarded", "expected"),
    [
        (Proxies(), b"", "192.0.2.1", "127.0.0.1"),
        (STRANGERS, b"", "192.0.2.1", "127.0.0.1"),
        (BELIEVED, b"", "192.0.2.1", "192.0.2.1"),
        (BELIEVED, b"", "1.1.1.1, 192.0.2.1, 127.0.0.9", "192.0.2.1"),
        (INTRODUCED, V1, "192.0.2.1", "192.0.2.7"),
        (INTRODUCED, V2, "192.0.2.1", "192.0.2.7"),
        (INTRODUCED, LOCAL, "192.0.2.1", "192.0.2.1"),
        (INTRODUCED, b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n", "192.0.2.1", "192.0.2.1"),
        (Proxies([ip_network("10.0.0.0/8")], protocol=True), b"", "192.0.2.1", "127.0.0.1"),
    ],
)
async def test_whom_a_session_is_from(proxies: Proxies, first: bytes, forwarded: str, expected: str) -> None:
    async with place(proxies) as it:
        assert await it.client_of(first, X_Forwarded_For=forwarded, X_Real_IP="192.0.2.3") == expected


HOPS = [
    (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 127.0.0.9"], "192.0.2.1"),
    (["X-Forwarded-For: 127.0.0.9", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
    (["X-Forwarded-For: 1.1.1.1", "x-forwarded-for:192.0.2.1"], "192.0.2.1"),
    (["X-Forwarded-For: 1.1.1.1, 127.0.0.8, 192.0.2.1, 127.0.0.9"], "192.0.2.1"),
    (["X-Forwarded-For: 127.0.0.8,127.0.0.9"], "127.0.0.8"),
    (["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
    (["X-Forwarded-For: 2001:DB8:0:0::1"], "2001:db8::1"),
    (['X-Forwarded-For: "[2001:db8::1]"'], "127.0.0.1"),
    (["X-Forwarded-For: ::ffff:192.0.2.1"], "192.0.2.1"),
    (["X-Forwarded-For: ::ffff:127.0.0.9, ::ffff:7f00:9"], "127.0.0.9"),
    (["X-Forwarded-For: 192.0.2.1:4711, 127.0.0.9:80"], "192.0.2.1"),
    (["X-Forwarded-For: fe80::1%eth0"], "fe80::1"),
    (["X-Forwarded-For: 192.0.2.1,"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.1", "X-Forwarded-For:"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.1, unknown"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.1 127.0.0.9"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.1;127.0.0.9"], "127.0.0.1"),
    (["X-Forwarded-For: 3221225985"], "127.0.0.1"),
    (["X-Forwarded-For: 0x7f.1"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.01"], "127.0.0.1"),
    (["X-Forwarded-For: 192.0.2.\u0661"], "127.0.0.1"),
    (["X-Forwarded-For: " + "192.0.2.1, " * 500 + "127.0.0.9"], "192.0.2.1"),
    (["X-Forwarded-For: 192.0.2.1, " + "127.0.0.9, " * 500 + "127.0.0.9"], "127.0.0.9"),
    (["Forwarded: for=192.0.2.1"], "127.0.0.1"),
    (["Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.2"], "192.0.2.2"),
    (["X-Real-IP: 192.0.2.1", "True-Client-IP: 192.0.2.1", "CF-Connecting-IP: 192.0.2.1"], "127.0.0.1"),
    (["X-Forwarded: 192.0.2.1", "X-Forwarded-Host: 192.0.2.1"], "127.0.0.1"),
]
"""What a proxy sends, who may have got some of it from its client, and whom it speaks for."""


async def test_what_proxies_and_their_clients_write() -> None:
    async with place(BELIEVED) as it:
        for lines, expected in HOPS:
            head = handshake().removesuffix(b"\r\n")
            data = head + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
            assert await it.caller(data) == expected, lines


V6 = SIGNATURE + b"\x21\x21\x00\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::7") * 2 + bytes(4)
UNIX = SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216)
LARGEST = SIGNATURE + b"\x21\x11\x0f\xf0" + V2[16:] + bytes(4080 - 12)
UNKNOWN = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (V6, "2001:db8::7"),
        (LARGEST, "192.0.2.7"),
        (UNIX, "127.0.0.1"),
        (UNKNOWN, "127.0.0.1"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7"),
    ],
    ids=["v6", "the largest", "unix", "unknown", "v4 in v6"],
)
async def test_headers_of_every_kind(header: bytes, expected: str) -> None:
    async with place(INTRODUCED) as it:
        assert await it.client_of(header) == expected
        pieces = [header[start : start + 100] for start in range(0, len(header), 100)]
        assert (await it.said(GET, None, pieces)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(65_535) + GET,
        SIGNATURE + b"\x21\x11\x0f\xf1" + bytes(4081) + GET,
        b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n" + GET,
        b"PROXY " + b"1" * 100_000,
    ],
    ids=["65,535 bytes", "one byte too many", "a line of 108", "a line without an end"],
)
async def test_one_that_is_too_long_is_closed(data: bytes) -> None:
    async with place(INTRODUCED) as it:
        assert await it.said(data) == b""
        assert (await it.said(V1 + GET)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("second", [V1, V2, LOCAL])
async def test_a_second_one_is_no_request(second: bytes) -> None:
    """It would be a client's."""
    async with place(INTRODUCED) as it:
        assert (await it.said(V1 + second + GET)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("header", [V1, V2, LOCAL], ids=["v1", "v2", "local"])
@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_a_header_comes_before_everything_else(size: int, header: bytes, encrypted: bool, tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "localhost") if encrypted else (None, None)
    async with place(INTRODUCED, tls=server) as it:
        pieces = [header[start : start + size] for start in range(0, len(header), size)]
        assert (await it.said(GET, client, pieces)).startswith(b"HTTP/1.1 401")


async def test_what_comes_with_it_is_not_lost() -> None:
    async with place(INTRODUCED) as it:
        for header in (V1, V2, LOCAL):
            assert (await it.said(header + GET)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("data", [GET, b"PROXY TCP4 x\r\n" + GET, SIGNATURE + bytes(4) + GET, V1[:20]])
async def test_without_one_it_is_closed_and_the_log_says_so_once_a_minute(data: bytes) -> None:
    with capture_logs() as lines:
        async with place(INTRODUCED, Limits(head_time=0.1)) as it:
            assert [await it.said(data) for _ in range(3)] == [b""] * 3
            assert (await it.said(V1 + GET)).startswith(b"HTTP/1.1 401"), "the next is served"
    assert [(line["peer"], line["log_level"]) for line in lines if line["event"] == CLOSED] == [
        ("127.0.0.1", "warning")
    ]


async def test_who_leaves_says_nothing_wrong() -> None:
    with capture_logs() as lines:
        async with place(INTRODUCED) as it:
            for first in (b"", V1[:10]):
                _, writer = await asyncio.open_connection("127.0.0.1", it.gateway.port)
                writer.write(first)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            assert (await it.said(V1 + GET)).startswith(b"HTTP/1.1 401")
    assert not [line for line in lines if line["event"] == CLOSED]


async def test_whoever_is_no_proxy_needs_none_and_may_send_none() -> None:
    async with place(Proxies([ip_network("10.0.0.0/8")], protocol=True)) as it:
        assert (await it.said(GET)).startswith(b"HTTP/1.1 401")
        assert (await it.said(V1 + GET)).startswith(b"HTTP/1.1 400")
