"""Everything else: any method, any size, streamed both ways, read by nobody. For WebSockets see `tunnels`."""

from __future__ import annotations

from aiohttp import web

from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http.relay import PassAll, relay
from dataplane.services import Services
from dataplane.upstreams.choose import Destination, any_provider
from dataplane.upstreams.request import address, upstream_headers
from dataplane.upstreams.send import send


async def serve(services: Services, request: web.BaseRequest, exchange: Exchange) -> http.Answer:
    """Serve one request. Raises Refusal, ClientGone, UpstreamLost."""
    destination = Destination(any_provider(exchange.backend, services.rand), "", "")
    fields = upstream_headers(exchange, destination)
    body = http.chunks(request, services.limits) if request.body_exists else None
    if body is not None and request.content_length is not None:
        fields.append(("content-length", str(request.content_length)))
    url = address(destination.provider, exchange.path, exchange.query)
    with http.while_connected(request):
        response = await send(services, destination, exchange.backend.timeouts, exchange.method, url, fields, body)
        try:
            return await relay(services, request, exchange, destination, response, PassAll())
        finally:
            response.close()
