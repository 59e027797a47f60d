"""Everything else: any method, any size, streamed both ways, read by nobody. For WebSockets see `tunnels`."""

from __future__ import annotations

from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http.failover import Asking
from dataplane.http.message import Request
from dataplane.http.relay import PassAll, relay
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.request import address, upstream_headers
from dataplane.upstreams.response import Response
from dataplane.upstreams.send import send

_SAFE = frozenset(["GET", "HEAD", "OPTIONS"])
"""Methods that change nothing (RFC 9110 §9.2.1)."""


async def serve(services: Services, request: Request, exchange: Exchange) -> http.Answer:
    """Serve one request. Raises Refusal, ClientGone, UpstreamLost."""
    body = http.chunks(request, services.limits) if request.head.has_body else None
    repeatable = body is None and exchange.method in _SAFE

    async def ask(to: Destination) -> Response:
        fields = upstream_headers(exchange, to)
        if body is not None and request.head.length is not None:
            fields.append(("content-length", str(request.head.length)))
        url = address(to.provider, exchange.path, exchange.query)
        reach, timeouts = exchange.reach(to.provider), exchange.backend.timeouts
        return await send(services, to, timeouts, exchange.method, url, fields, body, reach=reach)

    with Asking(services, services.pools.any(exchange)) as asking, http.while_connected(request):
        response = await asking.answer(ask, repeatable=repeatable)
        try:
            return await relay(services, request, exchange, asking.destination, response, PassAll())
        finally:
            response.close()
