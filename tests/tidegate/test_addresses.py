from __future__ import annotations

import pytest

from tidegate.addresses import Address, parse, parse_peer, parse_store
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


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9090", Address("127.0.0.1", 9090)),
        ("http://127.0.0.1:9090", Address("127.0.0.1", 9090)),
        ("http://[::1]:9090/", Address("::1", 9090)),
        ("gateway.internal:9090", Address("gateway.internal", 9090)),
    ],
)
def test_where_a_server_is(text: str, address: Address) -> None:
    assert parse_peer(text, "--admin") == address


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("9090", "write HOST:PORT, such as 127.0.0.1:9090."),
        ("http://localhost", "write HOST:PORT, such as 127.0.0.1:9090."),
        ("http://::1:9090", "in brackets, such as [::1]:9090"),
        ("https://localhost:9090", "HTTPS is not spoken there"),
        ("http://localhost:9090/sessions", "without a path"),
        ("localhost:0", "the port is a number from 1 to 65535"),
        ("localhost:x", "the port is a number from 1 to 65535"),
    ],
)
def test_what_is_nowhere_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(Stop) as stop:
        parse_peer(text, "--admin")
    assert stop.value.code is Exit.USAGE
    assert stop.value.message.startswith(f"--admin {text!r}: ")
    assert hint in stop.value.message


@pytest.mark.parametrize("text", ["", " ", "redis://127.0.0.1:6379", "unix:///run/valkey.sock"])
def test_the_store_is_named_or_there_is_none(text: str) -> None:
    assert parse_store(text) == text.strip()
    assert parse_store(f" {text}\n") == text.strip()


def test_a_store_that_is_no_address_is_refused_without_its_password() -> None:
    with pytest.raises(Stop) as caught:
        parse_store("redis:/:hunter2@127")
    assert (caught.value.code, "hunter2" in caught.value.message) == (Exit.USAGE, False)
    assert "write redis://HOST:6379" in caught.value.message
