"""Header fields that cross the gateway, in both directions, and the changes that Policies make to them.

What never goes upstream: hop-by-hop fields (RFC 9110 §7.6.1) and those that `Connection` names; the client's
credentials, unless the provider is to see them; fields about the client's way here (`x-forwarded-*`, …), which
are no business of a provider's and forgeable; names with underscores, which some servers read as dashes; the
client's trace, unless it is all passed through: its ids tie requests together for whoever sees them, and baggage
holds whatever its owner put there. `sec-websocket-*` belongs to the handshake and is added by whoever makes one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from dataplane import callers
from dataplane.errors import Refusal
from dataplane.table import HeaderOps, Template, Variable

Fields = list[tuple[str, str]]
"""Header fields in order, names in lower case where we made them, duplicates kept."""

_HOP_BY_HOP = frozenset(["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"]) | frozenset(
    ["proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "proxy-connection", "http2-settings"]
)
_OURS = frozenset(["host", "content-length", "expect"])
_CREDENTIALS = frozenset(["authorization", *callers.HEADERS])
_ACCOUNT = frozenset(["openai-organization", "openai-project"])
_WAY_HERE = frozenset(["forwarded", "via", "x-real-ip", "true-client-ip", "x-envoy-external-address"])
_TRACE = frozenset(["traceparent", "tracestate", "baggage"])
"""https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/"""
_NOT_BACK = _HOP_BY_HOP | {"content-length", "alt-svc"}  # alt-svc: an invitation to go around the gateway
NO_CHANGES = HeaderOps()
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def upstream(fields: Iterable[tuple[str, str]], *, credential: str, trace: bool) -> Fields:
    """The client's fields that a provider sees. `credential`: kind of the provider's, as in the table; `trace`:
    whether the provider is to know the client's."""
    fields = list(fields)
    dropped = _HOP_BY_HOP | _OURS | _WAY_HERE | _named_in_connection(fields)
    if not trace:
        dropped |= _TRACE
    if credential != "passthrough":
        dropped |= _CREDENTIALS
    if credential == "secret":
        dropped |= _ACCOUNT
    return [
        (lower, _utf8(value))
        for name, value in fields
        if (lower := name.lower()) not in dropped
        and "_" not in lower
        and not lower.startswith(("x-forwarded-", "sec-websocket-"))
        and not _FORBIDDEN.search(value)
    ]


def downstream(fields: Iterable[tuple[str, str]]) -> Fields:
    """The provider's fields that the client sees, without framing."""
    fields = list(fields)
    dropped = _NOT_BACK | _named_in_connection(fields)
    return [
        (name, _utf8(value)) for name, value in fields if name.lower() not in dropped and not _FORBIDDEN.search(value)
    ]


def transformed(fields: Fields, ops: HeaderOps, resolve: Callable[[Variable], str]) -> Fields:
    """The fields after remove, set and add.

    A value that comes out empty (nothing filled its variables) is not sent; `set` still removes what was there,
    so that a client cannot write the field itself. Raises Refusal invalid_value where a value would hold a
    control character."""
    gone = {name.lower() for name in ops.remove} | {header.name.lower() for header in ops.set}
    result = [(name, value) for name, value in fields if name.lower() not in gone] if gone else list(fields)
    for header in (*ops.set, *ops.add):
        if value := filled(header.name, header.value, resolve):
            result.append((header.name, value))
    return result


def filled(name: str, template: Template, resolve: Callable[[Variable], str]) -> str:
    """The value of a header's template. Raises Refusal invalid_value."""
    value = "".join(part if isinstance(part, str) else resolve(part) for part in template).strip()
    if _FORBIDDEN.search(value):
        sources = ", ".join(
            f"{part.source}{part.name and '.'}{part.name}" for part in template if not isinstance(part, str)
        )
        raise Refusal(
            "invalid_value",
            f"The header {name} is filled from {sources or 'a Policy'}, whose value has control characters, "
            "which no header may carry. Send it without them.",
        )
    return _utf8(value)


def _named_in_connection(fields: list[tuple[str, str]]) -> frozenset[str]:
    return frozenset(
        option.strip().lower() for name, value in fields if name.lower() == "connection" for option in value.split(",")
    )


def _utf8(value: str) -> str:
    """Bytes that are not UTF-8 are read as Latin-1, since a field with lone surrogates cannot be sent."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value
