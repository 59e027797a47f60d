"""What is said where TLS with an upstream fails, by servers that say why, as most do (asyncio's own just hang up)."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dataplane.table import Table, Tls
from dataplane.upstreams.tls_failures import lost_by, tls_failure
from tests.dataplane.certificates import Authority
from tests.dataplane.rig import ASK, BEARER, SECRETS, Rig, backend, provider, running, table

CHAT = "/v1/chat/completions"
HOST = "llm.internal"
SERVERS, CLIENTS = Authority("Servers"), Authority("Clients")
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@contextmanager
def strict(context: ssl.SSLContext) -> Iterator[str]:
    """A server in a thread that makes handshakes, and hears its clients out; its URL."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            spoken = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            with suppress(ssl.SSLError):
                spoken.do_handshake()
            # What is closed with bytes unread is reset, and nobody reads an alert behind which there is a reset.
            with suppress(OSError), socket.socket(fileno=spoken.detach()) as plain:
                plain.settimeout(10)
                while plain.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def served(url: str, tls: Tls) -> Table:
    plain = table(backend(provider(url).model_copy(update={"tls": tls})))
    return plain.model_copy(update={"secrets": ("ca", "me", *plain.secrets)})


def secrets(client: str) -> dict[str, str]:
    known = {name: value.get_secret_value() for name, value in SECRETS.items()}
    return {**known, "ca": SERVERS.pem, "me": client}


async def refused(rig: Rig, client: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    post, headers = path == CHAT, BEARER if path == CHAT else {**BEARER, **upgrade}
    url, body = rig.url + path, ASK if post else None
    async with client.request("POST" if post else "GET", url, json=body, headers=headers) as response:
        return response.status, (await response.json())["error"]["message"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", [CHAT, "/v1/realtime?model=gpt-realtime"])
async def test_it_is_said_that_a_server_wants_a_certificate(
    version: ssl.TLSVersion, path: str, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    context = SERVERS.server(tmp_path, HOST, clients=CLIENTS.pem)
    context.maximum_version = version
    with strict(context) as url:
        async with running(served(url, Tls(authorities="ca", server_name=HOST)), secrets=secrets("")) as rig:
            status, message = await refused(rig, client, path)
            assert status == 502
            assert "want a certificate from their clients" in message or "it wants a certificate" in message
            assert "tls.clientSecretRef names one" in message
        stranger = Authority("Strangers").issue("gateway")
        known = secrets("".join(stranger))
        async with running(served(url, Tls(authorities="ca", client="me", server_name=HOST)), secrets=known) as rig:
            status, message = await refused(rig, client, path)
            assert status == 502
            assert "it refused the certificate of the provider's tls.clientSecretRef: it does not trust" in message


async def test_a_certificate_that_openssl_refuses_costs_its_provider_alone(
    client: aiohttp.ClientSession,
) -> None:
    plain = served("https://127.0.0.1:1", Tls(client="me"))
    with capture_logs() as lines:
        async with running(plain, secrets=secrets("-----BEGIN NONSENSE-----")) as rig:
            status, message = await refused(rig, client, CHAT)
            assert status == 500
            assert "the certificates of Secret me cannot be used" in message
            with capture_logs() as again:  # what is as it was is not tried once more
                await rig.gateway.replace(plain, {name: SecretStr(text) for name, text in secrets("").items()})
            assert "a provider cannot be used" not in str(again)
    assert [line["provider"] for line in lines if line["event"] == "a provider cannot be used"] == ["openai"]
    with capture_logs() as lines:
        known = {**secrets(""), "ca": "nonsense"}
        async with running(served("https://127.0.0.1:1", Tls(authorities="ca")), secrets=known) as rig:
            assert "the certificates of Secret ca cannot be used" in (await refused(rig, client, CHAT))[1]


async def test_contexts_of_one_secret_are_one_and_are_gone_with_it() -> None:
    known = secrets("".join(CLIENTS.issue("gateway")))
    one = served("https://127.0.0.1:1", Tls(authorities="ca", client="me"))
    values = {name: SecretStr(text) for name, text in known.items()}
    async with running(one, secrets=known) as rig:
        before = rig.gateway._snapshot.contexts
        assert set(before) == {("ca", "me")}
        await rig.gateway.replace(served("https://127.0.0.1:2", Tls(authorities="ca", client="me")), values)
        assert rig.gateway._snapshot.contexts == before
        await rig.gateway.replace(served("https://127.0.0.1:2", Tls(server_name="h")), values)
        assert rig.gateway._snapshot.contexts == {}


def test_what_is_no_fault_of_tls_is_not_called_one() -> None:
    assert lost_by(None) == lost_by(ConnectionResetError()) == ""
    assert lost_by(ssl.SSLError(1, "x")) == "broke the connection off: TLS failed: the handshake was broken off"


def test_a_reason_without_advice_is_told_as_it_is() -> None:
    error = ssl.SSLError(1, "x")
    error.reason = "WRONG_VERSION_NUMBER"
    assert tls_failure(error) == "TLS failed: WRONG_VERSION_NUMBER"
    error.reason = "SSLV3_ALERT_CERTIFICATE_EXPIRED"
    assert tls_failure(error).endswith("tls.clientSecretRef: it has expired")
