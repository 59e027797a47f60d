"""The Responses API: what is made goes to whichever provider takes the model, or back to the domain that has what the
request refers to; what is stored is asked of the domain that has it. Usage is metered, ids and encrypted content carry
hints.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from dataplane.affinity import bodies, placing
from dataplane.affinity.bodies import Foreign, Json
from dataplane.affinity.hints import Keys, Signed, Signer, Unsigned
from dataplane.exchange import Exchange
from dataplane.guardrails.texts import responses_request, speaks
from dataplane.http import chat, guarded, paths, query, reading, responses
from dataplane.http import client as http
from dataplane.http.failover import Ask, Asking
from dataplane.http.jury import BLOCKED, Blocked, Jury, jury
from dataplane.http.message import Request
from dataplane.http.relay import PassAll, Tap, relay
from dataplane.http.responses import Call, Outcome
from dataplane.http.responses_guarded import Responses
from dataplane.http.turn import Turn
from dataplane.limits.spending import Model
from dataplane.routing import responses_below
from dataplane.services import Services
from dataplane.table import Provider
from dataplane.upstreams.choose import Destination, check
from dataplane.upstreams.pools import Tries
from dataplane.upstreams.response import Response

_ERRORS = 400


async def serve(services: Services, request: Request, exchange: Exchange) -> http.Answer:
    """Serve one request. Raises Refusal, ClientGone, UpstreamLost."""
    path = paths.normalised(exchange.path)
    below = responses_below(exchange.backend, path)
    call = responses.call(exchange.method, below)
    if call.id:
        return await _stored(services, request, exchange, call, path)
    return await _made(services, request, exchange, call)


async def _made(services: Services, request: Request, exchange: Exchange, call: Call) -> http.Answer:
    """A response, a compaction or a count of tokens, made of the body."""
    reading.check_encoding(exchange)
    asked = chat.parsed(await http.body(request, services.limits, services.room))
    with Asking(services, placed(services, exchange, asked)) as asking:
        if call.turn:
            return await _worked_on(services, request, exchange, asking, asked)
        if exchange.budget is not None:
            await exchange.budget.admit_request()
        judges = jury(services, exchange, asking.destination.public_model)
        await _judged(request, judges, asked)
        ask = _made_of(services, exchange, asked)
        return await _sent(services, request, exchange, asking, Outcome(), ask, judges)


async def _worked_on(
    services: Services, request: Request, exchange: Exchange, asking: Asking, asked: Json
) -> http.Answer:
    """By a model: a turn."""
    budget, outcome = exchange.budget, Outcome()
    if budget is not None:
        await budget.admit_turn(Model.of(asking.destination, speaks=False))
    turn = Turn(services, exchange, asking.destination, outcome)
    judges = jury(services, exchange, asking.destination.public_model)
    try:
        await _judged(request, judges, asked)
        ask = _made_of(services, exchange, asked, turn)
        answer = await _sent(services, request, exchange, asking, outcome, ask, judges)
    except BaseException as error:
        if outcome.background or outcome.ended:  # a client may leave once it has heard the end
            _settle(services, turn, outcome)
        else:
            turn.broke_off(error)
        raise
    else:
        if answer.status < _ERRORS:
            _settle(services, turn, outcome)
        return answer
    finally:
        if budget is not None:
            budget.release_turn()


async def _judged(request: Request, judges: Jury | None, asked: Json) -> None:
    """Raises Refusal guardrail_blocked, ClientGone."""
    if judges is not None:
        with http.while_connected(request):
            await judges.asked(lambda: responses_request(asked), speaks=speaks(asked))


def _made_of(services: Services, exchange: Exchange, asked: Json, turn: Turn | None = None) -> Ask:
    """Sends the body under a provider's own name for the model; the turn is with whom it was sent to."""

    async def ask(to: Destination) -> Response:
        if turn is not None and turn.destination is not to:
            turn.move(to)
        body = responses.rewritten(asked, to.upstream_model)
        return await reading.ask(services, exchange, to, exchange.path, exchange.query, body)

    return ask


def _settle(services: Services, turn: Turn, outcome: Outcome) -> None:
    """Count it, unless it only begins: in the background."""
    if outcome.background and not outcome.ended:
        services.background.begun(outcome.id, turn.destination)
        return
    if outcome.background:
        services.background.ended(outcome.id, turn.destination)
    turn.end(outcome.status)


async def _stored(services: Services, request: Request, exchange: Exchange, call: Call, path: str) -> http.Answer:
    """What is asked of a response that a provider has. One from the background is counted when its end is seen."""
    try:
        signed = keys_of(services, exchange).read_id(call.id)
    except Unsigned:
        raise placing.unknown(encrypted=False) from None
    within = placing.within(exchange.backend, [signed], exchange.caller)
    with Asking(services, services.pools.any(exchange, within=within)) as asking:
        if exchange.budget is not None:
            await exchange.budget.admit_request()
        outcome = Outcome()
        turn = Turn(services, exchange, asking.destination, outcome)
        there = _path_to(path, call, signed.original)
        repeatable, judges = exchange.method == "GET", jury(services, exchange, "")
        _check_beginning(judges, exchange)

        async def ask(to: Destination) -> Response:
            return await reading.ask(services, exchange, to, there, exchange.query)

        try:
            return await _sent(services, request, exchange, asking, outcome, ask, judges, repeatable=repeatable)
        finally:
            if outcome.background and outcome.ended:
                otherwise = Destination(asking.destination.provider, outcome.model, outcome.model)
                if (begun := services.background.ended(outcome.id, otherwise)) is not None:
                    turn.destination = begun
                    turn.end(outcome.status, later=True)


