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
from dataplane.upstreams.egress import EgressProxy
from dataplane.upstreams.target import BY_NAME, Reach
from dataplane.upstreams.tls_failures import tls_failure
from dataplane.upstreams.tunnelling import MAX_HEAD, Tunnel, TunnelRefused

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
    egress: EgressProxy | None = None,
    reach: Reach = BY_NAME,
    rand: Callable[[], float] = random.random,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to the host of an http(s) or ws(s) URL: resolve, check, try the addresses in turn, TLS where the
    scheme says so (`tls`, unless `reach` has another), all within `timeout` seconds. Where it stands for a Service,
    connect to one of the endpoints that `reach` has, by chance (`rand` is in [0, 1)), which a controller has looked up
    and nobody who writes a Backend.

    What is to go through the proxy `egress` does so from end to end: the proxy looks the name up, and what it leads to
    is for the proxy to judge. A numeric address is judged here all the same.

    Raises Refusal upstream_unreachable, upstream_unavailable, upstream_address_refused, upstream_timeout, overloaded.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    context = (reach.context or tls) if parts.scheme in ("https", "wss") else None
    proxy = egress if egress and reach.endpoints is None and egress.leads_to(_numeric(host) or host) else None
    try:
        async with asyncio.timeout(timeout):
            if proxy:
                sock = await _tunnelled(proxy, host, port, addresses.also(reach.networks), files)
            elif reach.endpoints is None:
                sock = await _resolved(host, port, addresses.also(reach.networks), files)
            elif reach.endpoints:
                sock = await _endpoint(_in_turn(reach.endpoints, rand()), files, timeout)
            else:
                raise Refusal("upstream_unavailable", f"No endpoint of the Service {host}:{port} is ready.")
            return await _made(sock, reach.server_name or host, make_protocol, context, timeout)
    except TimeoutError:
        where = f"{host}:{port} through the egress proxy" if proxy else f"{host}:{port}"
        raise Refusal("upstream_timeout", f"Connecting to {where} took more than {timeout:g} s.") from None
    except UnicodeError:  # a label that is empty or over 63 bytes
        raise unreachable(host, port, OSError("its name is not a valid host name")) from None
    except OSError as error:
        raise unreachable(host, port, error) from None


def _numeric(host: str) -> str:
    """The address that this is in any way in which one can be written (`127.1`); nothing where it is a name."""
    try:
        return str(socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)[0][4][0])
    except (OSError, UnicodeError):
        return ""


async def _tunnelled(proxy: EgressProxy, host: str, port: int, addresses: AddressPolicy, files: Files) -> socket.socket:
    """A socket that leads through the proxy to the host, of which nothing was read that is the host's."""
    address = _numeric(host)
    if address and (kind_of_address := addresses.refusal(address)):
        raise AddressRefused(address, kind_of_address)
    try:
        tunnel = Tunnel(address or host, port, proxy.authorization)
        sock = await _resolved(proxy.host, proxy.port, None, files)
        try:
            await _open(tunnel, sock)
        except BaseException:
            sock.close()
            raise
    except TunnelRefused as refused:
        raise OSError(f"{_PROXY} {refused}") from None
    except OSError as error:
        if error.errno in NONE_LEFT or isinstance(error, TimeoutError):
            raise
        raise OSError(f"{_PROXY} cannot be reached: {_why(error)}") from None
    return sock


_PROXY = "the egress proxy"
"""Where it is, is nothing for clients."""


async def _open(tunnel: Tunnel, sock: socket.socket) -> None:
    """Raises TunnelRefused, OSError."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, tunnel.request())
    while data := await loop.sock_recv(sock, MAX_HEAD):
        if tunnel.receive(data):
            return
    raise tunnel.eof()


async def _resolved(host: str, port: int, addresses: AddressPolicy | None, files: Files) -> socket.socket:
    """A socket connected to an address of the host, of those that may be dialled; None: all may be."""
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
    server_name: str,
    make_protocol: Callable[[], ProtocolT],
    context: ssl.SSLContext | None,
    timeout: float,  # noqa: ASYNC109  (for a TLS handshake that nobody waits for any more)
) -> tuple[asyncio.Transport, ProtocolT]:
    loop = asyncio.get_running_loop()
    name, limit = (server_name, timeout) if context else (None, None)
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
    loop: asyncio.AbstractEventLoop, infos: Sequence[AddressInfo], addresses: AddressPolicy | None, files: Files
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


def checked_socket(info: AddressInfo, addresses: AddressPolicy | None, files: Files) -> socket.socket:
    """A socket for this address, not yet connected. Raises AddressRefused, and OSError where there is none left."""
    family, kind, number, _, address = info
    if addresses and (kind_of_address := addresses.refusal(str(address[0]))):
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
    return Refusal("upstream_unreachable", f"{host}:{port} cannot be reached: {_why(error)}.")


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return tls_failure(error)
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if error.errno:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__.lower()
