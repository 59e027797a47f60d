"""Everything else: any method, any size, streamed both ways, read by nobody. For WebSockets see `tunnels`."""

from __future__ import annotations

from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http.message import Request
from dataplane.http.relay import PassAll, relay
from dataplane.services import Services
from dataplane.upstreams.choose import Destination, any_provider
from dataplane.upstreams.request import address, upstream_headers
from dataplane.upstreams.send import send


async def serve(services: Services, request: Request, exchange: Exchange) -> http.Answer:
    """Serve one request. Raises Refusal, ClientGone, UpstreamLost."""
    destination = Destination(any_provider(exchange.backend, services.rand), "", "")
    fields = upstream_headers(exchange, destination)
    body = http.chunks(request, services.limits) if request.head.has_body else None
    if body is not None and request.head.length is not None:
        fields.append(("content-length", str(request.head.length)))
    url = address(destination.provider, exchange.path, exchange.query)
    with http.while_connected(request):
        reach, timeouts = exchange.reach(destination.provider), exchange.backend.timeouts
        response = await send(services, destination, timeouts, exchange.method, url, fields, body, reach=reach)
        try:
            return await relay(services, request, exchange, destination, response, PassAll())
        finally:
            response.close()
