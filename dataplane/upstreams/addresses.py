"""Which addresses an upstream may have. Pure.

Whoever writes a Backend chooses a name, and whoever owns that name chooses an address: without a check it can
be the cloud's metadata service or a neighbour in the cluster. The check is made on the address that is dialled,
after DNS, so that a name that resolves differently the second time gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_METADATA = frozenset(
    map(
        ip_address,
        [
            *("169.254.169.254", "169.254.170.2", "169.254.170.23"),
            *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
            *("100.100.100.200", "192.0.0.192"),
            "168.63.129.16",  # Azure's platform endpoint has a public address
        ],
    )
)
"""Where clouds hand out credentials to whoever asks from their machines; many are in private networks."""
_NAT64 = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))
_COMPATIBLE = ip_network("::/96")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Public addresses are allowed; others where said here."""

    allow_loopback: bool = False
    allow: tuple[Network, ...] = ()
    """Private networks. Loopback, link-local and multicast addresses are only in networks that lie within these ranges,
    and a metadata service only in one that is its address alone: nobody who writes 0.0.0.0/0 has meant those."""

    def refusal(self, text: str) -> str:
        """What this numeric address is that may not be dialled (`a private or reserved address`); empty if it may."""
        return _refusal(text, self.allow_loopback, self.allow)

    def also(self, networks: tuple[str, ...]) -> AddressPolicy:
        """The policy that allows these networks (CIDR), too. Raises ValueError for what is none."""
        return _also(self, networks) if networks else self


@lru_cache(maxsize=1024)
def _also(policy: AddressPolicy, networks: tuple[str, ...]) -> AddressPolicy:
    return replace(policy, allow=(*policy.allow, *map(ip_network, networks)))


@lru_cache(maxsize=4096)  # each session and each new connection asks, nearly always about the same few
def _refusal(text: str, allow_loopback: bool, allow: tuple[Network, ...]) -> str:
    address = ip_address(text.partition("%")[0])
    meant = _meant(address)
    named = [network for network in allow if address in network or meant in network]
    if meant in _METADATA or meant.is_unspecified:
        alone = any(network.num_addresses == 1 for network in named)
        why = "the unspecified address" if meant.is_unspecified else "a link-local or metadata address"
        return "" if alone else why
    if meant.is_loopback:
        return "" if allow_loopback or any(network.is_loopback for network in named) else "a loopback address"
    if meant.is_link_local:
        return "" if any(network.is_link_local for network in named) else "a link-local or metadata address"
    if meant.is_multicast:
        return "" if any(network.is_multicast for network in named) else "a multicast address"
    return "" if named or meant.is_global else "a private or reserved address"


def _meant(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only carries it (mapped, compatible, 6to4, Teredo, NAT64)."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in _NAT64) or (address in _COMPATIBLE and int(address) > 0xFFFF):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
