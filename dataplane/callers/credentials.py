"""The key of a request, wherever real clients put one. It is in no message and in no repr."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dataplane.http import query as queries

HEADERS = ("api-key", "x-api-key", "x-goog-api-key")
"""Headers whose value is a key (Azure, Anthropic, Google). `authorization` has a scheme before it."""
QUERY = ("api-key", "key", "access_token")
"""Query parameters that are keys (Azure in browsers, Google, xAI)."""
SUBPROTOCOLS = ("openai-insecure-api-key.", "xai-client-secret.")
"""WebSocket subprotocols that carry a key behind this prefix (browsers cannot set headers)."""
_CARRIERS = frozenset(["authorization", "sec-websocket-protocol", *HEADERS])
_SCHEMES = ("bearer", "token")


@dataclass(slots=True)
class Credentials:
    """The different keys of one request. More than one is ambiguous."""

    keys: tuple[str, ...] = field(default=(), repr=False)


def credentials(headers: Iterable[tuple[str, str]], query: str) -> Credentials:
    """The keys in a request's headers (all fields, names in lower case) and raw query."""
    found: list[str] = []
    for name, value in headers:
        if name not in _CARRIERS:
            continue
        if name == "authorization":
            scheme, _, key = value.strip().partition(" ")
            found.append(key if scheme.lower() in _SCHEMES else "")
        elif name == "sec-websocket-protocol":
            found += [key_in(protocol) for protocol in value.split(",")]
        else:
            found.append(value)
    for name in QUERY if query else ():
        found += queries.getall(query, name)
    return Credentials(tuple(dict.fromkeys([key for each in found if (key := each.strip())])))


def key_in(protocol: str) -> str:
    """The key that a WebSocket subprotocol carries, or nothing."""
    protocol = protocol.strip()
    for prefix in SUBPROTOCOLS:
        if protocol.startswith(prefix):
            return protocol.removeprefix(prefix)
    return ""
