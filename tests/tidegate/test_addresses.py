from __future__ import annotations

import pytest

from tidegate.addresses import Address, parse
from tidegate.exits import Exit, Stop


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:8080", "::1", 8080, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:65535", "::", 65535, False),
        ("10.0.0.1:1", "10.0.0.1", 1, False),
        ("gateway.internal:8080", "gateway.internal", 8080, False),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int, loopback: bool) -> None:
    address = parse(text, "--listen")
    assert address == Address(host, port)
    assert address.is_loopback is loopback
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("8080", "write HOST:PORT"),
        (":8080", "0.0.0.0:8080 is every interface"),
        ("localhost", "write HOST:PORT"),
        ("::1:8080", "[::1]:8080"),
        ("127.0.0.1:http", "the port is a number"),
        ("127.0.0.1:65536", "the port is a number"),
        ("127.0.0.1:", "the port is a number"),
        ("127.0.0.1:²", "the port is a number"),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(Stop) as stop:
        parse(text, "--admin")
    assert stop.value.code is Exit.USAGE
    assert "--admin" in stop.value.message
    assert hint in stop.value.message


def test_all_interfaces_are_called_by_loopback() -> None:
    assert str(Address("0.0.0.0", 80).reachable) == "127.0.0.1:80"
    assert str(Address("::", 80).reachable) == "[::1]:80"
    assert str(Address("::1", 80).reachable) == "[::1]:80"
