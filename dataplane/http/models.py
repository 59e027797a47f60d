"""`GET /v1/models` and `/v1/models/NAME`: what this caller may use, as OpenAI's clients read it.

A Backend that declares its models is the one to know. Of one that does not, a provider is asked, and what the caller
may not use is left out; where no Policy limits the caller, the provider's answer goes on as it came.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from dataplane import models
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http import headers, passthrough, paths
from dataplane.http.failover import Asking
from dataplane.http.message import Request
from dataplane.http.relay import PassAll, relay
from dataplane.routing import model_of
from dataplane.services import Services
from dataplane.table import RouteType
from dataplane.upstreams.choose import Destination, check, declared
from dataplane.upstreams.connection import Lost
from dataplane.upstreams.request import address, upstream_headers
from dataplane.upstreams.response import Response
from dataplane.upstreams.send import send

LONGEST = 4 * 1024 * 1024
"""Bytes of a provider's list. One of 400 models takes a megabyte where each has a page about it."""
_METHODS = ("GET", "HEAD")
_READ = frozenset(["accept-encoding", "range", "if-range", "if-none-match", "if-modified-since"])
"""Fields that ask for less than all of it, in plain."""
_RELAYED = 300
"""From this status on an answer is no list."""


async def serve(services: Services, request: Request, exchange: Exchange) -> http.Answer:
    """Serve one request. Raises Refusal, ClientGone, UpstreamLost."""
    if exchange.method not in _METHODS:
        allowed = ", ".join(_METHODS)
        raise Refusal("method_not_allowed", "Models are listed by GET.", headers={"Allow": allowed})
    allow, known = exchange.allowed(), exchange.backend.models
    name = model_of(paths.normalised(exchange.path))
    if name:
        check(allow, name)
    said = _said(exchange, name or "") if known else None
    if exchange.budget is not None:
        await exchange.budget.admit_request()
    if said is not None:
        return await _answer(services, request, exchange, said)
    if name or not allow:
        return await passthrough.serve(services, request, replace(exchange, type=RouteType.PASSTHROUGH))
    return await _asked(services, request, exchange)


def _said(exchange: Exchange, name: str) -> object:
    """What the Backend itself says: of one model, or of all that the caller may use. Raises Refusal model_not_found."""
    allow = exchange.allowed()
    if not name:
        return models.page([models.shown(each) for each in models.names(exchange.backend.models, allow)])
    declared(exchange.backend, name, allow)
    return models.shown(name)


async def _asked(services: Services, request: Request, exchange: Exchange) -> http.Answer:
    """What a provider says, without the models that the caller may not use. The client's query is not sent: a page of a
    list, with the rest left out, would be none."""

    async def ask(to: Destination) -> Response:
        fields = [field for field in upstream_headers(exchange, to) if field[0] not in _READ]
        fields.append(("accept-encoding", "identity"))  # the answer is read here
        url, reach = address(to.provider, exchange.path, ""), exchange.reach(to.provider)
        return await send(services, to, exchange.backend.timeouts, "GET", url, fields, None, reach=reach)

    with Asking(services, services.pools.any(exchange)) as asking, http.while_connected(request):
        response = await asking.answer(ask, repeatable=True)
        try:
            if response.status >= _RELAYED:
                return await relay(services, request, exchange, asking.destination, response, PassAll())
            listing = await _whole(response)
        finally:
            response.close()
    try:
        kept = models.kept(listing, exchange.allowed())
    except ValueError:
        raise _unreadable("which is no list of models in OpenAI's shape") from None
    return await _answer(services, request, exchange, models.page(kept))


async def _whole(response: Response) -> bytes:
    """Raises Refusal upstream_protocol_error."""
    held = bytearray(response.whole() or b"")
    try:
        async for piece in response:
            held += piece
            if len(held) > LONGEST:
                raise _unreadable(f"which is over {LONGEST} bytes")
    except Lost:
        raise _unreadable("which broke off") from None
    return bytes(held)


def _unreadable(why: str) -> Refusal:
    return Refusal(
        "upstream_protocol_error",
        f"The provider was asked for its models, to leave out those that this caller may not use, and sent an answer "
        f"{why}. Declare the models in the Backend's spec.models; then no provider is asked.",
    )


async def _answer(services: Services, request: Request, exchange: Exchange, body: object) -> http.Answer:
    """Answer with JSON of ours, with the header fields that Policies want in an answer. Raises ClientGone."""
    payload, resolve = orjson.dumps(body), exchange.resolver()
    fields = [("content-type", "application/json")]
    if exchange.budget is not None:
        fields += exchange.budget.headers()
    for change in exchange.transformations():
        fields = headers.transformed(fields, change.response, resolve)
    fields = [*headers.unframed(fields), (http.REQUEST_ID, exchange.id)]
    return await http.Writer(request, services.limits, 200, fields, reason="OK", length=len(payload)).end(payload)
