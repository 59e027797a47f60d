"""Relay an upstream's answer to the client, piece by piece, as it comes."""

from __future__ import annotations

from typing import Protocol

import aiohttp

from dataplane.exchange import Exchange
from dataplane.http.client import REQUEST_ID, Answer, UpstreamLost, Writer
from dataplane.http.message import Request
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.request import response_headers


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
    response: aiohttp.ClientResponse,
    tap: Tap,
    *,
    resized: bool = False,
) -> Answer:
    """Send the answer on. `resized`: the tap may change its length.

    Raises ClientGone; UpstreamLost, after which the client's connection is closed."""
    fields = (
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in response.raw_headers
    )
    writer = Writer(
        request,
        services.limits,
        response.status,
        [*response_headers(exchange, destination, fields), (REQUEST_ID, exchange.id)],
        reason=response.reason or "",
        length=None if resized else _length(response),
    )
    try:
        if not response.content.is_eof() and not response.content.total_bytes:
            await writer.write(b"")  # the body may take its time; the head need not
        async for chunk in response.content.iter_any():
            if kept := tap.feed(chunk):
                await writer.write(kept)
    except (aiohttp.ClientError, TimeoutError, OSError):
        writer.cut()
        raise UpstreamLost(response.status) from None
    return await writer.end(tap.end())


def _length(response: aiohttp.ClientResponse) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else None
