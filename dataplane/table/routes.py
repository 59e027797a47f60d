"""Routes: which requests go to which Backends, under which Policies."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dataplane.table.entry import Entry, Frozen
from dataplane.table.listeners import Attachment
from dataplane.table.policies import PolicySet


class NameMatch(Frozen):
    """A header field or query parameter that must have this value."""

    name: str
    value: str
    regex: bool = False


class Match(Frozen):
    """All of it must hold (Gateway API, HTTPRouteMatch)."""

    path: str = "/"
    path_kind: Literal["exact", "prefix", "regex"] = "prefix"
    method: str = ""
    headers: tuple[NameMatch, ...] = ()
    query: tuple[NameMatch, ...] = ()


class Forward(Frozen):
    """One Backend of a route, with the policies that hold for it there."""

    backend: str
    weight: int = 1
    policies: PolicySet = PolicySet()
    error: str = ""
    """Why this share of the requests cannot be served (no such Backend, …): it is answered 500."""


class Redirect(Frozen):
    """An answer that sends the client elsewhere (Gateway API, HTTPRequestRedirectFilter). What is empty stays as it was
    asked for."""

    scheme: Literal["", "http", "https"] = ""
    hostname: str = ""
    port: int | None = Field(None, ge=1, le=65535)
    path_kind: Literal["", "full", "prefix"] = ""
    """Is `path` the whole new path, or does it replace the prefix that matched?"""
    path: str = ""
    status: int = 302


class Route(Entry):
    """A rule of an HTTPRoute (`namespace/name#rule`, with `@` and a listener where it is served there under Policies of
    its own), or an exposed Backend (`namespace/name`).

    Of routes that match a request equally well the first in the table wins; the compiler orders them."""

    hostnames: tuple[str, ...] = ()
    """Lower case, exact or `*.example.com`. Empty: any host."""
    matches: tuple[Match, ...] = (Match(),)
    """Any of them suffices."""
    strip_prefix: str = ""
    """`expose.pathPrefix`, taken off the path before anything else looks at it."""
    forwards: tuple[Forward, ...] = ()
    redirect: Redirect | None = None
    """Requests are answered with it, and go to no Backend."""
    attached: tuple[Attachment, ...] = ()
    """Listeners that serve it, each under the hostnames of the attachment. Empty: the data plane's own port serves it,
    under `hostnames`."""
