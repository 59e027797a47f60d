"""The provider's HTTP API: chat completions, models, embeddings, files, and the ledger: thin I/O."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from simulator import chat, usage
from simulator.errors import RefusedError, missing, of_status
from simulator.reply import Reply, limits, sse
from simulator.scenarios import Options, ScenarioError
from simulator.shapes import Json, mapping, sequence, text
from simulator.state import RECEIVED, STATE

_MODELS = ("gpt-5", "gpt-5-mini", "gpt-realtime", "gpt-realtime-2", "gpt-4o-mini-transcribe", "whisper-1")
FOREVER_S = 3600  # how long a stalled request is held for a client that does not give up


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def routes() -> list[web.RouteDef]:
    """What is served here."""
    return [
        web.post("/v1/chat/completions", _chat),
        web.get("/v1/models", _models),
        web.post("/v1/embeddings", _embeddings),
        web.get("/v1/files", _files),
        web.post("/v1/files", _upload),
    ]


def ledger_routes() -> list[web.RouteDef]:
    """What every kind serves."""
    return [
        web.get("/_ledger", _ledger),
        web.delete("/_ledger", _clear_ledger),
    ]


async def _chat(request: web.Request) -> web.StreamResponse:
    check_key(request)
    return await chat_completions(request)


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """A chat completion, for whoever may have it; of the deployment that the path names, if it names one."""
    body = await json_body(request)
    if (deployment := request.match_info.get("deployment")) is not None:
        body["model"] = deployment
    options = _options(request, body)
    if "stall" in options:
        await asyncio.sleep(FOREVER_S)
    if "status" in options:
        raise of_status(int(options["status"]))
    completion = chat.complete(body, next(request.app[STATE].numbers), int(time.time()), options)
    reply = Reply(request, "chat", completion.id, completion.model, completion.usage, options)
    if body.get("stream") is not True:
        answer, sent = completion.reply(options)
        return await reply.json(answer, "completed", sent)
    wanted = mapping(body.get("stream_options")).get("include_usage") is True
    chunks, sent = completion.chunks(options, usage_wanted=wanted)
    events = [sse(data, options) for data in (*map(orjson.dumps, chunks), b"[DONE]")]
    return await reply.stream(events, 2, "completed", sent)


def _options(request: web.Request, body: Json) -> Options:
    try:
        asked = text(mapping(body.get("metadata")).get("scenario"))
        by_file = request.app[STATE].scenarios.choose(text(body.get("model")), chat.asked(body))
        return by_file | Options.parse(request.query.get("scenario", "")) | Options.parse(asked)
    except ScenarioError as error:
        raise RefusedError(str(error), "invalid_value", "metadata.scenario") from None


def refusal(refused: RefusedError) -> web.Response:
    """The HTTP answer to something refused; 429 and 503 say when to come again."""
    headers = limits(0 if refused.status == 429 else 9_999)
    if refused.status in (429, 503):
        headers |= {"Retry-After": "1", "retry-after-ms": "1000"}
    return web.json_response({"error": refused.error}, status=refused.status, headers=headers)


def check_key(request: web.Request) -> None:
    """Raises RefusedError (401) unless the request carries a known key as its bearer."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if not key:
        raise RefusedError("You didn't provide an API key in an Authorization header.", status=401)
    if scheme.lower() != "bearer" or key.strip() not in request.app[STATE].keys:
        raise of_status(401)


async def authorised_json(request: web.Request) -> Json:
    """The body. Raises RefusedError."""
    check_key(request)
    return await json_body(request)


async def json_body(request: web.Request) -> Json:
    """The body, whoever sends it. Raises RefusedError."""
    raw = await request.read()
    request[RECEIVED].keep(raw)
    try:
        body: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RefusedError(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(body, dict):
        raise RefusedError("The body of your request must be a JSON object.")
    return body


async def _models(request: web.Request) -> web.StreamResponse:
    check_key(request)
    return await list_models(request)


async def list_models(request: web.Request) -> web.StreamResponse:  # noqa: ARG001
    """All models, for whoever may see them."""
    models = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"} for name in _MODELS]
    return web.json_response({"object": "list", "data": models})


async def _embeddings(request: web.Request) -> web.Response:
    body = await authorised_json(request)
    given = body.get("input")
    if given is None:
        raise missing("input")
    inputs = [given] if isinstance(given, str) else sequence(given)
    vectors = [_embedding(index, str(item)) for index, item in enumerate(inputs)]
    tokens = sum(usage.of_text(str(item)).total for item in inputs)
    spent = {"prompt_tokens": tokens, "total_tokens": tokens}
    model = text(body.get("model"))
    return web.json_response({"object": "list", "data": vectors, "model": model, "usage": spent})


def _embedding(index: int, item: str) -> Json:
    vector = [round((len(item) * step % 97) / 97, 4) for step in range(1, 9)]
    return {"object": "embedding", "index": index, "embedding": vector}


async def _files(request: web.Request) -> web.Response:
    check_key(request)
    return web.json_response({"object": "list", "data": [], "has_more": False})


async def _upload(request: web.Request) -> web.Response:
    """Count what is uploaded, without holding it."""
    check_key(request)
    size = 0
    async for data in request.content.iter_any():
        request[RECEIVED].keep(data)
        size += len(data)
    file = {"id": f"file-{next(request.app[STATE].numbers):06d}", "object": "file", "filename": "upload"}
    return web.json_response({**file, "bytes": size, "created_at": int(time.time()), "purpose": "user_data"})


async def _ledger(request: web.Request) -> web.Response:
    return web.Response(body=orjson.dumps(request.app[STATE].ledger.report()), content_type="application/json")


async def _clear_ledger(request: web.Request) -> web.Response:
    request.app[STATE].ledger.clear()
    return web.Response(status=204)
