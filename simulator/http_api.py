"""The provider's HTTP API: chat completions, models, embeddings, files, and the ledger: thin I/O."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import orjson
from aiohttp import web

from simulator import chat, usage
from simulator.errors import RefusedError, missing, of_status
from simulator.scenarios import Options, ScenarioError
from simulator.shapes import Json, mapping, sequence, text
from simulator.state import RECEIVED, STATE

_MODELS = ("gpt-5", "gpt-5-mini", "gpt-realtime", "gpt-realtime-2", "gpt-4o-mini-transcribe", "whisper-1")
_FOREVER_S = 3600  # how long a stalled request is held for a client that does not give up


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
    body = await _json(request)
    if (deployment := request.match_info.get("deployment")) is not None:
        body["model"] = deployment
    options = _options(request, body)
    if "stall" in options:
        await asyncio.sleep(_FOREVER_S)
    if "status" in options:
        raise of_status(int(options["status"]))
    completion = chat.complete(body, next(request.app[STATE].numbers), int(time.time()), options)
    reply = _Reply(request, completion, options)
    return await (reply.stream(body) if body.get("stream") is True else reply.json())


def _options(request: web.Request, body: Json) -> Options:
    try:
        asked = text(mapping(body.get("metadata")).get("scenario"))
        by_file = request.app[STATE].scenarios.choose(text(body.get("model")), chat.asked(body))
        return by_file | Options.parse(request.query.get("scenario", "")) | Options.parse(asked)
    except ScenarioError as error:
        raise RefusedError(str(error), "invalid_value", "metadata.scenario") from None


class _Reply:
    """One answer on its way to the client, billed as it is sent, or as it is lost."""

    def __init__(self, request: web.Request, completion: chat.Completion, options: Options) -> None:
        self._request, self._completion, self._options = request, completion, options
        self._billed = False

    async def json(self) -> web.StreamResponse:
        await asyncio.sleep(self._options.pace())
        reply, sent = self._completion.reply(self._options)
        payload = orjson.dumps(reply)
        if "drop" in self._options:
            headers = {"Content-Length": str(len(payload))}
            response = await self._begin("application/json", headers)
            return await self._drop(response, [payload[: len(payload) // 2]])
        self._bill("completed", sent)
        return web.Response(body=payload, content_type="application/json", headers=limits())

    async def stream(self, body: Json) -> web.StreamResponse:
        wanted = mapping(body.get("stream_options")).get("include_usage") is True
        chunks, sent = self._completion.chunks(self._options, usage_wanted=wanted)
        events = [
            *(_sse(orjson.dumps(chunk), self._options) for chunk in chunks),
            _sse(b"[DONE]", self._options),
        ]
        response = await self._begin("text/event-stream; charset=utf-8", {"Cache-Control": "no-cache"})
        if "drop" in self._options:
            return await self._drop(response, events[: len(events) // 2])
        try:
            await self._write(response, events[:-2])
            self._bill("completed", sent)  # before the event that holds the usage, or would
            await self._write(response, events[-2:])
        finally:
            self._bill("abandoned", None)
        return response

    async def _begin(self, content_type: str, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={**limits(), **headers, "Content-Type": content_type})
        await response.prepare(self._request)
        return response

    async def _write(self, response: web.StreamResponse, events: list[bytes]) -> None:
        for event in events:
            await asyncio.sleep(self._options.pace())
            for part in _parts(event, self._options):
                await response.write(part)

    async def _drop(self, response: web.StreamResponse, events: list[bytes]) -> web.StreamResponse:
        self._bill("dropped", None)
        await self._write(response, events)
        if self._request.transport:
            self._request.transport.close()
        return response

    def _bill(self, status: str, sent: Json | None) -> None:
        """Once: the first word holds."""
        if not self._billed:
            self._billed = True
            ledger, turn = self._request.app[STATE].ledger, self._completion
            ledger.record("chat", turn.id, session=None, model=turn.model, status=status, usage=sent, billed=turn.usage)


def _sse(data: bytes, options: Options) -> bytes:
    if "crlf" in options:
        return b": keep-alive\r\n\r\ndata: " + data + b"\r\n\r\n"
    return b"data: " + data + b"\n\n"


def _parts(event: bytes, options: Options) -> Iterator[bytes]:
    size = int(options.get("odd-bytes", 0)) or len(event)
    return (event[start : start + size] for start in range(0, len(event), size))


def limits(remaining: int = 9_999) -> dict[str, str]:
    """The rate-limit headers that every answer has."""
    return {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": str(remaining),
        "x-ratelimit-reset-requests": "1s" if not remaining else "6ms",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "1",
    }


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


async def _authorised_json(request: web.Request) -> Json:
    check_key(request)
    return await _json(request)


async def _json(request: web.Request) -> Json:
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
    body = await _authorised_json(request)
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
