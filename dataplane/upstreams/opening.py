"""The upstream's half of a WebSocket handshake, without I/O: a request out, an answer in.

`websockets` speaks the protocol; here it is fed the answer's head alone, so that what the upstream sent behind
its 101, its first event often in the same packet, stays untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

MAX_HEAD = 32 * 1024
MAX_BODY = 64 * 1024
"""Bytes of a refusal's body that are read."""


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
        self._protocol = ClientProtocol(uri, subprotocols=[Subprotocol(name) for name in subprotocols] or None)
        self._request: Request = self._protocol.connect()
        for name, value in fields:
            self._request.headers[name] = value
        self._head = bytearray()
        self._answered = False

    def request(self) -> bytes:
        """The bytes to send."""
        self._protocol.send_request(self._request)
        return b"".join(self._protocol.data_to_send())

    def receive(self, data: bytes) -> Answer | None:
        """Take bytes of the answer; the answer once it is whole. Raises OpeningFailed."""
        if self._answered:
            return self._more(data)
        self._head += data
        while (end := self._head.find(b"\r\n\r\n") + 4) >= 4:
            head, rest = bytes(self._head[:end]), bytes(self._head[end:])
            status = _status(head)
            if status != 101 and 100 <= status < 200:  # interim, such as 103 Early Hints
                del self._head[:end]
                continue
            self._answered = True
            if status != 101:
                return self._more(head + rest)
            self._protocol.receive_data(head)
            return self._upgraded(rest)
        if len(self._head) > MAX_HEAD:
            raise OpeningFailed(f"its answer's head is over {MAX_HEAD} bytes")
        return None

    def eof(self) -> Answer:
        """The upstream closed the connection. Raises OpeningFailed where no answer was complete before."""
        if not self._answered:
            raise OpeningFailed("it closed the connection without an answer")
        self._protocol.receive_eof()
        answer = self._refused()
        if answer is None:
            raise OpeningFailed("it closed the connection in the middle of its answer")
        return answer

    def _more(self, data: bytes) -> Answer | None:
        self._protocol.receive_data(data)
        return self._refused()

    def _upgraded(self, rest: bytes) -> Answer:
        error = self._protocol.handshake_exc
        if error is not None:
            raise OpeningFailed(f"its handshake is not valid: {error}")
        response = next(event for event in self._protocol.events_received() if isinstance(event, Response))
        return Answer(101, list(response.headers.raw_items()), rest=rest)

    def _refused(self) -> Answer | None:
        error = self._protocol.handshake_exc
        if error is None:
            return None
        if isinstance(error, InvalidStatus):
            response = error.response
            return Answer(response.status_code, list(response.headers.raw_items()), bytes(response.body)[:MAX_BODY])
        what = error if isinstance(error, InvalidHandshake) else type(error).__name__
        raise OpeningFailed(f"its answer could not be read: {what}")


def _status(head: bytes) -> int:
    try:
        return int(head.split(b" ", 2)[1][:3])
    except (IndexError, ValueError):
        raise OpeningFailed("it does not speak HTTP/1.1") from None
