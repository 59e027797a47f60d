"""Where an upstream request goes: the server, and what is asked of it. Pure."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit


class Reach(NamedTuple):
    """How a provider's server is reached, beside what its URL says."""

    networks: tuple[str, ...] = ()
    """Private ones (CIDR) that it may be in."""
    endpoints: tuple[str, ...] | None = None
    """`ip:port` of a Service's endpoints: one of them is dialled, and the host is only a name. None: the host's
    addresses are looked up."""
    context: ssl.SSLContext | None = None
    """TLS of the provider's own; None: as towards everybody."""
    server_name: str = ""
    """What its certificate must be for; empty: the host."""


BY_NAME: Final = Reach()


class Origin(NamedTuple):
    """A server that connections are made to (RFC 9110 §4.3.1). Those of one origin are alike: they were made with
    one TLS context, which is equal to itself alone, and checked for one name; and what one Backend may reach is no way
    for another."""

    scheme: str
    host: str
    port: int
    reach: Reach = BY_NAME

    @property
    def authority(self) -> str:
        """As the field Host has it: without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"


_PORTS = {"http": 80, "https": 443}


def parted(url: str) -> tuple[Origin, str]:
    """Origin and request target of an http(s) URL; the target is kept byte for byte.

    >>> parted("https://a.example/v1/models?x=%2F")[1]
    '/v1/models?x=%2F'
    """
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if slash and "?" not in authority:
        return _origin(scheme, authority), slash + path
    authority, mark, query = rest.partition("?")
    return _origin(scheme, authority), f"/{mark}{query}"


@lru_cache(1024)
def _origin(scheme: str, authority: str) -> Origin:
    parts = urlsplit(f"{scheme}://{authority}")
    return Origin(parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])
