"""The key of a request, wherever real clients put one. It is in no message and in no repr."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dataplane.http import query as queries
from dataplane.http.head import Headers
from dataplane.table import Location

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


def at(location: Location, headers: Headers, query: str) -> Credentials:
    """The keys that are in this place, with or without a scheme before them."""
    found = headers.all(location.name) if location.kind == "header" else queries.getall(query, location.name)
    return Credentials(tuple(dict.fromkeys([key for each in found if (key := _bare(each))])))


def without(location: Location, headers: Headers, query: str) -> tuple[Headers, str]:
    """The same request with nothing in this place: what is there opens the gateway, and is nobody else's business."""
    if location.kind == "query":
        return headers, queries.without(query, [location.name])
    if location.name not in headers.first:
        return headers, query
    return Headers([field for field in headers.fields if field[0] != location.name]), query


def words(location: Location) -> str:
    """As one says where something is."""
    return f"the header {location.name}" if location.kind == "header" else f"the query parameter {location.name}"


def _bare(value: str) -> str:
    value = value.strip()
    scheme, _, key = value.partition(" ")
    return key.strip() if scheme.lower() in _SCHEMES else value


def key_in(protocol: str) -> str:
    """The key that a WebSocket subprotocol carries, or nothing."""
    protocol = protocol.strip()
    for prefix in SUBPROTOCOLS:
        if protocol.startswith(prefix):
            return protocol.removeprefix(prefix)
    return ""
