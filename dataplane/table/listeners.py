"""Listeners of Gateways: further ports that the data plane opens, and who is meant there by which host."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataplane.table.entry import Entry, Frozen


class Listener(Entry):
    """`namespace/gateway/section`: one listener of a Gateway. Several may share a port, told apart by their hostnames:
    a request belongs to the one whose hostname is the most specific, and sees no other's routes."""

    port: int = Field(ge=1, le=65535)
    """Where the data plane listens."""
    public_port: int = Field(ge=1, le=65535)
    """Where clients connect to, by the Gateway; redirects name it."""
    hostname: str = ""
    """Lower case, exact or `*.example.com`. Empty: any host."""
    tls: bool = False
    """The same for all listeners of a port."""
    certificates: tuple[str, ...] = ()
    """Ids of secrets: each a chain and its private key, in PEM, one behind the other. Several are for different kinds
    of keys. Where none can be used, TLS handshakes are refused, and nothing else is."""


class Attachment(Frozen):
    """A route on a listener."""

    listener: str
    """Its name."""
    hostnames: tuple[str, ...] = ()
    """The route's own, as far as they are the listener's too. Empty: all of the listener."""


class Redirect(Frozen):
    """Requests are answered with another address (Gateway API, HTTPRequestRedirectFilter); what is empty stays as it
    was asked for."""

    scheme: Literal["", "http", "https"] = ""
    hostname: str = ""
    port: int = Field(0, ge=0, le=65535)
    """0: the scheme's own where the scheme is written here, else the one that was asked at."""
    path_kind: Literal["", "full", "prefix"] = ""
    """What of the path is replaced by `path`: nothing, all of it, or what the route's match says."""
    path: str = ""
    status: Literal[301, 302, 303, 307, 308] = 302
