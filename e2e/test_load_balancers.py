"""Behind load balancers that nobody here wrote: the gateway knows whom a session is from, and believes no client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import start_stack
from fronts import Front, forwarding_nginx, introducing_haproxy
from processes import CLIENT_KEY

CLIENT, PROXY = "127.0.0.2", "127.0.0.1"
HANDSHAKE = (
    "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    f"Authorization: Bearer {CLIENT_KEY}\r\nX-Forwarded-For: 192.0.2.66\r\n\r\n"
).encode()
"""Of a client that makes up who it is."""

Start = Callable[[Path, str], Front]
FRONTS: dict[str, tuple[Start, list[str]]] = {
    "nginx, X-Forwarded-For": (forwarding_nginx, []),
    "HAProxy, PROXY 1": (lambda folder, at: introducing_haproxy(folder, at, "send-proxy"), ["--proxy-protocol"]),
    "HAProxy, PROXY 2": (lambda folder, at: introducing_haproxy(folder, at, "send-proxy-v2"), ["--proxy-protocol"]),
    "HAProxy, PROXY 2 with fields": (
        lambda folder, at: introducing_haproxy(folder, at, "send-proxy-v2 proxy-v2-options unique-id,crc32c"),
        ["--proxy-protocol"],
    ),
}


@pytest.mark.parametrize("name", FRONTS)
def test_a_session_s_client_is_known(name: str, tmp_path: Path) -> None:
    start, options = FRONTS[name]
    stack = start_stack(tmp_path, "--trust-proxy", f"{PROXY}/32", *options)
    front = start(tmp_path, stack.host)
    try:
        assert asyncio.run(_seen(front.port, stack.admin)) == CLIENT
    finally:
        front.stop()
        stack.close()


async def _seen(port: int, admin: Callable[[str], str]) -> object:
    """Open a session from the client's address; where the gateway says that it is from."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(CLIENT, 0))
    try:
        writer.write(HANDSHAKE)
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        (session,) = json.loads(await asyncio.to_thread(admin, "/sessions"))["sessions"]
        return session["client_address"]
    finally:
        writer.write(bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8]))
        writer.close()
