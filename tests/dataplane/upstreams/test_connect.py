"""Raw connections to upstreams."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dataplane.errors import Refusal
from dataplane.process.files import Files
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.connect import dial
from dataplane.upstreams.target import Reach
from tests.dataplane.certificates import certificate
from tests.dataplane.upstream import says, upstream_of
from tests.dataplane.upstreams.proxies import Proxy, proxying

LOCAL = AddressPolicy(allow_loopback=True)
PLAIN = ssl.create_default_context()


async def refusal(url: str, addresses: AddressPolicy = LOCAL, tls: ssl.SSLContext = PLAIN) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await dial(url, asyncio.Protocol, addresses=addresses, files=Files(), timeout=2, tls=tls)
    return refused.value


def resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """The name a.test has these addresses."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def getaddrinfo(host: Any, *args: Any, **options: Any) -> list[Any]:
        if host != "a.test":  # uvloop asks for numbers too
            return await real(host, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream_of(says(b"")) as closed:
        pass
    async with upstream_of(says(b"")) as url:
        ports = [int(each.rpartition(":")[2]) for each in (closed, url)]
        resolves_to(monkeypatch, ("10.0.0.1", 1), ("127.0.0.1", ports[0]), ("127.0.0.1", ports[1]))
        transport, _ = await dial("ws://a.test", asyncio.Protocol, addresses=LOCAL, files=Files(), timeout=2, tls=PLAIN)
        assert transport.get_extra_info("peername") == ("127.0.0.1", ports[1])
        transport.abort()


async def test_refusals_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream_of(says(b"")) as closed:
        pass
    refused = await refusal(closed)
    assert (refused.code, refused.status) == ("upstream_unreachable", 502)
    assert "refused" in refused.message
    refused = await refusal("wss://does-not-exist.invalid")
    assert refused.code == "upstream_unreachable"
    assert "cannot be resolved" in refused.message
    resolves_to(monkeypatch, ("169.254.169.254", 80))
    refused = await refusal("http://a.test")
    assert refused.code == "upstream_address_refused"
    why = "a link-local or metadata address, which this install does not allow (upstreams.allow)."
    assert refused.message == f"a.test resolves to 169.254.169.254, {why}"
    assert (await refusal("http://169.254.169.254")).message == f"169.254.169.254 is {why}"
    resolves_to(monkeypatch)
    assert (await refusal("http://a.test")).code == "upstream_unreachable"


async def test_loopback_is_refused_unless_it_is_allowed() -> None:
    async with upstream_of(says(b"")) as url:
        assert (await refusal(url, AddressPolicy())).code == "upstream_address_refused"


async def reached(*endpoints: str, chance: float = 0.0, timeout: float = 2) -> tuple[str, int]:
    """Who is dialled for a Service that has these endpoints, by a policy that allows none of them."""
    transport, _ = await dial(
        "http://vllm.ai.svc:8000",
        asyncio.Protocol,
        addresses=AddressPolicy(),
        files=Files(),
        timeout=timeout,
        tls=PLAIN,
        reach=Reach(endpoints=endpoints),
        rand=lambda: chance,
    )
    transport.abort()
    host, port = transport.get_extra_info("peername")[:2]
    return host, port


def endpoint(url: str) -> str:
    return url.removeprefix("http://")


async def test_endpoints_of_a_service_are_dialled_by_chance_and_without_a_check() -> None:
    async with upstream_of(says(b"")) as one, upstream_of(says(b"")) as two:
        ends = [endpoint(one), endpoint(two)]
        ports = [int(each.rpartition(":")[2]) for each in ends]
        assert [await reached(*ends, chance=chance) for chance in (0, 0.49, 0.5, 0.99)] == [
            ("127.0.0.1", port) for port in (ports[0], ports[0], ports[1], ports[1])
        ]


async def test_an_ipv6_endpoint() -> None:
    try:
        listener = await asyncio.start_server(lambda _, writer: writer.close(), "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = listener.sockets[0].getsockname()[1]
    assert await reached(f"[::1]:{port}") == ("::1", port)
    listener.close()


async def test_the_next_endpoint_is_tried() -> None:
    async with upstream_of(says(b"")) as closed:
        pass
    async with upstream_of(says(b"")) as url:
        assert (await reached(endpoint(closed), endpoint(url)))[1] == int(url.rpartition(":")[2])
        assert (await reached(endpoint(url), endpoint(closed), chance=0.5))[1] == int(url.rpartition(":")[2])
    with pytest.raises(Refusal) as refused:
        await reached(endpoint(closed), endpoint(closed))
    assert refused.value.code == "upstream_unreachable"
    assert refused.value.message == "vllm.ai.svc:8000 cannot be reached: connection refused."


async def test_an_endpoint_that_says_nothing_leaves_time_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real = loop.sock_connect

    async def silent(sock: socket.socket, address: tuple[str, int]) -> None:
        await (asyncio.Event().wait() if address[0] == "192.0.2.1" else real(sock, address))

    monkeypatch.setattr(loop, "sock_connect", silent)
    async with upstream_of(says(b"")) as url:
        assert (await reached("192.0.2.1:80", endpoint(url), timeout=0.5))[0] == "127.0.0.1"
    with pytest.raises(Refusal) as refused:
        await reached("192.0.2.1:80", "192.0.2.1:80", timeout=0.05)
    assert refused.value.code == "upstream_timeout"


async def test_a_service_without_endpoints() -> None:
    with pytest.raises(Refusal) as refused:
        await reached()
    assert (refused.value.code, refused.value.status) == ("upstream_unavailable", 503)
    assert refused.value.message == "No endpoint of the Service vllm.ai.svc:8000 is ready."


async def test_networks_of_the_backend_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream_of(says(b"")) as url:
        transport, _ = await dial(
            url,
            asyncio.Protocol,
            addresses=AddressPolicy(),
            files=Files(),
            timeout=2,
            tls=PLAIN,
            reach=Reach(("127.0.0.0/8",)),
        )
        transport.abort()
    resolves_to(monkeypatch, ("169.254.169.254", 80))
    with pytest.raises(Refusal) as refused:
        await dial(
            "http://a.test",
            asyncio.Protocol,
            addresses=AddressPolicy(),
            files=Files(),
            timeout=2,
            tls=PLAIN,
            reach=Reach(("0.0.0.0/0",)),
        )
    assert refused.value.code == "upstream_address_refused"


async def test_one_deadline_for_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    with pytest.raises(Refusal) as refused:
        await dial("http://127.0.0.1:9", asyncio.Protocol, addresses=LOCAL, files=Files(), timeout=0.05, tls=PLAIN)
    assert (refused.value.code, refused.value.status) == ("upstream_timeout", 504)


async def test_tls_is_checked_against_the_name(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "localhost")
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server)
    port = listener.sockets[0].getsockname()[1]
    transport, _ = await dial(
        f"wss://localhost:{port}", asyncio.Protocol, addresses=LOCAL, files=Files(), timeout=2, tls=client
    )
    assert transport.get_extra_info("ssl_object") is not None
    transport.abort()
    for url, tls in ((f"wss://127.0.0.1:{port}", client), (f"wss://localhost:{port}", PLAIN)):
        refused = await refusal(url, tls=tls)
        assert refused.code == "upstream_unreachable"
        assert "certificate is not trusted" in refused.message
    listener.close()


async def test_tls_to_a_server_that_speaks_none() -> None:
    async def greets(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")

    async with upstream_of(greets) as plain:
        refused = await refusal(plain.replace("http", "https"))
    assert refused.code == "upstream_unreachable"
    assert "TLS failed" in refused.message


class Watched(asyncio.Protocol):
    """Cancels whoever dials, as soon as the connection is there."""

    def __init__(self, dialler: asyncio.Task[object]) -> None:
        self._dialler = dialler
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._dialler.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_cancelled_when_just_connected(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The protocol is told of the end: a session waits for it."""

    async def go() -> None:
        made: list[Watched] = []

        def watched() -> Watched:
            made.append(Watched(task))
            return made[-1]

        async with upstream_of(says(b"")) as url:
            task = asyncio.create_task(dial(url, watched, addresses=LOCAL, files=Files(), timeout=5, tls=PLAIN))
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(5):
                await made[0].lost.wait()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(go())


async def tunnelled(proxy: Proxy, url: str, timeout: float = 2, **options: Any) -> asyncio.Transport:
    transport, _ = await dial(
        url,
        asyncio.Protocol,
        addresses=LOCAL,
        files=Files(),
        timeout=timeout,
        tls=PLAIN,
        egress=proxy.egress(),
        **options,
    )
    return transport


async def test_what_an_upstream_is_asked_goes_through_the_proxy() -> None:
    async with upstream_of(says(b"hello")) as url, proxying() as proxy:
        proxy.names["a.test:81"] = int(url.rpartition(":")[2])
        heard = asyncio.get_running_loop().create_future()

        class Hears(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                heard.set_result(data)

        transport, _ = await dial(
            "ws://a.test:81", Hears, addresses=LOCAL, files=Files(), timeout=2, tls=PLAIN, egress=proxy.egress()
        )
        transport.write(b"anything\r\n\r\n")
        async with asyncio.timeout(5):
            assert await heard == b"hello"
        transport.abort()
        assert proxy.heads == ["CONNECT a.test:81 HTTP/1.1\r\nHost: a.test:81\r\n\r\n"]


async def test_a_service_is_dialled_without_the_proxy() -> None:
    async with upstream_of(says(b"")) as url, proxying() as proxy:
        transport = await tunnelled(proxy, "http://vllm.test:80", reach=Reach(endpoints=(endpoint(url),)))
        transport.abort()
        assert not proxy.heads


async def test_whoever_gives_up_leaves_no_connection_to_the_proxy() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        assert await reader.read() == b""
        left.set()

    async with proxying(script) as proxy, asyncio.timeout(10):
        with pytest.raises(Refusal) as refused:
            await tunnelled(proxy, "https://a.test", timeout=0.1)
        assert refused.value.code == "upstream_timeout"
        await left.wait()
        asked.clear()
        left.clear()
        dialling = asyncio.create_task(tunnelled(proxy, "https://a.test", timeout=5))
        await asked.wait()
        dialling.cancel()
        await left.wait()
        assert dialling.cancelled()
