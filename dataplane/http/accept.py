"""The first stage: what a request's head says, and whether it may be trusted to say one thing only.

aiohttp's parser (llhttp, strict) refuses most ambiguous requests itself; these are the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aiohttp import hdrs, web

from dataplane.errors import Refusal

_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
_WEBSOCKET = re.compile("websocket", re.IGNORECASE | re.ASCII)  # a Kelvin sign is no "k"
_VERSIONS = ((1, 0), (1, 1))
_NOT_RELAYED = (hdrs.METH_CONNECT, hdrs.METH_TRACE)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request wants to go. All of it raw."""

    host: str
    path: str
    query: str = field(repr=False)


def accept(request: web.BaseRequest, limit: int) -> Target:
    """Raises Refusal head_too_large, invalid_header, invalid_path, method_not_allowed."""
    size = len(request.raw_path) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    if size > limit:
        raise Refusal("head_too_large", f"The request head is over {limit} bytes, which is the limit here.")
    _check_framing(request)
    hosts = request.headers.getall(hdrs.HOST, [])
    if len(hosts) > 1 or (not hosts and request.version >= (1, 1)):
        raise Refusal("invalid_header", "The request must have exactly one Host field.")
    if hdrs.UPGRADE in request.headers and (hdrs.TRANSFER_ENCODING in request.headers or request.content_length):
        raise Refusal("invalid_header", "A request that asks for an upgrade must have no body.")
    target = _target(request.raw_path, hosts[0] if hosts else "")
    if request.method in _NOT_RELAYED:  # a server that knows TRACE sends back what it got: the credential too
        methods = {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
        raise Refusal("method_not_allowed", f"{request.method} is not relayed.", headers=methods)
    return target


def _check_framing(request: web.BaseRequest) -> None:
    """Raises Refusal invalid_header for a version that is not spoken here, and for codings that would have to be
    undone, or that HTTP/1.0 does not have (RFC 9112 §6.1)."""
    if request.version not in _VERSIONS:
        raise Refusal("invalid_header", "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    codings = request.headers.getall(hdrs.TRANSFER_ENCODING, [])
    if codings and (request.version == _VERSIONS[0] or [name.strip().lower() for name in codings] != ["chunked"]):
        raise Refusal("invalid_header", "Only `Transfer-Encoding: chunked` is understood, and in HTTP/1.1 alone.")


def wants_websocket(request: web.BaseRequest) -> bool:
    """Whether the request is a WebSocket handshake. Other upgrades are not made, nor one of a list, behind which the
    parser reads on as HTTP (RFC 9110 §7.8 allows that; it forbids one in HTTP/1.0)."""
    asked = request.headers.getall(hdrs.UPGRADE, [])
    return (
        request.method == hdrs.METH_GET
        and request.version != _VERSIONS[0]
        and len(asked) == 1
        and _WEBSOCKET.fullmatch(asked[0]) is not None
        and "upgrade" in _tokens(request, hdrs.CONNECTION)
    )


def _tokens(request: web.BaseRequest, name: str) -> set[str]:
    return {token.strip().lower() for value in request.headers.getall(name, []) for token in value.split(",")}


def _target(raw: str, host: str) -> Target:
    """Origin form (`/path?query`), or absolute form (`http://host/path?query`), whose host rules (RFC 9112 §3.2.2)."""
    if absolute := _ABSOLUTE.fullmatch(raw):
        host, raw = absolute[1], absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
    path, _, query = raw.partition("?")
    if not path.startswith("/"):
        raise Refusal("invalid_path", "The request target must be a path.")
    return Target(host, path, query)
