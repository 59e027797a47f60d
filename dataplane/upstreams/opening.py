"""The upstream's half of a WebSocket handshake, without I/O: a request out, an answer in.

`websockets` speaks the protocol; here it is fed the answer's head alone, so that what the upstream sent behind
its 101, its first event often in the same packet, stays untouched. It gets no logger, and does not write the
request: it would log the credential, and change header values that are not ASCII.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

MAX_HEAD = 32 * 1024
MAX_BODY = 64 * 1024
"""Bytes of a refusal's body that are read."""
_HTTP = b"HTTP/1."
_MUTE = logging.Logger("mute")  # noqa: LOG001  (outside the tree of loggers, so that nothing turns it on)
_MUTE.disabled = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What the upstream said: 101 and the bytes behind it, or another status with its body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    rest: bytes = b""


class OpeningFailed(Exception):
    """The upstream did not answer with a WebSocket handshake. The message says what it did."""


class Opening:
    """One handshake. `fields` go out as they are, beside what the protocol needs; no compression is offered."""

    def __init__(self, url: str, fields: Iterable[tuple[str, str]], subprotocols: Sequence[str] = ()) -> None:
        parts = urlsplit(url)
        secure = parts.scheme in ("https", "wss")
        port = parts.port or (443 if secure else 80)
        uri = WebSocketURI(secure, parts.hostname or "", port, parts.path or "/", parts.query)
        self._protocol = ClientProtocol(
            uri, subprotocols=[Subprotocol(name) for name in subprotocols] or None, logger=_MUTE
        )
        self._request: Request = self._protocol.connect()
        self._fields = [*self._request.headers.raw_items(), *fields]
        self._head = bytearray()
        self.refusal: Answer | None = None
        """Status and fields of an answer other than 101, whose body is still to come."""
        self._size = 0

    def request(self) -> bytes:
        """The bytes to send."""
        lines = [f"GET {self._request.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self._fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    def receive(self, data: bytes) -> Answer | None:
        """Take bytes of the answer; the answer once it is whole. Raises OpeningFailed."""
        if self.refusal is not None:
            return self._more(self.refusal, data)
        self._head += data
        if not _HTTP.startswith(self._head[: len(_HTTP)]):
            raise OpeningFailed("it does not speak HTTP/1.1")
        while (end := self._head.find(b"\r\n\r\n") + 4) >= 4:
            head, rest = bytes(self._head[:end]), bytes(self._head[end:])
            status = _status(head)
            if status != 101 and 100 <= status < 200:  # interim, such as 103 Early Hints
                del self._head[:end]
                continue
            if status == 101:
                self._protocol.receive_data(head)
                return self._upgraded(rest)
            self.refusal = Answer(status, _fields(head))
            return self._more(self.refusal, head + rest)
        if len(self._head) > MAX_HEAD:
            raise OpeningFailed(f"its answer's head is over {MAX_HEAD} bytes")
        return None

    def eof(self) -> Answer:
        """The upstream closed the connection: its answer, which may lack the body. Raises OpeningFailed where there
        is none."""
        if self.refusal is None:
            raise OpeningFailed("it closed the connection without an answer")
        self._protocol.receive_eof()
        return self._whole() or self.refusal

    def _more(self, refusal: Answer, data: bytes) -> Answer | None:
        self._size += len(data)
        self._protocol.receive_data(data)
        return self._whole() or (refusal if self._size > MAX_HEAD + MAX_BODY else None)

    def _upgraded(self, rest: bytes) -> Answer:
        error = self._protocol.handshake_exc
        if error is not None:
            raise OpeningFailed(f"its handshake is not valid: {error}")
        response = next(event for event in self._protocol.events_received() if isinstance(event, Response))
        return Answer(101, list(response.headers.raw_items()), rest=rest)

    def _whole(self) -> Answer | None:
        """The refusal with its body, once that is whole."""
        error = self._protocol.handshake_exc
        if not isinstance(error, InvalidStatus):
            return None if error is None else self.refusal  # a body that cannot be read changes nothing
        response = error.response
        return Answer(response.status_code, list(response.headers.raw_items()), bytes(response.body)[:MAX_BODY])


def _status(head: bytes) -> int:
    digits = head.partition(b"\r\n")[0].split(b" ", 2)[1:2]
    if not digits or len(digits[0]) != 3 or not digits[0].isdigit() or digits[0] < b"100":
        raise OpeningFailed("it does not speak HTTP/1.1")
    return int(digits[0])


def _fields(head: bytes) -> list[tuple[str, str]]:
    lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:]]
    return [(name, value.strip()) for name, colon, value in lines if colon]
