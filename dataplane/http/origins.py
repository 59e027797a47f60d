"""Which pages may open WebSockets: the `Origin` of a handshake against a Policy's list.

A browser lets any page connect to any server, with what it knows of its user, and says in `Origin` which page it is
(RFC 6454; RFC 6455 section 10.2). Other clients send none, or what they like: this protects people who browse, and is
no authentication.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?", re.ASCII)
_USUAL_PORTS = {"http": "80", "https": "443"}


def canonical(origin: str) -> str:
    """`scheme://host` in lower case, with the port where it is not the scheme's own; empty for what is no origin of a
    page, such as `null`."""
    match = _ORIGIN.fullmatch(origin.strip().lower()) if origin.isascii() else None  # a Kelvin sign is no "k"
    if match is None:
        return ""
    scheme, host, port = match.groups()
    number = port.lstrip("0") if port else ""
    return f"{scheme}://{host}" if number in ("", _USUAL_PORTS.get(scheme)) else f"{scheme}://{host}:{number}"


def matches(pattern: str, origin: str) -> bool:
    """Whether an origin, in canonical form, is what an entry of `SessionLimits.origins` means. `*.` stands for one or
    more labels before the host."""
    scheme, _, rest = pattern.partition("://")
    if not rest.startswith("*."):
        return origin == pattern
    before, _, host = origin.partition("://")
    return before == scheme and host.endswith(rest[1:]) and not host.startswith(".")


def refused(sent: Iterable[str], allowed: Iterable[str], policy: str) -> str:
    """Why a handshake with these `Origin` headers is refused; empty where it is not. `policy` says what is allowed."""
    origins = list(sent)
    if not origins:
        return ""
    if len(origins) > 1:
        return "The request has more than one Origin header. Send one, as browsers do."
    origin = canonical(origins[0])
    if not origin:
        return (
            f"The page has no origin of its own (Origin: {origins[0][:_SHOWN]!r}), as in a sandbox or from a file. "
            f"Policy {policy} lists origins, and such a page has none: serve it from an address."
        )
    if any(matches(each, origin) for each in allowed):
        return ""
    return (
        f"Pages of {origin[:_SHOWN]} may not connect: Policy {policy} does not list them. If they are meant to, add "
        f"{origin[:_SHOWN]} to its session.origins."
    )


_SHOWN = 200
"""Characters of a client's header that an error repeats."""
