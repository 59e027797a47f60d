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
from dataplane.known import Known
from dataplane.table import HeaderOps, Template, Variable

Fields = list[tuple[str, str]]
"""Header fields in order, names in lower case where we made them, duplicates kept."""

_HOP_BY_HOP = frozenset(["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"]) | frozenset(
    ["proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "proxy-connection", "http2-settings"]
)
_OURS = frozenset(["host", "content-length", "expect"])
_CREDENTIALS = frozenset(["authorization", *callers.HEADERS])
_ACCOUNT = frozenset(["openai-organization", "openai-project"])
_WAY_HERE = frozenset(
    ["forwarded", "x-forwarded", "via", "x-real-ip", "true-client-ip", "x-envoy-external-address"]
) | frozenset(
    ["x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "cf-connecting-ip", "fastly-client-ip"]
)
_TRACE = frozenset(["traceparent", "tracestate", "baggage"])
"""https://www.w3.org/TR/trace-context/ and https://www.w3.org/TR/baggage/"""
_FRAMING = _HOP_BY_HOP | {"content-length"}
_NOT_BACK = _FRAMING | {"alt-svc"}  # alt-svc: an invitation to go around the gateway
NO_CHANGES = HeaderOps()
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_RATE_LIMITS = ("ratelimit", "x-ratelimit-")
_PREFIXES = ("x-forwarded-", "sec-websocket-")


_KEPT, _DROPPED, _NAMES_OTHERS = range(3)
"""What becomes of a field. `Connection` names others, which are dropped with it."""


def _there(credential: str, *, trace: bool) -> Known[str, int]:
    """What becomes of a field on its way to a provider with such a credential, by its name in lower case."""
    dropped = _HOP_BY_HOP | _OURS | _WAY_HERE
    if not trace:
        dropped |= _TRACE
    if credential != "passthrough":
        dropped |= _CREDENTIALS
    if credential == "secret":
        dropped |= _ACCOUNT

    def verdict(name: str) -> int:
        if name == "connection":
            return _NAMES_OTHERS
        return _DROPPED if name in dropped or "_" in name or name.startswith(_PREFIXES) else _KEPT

    return Known(verdict)


def _back(name: str) -> int:
    """What becomes of a field on its way to the client."""
    lower = name.lower()
    if lower == "connection":
        return _NAMES_OTHERS
    return _DROPPED if lower in _NOT_BACK else _KEPT


_THERE = {
    (credential, trace): _there(credential, trace=trace)
    for credential in ("secret", "passthrough", "none")
    for trace in (False, True)
}
_BACK = Known(_back)


def upstream(fields: Iterable[tuple[str, str]], *, credential: str, trace: bool) -> Fields:
    """The client's fields (names in lower case) that a provider sees. `credential`: kind of the provider's, as in the
    table; `trace`: whether the provider is to know the client's."""
    return _crossing(fields, _THERE[credential, trace])


def downstream(fields: Iterable[tuple[str, str]]) -> Fields:
    """The provider's fields that the client sees, without framing."""
    return _crossing(fields, _BACK)


def limited(fields: Fields, own: Fields) -> Fields:
    """The provider's fields, and `own` in place of those in which it says what is left: they speak of the gateway's
    account with it, and what the caller may take is said here."""
    return [field for field in fields if not field[0].lower().startswith(_RATE_LIMITS)] + own


def unframed(fields: Fields) -> Fields:
    """The fields without those that belong to one message on one connection."""
    return [field for field in fields if field[0].lower() not in _FRAMING]


def _crossing(fields: Iterable[tuple[str, str]], verdicts: Known[str, int]) -> Fields:
    """The fields without those that are dropped, that `Connection` names, that cannot be sent."""
    kept: Fields = []
    named: set[str] = set()
    for field in fields:
        verdict = verdicts[field[0]]
        if verdict == _KEPT:
            kept.append(field)
        elif verdict == _NAMES_OTHERS:
            named.update(map(str.strip, field[1].lower().split(",")))
    if named - _HOP_BY_HOP:
        kept = [field for field in kept if field[0].lower() not in named]
    values = "".join([value for _, value in kept])
    return kept if values.isascii() and values.isprintable() else _sendable(kept)


def _sendable(fields: Fields) -> Fields:
    """Those whose value can be sent, as it can be."""
    return [(name, _utf8(value)) for name, value in fields if not _FORBIDDEN.search(value)]


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


def _utf8(value: str) -> str:
    """Bytes that are not UTF-8 are read as Latin-1, since a field with lone surrogates cannot be sent."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value
