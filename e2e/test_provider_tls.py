"""Providers that want to be shown a certificate, behind servers that nobody here wrote: HAProxy and nginx."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import processes
import pytest
from cluster.certificates import Authority
from fronts import Front, asking_haproxy, asking_nginx

HOST = "llm.internal"
FRONTS: dict[str, tuple[Callable[[Path, str], Front], int, str]] = {
    "HAProxy": (asking_haproxy, 502, "wants a certificate from its clients"),
    "nginx": (asking_nginx, 400, "No required SSL certificate was sent"),
}
HANDSHAKE = (
    "GET /PATH/v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("name", FRONTS)
def test_a_provider_is_shown_a_certificate(name: str, tmp_path: Path) -> None:
    start, status, said = FRONTS[name]
    servers, server = signed(tmp_path / "servers", HOST)
    clients, client = signed(tmp_path / "clients", "gateway")
    (tmp_path / "server.pem").write_text("".join(server))
    (tmp_path / "clients.pem").write_text(clients)
    simulator = processes.start_simulator(tmp_path)
    front = start(tmp_path, simulator.ports["url"].removeprefix("http://"))
    config = tmp_path / "config.yaml"
    config.write_text("\n---\n".join(map(json.dumps, documents(front.port, servers, *client))))
    gateway = processes.start_gateway(tmp_path, {}, config=str(config))
    try:
        url = gateway.ports["url"]
        answer, text = ask(f"http://{url}/shown/v1/chat/completions")
        assert answer == 200, text
        assert asyncio.run(opened(url, "shown")) == 101
        answer, text = ask(f"http://{url}/unknown/v1/chat/completions")
        assert (answer, said in text) == (status, True), text
        assert asyncio.run(opened(url, "unknown")) == status
        assert "PRIVATE KEY" not in gateway.text()
    finally:
        gateway.kill()
        front.stop()
        simulator.kill()


def signed(folder: Path, name: str) -> tuple[str, tuple[str, str]]:
    """An authority's certificate, and a certificate with its key that it has signed."""
    folder.mkdir()
    authority = Authority(folder)
    authority.issue("it", name, hosts=(name,))
    return authority.certificate.read_text(), ((folder / "it.crt").read_text(), (folder / "it.key").read_text())


def documents(port: int, authorities: str, chain: str, key: str) -> list[object]:
    """A Backend that shows a certificate, and one that does not."""
    trust = {"caSecretRef": {"name": "authorities"}, "serverName": HOST}
    return [
        backend("shown", port, {**trust, "clientSecretRef": {"name": "gateway"}}),
        backend("unknown", port, trust),
        secret("authorities", {"ca.crt": authorities}),
        secret("gateway", {"tls.crt": chain, "tls.key": key}),
        secret("upstream", {"Authorization": processes.UPSTREAM_KEY}),
    ]


def backend(name: str, port: int, tls: object) -> object:
    auth = {"secretRef": {"name": "upstream"}}
    spec = {
        "providers": [{"name": "p", "custom": {}, "url": f"https://127.0.0.1:{port}/v1", "auth": auth, "tls": tls}],
        "expose": {"pathPrefix": f"/{name}"},
    }
    return {"apiVersion": "tidegate.dev/v1alpha1", "kind": "Backend", "metadata": {"name": name}, "spec": spec}


def secret(name: str, entries: dict[str, str]) -> object:
    encoded = {entry: base64.b64encode(value.encode()).decode() for entry, value in entries.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def ask(url: str) -> tuple[int, str]:
    """Status and body of a chat completion."""
    body = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def opened(host: str, path: str) -> int:
    """The status of a handshake for a session."""
    reader, writer = await asyncio.open_connection(*host.split(":"))
    try:
        writer.write(HANDSHAKE.replace("PATH", path).encode())
        async with asyncio.timeout(10):
            return int((await reader.readuntil(b"\r\n\r\n")).split(b" ")[1])
    finally:
        writer.close()
