"""Addresses to listen on and to call: `127.0.0.1:8080`, `[::1]:8080`, `localhost:0`; and that of the store."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from tidegate.exits import Exit, Stop


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    """A name or an address, without brackets."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it. A name other than `localhost` may be anybody's."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def reachable(self) -> Address:
        """Where this machine finds it: all interfaces are no address to call."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104


def parse(text: str, option: str) -> Address:
    """Where to listen: `HOST:PORT`, an IPv6 address in brackets. Raises Stop (usage), which names the option."""
    host, port = _parts(text, text, option, "127.0.0.1:8080; 0.0.0.0:8080 is every interface")
    if port is None:
        raise _wrong(text, option, "the port is a number from 0 (any free one) to 65535")
    return Address(host, port)


def parse_peer(text: str, option: str) -> Address:
    """Where somebody else listens, for plain HTTP: `HOST:PORT` or `http://HOST:PORT`. Raises Stop (usage), which names
    the option."""
    bare = text.removeprefix("http://").removesuffix("/")
    if "/" in bare:
        raise _wrong(text, option, "write HOST:PORT or http://HOST:PORT, without a path; HTTPS is not spoken there")
    host, port = _parts(bare, text, option, "127.0.0.1:9090")
    if not port:
        raise _wrong(text, option, "the port is a number from 1 to 65535")
    return Address(host, port)


def parse_controller(text: str) -> Address:
    """Where controllers listen: `HOST:PORT`. Raises Stop (usage)."""
    option = "--controller"
    if "/" in text:
        raise _wrong(text, option, "write HOST:PORT, without a scheme and without a path")
    host, port = _parts(text, text, option, "tidegate-controller.tidegate.svc:9443")
    if not port:
        raise _wrong(text, option, "write HOST:PORT; the port is a number from 1 to 65535")
    return Address(host, port)


def parse_store(text: str) -> str:
    """The address of the store that gateways count in together; empty: there is none. Raises Stop (usage), which does
    not quote it, as it may hold a password."""
    from dataplane.limits.store import where  # commands without a store are spared what that imports

    address = text.strip()
    try:
        return address if address and where(address) else ""
    except ValueError as error:
        raise Stop(Exit.USAGE, f"--state {error}.") from None


def _parts(address: str, text: str, option: str, such_as: str) -> tuple[str, int | None]:
    """Host and port; None: it is no number that a port can be. `text` is what the user wrote."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise _wrong(text, option, f"write an IPv6 address in brackets, such as [{host or '::1'}]:{port}")
    if not colon or not host:
        raise _wrong(text, option, f"write HOST:PORT, such as {such_as}")
    return host, int(port) if port.isascii() and port.isdigit() and int(port) <= 65535 else None


def _wrong(text: str, option: str, what: str) -> Stop:
    return Stop(Exit.USAGE, f"{option} {text!r}: {what}.")
