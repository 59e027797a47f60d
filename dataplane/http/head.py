"""A request's head, and whether it says one thing only.

llhttp, strict as it is, lets some heads through that two readers could take for different requests, or that announce
what is not done here. `check` refuses those. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from multidict import CIMultiDictProxy

from dataplane.errors import Refusal

VERSIONS = ("1.0", "1.1")
_WEBSOCKET, _CHUNKED = (re.compile(name, re.IGNORECASE | re.ASCII) for name in ("websocket", "chunked"))
"""ASCII: a Kelvin sign is no "k"."""


@dataclass(slots=True)
class Head:
    """What comes before the body. Bytes that are no UTF-8 are surrogates (`surrogateescape`)."""

    method: str
    target: str = field(repr=False)
    """Raw."""
    version: str
    headers: CIMultiDictProxy[str] = field(repr=False)
    goes_on: bool
    """Does the client mean to use the connection for another request?"""
    switches: bool
    """May what follows be no HTTP?"""

    @property
    def chunked(self) -> bool:
        return "Transfer-Encoding" in self.headers

    @property
    def length(self) -> int | None:
        """Of the body, in bytes; None where the head does not say."""
        text = self.headers.get("Content-Length")
        return None if text is None else int(text)

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)


def check(head: Head) -> None:
    """Raises Refusal invalid_header for a version that is not spoken here; for codings that would have to be undone,
    or that HTTP/1.0 does not have (RFC 9112 §6.1); without a Host, or with two (§3.2); and for an upgrade with a body,
    since the parser does not look for one there."""
    fields = head.headers
    if head.version not in VERSIONS:
        raise _invalid("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
    codings = fields.getall("Transfer-Encoding", [])
    if codings and (head.version == "1.0" or len(codings) > 1 or not _CHUNKED.fullmatch(codings[0])):
        raise _invalid("Only `Transfer-Encoding: chunked` is understood, and in HTTP/1.1 alone.")
    hosts = len(fields.getall("Host", []))
    if hosts > 1 or (not hosts and head.version != "1.0"):
        raise _invalid("The request must have exactly one Host field.")
    if ("Upgrade" in fields or head.switches) and head.has_body:
        raise _invalid("A request that asks for an upgrade must have no body.")


def _invalid(message: str) -> Refusal:
    return Refusal("invalid_header", message)


def wants_websocket(head: Head) -> bool:
    """Whether the request is a WebSocket handshake. Other upgrades are not made, nor one of a list (RFC 9110 §7.8
    allows that; it forbids one in HTTP/1.0)."""
    asked = head.headers.getall("Upgrade", [])
    return (
        head.switches
        and head.method == "GET"
        and head.version != "1.0"
        and len(asked) == 1
        and _WEBSOCKET.fullmatch(asked[0]) is not None
    )
