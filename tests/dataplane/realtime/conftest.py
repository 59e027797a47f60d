"""Which legs of a session are encrypted."""

from __future__ import annotations

import ssl

import pytest

from tests.dataplane.certificates import certificate
from tests.dataplane.realtime.wires import PLAIN, Tls


@pytest.fixture(scope="session")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server, and of a client that trusts it."""
    return certificate(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture(params=["plain", "tls to the client", "tls to the upstream"])
def tls(request: pytest.FixtureRequest, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Tls:
    match request.param:
        case "tls to the client":
            return Tls(front=contexts)
        case "tls to the upstream":
            return Tls(back=contexts)
    return PLAIN
