"""Take a client's connection away from aiohttp: from then on its bytes belong to a protocol of ours.

Tested against the oldest and the newest aiohttp that we allow; it uses aiohttp's public names only.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from aiohttp import web

from dataplane.http.client import Answer

SWITCHED = 101


class Receiver(Protocol):
    """What gets the connection: an asyncio protocol that can also be fed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def feed(self, data: bytes) -> None:
        """Bytes that the client sent before it was answered."""


class _Tail:
    """Stands where aiohttp's WebSocket parser would, to get what the client sent behind its request."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """aiohttp lets go of the connection."""


def take_over(request: web.BaseRequest, head: bytes, protocol: Receiver) -> Answer:
    """Write `head` (the 101) and give the connection to `protocol`; return what is returned from here, at once.

    Nothing is awaited between the first line and the last, so that no byte is lost and none is delivered twice.
    Raises ConnectionResetError where the client has left."""
    handler = request.protocol
    transport = handler.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client left before it was answered")
    tail = _Tail()
    handler.set_parser(tail)  # type: ignore[arg-type]  # not a WebSocketReader, but used as one
    handler.transport = None  # from here aiohttp can neither write nor close
    transport.set_protocol(cast("asyncio.BaseProtocol", protocol))
    handler.connection_lost(None)  # ends its timers and its server entry
    transport.write(head)
    transport.resume_reading()  # aiohttp pauses when much came before the answer; from here the protocol may
    protocol.connection_made(transport)
    if tail.data:
        protocol.feed(bytes(tail.data))
    return Answer(SWITCHED)
