"""The proxy that leads out of a network, and what does not go through it. Pure.

It is the install's: whoever writes a Backend cannot choose one, or get around it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from dataplane.upstreams.addresses import Network

_NEVER = ("localhost", "svc", "cluster.local")
"""Names of this machine and of the cluster's Services: of these, a proxy has others, or none."""
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
PASSWORD = "TIDEGATE_UPSTREAM_PROXY_PASSWORD"  # noqa: S105  (its name)
"""Where a process takes the password from: other users can see its options."""


@dataclass(frozen=True, slots=True)
class EgressProxy:
    host: str
    port: int
    authorization: str = field(default="", repr=False)
    """What it is shown (RFC 9110 §11.7.2); empty: nothing."""
    suffixes: tuple[str, ...] = _NEVER
    """Names that are called directly, with all below them."""
    networks: tuple[Network, ...] = ()
    """The same of addresses, where an upstream is named by one; names are not looked up to see."""
    nothing: bool = False
    """Is everything called directly?"""

    def leads_to(self, host: str) -> bool:
        """Whether this host, a name or a numeric address, is called through it."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            name = host.lower().rstrip(".")
            return not self.nothing and not any(name == each or name.endswith(f".{each}") for each in self.suffixes)
        return not (self.nothing or address.is_loopback or any(address in network for network in self.networks))

    def sparing(self, direct: Iterable[str]) -> EgressProxy:
        """The same, through which these do not go: names, which mean all below them too, and networks (CIDR); `*` is
        everything. Raises ValueError, which says what to write."""
        suffixes, networks, nothing = list(self.suffixes), list(self.networks), self.nothing
        for entry in direct:
            text = entry.strip().lower()
            name = text.removeprefix("*.").removeprefix(".").rstrip(".")
            if text == "*":
                nothing = True
            elif (network := _network(text)) is not None:
                networks.append(network)
            elif _NAME.fullmatch(name):
                suffixes.append(name)
            else:
                such_as = "a name, such as example.com, nor a network, such as 10.0.0.0/8"
                raise ValueError(f"{entry.strip()[:256]!r} is neither {such_as}")
        return replace(self, suffixes=tuple(suffixes), networks=tuple(networks), nothing=nothing)


def egress_proxy(url: str, password: str = "") -> EgressProxy:
    """The proxy at `http://[USER@]HOST:PORT`. Raises ValueError, which says what to write and quotes nothing."""
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname, parts.port, unquote(parts.username or "")
    except ValueError:
        raise ValueError(_SUCH_AS) from None
    if parts.scheme == "https":
        raise ValueError(
            "proxies are called by http://, and so is this one to be. What goes through it is encrypted all the same "
            "where the provider's url begins with https://"
        )
    more = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme != "http" or not host or not (_NAME.fullmatch(host) or _network(host)) or not port or more:
        raise ValueError(_SUCH_AS)
    if parts.password is not None:
        raise ValueError(f"others can see what options a process has: put the password into {PASSWORD}")
    if password and not user:
        raise ValueError(f"{PASSWORD} is there, and no user: write http://USER@HOST:PORT")
    if ":" in user or not (user + password).isprintable():
        raise ValueError("the proxy's user has a colon, or user or password have characters that cannot be sent")
    shown = base64.b64encode(f"{user}:{password}".encode()).decode()
    return EgressProxy(host, port, f"Basic {shown}" if user else "")


_SUCH_AS = "write http://HOST:PORT, such as http://proxy.example.com:3128, with USER@ before HOST if it wants one"


def _network(text: str) -> Network | None:
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
