"""The listening socket: who is connected when it is closed."""

from __future__ import annotations

import asyncio
import json
import resource
import socket

import pytest

from dataplane.http.listener import TICK, Listener, places
from dataplane.process.drain import Drain
from tests.dataplane.rig import ASK, BEARER, Rig

PHASES = Drain(lame_duck=0, patience=10, closing=0)


async def test_who_is_connected_when_the_port_closes_is_served(rig: Rig) -> None:
    """The kernel connects clients before anybody accepts them, and would cut them off with the socket."""
    with socket.create_connection(("127.0.0.1", rig.gateway.port)) as waiting:  # the loop does not run meanwhile
        waiting.setblocking(False)
        draining = asyncio.create_task(rig.gateway.drain(PHASES, asyncio.Event()))
        await asyncio.sleep(0)
        body = json.dumps(ASK)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: {BEARER['Authorization']}\r\n"
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(waiting, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        async with asyncio.timeout(5):
            assert (await loop.sock_recv(waiting, 4096)).startswith(b"HTTP/1.1 200")
            await draining
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", rig.gateway.port)


async def test_who_is_connected_and_says_nothing_is_not_waited_for(rig: Rig) -> None:
    with socket.create_connection(("127.0.0.1", rig.gateway.port)):
        async with asyncio.timeout(5):
            await rig.gateway.drain(PHASES, asyncio.Event())


async def test_the_kernel_looks_after_whoever_is_accepted(rig: Rig) -> None:
    """Who vanishes without a word is found out, whatever the connection is used for."""
    with socket.create_connection(("127.0.0.1", rig.gateway.port)):
        assert rig.gateway._running is not None
        front = rig.gateway._running.ports.own._front
        async with asyncio.timeout(5):
            while not front.connections:
                await asyncio.sleep(0)
        (connection,) = front.connections
        assert connection._transport is not None
        sock: socket.socket = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


async def test_without_descriptors_it_rests_and_does_not_spin() -> None:
    """Whoever waits stays readable: a loop that is told so again and again does nothing else."""
    loop, said = asyncio.get_running_loop(), asyncio.Event()

    class Counting(Listener):
        tries = 0

        def _accept(self, sock: socket.socket) -> None:
            self.tries += 1
            super()._accept(sock)

    class Greeted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            said.set()

    listener = Counting(lambda _descriptor, _source: Greeted(), None, 1.0)  # type: ignore[arg-type, return-value]
    port = listener.start(await places("127.0.0.1"), 0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(("127.0.0.1", port)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            until = loop.time() + 4 * TICK
            while loop.time() < until:
                await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert 1 <= listener.tries <= 5
        async with asyncio.timeout(5):
            await said.wait()
    listener.close()
    await listener.closed()