def _check_beginning(judges: Jury | None, exchange: Exchange) -> None:
    """Raises Blocked for a stream from its middle on, where guardrails enforce: it may begin within a finding."""
    if judges is not None and judges.enforces("output") and "starting_after" in query.names(exchange.query):
        why = "it could not judge an answer from its middle on; ask without starting_after"
        raise judges.unreadable("output", why, "query")


async def _sent(
    services: Services,
    request: Request,
    exchange: Exchange,
    asking: Asking,
    outcome: Outcome,
    ask: Ask,
    judges: Jury | None,
    *,
    repeatable: bool = True,
) -> http.Answer:
    """Ask the providers, and relay what is answered, with hints."""
    with http.while_connected(request):
        response = await asking.answer(ask, repeatable=repeatable)
        try:
            return await _relay(services, request, exchange, asking.destination, response, outcome, judges)
        finally:
            response.close()


async def _relay(
    services: Services,
    request: Request,
    exchange: Exchange,
    destination: Destination,
    response: Response,
    outcome: Outcome,
    judges: Jury | None,
) -> http.Answer:
    if response.status >= _ERRORS:
        return await relay(services, request, exchange, destination, response, PassAll(), resized=True)
    signer = placing.signer(keys_of(services, exchange), exchange.backend, destination.provider, exchange.caller)
    if judges is not None and judges.enforces("output"):
        dialect, sizes = Responses(outcome, signer), {"reply": services.limits.reply, "event": services.limits.reply}
        try:
            answer = await guarded.answer(services, request, exchange, destination, response, judges, dialect, **sizes)
        except Blocked:
            services.refused.add(outcome.id)
            raise
        if answer.code == BLOCKED:
            services.refused.add(outcome.id)
        elif outcome.ended and outcome.status == "completed":
            services.refused.passed(outcome.id)
        return answer
    tap = _tap(services, signer, response, outcome)
    if judges is not None and judges.watches("output"):
        dialect = Responses(Outcome(), None)
        return await guarded.looked_at(
            services, request, exchange, destination, response, judges, dialect, tap, resized=True
        )
    return await relay(services, request, exchange, destination, response, tap, resized=True)


def _tap(services: Services, signer: Signer, response: Response, outcome: Outcome) -> Tap:
    if response.content_type == "text/event-stream":
        return responses.StreamTap(outcome, signer, services.limits.reply)
    return responses.JsonTap(outcome, signer, services.limits.reply)


def placed(
    services: Services, exchange: Exchange, asked: Json, provider: Provider | None = None, *, session: bool = False
) -> Tries:
    """Who may be asked; the request's hints are taken off. `provider`: the only one, if it may be.

    Raises Refusal: those of `Pools.named`, `placing.within`, `placing.only` and `placing.unknown`,
    conversation_not_allowed."""
    backend = exchange.backend
    if allow := exchange.allowed():
        chat.check_one_model(asked)
        for name in responses.models_of_tools(asked):
            check(allow, name)
    if any(provider.credential.kind == "secret" for provider in backend.providers):
        responses.check_conversation(asked)
    try:
        signed = bodies.unwrap(asked, keys_of(services, exchange))
    except Foreign as error:
        raise placing.unknown(encrypted=error.encrypted, param=error.field) from None
    check_continued(services, signed)
    if not signed and (place := bodies.references(asked)) and not placing.one_domain(backend):
        raise placing.unplaced(place)
    model = exchange.deployment or chat.model_of(asked)
    within = placing.within(backend, signed, exchange.caller)
    if provider is None:
        placing.check_model(backend, within, model)
    else:
        within = placing.only(backend, within, provider, model)
    return services.pools.named(exchange, model, allow, session=session, within=within)


def check_continued(services: Services, signed: Sequence[Signed]) -> None:
    """Raises Refusal response_not_found for what would go on from a response that was blocked."""
    if any(not each.encrypted and each.original in services.refused for each in signed):
        raise placing.unknown(encrypted=False, param=bodies.PREVIOUS)


def _path_to(path: str, call: Call, original: str) -> str:
    """The path with the id that the provider knows."""
    base = path.removesuffix(f"/{call.below}") if call.below else path
    end = f"/{call.below}" if call.below else ""
    return f"{quote(base.removesuffix(call.id), safe='/:@')}{quote(original, safe='')}{end}"


def keys_of(services: Services, exchange: Exchange) -> Keys:
    """What signs what providers keep, and verifies it."""
    return exchange.snapshot.hints or services.hints
