"""TLS of the server that gateways dial: one context, whose certificate is replaced while it serves."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from controller.certificates import Serving


def server_context() -> ssl.SSLContext:
    """For a server; nobody can connect before `show`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def show(context: ssl.SSLContext, serving: Serving) -> None:
    """Have who connects from now on see this certificate. Connections that are there go on with theirs."""
    with _as_file(serving.chain + serving.key) as path:
        context.load_cert_chain(path)


@contextmanager
def _as_file(secret: bytes) -> Iterator[str]:
    """A path for OpenSSL, which reads keys from nowhere else; on Linux it is memory, and needs no writable folder."""
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("certificate"), "wb") as file:
            file.write(secret)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile() as named:  # none but its owner can read it
            named.write(secret)
            named.flush()
            yield named.name
