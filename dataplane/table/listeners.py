"""Listeners: where a Gateway is served, and which routes are attached to it."""

from __future__ import annotations

from pydantic import Field

from dataplane.table.entry import Entry, Frozen


class Listener(Entry):
    """A listener of a Gateway (`namespace/gateway/section`).

    Of those that share a port, the one whose hostname is the most specific for a request serves it, and no other's
    routes do. Whether there is TLS is the same for all of a port."""

    port: int = Field(ge=1, le=65535)
    """Of the data plane's pods; the Gateway's own port leads there."""
    public_port: int = Field(0, ge=0, le=65535)
    """The Gateway's own, for redirects; 0: the scheme's."""
    hostname: str = ""
    """Lower case, exact or `*.example.com`. Empty: any host."""
    tls: bool = False
    """Is TLS ended here?"""
    certificates: tuple[str, ...] = ()
    """Ids of secrets: each is a chain and its private key (PEM), one after the other. Several are for different kinds
    of keys. Where none can be used, TLS handshakes are refused, and nothing else is."""


class Attachment(Frozen):
    """That a route is served on a listener."""

    listener: str
    """Its name."""
    hostnames: tuple[str, ...] = ()
    """What the listener's hostname and the route's have in common. Empty: any host."""
