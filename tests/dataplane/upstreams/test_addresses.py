"""Which addresses an upstream may have."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.upstreams.addresses import AddressPolicy

PRIVATE = [
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
    *("169.254.169.254", "169.254.0.1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"),  # metadata of clouds
    *("0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "255.255.255.255"),
    *("::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1"),
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "2001:0:4136:e378:8000:63bf:f5ff:fffe"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:a00:1::", "2002:a9fe:a9fe::1"),
]
LOOPBACK = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", [*PRIVATE, *LOOPBACK])
def test_refused(address: str) -> None:
    assert AddressPolicy().refusal(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert AddressPolicy().refusal(address) == ""


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_where_it_is_allowed(address: str) -> None:
    assert AddressPolicy(allow_loopback=True).refusal(address) == ""


@pytest.mark.parametrize("address", PRIVATE)
def test_loopback_allows_nothing_else(address: str) -> None:
    assert AddressPolicy(allow_loopback=True).refusal(address)


def test_ranges_that_the_install_allows() -> None:
    policy = AddressPolicy(allow=(ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")))
    assert [policy.refusal(a) for a in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5")] == ["", "", ""]
    assert policy.refusal("10.2.0.1")
    assert policy.refusal("fd00:2::1")


def test_networks_of_one_backend_are_no_others() -> None:
    policy = AddressPolicy(allow=(ip_network("10.1.0.0/16"),))
    wider = policy.also(("192.168.7.0/24",))
    assert [wider.refusal(a) for a in ("10.1.2.3", "192.168.7.9")] == ["", ""]
    assert policy.refusal("192.168.7.9")
    assert policy.also(()) is policy
    with pytest.raises(ValueError, match=r"10\.0\.0"):
        policy.also(("10.0.0",))


EVERYTHING = ("0.0.0.0/0", "::/0")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("169.254.169.254", "169.254.169.254/32"),
        ("::ffff:169.254.169.254", "169.254.169.254/32"),
        ("100.100.100.200", "100.100.100.200/32"),
        ("fd00:ec2::254", "fd00:ec2::254/128"),
        ("168.63.129.16", "168.63.129.16/32"),
        ("0.0.0.0", "0.0.0.0/32"),
        ("::", "::/128"),
        ("127.0.0.1", "127.0.0.0/8"),
        ("169.254.7.7", "169.254.7.0/24"),
        ("fe80::1", "fe80::/10"),
        ("224.0.0.1", "224.0.0.0/4"),
    ],
)
def test_what_nobody_means_by_a_wide_network(address: str, network: str) -> None:
    """It is allowed where it is listed itself."""
    assert AddressPolicy().also(EVERYTHING).refusal(address)
    assert AddressPolicy().also((network,)).refusal(address) == ""


def test_metadata_is_not_in_its_link_local_network() -> None:
    assert AddressPolicy().also(("169.254.0.0/16",)).refusal("169.254.169.254")
    assert AddressPolicy().also(EVERYTHING).refusal("10.0.0.1") == ""


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_disguise_is_judged_as_what_it_is(address: object) -> None:
    number = int(ip_address(str(address)))
    disguises = [(0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)]
    plain = AddressPolicy().refusal(str(address)) == ""
    for disguise in disguises:
        assert (AddressPolicy().refusal(str(ip_address(disguise.to_bytes(16, "big")))) == "") == plain
