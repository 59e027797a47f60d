"""Chat completions: read the request, send it on under the provider's name for the model, relay and meter the
answer."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http import chat
from dataplane.http import client as http
from dataplane.http.failover import Asking
from dataplane.http.message import Request
from dataplane.http.relay import PassAll, Tap, relay
from dataplane.ids import new_id
from dataplane.limits.spending import Model
from dataplane.metering.usage import Status, Usage
from dataplane.services import Services
from dataplane.tracing import Timing
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.request import address, upstream_headers
from dataplane.upstreams.response import Response
from dataplane.upstreams.send import send

_ERRORS = HTTPStatus.BAD_REQUEST.value
_READ = frozenset(["accept-encoding", "content-encoding"])
_NO_TURN = frozenset(["upstream_unreachable", "upstream_address_refused", "upstream_credential_rejected"])


async def serve(services: Services, request: Request, exchange: Exchange) -> http.Answer:
    """Serve one request. Raises Refusal, ClientGone, UpstreamLost."""
    _check(exchange)
    asked = chat.parsed(await http.body(request, services.limits, services.room))
    if allow := exchange.allowed():
        chat.check_one_model(asked)
    with Asking(services, services.pools.named(exchange, exchange.deployment or chat.model_of(asked), allow)) as asking:
        budget = exchange.budget
        if budget is not None:
            await budget.admit_turn(Model.of(asking.destination, speaks=False))
        turn = Turn(services, exchange, asking.destination)
        try:
            with http.while_connected(request):
                response = await asking.answer(lambda to: _send(services, exchange, turn, asked, to), repeatable=True)
                try:
                    return await _relay(services, request, exchange, turn, response, hide=not chat.asks_usage(asked))
                finally:
                    response.close()
        except BaseException as error:
            turn.broke_off(error)
            raise
        finally:
            if budget is not None:
                budget.release_turn()


async def _send(services: Services, exchange: Exchange, turn: Turn, asked: chat.Json, to: Destination) -> Response:
    """Ask a provider, under its own name for the model. Raises Refusal."""
    if turn.destination is not to and exchange.budget is not None:
        exchange.budget.reckon(Model.of(to, speaks=False))
    turn.destination = to
    fields = [field for field in upstream_headers(exchange, to) if field[0] not in _READ]
    fields.append(("accept-encoding", "identity"))  # the answer is read here
    url = address(to.provider, exchange.path, exchange.query, to.upstream_model)
    body = chat.rewritten(asked, to.upstream_model)
    reach, timeouts = exchange.reach(to.provider), exchange.backend.timeouts
    return await send(services, to, timeouts, "POST", url, fields, body, reach=reach)


async def _relay(
    services: Services,
    request: Request,
    exchange: Exchange,
    turn: Turn,
    response: Response,
    *,
    hide: bool,
) -> http.Answer:
    destination = turn.destination
    if response.status >= _ERRORS:
        return await relay(services, request, exchange, destination, response, PassAll())
    streamed = response.content_type == "text/event-stream"
    tap: Tap = (
        chat.StreamTap(turn.outcome, services.limits.event, hide=hide)
        if streamed
        else chat.JsonTap(turn.outcome, services.limits.reply)
    )
    answer = await relay(services, request, exchange, destination, response, tap, resized=streamed)
    turn.end(turn.outcome.status)
    return answer


class Turn:
    """The one record that a request leaves, whatever becomes of it."""

    def __init__(self, services: Services, exchange: Exchange, destination: Destination) -> None:
        self.destination = destination
        self.outcome = chat.Outcome()
        self._services, self._exchange = services, exchange
        self._began = time.monotonic()
        self._began_at = time.time()

    def broke_off(self, error: BaseException) -> None:
        """End it as what it ended with says; a request that the provider never took is no turn."""
        if isinstance(error, http.ClientGone | asyncio.CancelledError):
            self.end("cancelled")
        elif not (isinstance(error, Refusal) and _not_taken(error)):
            self.end("failed")

    def end(self, status: Status) -> None:
        exchange, destination, outcome = self._exchange, self.destination, self.outcome
        route, backend = exchange.route.name, exchange.backend.name
        usage = Usage(
            id=new_id(),
            operation="chat",
            status=status,
            tokens=outcome.tokens,
            provider=destination.provider.name,
            provider_kind=destination.provider.kind,
            request_model=destination.upstream_model,
            response_model=outcome.model,
            route=route,
            backend=backend,
            caller=exchange.caller,
            response_id=outcome.id,
            public_model=destination.public_model,
            by_key=exchange.telemetry().caller_key,
        )
        seconds = time.monotonic() - self._began
        cost = self._services.meter.turn(usage, own=destination.price, duration=seconds)
        if exchange.budget is not None:
            exchange.budget.used(usage, cost)
        timing = Timing(self._began_at, self._began_at + seconds)
        with self._services.guard:
            self._services.tracer.turn(usage, cost, timing, traceparent=exchange.headers.first.get("traceparent", ""))
        if outcome.unmetered:
            self._services.meter.unmetered(outcome.unmetered, route, backend)


def _not_taken(refusal: Refusal) -> bool:
    return refusal.unsent or refusal.fault is None or refusal.code in _NO_TURN


def _check(exchange: Exchange) -> None:
    """Raises Refusal method_not_allowed, unsupported_encoding."""
    if exchange.method != "POST":
        raise Refusal("method_not_allowed", "Chat completions take POST.", headers={"Allow": "POST"})
    if exchange.headers.first.get("content-encoding", "identity").lower() != "identity":
        raise Refusal("unsupported_encoding", "The body must be read here: send it without Content-Encoding.")
