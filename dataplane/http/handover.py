"""Take a client's connection away from HTTP: from then on its bytes belong to another protocol."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from dataplane.http.client import Answer
from dataplane.http.message import Request

SWITCHED = 101


class Receiver(Protocol):
    """What gets the connection: the part of an asyncio protocol that is used here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def data_received(self, data: bytes) -> None: ...


def take_over(request: Request, head: bytes, protocol: Receiver) -> Answer:
    """Write `head` (the 101) and give the connection to `protocol`; return what is returned from here, at once.

    Nothing is awaited between the first line and the last, so that no byte is lost and none is delivered twice.
    Raises ClientGone."""
    transport, behind = request.connection.release()
    transport.set_protocol(cast("asyncio.BaseProtocol", protocol))
    transport.write(head)
    protocol.connection_made(transport)
    if behind:
        protocol.data_received(behind)
    return Answer(SWITCHED)
