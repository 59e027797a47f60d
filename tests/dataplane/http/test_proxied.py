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
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        writer.write(first + handshake(headers={name.replace("_", "-"): value for name, value in headers.items()}))
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
