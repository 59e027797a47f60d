"""Changes of header fields: which are allowed, and their values parsed.

What frames a message, belongs to one connection or proves who somebody is, is the gateway's own business: a Policy
that could write it could smuggle requests or replace the credential.
"""

from __future__ import annotations

from collections.abc import Iterable

import crds.transformation
from controller.compile import templates
from crds import FieldError
from dataplane.table import HeaderOps, HeaderValue

HOP_BY_HOP = frozenset(
    [
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""RFC 9110 §7.6.1, with the fields that older software treats alike."""
_FRAMING = frozenset(["content-length", "host", "expect"])
_KEYS = frozenset(["authorization", "api-key", "x-api-key", "x-goog-api-key"])
_EXTENSIONS = "sec-websocket-extensions"


def compiled(written: crds.transformation.HeaderOps | None, path: str) -> tuple[HeaderOps, list[FieldError]]:
    """The changes that may be made, and what is wrong with the rest. `path` leads to `written`."""
    if written is None:
        return HeaderOps(), []
    errors: list[FieldError] = []
    for index, name in enumerate(written.remove):
        if problem := not_removable(name.lower()):
            errors.append(FieldError(f"{path}.remove[{index}]", f'"{name}" cannot be removed: {problem}'))
    ops = HeaderOps(
        remove=tuple(name.lower() for name in written.remove),
        set=tuple(_values(written.set, f"{path}.set", errors)),
        add=tuple(_values(written.add, f"{path}.add", errors)),
    )
    return ops, errors


def _values(
    written: Iterable[crds.transformation.HeaderValue], path: str, errors: list[FieldError]
) -> Iterable[HeaderValue]:
    for index, header in enumerate(written):
        name = header.name.lower()
        if problem := not_settable(name):
            errors.append(FieldError(f"{path}[{index}].name", f'"{header.name}" cannot be written: {problem}'))
        try:
            yield HeaderValue(name=name, value=templates.parse(header.value))
        except ValueError as error:
            errors.append(FieldError(f"{path}[{index}].value", str(error)))


def not_settable(name: str) -> str:
    """Why nobody may write this field (lower case), or nothing."""
    if name == "cookie":
        return "it may hold a credential"
    return "it belongs to the WebSocket handshake" if name == _EXTENSIONS else not_removable(name)


def not_removable(name: str) -> str:
    """Why nobody may remove it, or nothing."""
    if name in HOP_BY_HOP:
        return "it is about one connection (hop-by-hop), which the gateway makes itself"
    if name in _FRAMING:
        return "the gateway writes it itself"
    if name in _KEYS:
        return "it holds the credential, which the Backend's auth decides"
    if name.startswith("sec-websocket-") and name != _EXTENSIONS:
        return "it belongs to the WebSocket handshake"
    return ""
