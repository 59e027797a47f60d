"""Requests and answers that are read on their way: they are not compressed."""

from __future__ import annotations

from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.request import address, upstream_headers
from dataplane.upstreams.response import Response
from dataplane.upstreams.send import send

_ENCODINGS = frozenset(["accept-encoding", "content-encoding"])


def check_encoding(exchange: Exchange) -> None:
    """Raises Refusal unsupported_encoding."""
    if exchange.headers.first.get("content-encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_encoding", "The body must be read here: send it without Content-Encoding.")


async def ask(
    services: Services, exchange: Exchange, to: Destination, path: str, query: str, body: bytes | None = None
) -> Response:
    """Ask a provider for an answer that is read here. Raises Refusal."""
    fields = [field for field in upstream_headers(exchange, to) if field[0] not in _ENCODINGS]
    fields.append(("accept-encoding", "identity"))
    url = address(to.provider, path, query, to.upstream_model)
    reach, timeouts = exchange.reach(to.provider), exchange.backend.timeouts
    return await send(services, to, timeouts, exchange.method, url, fields, body, reach=reach)
