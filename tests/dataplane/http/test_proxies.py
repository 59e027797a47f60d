"""Whom a connection is from, by what proxies say of it that are believed."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.http.proxies import MOST, NO_PROXY, Proxies, read

OURS = Proxies([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1"),
        ("", None),
        ("unknown", None),
        ("_hidden", None),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("[", None),
        ("gateway.example", None),
    ],
)
def test_addresses_as_proxies_write_them(text: str, expected: str | None) -> None:
    assert (str(read(text)) if expected else read(text)) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("::ffff:10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("2001:db8::1", ["192.0.2.1:4711"], "192.0.2.1"),
        ("192.0.2.9", ["192.0.2.1"], "192.0.2.9"),  # a stranger
        ("10.0.0.1", ["1.1.1.1, 192.0.2.1"], "192.0.2.1"),  # made up by the client
        ("10.0.0.1", ["192.0.2.1, 10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["192.0.2.1", "10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["1.1.1.1, 192.0.2.1,10.0.0.3 ,10.0.0.2"], "192.0.2.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),  # nobody knows what is left of it
        ("10.0.0.1", ["192.0.2.1, "], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("", ["192.0.2.1"], ""),
    ],
)
def test_read_from_the_right_up_to_the_first_that_is_no_proxy(peer: str, forwarded: list[str], expected: str) -> None:
    assert OURS.client(peer, forwarded) == expected


def test_without_proxies_nothing_is_believed() -> None:
    assert NO_PROXY.client("10.0.0.1", ["192.0.2.1"]) == "10.0.0.1"
    assert not NO_PROXY.trusts("10.0.0.1")


def test_so_many_are_looked_at() -> None:
    ours = ["10.0.0.2"] * (MOST - 1)
    assert OURS.client("10.0.0.1", [", ".join(["192.0.2.1", *ours])]) == "192.0.2.1"
    assert OURS.client("10.0.0.1", [", ".join(["192.0.2.1", *ours, "10.0.0.2"])]) == "10.0.0.2"
    assert OURS.client("10.0.0.1", [", ".join(["10.0.0.2"] * 10_000)]) == "10.0.0.2"


@given(st.text(max_size=30), st.lists(st.text(max_size=60), max_size=5))
def test_whatever_they_say_it_is_an_address_or_nothing(peer: str, forwarded: list[str]) -> None:
    for first in (peer, "10.0.0.1"):
        found = OURS.client(first, forwarded)
        assert found == "" or str(read(found)) == found
