"""Requests that are answered with another address. Pure."""

from __future__ import annotations

import re

from dataplane.http import paths
from dataplane.http.accept import Target
from dataplane.table import Listener, Redirect, Route

_PORTS = {"http": 80, "https": 443}
"""Of schemes; an address does not name its scheme's own."""
_HOST = re.compile(r"(.*?)(?::(\d*))?", re.DOTALL)


class Redirected(Exception):
    """The answer to a request is `status` with this `location`."""

    def __init__(self, status: int, location: str) -> None:
        super().__init__(location)
        self.status = status
        self.location = location


def location(redirect: Redirect, route: Route, target: Target, listener: Listener | None) -> str:
    """Where a request for `target` is sent (Gateway API, HTTPRequestRedirectFilter). Its query goes along.

    `listener`: where it came, unless that is the data plane's own port. A client that named no host is told the path
    alone."""
    path = _path(redirect, route, target.path) + (f"?{target.query}" if target.query else "")
    asked = _HOST.fullmatch(target.host)
    name, asked_port = (asked[1], int(asked[2] or 0)) if asked else (target.host, 0)
    host = redirect.hostname or name
    if not host:
        return path
    scheme = redirect.scheme or ("https" if target.secure else "http")
    came = listener.public_port if listener else asked_port
    port = redirect.port or (0 if redirect.scheme else came) or _PORTS[scheme]
    return f"{scheme}://{host}{'' if port == _PORTS[scheme] else f':{port}'}{path}"


def _path(redirect: Redirect, route: Route, asked: str) -> str:
    if redirect.path_kind == "full":
        return redirect.path or "/"
    if redirect.path_kind == "":
        return asked
    rest = paths.stripped(asked, route.matches[0].path)  # such a route has one match, by a prefix
    if rest == "/" and not asked.endswith("/"):
        return redirect.path or "/"
    return redirect.path.removesuffix("/") + rest
