"""Listeners: where a Gateway is served, and which routes are attached to it."""

from __future__ import annotations

from pydantic import Field

from dataplane.table.entry import Entry, Frozen


class Listener(Entry):
    """A listener of a Gateway (`namespace/gateway/section`).

    Of those that share a port, the one whose hostname is the most specific for a request serves it."""

    port: int = Field(ge=1, le=65535)
    """Of the data plane's pods; the Gateway's own port leads there."""
    hostname: str = ""
    """Lower case, exact or `*.example.com`. Empty: any host."""
    tls: bool = False
    """Is TLS ended here?"""
    certificates: tuple[str, ...] = ()
    """Ids of secrets: each is a chain and its private key (PEM), one after the other."""


class Attachment(Frozen):
    """That a route is served on a listener."""

    listener: str
    """Its name."""
    hostnames: tuple[str, ...] = ()
    """What the listener's hostname and the route's have in common. Empty: any host."""
