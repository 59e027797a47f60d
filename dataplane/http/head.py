"""A request's head, and whether it says one thing only.

llhttp, strict as it is, lets some heads through that two readers could take for different requests, or that announce
what is not done here. `check` refuses those. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dataplane.errors import Refusal

VERSIONS = ("1.0", "1.1")
_WEBSOCKET, _CHUNKED = (re.compile(name, re.IGNORECASE | re.ASCII) for name in ("websocket", "chunked"))
"""ASCII: a Kelvin sign is no "k"."""


class Headers:
    """The header fields of a request. All names are in lower case, also those that are asked for."""

    __slots__ = ("fields", "first")

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self.fields = fields
        """In order, with duplicates."""
        self.first = dict(reversed(fields))
        """The first value of each name."""

    def all(self, name: str) -> list[str]:
        """The values of all fields of that name."""
        if name not in self.first:
            return []
        if len(self.first) == len(self.fields):
            return [self.first[name]]
        return [value for each, value in self.fields if each == name]


@dataclass(slots=True)
class Head:
    """What comes before the body. Bytes that are no UTF-8 are surrogates (`surrogateescape`)."""

    method: str
    target: str = field(repr=False)
    """Raw."""
    version: str
    headers: Headers = field(repr=False)
    goes_on: bool
    """Does the client mean to use the connection for another request?"""
    switches: bool
    """May what follows be no HTTP?"""

    @property
    def chunked(self) -> bool:
        return "transfer-encoding" in self.headers.first

    @property
    def length(self) -> int | None:
        """Of the body, in bytes; None where the head does not say."""
        text = self.headers.first.get("content-length")
        return None if text is None else int(text)

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)


def check(head: Head) -> None:
    """Raises Refusal invalid_header for a version that is not spoken here; for codings that would have to be undone,
    or that HTTP/1.0 does not have (RFC 9112 §6.1); without a Host, or with two (§3.2); and for an upgrade with a body,
    since the parser does not look for one there."""
    headers = head.headers
    if head.version not in VERSIONS:
        raise _invalid("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    codings = headers.all("transfer-encoding")
    if codings and (head.version == "1.0" or len(codings) > 1 or not _CHUNKED.fullmatch(codings[0])):
        raise _invalid("Only `Transfer-Encoding: chunked` is understood, and in HTTP/1.1 alone.")
    hosts = len(headers.all("host"))
    if hosts > 1 or (not hosts and head.version != "1.0"):
        raise _invalid("The request must have exactly one Host field.")
    if ("upgrade" in headers.first or head.switches) and head.has_body:
        raise _invalid("A request that asks for an upgrade must have no body.")


def _invalid(message: str) -> Refusal:
    return Refusal("invalid_header", message)


def wants_websocket(head: Head) -> bool:
    """Whether the request is a WebSocket handshake. Other upgrades are not made, nor one of a list (RFC 9110 §7.8
    allows that; it forbids one in HTTP/1.0)."""
    asked = head.headers.all("upgrade")
    return (
        head.switches
        and head.method == "GET"
        and head.version != "1.0"
        and len(asked) == 1
        and _WEBSOCKET.fullmatch(asked[0]) is not None
    )
