"""Raw connections to upstreams. Every address is checked when dialled."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from dataplane.errors import Refusal
from dataplane.process.files import NONE_LEFT, Files, none_left
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.target import BY_NAME, Reach

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A dead peer is found in two minutes."""
_ENDPOINTS_TRIED = 5


class AddressRefused(OSError):
    """A connection was not tried because the policy forbids the address, which is of this kind."""

    def __init__(self, address: str, kind: str) -> None:
        super().__init__(f"{address} is {kind}")
        self.address = address
        self.kind = kind


async def dial(
    url: str,
    make_protocol: Callable[[], ProtocolT],
    *,
    addresses: AddressPolicy,
    files: Files,
    timeout: float,  # noqa: ASYNC109  (one deadline over all addresses)
    tls: ssl.SSLContext,
    reach: Reach = BY_NAME,
    rand: Callable[[], float] = random.random,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to the host of an http(s) or ws(s) URL: resolve, check, try the addresses in turn, TLS where the
    scheme says so, all within `timeout` seconds. Where it stands for a Service, connect to one of the endpoints that
    `reach` has, by chance (`rand` is in [0, 1)), which a controller has looked up and nobody who writes a Backend.

    Raises Refusal upstream_unreachable, upstream_unavailable, upstream_address_refused, upstream_timeout, overloaded.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    context = tls if parts.scheme in ("https", "wss") else None
    try:
        async with asyncio.timeout(timeout):
            if reach.endpoints is None:
                sock = await _resolved(host, port, addresses.also(reach.networks), files)
            elif reach.endpoints:
                sock = await _endpoint(_in_turn(reach.endpoints, rand()), files, timeout)
            else:
                raise Refusal("upstream_unavailable", f"No endpoint of the Service {host}:{port} is ready.")
            return await _made(sock, host, make_protocol, context, timeout)
    except TimeoutError:
        raise Refusal("upstream_timeout", f"Connecting to {host}:{port} took more than {timeout:g} s.") from None
    except UnicodeError:  # a label that is empty or over 63 bytes
        raise unreachable(host, port, OSError("its name is not a valid host name")) from None
    except OSError as error:
        raise unreachable(host, port, error) from None


async def _resolved(host: str, port: int, addresses: AddressPolicy, files: Files) -> socket.socket:
    """A socket connected to an address of the host."""
    loop = asyncio.get_running_loop()
    with files.place():
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await _connected(loop, infos, addresses, files)


def _in_turn(endpoints: Sequence[str], chance: float) -> Sequence[str]:
    """Those that are tried, beginning with any of them."""
    first = int(chance * len(endpoints))
    return [*endpoints[first:], *endpoints[:first]][:_ENDPOINTS_TRIED]


async def _endpoint(endpoints: Sequence[str], files: Files, seconds: float) -> socket.socket:
    """A socket connected to the first that takes us. Each but the last may take half of the time that is left, since
    the node of one may be gone without a word. Raises the last OSError."""
    loop = asyncio.get_running_loop()
    until, last = loop.time() + seconds, OSError()
    for place, endpoint in enumerate(endpoints, 1):
        host, _, port = endpoint.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        half = None if place == len(endpoints) else (until - loop.time()) / 2
        sock = _prepared(files.socket(family, socket.SOCK_STREAM, 0))
        try:
            async with asyncio.timeout(half):
                await loop.sock_connect(sock, (host.strip("[]"), int(port)))
        except OSError as error:  # TimeoutError is one
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


async def _made(
    sock: socket.socket,
    host: str,
    make_protocol: Callable[[], ProtocolT],
    context: ssl.SSLContext | None,
    timeout: float,  # noqa: ASYNC109  (for a TLS handshake that nobody waits for any more)
) -> tuple[asyncio.Transport, ProtocolT]:
    loop = asyncio.get_running_loop()
    name, limit = (host, timeout) if context else (None, None)
    making = asyncio.ensure_future(
        loop.create_connection(make_protocol, sock=sock, ssl=context, server_hostname=name, ssl_handshake_timeout=limit)
    )
    _being_made.add(making)
    making.add_done_callback(_being_made.discard)
    try:
        return await asyncio.shield(making)
    except BaseException:  # uvloop never tells a protocol of its end that is cancelled when it was just connected
        making.add_done_callback(lambda made: _undo(made, sock))
        raise


_being_made: set[object] = set()
"""Connections that may be wanted by nobody any more: they are made in full, within their time, and then ended."""


def _undo(made: asyncio.Future[tuple[asyncio.Transport, ProtocolT]], sock: socket.socket) -> None:
    if made.cancelled() or made.exception():
        sock.close()
    else:
        made.result()[0].abort()


AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


async def _connected(
    loop: asyncio.AbstractEventLoop, infos: Sequence[AddressInfo], addresses: AddressPolicy, files: Files
) -> socket.socket:
    """A socket connected to the first address that takes us. Raises the last OSError."""
    last = OSError("the name has no address")
    for info in infos:
        try:
            sock = checked_socket(info, addresses, files)
        except OSError as error:
            last = error
            continue
        try:
            await loop.sock_connect(sock, info[4])
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


def checked_socket(info: AddressInfo, addresses: AddressPolicy, files: Files) -> socket.socket:
    """A socket for this address, not yet connected. Raises AddressRefused, and OSError where there is none left."""
    family, kind, number, _, address = info
    if kind_of_address := addresses.refusal(str(address[0])):
        raise AddressRefused(str(address[0]), kind_of_address)
    return _prepared(files.socket(family, kind, number))


def _prepared(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keep_alive(sock)
    return sock


def keep_alive(sock: socket.socket) -> None:
    """Have the kernel find out when the peer has vanished without a word. What a listening socket accepts has it from
    there."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE.items():
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def unreachable(host: str, port: int, error: OSError) -> Refusal:
    """The refusal for a connection that could not be made."""
    if error.errno in NONE_LEFT:
        return none_left()
    if isinstance(error, AddressRefused):
        what = str(error) if host == error.address else f"{host} resolves to {error.address}, {error.kind}"
        return Refusal("upstream_address_refused", f"{what}, which this install does not allow (upstreams.allow).")
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        why = f"TLS failed: {error.reason or 'the handshake was broken off'}"
    elif isinstance(error, socket.gaierror):
        why = "its name cannot be resolved"
    else:
        why = (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()
    return Refusal("upstream_unreachable", f"{host}:{port} cannot be reached: {why}.")
