"""Requests to a gateway at one of its ports, under any host and with any key."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPConnection

COMPLETIONS = "/v1/chat/completions"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def provider(self) -> str:
        """Which of the providers of `providers.py` it came from; empty: from none."""
        return self.headers.get("x-provider", "")

    @property
    def code(self) -> str:
        """Of an error of the gateway's."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return ""

    def __str__(self) -> str:
        return f"{self.status} {self.provider or self.code}".strip()


def ask(
    address: str,
    path: str = COMPLETIONS,
    *,
    host: str = "",
    key: str = "",
    method: str = "POST",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Ask for a completion. `address`: "host:port"; `host`: of the header, and of SNI where there is `tls`.

    Raises OSError."""
    body = json.dumps({"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]})
    named, port = address.rsplit(":", 1)
    connection = HTTPConnection(named, int(port), timeout=20)
    connection.sock = _connected(named, int(port), host, tls)
    own = {"Content-Type": "application/json", "Host": host or address, "Connection": "close"}
    try:
        if key:
            own["Authorization"] = f"Bearer {key}"
        connection.request(method, path, body if method == "POST" else None, {**own, **headers})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


def _connected(named: str, port: int, host: str, tls: ssl.SSLContext | None) -> socket.socket:
    sock = socket.create_connection((named, port), timeout=20)
    if tls is None:
        return sock
    try:
        return tls.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise
