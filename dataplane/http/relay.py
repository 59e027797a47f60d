"""Relay an upstream's answer to the client, piece by piece, as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dataplane.exchange import Exchange
from dataplane.http.client import REQUEST_ID, Answer, UpstreamLost, Writer
from dataplane.http.message import Request
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.connection import Lost
from dataplane.upstreams.request import response_headers
from dataplane.upstreams.response import Response


class Tap(Protocol):
    """Sees every piece of a body, and says what is sent of it."""

    def feed(self, chunk: bytes) -> bytes: ...

    def end(self) -> bytes: ...


class PassAll:
    """Looks at nothing."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def end(self) -> bytes:
        return b""


async def relay(
    services: Services,
    request: Request,
    exchange: Exchange,
    destination: Destination,
    response: Response,
    tap: Tap,
    *,
    resized: bool = False,
) -> Answer:
    """Send the answer on. `resized`: the tap may change its length.

    Raises ClientGone; UpstreamLost, after which the client's connection is closed."""
    fields = response_headers(exchange, destination, response.fields)
    fields.append((REQUEST_ID, exchange.id))
    length = None if resized else response.length
    writer = Writer(request, services.limits, response.status, fields, reason=response.reason, length=length)

    if (whole := response.whole()) is not None:
        return await writer.end(tap.feed(whole) + tap.end())

    def pass_on(taken: Callable[[], bytes]) -> bool:
        if request.connection.full:
            return False
        writer.put(tap.feed(taken()))
        return True

    response.pass_on = pass_on
    kept = b""
    try:
        while not response.over:
            if kept or not response.arrived:  # the body may take its time; the head need not
                await writer.write(kept)
            kept = tap.feed(await anext(response, b""))
    except Lost:
        writer.cut()
        raise UpstreamLost(response.status) from None
    return await writer.end(kept + tap.end())
