"""The PROXY protocol: what a load balancer says first on a connection, of whom it speaks for. Pure.

Versions 1 (a line of text) and 2 (binary), for TCP over IPv4 and IPv6; of other connections, and of the load balancer's
own (LOCAL, UNKNOWN), nothing is known. Additional fields (TLVs) are skipped.
https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST_LINE = 107
"""Bytes of version 1, its CRLF among them."""
LONGEST = 4096
"""Bytes of a header that are read: additional fields take some hundreds."""
_FIRST = b"PROXY "
_FIXED = 16
"""Bytes of version 2 before its addresses."""
_PORTS = 4
_LOCAL, _PROXY = 0, 1
_TCP4, _TCP6 = 0x11, 0x21


class Malformed(ValueError):
    """What came is no PROXY header."""


@dataclass(frozen=True, slots=True)
class Header:
    size: int
    """Bytes that it takes."""
    source: str
    """Address of the client; empty where the header says nothing of one."""


def parse(data: bytes) -> Header | None:
    """The header that the data begins with; None where it is not there as a whole. Raises Malformed."""
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _binary(data)
    if data[: len(_FIRST)] == _FIRST[: len(data)]:
        return _line(data)
    raise Malformed("it does not begin with a PROXY header")


def _line(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, LONGEST_LINE)
    if end < 0:
        if len(data) >= LONGEST_LINE:
            raise Malformed(f"its first line is longer than {LONGEST_LINE} bytes")
        return None
    try:
        _, family, *rest = data[:end].decode("ascii").split(" ")
        if family == "UNKNOWN":
            return Header(end + 2, "")
        read = {"TCP4": IPv4Address, "TCP6": IPv6Address}[family]
        source, destination, *ports = rest
        read(destination)
        if len(ports) != 2 or not all(map(_is_port, ports)) or "%" in source:
            raise ValueError
        return Header(end + 2, str(read(source)))
    except (ValueError, KeyError):
        raise Malformed("its first line is no PROXY header of version 1") from None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 5 and int(text) <= 65_535


def _binary(data: bytes) -> Header | None:
    if len(data) < _FIXED:
        return None
    version, command = divmod(data[len(SIGNATURE)], 16)
    family, length = data[len(SIGNATURE) + 1], int.from_bytes(data[_FIXED - 2 : _FIXED], "big")
    if version != 2 or command not in (_LOCAL, _PROXY) or family >> 4 > 3 or family & 15 > 2:
        raise Malformed("its PROXY header is of no version and kind that is known")
    if _FIXED + length > LONGEST:
        raise Malformed(f"its PROXY header is longer than {LONGEST} bytes")
    size = {_TCP4: 4, _TCP6: 16}.get(family, 0) if command == _PROXY else 0
    if size and length < 2 * size + _PORTS:
        raise Malformed("its PROXY header has no room for the addresses that it says it has")
    if len(data) < _FIXED + length:
        return None
    source = data[_FIXED : _FIXED + size]
    return Header(_FIXED + length, str(IPv4Address(source) if size == 4 else IPv6Address(source)) if size else "")
