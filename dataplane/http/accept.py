"""The first stage: where a request wants to go. Its head says one thing only, or it would not be here (`head.check`).
Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dataplane.errors import Refusal
from dataplane.http.head import Head
from dataplane.routing import OWN_PORT

_ABSOLUTE = re.compile(r"https?://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
_NOT_RELAYED = ("CONNECT", "TRACE")


@dataclass(slots=True)
class Target:
    """Where a request wants to go, raw, and where it came."""

    host: str
    path: str
    query: str = field(repr=False)
    port: int = OWN_PORT
    """Of a Gateway's listeners, or `routing.OWN_PORT`."""
    secure: bool = False
    """By TLS?"""


def accept(head: Head, port: int = OWN_PORT, *, secure: bool = False) -> Target:
    """Raises Refusal invalid_path, method_not_allowed."""
    target = _target(head.target, head.headers.first.get("host", ""))
    target.port, target.secure = port, secure
    if head.method in _NOT_RELAYED:  # a server that knows TRACE sends back what it got: the credential too
        methods = {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
        raise Refusal("method_not_allowed", f"{head.method} is not relayed.", headers=methods)
    return target


def _target(raw: str, host: str) -> Target:
    """Origin form (`/path?query`), or absolute form (`http://host/path?query`), whose host rules (RFC 9112 §3.2.2)."""
    if not raw.startswith("/") and (absolute := _ABSOLUTE.fullmatch(raw)):
        host, raw = absolute[1], absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
    path, _, query = raw.partition("?")
    if not path.startswith("/"):
        raise Refusal("invalid_path", "The request target must be a path.")
    return Target(host, path, query)
