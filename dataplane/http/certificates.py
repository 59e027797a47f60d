"""What clients are shown on the ports of Gateways: a certificate for each listener, chosen by the name that a client
asks for before anything else is said (SNI, RFC 6066)."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from dataplane.routing import host_key, host_keys
from dataplane.slices import Slices
from dataplane.table import Listener, Secrets

log = structlog.get_logger("tidegate")

SPARING_S = 60.0
"""At least so long between two lines that a client brings about, on each port."""


def server_context() -> ssl.SSLContext:
    """For clients; without a certificate yet."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    return context


def no_passphrase() -> str:
    """Of a private key. Without it, OpenSSL would ask at the terminal."""
    return ""


class Certificates:
    """Those of one table."""

    def __init__(self) -> None:
        self._contexts: dict[tuple[str, ...], ssl.SSLContext | None] = {}
        """By the ids of secrets; None where none of them can be used."""
        self._ports: dict[int, dict[str, ssl.SSLContext | None]] = {}
        """The same, by port and by the listener's hostname."""

    @classmethod
    def building(
        cls, listeners: Sequence[Listener], secrets: Secrets, before: Certificates | None = None
    ) -> Slices[Certificates]:
        """In slices. What is as it was `before` is taken from there: an id is of one content."""
        made, known = cls(), before._contexts if before else {}  # noqa: SLF001  (another of this class)
        for listener in listeners:
            if not listener.tls:
                continue
            ids = listener.certificates
            if ids in known:
                made._contexts[ids] = known[ids]
            elif ids not in made._contexts:
                made._contexts[ids] = _context(listener, secrets)
                yield
            made._ports.setdefault(listener.port, {})[host_key(listener.hostname)] = made._contexts[ids]
        return made

    def chosen(self, port: int, name: str) -> ssl.SSLContext | None:
        """What a client is shown that asks for this name (empty: for none); None: it is refused."""
        by_host = self._ports.get(port, {})
        return next((by_host[key] for key in host_keys(name) if key in by_host), None)


def choosing(port: int, current: Callable[[], Certificates]) -> ssl.SSLContext:
    """A context for a port, on which each client is shown what is `current` by then."""

    told = -SPARING_S

    def choose(handshake: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        nonlocal told
        found, now = current().chosen(port, name or ""), time.monotonic()
        if found is None:
            if now - told >= SPARING_S:
                told = now
                log.warning("TLS clients are refused: no certificate for the host", host=(name or "")[:253], port=port)
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        handshake.context = found
        return None

    context = server_context()
    context.sni_callback = choose
    return context


def _context(listener: Listener, secrets: Secrets) -> ssl.SSLContext | None:
    """With all of its certificates that can be used: of two with keys of one kind, the first."""
    context, usable = server_context(), False
    for name in reversed(listener.certificates):
        try:
            with readable(secrets[name].get_secret_value().encode()) as path:
                context.load_cert_chain(path, password=no_passphrase)
            usable = True
        except (ssl.SSLError, OSError) as error:
            why = (isinstance(error, ssl.SSLError) and error.reason) or type(error).__name__
            what = "a certificate cannot be used: where a listener has no other, TLS handshakes are refused"
            log.warning(what, listener=listener.name, certificate=name, error=why)
    return context if usable else None


@contextmanager
def readable(pem: bytes) -> Iterator[str]:
    """A path where OpenSSL reads this; it reads files only. On Linux they are in memory."""
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("certificate"), "wb", buffering=0) as file:
            file.write(pem)
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem)
            file.flush()
            yield file.name
