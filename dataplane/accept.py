"""The first stage: what a request's head says, and whether it may be trusted to say one thing only.

aiohttp's parser (llhttp, strict) refuses most ambiguous requests itself; these are the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import hdrs, web

from dataplane.errors import Refusal


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request wants to go. All of it raw."""

    host: str
    path: str
    query: str


def accept(request: web.BaseRequest, limit: int) -> Target:
    """Raises Refusal head_too_large, invalid_header, invalid_path."""
    size = len(request.raw_path) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    if size > limit:
        raise Refusal("head_too_large", f"The request head is over {limit} bytes, which is the limit here.")
    hosts = request.headers.getall(hdrs.HOST, [])
    if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
        raise Refusal("invalid_header", "The request must have exactly one Host field.")
    if hdrs.UPGRADE in request.headers and (hdrs.TRANSFER_ENCODING in request.headers or request.content_length):
        raise Refusal("invalid_header", "A request that asks for an upgrade must have no body.")
    return _target(request.raw_path, hosts[0] if hosts else "")


def wants_websocket(request: web.BaseRequest) -> bool:
    """Whether the request is a WebSocket handshake; other upgrades are not made (RFC 9110 §7.8 allows that)."""
    return (
        request.method == hdrs.METH_GET
        and "websocket" in _tokens(request, hdrs.UPGRADE)
        and "upgrade" in _tokens(request, hdrs.CONNECTION)
    )


def _tokens(request: web.BaseRequest, name: str) -> set[str]:
    return {token.strip().lower() for value in request.headers.getall(name, []) for token in value.split(",")}


def _target(raw: str, host: str) -> Target:
    """Origin form (`/path?query`), or absolute form (`http://host/path?query`), whose host rules (RFC 9112 §3.2.2)."""
    for scheme in ("http://", "https://"):
        if raw[: len(scheme)].lower() == scheme:
            host, slash, rest = raw[len(scheme) :].partition("/")
            raw = slash + rest
    path, _, query = raw.partition("?")
    if not path.startswith("/"):
        raise Refusal("invalid_path", "The request target must be a path.")
    return Target(host, path, query)
