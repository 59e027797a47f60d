"""Chat completions: read the request, send it on under the provider's name for the model, relay and meter the
answer."""

from __future__ import annotations

from http import HTTPStatus

from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.guardrails.texts import chat_request, speaks
from dataplane.http import chat, guarded, reading
from dataplane.http import client as http
from dataplane.http.chat_guarded import Chat
from dataplane.http.failover import Asking
from dataplane.http.jury import Jury, jury
from dataplane.http.message import Request
from dataplane.http.relay import PassAll, Tap, relay
from dataplane.http.turn import Turn
from dataplane.limits.spending import Model
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.response import Response

_ERRORS = HTTPStatus.BAD_REQUEST.value


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
        outcome, judges = chat.Outcome(), jury(services, exchange, asking.destination.public_model)
        turn = Turn(services, exchange, asking.destination, outcome)
        try:
            with http.while_connected(request):
                if judges is not None:
                    await judges.asked(lambda: chat_request(asked), speaks=speaks(asked))
                response = await asking.answer(lambda to: _send(services, exchange, turn, asked, to), repeatable=True)
                try:
                    hide = not chat.asks_usage(asked)
                    answer = await _relay(services, request, exchange, turn, response, outcome, judges, hide=hide)
                    if response.status < _ERRORS:
                        turn.end(outcome.status)
                    return answer
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
    if turn.destination is not to:
        turn.move(to)
    body = chat.rewritten(asked, to.upstream_model)
    return await reading.ask(services, exchange, to, exchange.path, exchange.query, body)


async def _relay(
    services: Services,
    request: Request,
    exchange: Exchange,
    turn: Turn,
    response: Response,
    outcome: chat.Outcome,
    judges: Jury | None,
    *,
    hide: bool,
) -> http.Answer:
    destination = turn.destination
    if response.status >= _ERRORS:
        return await relay(services, request, exchange, destination, response, PassAll())
    limits = services.limits
    if judges is not None and judges.enforces("output"):
        dialect, sizes = Chat(outcome, hide=hide), {"reply": limits.reply, "event": limits.event}
        return await guarded.answer(services, request, exchange, destination, response, judges, dialect, **sizes)
    streamed = response.content_type == "text/event-stream"
    tap: Tap = chat.StreamTap(outcome, limits.event, hide=hide) if streamed else chat.JsonTap(outcome, limits.reply)
    if judges is not None and judges.watches("output"):
        dialect = Chat(chat.Outcome(), hide=False)
        return await guarded.looked_at(
            services, request, exchange, destination, response, judges, dialect, tap, resized=streamed
        )
    return await relay(services, request, exchange, destination, response, tap, resized=streamed)


def _check(exchange: Exchange) -> None:
    """Raises Refusal method_not_allowed, unsupported_encoding."""
    if exchange.method != "POST":
        raise Refusal("method_not_allowed", "Chat completions take POST.", headers={"Allow": "POST"})
    reading.check_encoding(exchange)
