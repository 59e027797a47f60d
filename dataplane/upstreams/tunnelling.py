"""How a tunnel is asked for at an HTTP proxy (CONNECT, RFC 9110 §9.3.6), without I/O: a request out, an answer in.

An answer to CONNECT has no body if it is a success, whatever its fields say, and everything behind its head is the
upstream's. No upstream speaks first, be it to TLS or to plain HTTP: what comes behind the head is a proxy that is none.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from dataplane.upstreams.egress import PASSWORD

MAX_HEAD = 16 * 1024
"""Bytes of an answer's head, with the interim answers before it."""
_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9]\d\d)(?: [\t -~\x80-\xff]*)?\r\n")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~\x80-\xff]*\r\n")
_HOST = re.compile(r"[A-Za-z0-9._:%-]+")


class TunnelRefused(Exception):
    """There is no tunnel. The message ends a sentence that begins with the proxy, and quotes nothing of it."""


class Tunnel:
    """One that is asked for, to `host`, a name or a numeric address without brackets."""

    def __init__(self, host: str, port: int, authorization: str = "") -> None:
        if not _HOST.fullmatch(host):
            raise TunnelRefused("was not asked: the provider's name is not a valid host name")
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._authorization = authorization
        self._data = bytearray()
        self._size = 0

    def request(self) -> bytes:
        """The bytes to send."""
        lines = [f"CONNECT {self._authority} HTTP/1.1", f"Host: {self._authority}"]
        if self._authorization:
            lines.append(f"Proxy-Authorization: {self._authorization}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

    def receive(self, data: bytes) -> bool:
        """Take bytes of the answer: whether the tunnel is there. Raises TunnelRefused."""
        self._data += data
        self._size += len(data)
        while (end := self._data.find(_END)) >= 0 and end + len(_END) <= MAX_HEAD:
            head = bytes(self._data[: end + 2])
            del self._data[: end + len(_END)]
            if (status := _status(head)) >= 200:
                self._check(status)
                return True
        if self._size > MAX_HEAD:
            raise TunnelRefused(f"answered with a head of more than {MAX_HEAD} bytes")
        if self._data and not b"HTTP/1.".startswith(bytes(self._data[:7])):
            raise TunnelRefused(_NO_ANSWER)
        return False

    def eof(self) -> TunnelRefused:
        """The proxy closed the connection before there was a tunnel."""
        return TunnelRefused("closed the connection without an answer")

    def _check(self, status: int) -> None:
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise TunnelRefused(
                "refused the gateway's own credential (407): whoever runs the gateway has to check user and password"
                if self._authorization
                else "wants a credential (407): whoever runs the gateway names a user in the proxy's URL, and puts the "
                f"password into {PASSWORD}"
            )
        if status >= 300:
            raise TunnelRefused(f"answered {status}{_phrase(status)}")
        if self._data:
            raise TunnelRefused("sent something before the upstream was asked anything")


_NO_ANSWER = "answered something that is not HTTP/1.1"


def _status(head: bytes) -> int:
    """Of a head without its empty line. Raises TunnelRefused where it is none."""
    line = _STATUS.match(head)
    place = line.end() if line else 0
    while line and place < len(head):
        field = _FIELD.match(head, place)
        if not field:
            raise TunnelRefused(_NO_ANSWER)
        place = field.end()
    if not line or int(line[1]) == HTTPStatus.SWITCHING_PROTOCOLS:
        raise TunnelRefused(_NO_ANSWER)
    return int(line[1])


def _phrase(status: int) -> str:
    try:
        return f" ({HTTPStatus(status).phrase})"
    except ValueError:
        return ""
