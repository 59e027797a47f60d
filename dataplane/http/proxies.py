"""Whom a connection is from, where load balancers stand in between. Pure.

The address of who connects is the kernel's word. Where that is a proxy of ours, in a network that the operator named,
it says whom it speaks for: in `X-Forwarded-For`, to which each proxy adds the address that it was called from, or in a
PROXY header (`proxy_protocol`). What stands left of the first address that is no proxy's is what a client made up.
RFC 7239's `Forwarded` is not read: a proxy that adds to one of the two fields leaves the other to its clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

FORWARDED_FOR = "x-forwarded-for"
MOST = 32
"""Proxies in a row that are looked at."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Proxies:
    """The proxies that are believed: those in `networks`. `protocol`: their connections begin with a PROXY header."""

    def __init__(self, networks: Sequence[Network] = (), *, protocol: bool = False) -> None:
        self.networks = tuple(networks)
        self.protocol = protocol

    def trusts(self, address: str) -> bool:
        """Is that one of them?"""
        found = read(address)
        return found is not None and self._trusts(found)

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address: that of the `peer`, or whom it speaks for by these `X-Forwarded-For` fields."""
        if not self.networks and ":" not in peer:  # the kernel's own words; to read them costs more than all the rest
            return peer
        found = read(peer)
        if found is None:
            return ""
        if self.networks and forwarded and self._trusts(found):
            hops = ",".join(forwarded).rsplit(",", MOST)[-MOST:]
            while hops and self._trusts(found) and (before := read(hops.pop())) is not None:
                found = before
        return str(found)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


NO_PROXY = Proxies()
"""No proxy is believed."""


def read(text: str) -> Address | None:
    """An address as proxies write it: with brackets and a port, or without; None where it is none (`unknown`)."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
