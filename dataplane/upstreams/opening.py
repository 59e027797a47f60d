"""The upstream's half of a WebSocket handshake, without I/O: a request out, an answer in (RFC 6455, section 4.1).

The answer is read like any other of an upstream's (`parser`), and what came behind a 101, the first event often in the
same packet, stays untouched.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from websockets.utils import accept_key

from dataplane.upstreams.parser import BadAnswer, Parser
from dataplane.upstreams.target import parted

MAX_HEAD = 32 * 1024
MAX_BODY = 64 * 1024
"""Bytes of a refusal's body that are read."""
_CHECKED = ("upgrade", "connection", "sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol")


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
        self._url = url
        self._fields = fields
        self._subprotocols = subprotocols
        self._key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._parser = Parser()
        self._parser.start(switches=True)
        self._size = 0

    def request(self) -> bytes:
        """The bytes to send. Those of fields that are no UTF-8 stay what they were."""
        origin, target = parted(self._url)
        lines = [
            f"GET {target} HTTP/1.1",
            f"Host: {origin.authority}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key}",
            "Sec-WebSocket-Version: 13",
        ]
        if self._subprotocols:
            lines.append(f"Sec-WebSocket-Protocol: {', '.join(self._subprotocols)}")
        lines += map(": ".join, self._fields)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    @property
    def refusal(self) -> Answer | None:
        """Of an answer other than 101, what has come of it."""
        head = self._parser.head
        if head is None:
            return None
        return Answer(head.status, head.fields, b"".join(self._parser.pieces)[:MAX_BODY] if self._parser.ended else b"")

    def receive(self, data: bytes) -> Answer | None:
        """Take bytes of the answer; the answer once it is whole. Raises OpeningFailed."""
        parser = self._parser
        self._size += len(data)
        try:
            parser.feed(data)
        except BadAnswer as error:
            if parser.head is None:
                raise OpeningFailed(f"it {error}") from None
            return self.refusal  # a body that cannot be read changes nothing
        if parser.head is None:
            if self._size > MAX_HEAD:
                raise OpeningFailed(f"its answer's head is over {MAX_HEAD} bytes")
            return None
        if parser.head.status == 101:
            parser.close()
            self._check(parser.head.fields)
            return Answer(101, parser.head.fields, rest=parser.rest)
        return self.refusal if parser.ended or self._size > MAX_HEAD + MAX_BODY else None

    def eof(self) -> Answer:
        """The upstream closed the connection: its answer, which may lack the body. Raises OpeningFailed where there
        is none."""
        self._parser.eof()
        refusal = self.refusal
        if refusal is None:
            raise OpeningFailed("it closed the connection without an answer")
        return refusal

    def _check(self, fields: list[tuple[str, str]]) -> None:
        """See whether a 101 is the answer to this handshake. Raises OpeningFailed."""
        said: dict[str, list[str]] = {name: [] for name in _CHECKED}
        for name, value in fields:
            if (name := name.lower()) in said:
                said[name].append(value)
        upgrade, connection, accept, extensions, subprotocol = said.values()
        if [name.lower() for name in _listed(upgrade)] != ["websocket"]:
            wrong = "Upgrade is not websocket"
        elif "upgrade" not in [name.lower() for name in _listed(connection)]:
            wrong = "Connection is not Upgrade"
        elif accept != [accept_key(self._key)]:
            wrong = "Sec-WebSocket-Accept does not fit the key"
        elif extensions:
            wrong = "Sec-WebSocket-Extensions has what was not offered"
        elif subprotocol and _listed(subprotocol) not in [[name] for name in self._subprotocols]:
            wrong = "Sec-WebSocket-Protocol has what was not offered"
        else:
            return
        raise OpeningFailed(f"its handshake is not valid: {wrong}")


def _listed(values: list[str]) -> list[str]:
    """The members of a field that is a list (RFC 9110 §5.6.1)."""
    return [member for value in values for part in value.split(",") if (member := part.strip())]
