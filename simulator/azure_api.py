"""Azure OpenAI's ways in: its paths, keys and statuses, and behind them what all kinds share. Thin I/O.

The GA API is at `/openai/v1/…` and takes no `api-version`; the one before it is at `/openai/…`, needs one, and names
deployments in paths. What is wrong with a handshake is an HTTP status. Source: learn.microsoft.com on Azure OpenAI.
"""

import re

from aiohttp import web

from simulator import http_api, realtime
from simulator.errors import RefusedError
from simulator.state import STATE

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
_NOT_SPOKEN = "chat-"
"""How deployments are called here that no session can be held with."""


def routes() -> list[web.RouteDef]:
    """What is served here, beside the paths of OpenAI, which are not."""
    return [
        web.post("/openai/v1/chat/completions", _ga(http_api.chat_completions)),
        web.get("/openai/v1/models", _ga(http_api.list_models)),
        web.get("/openai/v1/realtime", _ga_session),
        web.post("/openai/deployments/{deployment}/chat/completions", _versioned(http_api.chat_completions)),
        web.get("/openai/models", _versioned(http_api.list_models)),
        web.get("/openai/realtime", _session_before_ga),
    ]


def in_its_words(refused: RefusedError) -> RefusedError:
    """A refusal as Azure writes it: the status is the code, where there is no better."""
    error = {**refused.error, "code": refused.error["code"] or str(refused.status)}
    refused.error = {name: value for name, value in error.items() if name != "type"}
    return refused


def _ga(handler: http_api.Handler) -> http_api.Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
        _check(request, versioned=False)
        return await handler(request)

    return checked


def _versioned(handler: http_api.Handler) -> http_api.Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
        _check(request, versioned=True)
        return await handler(request)

    return checked


async def _ga_session(request: web.Request) -> web.StreamResponse:
    _check(request, versioned=False)
    return await _session(request, request.query.get("model", ""), old=False)


async def _session_before_ga(request: web.Request) -> web.StreamResponse:
    _check(request, versioned=True)
    return await _session(request, request.query.get("deployment", ""), old=True)


async def _session(request: web.Request, deployment: str, *, old: bool) -> web.StreamResponse:
    if request.query.get("intent") != "transcription":
        if not deployment:
            raise RefusedError("The request names no deployment.", "DeploymentNotFound", status=400)
        if deployment.startswith("missing-"):
            message = "The API deployment for this resource does not exist."
            raise RefusedError(message, "DeploymentNotFound", status=404)
        if deployment.startswith(_NOT_SPOKEN):
            message = "The realtime operation does not work with the specified model."
            raise RefusedError(message, "OpperationNotSupported", status=400)  # spelled so
    return await realtime.connect(request, deployment, old=old)


def _check(request: web.Request, *, versioned: bool) -> None:
    """Raises RefusedError for a wrong key or version, or a header of OpenAI's beta."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    shown = [request.headers.get("api-key"), request.query.get("api-key"), token if scheme == "Bearer" else None]
    if not any(key in request.app[STATE].keys for key in shown):
        message = "Access denied due to invalid subscription key or wrong API endpoint."
        raise RefusedError(message, "401", status=401)
    version = request.query.get("api-version")
    if versioned and version is None:
        raise RefusedError("Missing required query parameter: api-version", "404", status=404)
    if versioned and not _VERSION.fullmatch(version or ""):
        raise RefusedError("API version not supported", "BadRequest", status=400)
    if not versioned and version is not None:
        raise RefusedError("api-version query parameter is not allowed when using /v1 path", "401", status=401)
    if "OpenAI-Beta" in request.headers:
        raise RefusedError("The header OpenAI-Beta is not supported.", "BadRequest", status=400)
