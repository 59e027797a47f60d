"""Raw connections to upstreams. Every address is checked when dialled."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from dataplane.errors import Refusal
from dataplane.process.files import NONE_LEFT, Files, none_left
from dataplane.upstreams.addresses import AddressPolicy

ProtocolT = TypeVar("ProtocolT", bound=asyncio.Protocol)
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""A dead peer is found in two minutes."""


class AddressRefused(OSError):
    """A connection was not tried because the policy forbids the address."""


async def dial(
    url: str,
    make_protocol: Callable[[], ProtocolT],
    *,
    addresses: AddressPolicy,
    files: Files,
    timeout: float,  # noqa: ASYNC109  (one deadline over all addresses)
    tls: ssl.SSLContext,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to the host of an http(s) or ws(s) URL: resolve, check, try the addresses in turn, TLS where the
    scheme says so, all within `timeout` seconds.

    Raises Refusal upstream_unreachable, upstream_address_refused, upstream_timeout, overloaded."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    context = tls if parts.scheme in ("https", "wss") else None
    try:
        async with asyncio.timeout(timeout):
            return await _dial(host, port, make_protocol, addresses, files, context, timeout)
    except TimeoutError:
        raise Refusal("upstream_timeout", f"Connecting to {host}:{port} took more than {timeout:g} s.") from None
    except UnicodeError:  # a label that is empty or over 63 bytes
        raise unreachable(host, port, OSError("its name is not a valid host name")) from None
    except OSError as error:
        raise unreachable(host, port, error) from None


async def _dial(
    host: str,
    port: int,
    make_protocol: Callable[[], ProtocolT],
    addresses: AddressPolicy,
    files: Files,
    context: ssl.SSLContext | None,
    timeout: float,  # noqa: ASYNC109  (for a TLS handshake that nobody waits for any more)
) -> tuple[asyncio.Transport, ProtocolT]:
    loop = asyncio.get_running_loop()
    with files.place():
        infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await _connected(loop, infos, addresses, files)
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
    if why := addresses.refusal(str(address[0])):
        raise AddressRefused(f"{address[0]!s} {why}")
    sock = files.socket(family, kind, number)
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
        return Refusal(
            "upstream_address_refused",
            f"{host} resolves to {error}, which this install does not allow (upstreams.allow).",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        why = f"TLS failed: {error.reason or 'the handshake was broken off'}"
    elif isinstance(error, socket.gaierror):
        why = "its name cannot be resolved"
    else:
        why = (os.strerror(error.errno) if error.errno else str(error) or type(error).__name__).lower()
    return Refusal("upstream_unreachable", f"{host}:{port} cannot be reached: {why}.")
