"""Keys by HTTP: what is fetched, from where, and how much."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest

from dataplane import jwks
from dataplane.callers import fetch as fetching
from dataplane.callers.fetch import NotFetched, fetch
from dataplane.process.files import Files
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.pool import Pool
from tests.dataplane.callers.issuers import jwk, key_set
from tests.dataplane.callers.publisher import Publisher

LOOPBACK = AddressPolicy(allow_loopback=True)


@asynccontextmanager
async def pool(addresses: AddressPolicy = LOOPBACK) -> AsyncIterator[Pool]:
    made = Pool(addresses, files=Files(), tls=ssl.create_default_context())
    try:
        yield made
    finally:
        await made.close()


async def refusal(publisher_url: str, addresses: AddressPolicy = LOOPBACK) -> str:
    async with pool(addresses) as connections:
        with pytest.raises(NotFetched) as error:
            await fetch(connections, publisher_url)
    return str(error.value)


async def test_keys_are_fetched() -> None:
    async with Publisher(key_set(jwk("P-256", kid="a"), jwk("RSA", 0, True))) as publisher, pool() as connections:
        read = await fetch(connections, publisher.url + "?p=a%2Fb")
        assert [key.kid for key in read.keys] == ["a"]
        assert len(read.problems) == 1
        (request,) = publisher.requests
        assert request.path_qs == "/jwks.json?p=a%2Fb"
        assert request.headers["Host"] in publisher.url


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with Publisher() as elsewhere, Publisher() as publisher:
        publisher.status, publisher.headers = status, {"Location": elsewhere.url}
        assert f"answered {status}; redirects are not followed" in await refusal(publisher.url)
        assert elsewhere.asked == 0


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, "", "127.0.0.1 answered 404"),
        (500, key_set(jwk("P-256")), "127.0.0.1 answered 500"),
        (204, "", "answered 204"),
        (200, "<html>", "what 127.0.0.1 answers at /jwks.json is not JSON"),
        (200, "", "is not JSON"),
        (200, '{"keys": 5}', "is no JSON Web Key Set"),
        (200, " " * (jwks.MAX_BYTES + 1), f"answered more than {jwks.MAX_BYTES} bytes"),
    ],
)
async def test_answers_that_are_no_key_set(status: int, body: str, said: str) -> None:
    async with Publisher(body) as publisher:
        publisher.status = status
        assert said in await refusal(publisher.url)


async def test_an_answer_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SECONDS", 0.1)
    async with Publisher() as publisher:
        publisher.free.clear()
        assert await refusal(publisher.url) == "127.0.0.1 took more than 0.1 s"


async def test_an_answer_that_breaks_off() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"keys"')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(half, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        assert await refusal(f"http://{host}:{port}/") == "127.0.0.1: its answer broke off"


async def test_nobody_is_there() -> None:
    async with Publisher() as publisher:
        url = publisher.url
    assert "cannot be reached" in await refusal(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/", "127.0.0.1 is a loopback address"),
        ("https://localhost:1/", "1, a loopback address"),
        ("https://10.0.0.1/", "10.0.0.1 is a private or reserved address"),
        ("https://169.254.169.254/latest/meta-data/", "is a link-local or metadata address"),
        ("https://[fd00::1]/", "is a private or reserved address"),
    ],
)
async def test_addresses_that_are_not_public_are_not_dialled(url: str, why: str) -> None:
    """Whoever writes a Policy must not reach what only the gateway can."""
    assert why in await refusal(url, AddressPolicy())


async def test_an_install_may_allow_a_network() -> None:
    async with Publisher() as publisher, pool(AddressPolicy(allow=(ip_network("127.0.0.0/8"),))) as connections:
        assert await fetch(connections, publisher.url) == ((), ())
