"""PROXY headers: both versions, every cut, and what is none."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.http.proxy_protocol import LONGEST, LONGEST_LINE, SIGNATURE, Header, Malformed, parse

LOCAL, PROXY = 0x20, 0x21
V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("10.0.0.1") + b"\x12\x67\x01\xbb"
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(socket.AF_INET6, "::1") + b"\x12\x67\x01\xbb"
TLV = b"\x04\x00\x03abc"
UNIX = bytes(216)


def binary(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


GOOD = {
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n": "192.0.2.1",
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": "255.255.255.255",
    b"PROXY TCP6 2001:DB8::1 ::1 4711 443\r\n": "2001:db8::1",
    b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n": ":".join(["ffff"] * 8),
    b"PROXY UNKNOWN\r\n": "",
    b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n": "",
    binary(PROXY, 0x11, V4): "192.0.2.1",
    binary(PROXY, 0x11, V4 + TLV): "192.0.2.1",
    binary(PROXY, 0x21, V6): "2001:db8::1",
    binary(PROXY, 0x21, V6 + TLV * 20): "2001:db8::1",
    binary(PROXY, 0x11, V4 + bytes(LONGEST - 16 - len(V4))): "192.0.2.1",
    binary(PROXY, 0x00, b""): "",
    binary(PROXY, 0x00, TLV): "",
    binary(PROXY, 0x12, V4): "",
    binary(PROXY, 0x31, UNIX): "",
    binary(LOCAL, 0x00, b""): "",
    binary(LOCAL, 0x11, V4): "",
    binary(LOCAL, 0x11, b""): "",
}
BAD = [
    b"G",
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 ",
    b"proxy TCP4 192.0.2.1 10.0.0.1 4711 443\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443 1\r\n",
    b"PROXY TCP4  192.0.2.1 10.0.0.1 4711 443\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 4711 443\r\n",
    b"PROXY TCP6 192.0.2.1 10.0.0.1 4711 443\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 65536\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 -1 443\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\n\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.256 4711 443\r\n",
    b"PROXY UDP4 192.0.2.1 10.0.0.1 4711 443\r\n",
    b"PROXY TCP4 \xff 10.0.0.1 4711 443\r\n",
    b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n",
    b"PROXY " + b" " * LONGEST_LINE,
    SIGNATURE[:-1] + b"\r",
    binary(0x11, 0x11, V4),
    binary(0x22, 0x11, V4),
    binary(PROXY, 0x13, V4),
    binary(PROXY, 0x41, V4),
    binary(PROXY, 0x11, V4[:-1]),
    binary(PROXY, 0x21, V6[:-1]),
    binary(PROXY, 0x11, bytes(LONGEST)),
]


@pytest.mark.parametrize("header", GOOD, ids=repr)
def test_every_cut(header: bytes) -> None:
    for end in range(len(header)):
        assert parse(header[:end]) is None
    for behind in (b"", b"G", b"\r\n", b"PROXY ", SIGNATURE):
        assert parse(header + behind) == Header(len(header), GOOD[header])


@pytest.mark.parametrize("data", BAD, ids=repr)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


@given(st.sampled_from([*GOOD]), st.data())
def test_one_byte_that_is_another(header: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, min(len(header), 64) - 1))
    changed = header[:place] + bytes([data.draw(st.integers(0, 255))]) + header[place + 1 :]
    with suppress(Malformed):
        found = parse(changed)
        assert found is None or found.size <= LONGEST


@given(st.sampled_from([b"", SIGNATURE, SIGNATURE + b"\x21\x11", b"PROXY ", b"PROXY TCP4 "]), st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(first: bytes, rest: bytes) -> None:
    with suppress(Malformed):
        found = parse(first + rest)
        assert found is None or found.size <= len(first + rest)
