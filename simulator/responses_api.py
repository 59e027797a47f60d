"""The Responses API over HTTP: what is made, and what is stored: thin I/O."""

import asyncio
import time

import orjson
from aiohttp import web

from simulator import stored_responses as responses
from simulator.errors import RefusedError, of_status
from simulator.http_api import FOREVER_S, authorised_json, check_key
from simulator.reply import Reply, limits, sse
from simulator.responses_socket import respond
from simulator.scenarios import Options, ScenarioError
from simulator.shapes import Json, mapping, text
from simulator.state import STATE
from simulator.stored_responses import Made, Stored, organisation

_POLLS = 1  # how often a response of the background is still in progress when it is asked for


def routes() -> list[web.RouteDef]:
    """What is served here."""
    return [
        web.post("/v1/responses", _create),
        web.get("/v1/responses", respond),
        web.post("/v1/responses/compact", _compact),
        web.post("/v1/responses/input_tokens", _input_tokens),
        web.get("/v1/responses/{id}", _get),
        web.delete("/v1/responses/{id}", _delete),
        web.post("/v1/responses/{id}/cancel", _cancel),
        web.get("/v1/responses/{id}/input_items", _input_items),
    ]


async def _create(request: web.Request) -> web.StreamResponse:
    body = await authorised_json(request)
    options = options_of(request, body)
    if "stall" in options:
        await asyncio.sleep(FOREVER_S)
    if "status" in options:
        raise of_status(int(options["status"]))
    state = request.app[STATE]
    made = responses.make(body, next(state.numbers), int(time.time()), options, whose(request), state.shelf)
    if body.get("background") is True and body.get("stream") is not True:
        return web.json_response(made.begun("queued"), headers=limits())
    return await _reply(request, made, options, streamed=body.get("stream") is True)


async def _reply(request: web.Request, made: Made, options: Options, *, streamed: bool = False) -> web.StreamResponse:
    reply = Reply(request, "responses", made.id, made.model, made.usage, options)
    if not streamed:
        answer, sent = made.reply(options)
        return await reply.json(answer, made.status, sent)
    events, sent = made.events(options)
    written = [sse(orjson.dumps(event), options, text(event["type"])) for event in events]
    return await reply.stream(written, 1, made.status, sent)


def options_of(request: web.Request, body: Json) -> Options:
    """The scenarios in force. Raises RefusedError."""
    try:
        asked = text(mapping(body.get("metadata")).get("scenario"))
        by_file = request.app[STATE].scenarios.choose(text(body.get("model")), text(body.get("input")))
        return by_file | Options.parse(request.query.get("scenario", "")) | Options.parse(asked)
    except ScenarioError as error:
        raise RefusedError(str(error), "invalid_value", "metadata.scenario") from None


async def _compact(request: web.Request) -> web.StreamResponse:
    body = await authorised_json(request)
    state = request.app[STATE]
    made = responses.compact(body, next(state.numbers), int(time.time()), whose(request), state.shelf)
    return await _reply(request, made, Options())


async def _input_tokens(request: web.Request) -> web.Response:
    body = await authorised_json(request)
    tokens = responses.tokens_of(body, whose(request), request.app[STATE].shelf)
    return web.json_response({"object": "response.input_tokens", "input_tokens": tokens})


async def _get(request: web.Request) -> web.StreamResponse:
    stored = _stored(request)
    if stored.response["status"] in ("queued", "in_progress"):
        stored.asked += 1
        if stored.asked > _POLLS:
            _finish(request, stored)
        else:
            stored.response["status"] = "in_progress"
    return web.json_response(stored.response, headers=limits())


def _finish(request: web.Request, stored: Stored) -> None:
    """Of the background: billed when it ends, which here is when it is asked for."""
    made = stored.made
    stored.response, sent = made.reply(Options())
    bill = {"session": None, "model": made.model, "status": made.status, "usage": sent, "billed": made.usage}
    request.app[STATE].ledger.record("responses", made.id, **bill)  # type: ignore[arg-type]


async def _delete(request: web.Request) -> web.Response:
    _stored(request)
    name = request.match_info["id"]
    request.app[STATE].shelf.drop(name, whose(request))
    return web.json_response({"id": name, "object": "response", "deleted": True})


async def _cancel(request: web.Request) -> web.Response:
    stored = _stored(request)
    if not stored.response["background"]:
        raise RefusedError("Only responses created with background=true can be cancelled.")
    if stored.response["status"] in ("queued", "in_progress"):
        stored.response["status"] = "cancelled"
    return web.json_response(stored.response)


async def _input_items(request: web.Request) -> web.Response:
    items = [{"id": f"msg_in_{place}", **mapping(item)} for place, item in enumerate(_stored(request).given)]
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    page = {"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": False}
    return web.json_response(page)


def _stored(request: web.Request) -> Stored:
    """Raises RefusedError."""
    check_key(request)
    return request.app[STATE].shelf.get(request.match_info["id"], whose(request))


def whose(request: web.Request) -> str:
    """The organisation of the key."""
    return organisation(request.headers.get("Authorization", "").partition(" ")[2].strip())
