"""Reads the PROXY header of a connection that was just accepted, before anything else is read from it: behind it the
bytes stay in the kernel, for TLS or HTTP."""

from __future__ import annotations

import asyncio
import socket

import structlog

from dataplane.http.proxies import Proxies
from dataplane.http.proxy_protocol import LONGEST, Malformed, parse

COMPLAINS = 60.0
"""Seconds between two lines in the log."""

log = structlog.get_logger("tidegate")


class Refused(OSError):
    """The connection is closed."""


class Introductions:
    """`seconds`: how long a proxy has for its header."""

    def __init__(self, proxies: Proxies, seconds: float) -> None:
        self._proxies = proxies
        self._seconds = seconds
        self._quiet_until = 0.0

    async def source(self, sock: socket.socket) -> str:
        """Whom a connection is from, as its PROXY header says; empty where it says nothing of that, or where who
        connected is none of the proxies. Raises Refused; the socket is closed then."""
        try:
            peer = str(sock.getpeername()[0])
            if not self._proxies.trusts(peer):
                return ""
            async with asyncio.timeout(self._seconds):
                return await _read(sock)
        except TimeoutError:
            self._complain(peer, f"no PROXY header came within {self._seconds:g} s")
        except Malformed as error:
            self._complain(peer, str(error))
        except OSError:  # it has left
            pass
        sock.close()
        raise Refused

    def _complain(self, peer: str, why: str) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until:
            self._quiet_until = now + COMPLAINS
            what = "a connection from a trusted proxy is closed: with --proxy-protocol it begins with a PROXY header"
            log.warning(what, peer=peer, error=why)


async def _read(sock: socket.socket) -> str:
    """Raises Malformed, and OSError where the peer has left."""
    came = b""
    while True:
        try:
            seen = sock.recv(LONGEST - len(came), socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(sock)
            continue
        if not seen:
            raise ConnectionResetError
        header = parse(came + seen)
        if header is not None:
            sock.recv(header.size - len(came))
            return header.source
        came += sock.recv(len(seen))  # all of it is part of the header


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(sock, tell)
    try:
        await ready
    finally:
        loop.remove_reader(sock)
