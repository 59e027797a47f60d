"""Ports of Gateways on real sockets: they open and close with the tables, each request sees the routes of its listener
alone, and clients are shown the certificate of the name that they ask for."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import suppress
from dataclasses import replace

import aiohttp
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dataplane.process.drain import AT_ONCE
from dataplane.server import TableRefused
from dataplane.table import Attachment, Forward, Listener, Redirect, Route, Table, sealed
from simulator.server import Simulator
from tests.dataplane.certificates import pem
from tests.dataplane.realtime.wires import handshake, until
from tests.dataplane.rig import ASK, BEARER, CALLERS, REQUIRED, SECRETS, backend, provider, running, table

MODELS = "/v1/models"
REALTIME = "/v1/realtime?model=gpt-realtime"


def free(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listener(name: str, port: int, hostname: str = "", **changes: object) -> Listener:
    plain = Listener(name=f"ai/gateway/{name}", port=port, public_port=80, hostname=hostname)
    return sealed(plain.model_copy(update=changes))


def route(name: str, *attached: tuple[str, *tuple[str, ...]], **changes: object) -> Route:
    """One that leads to the Backend; the first of each is a listener's name, the others are hostnames."""
    places = tuple(Attachment(listener=f"ai/gateway/{each[0]}", hostnames=each[1:]) for each in attached)
    plain = Route(name=name, attached=places, forwards=(Forward(backend="ai/voice", policies=REQUIRED),))
    return sealed(plain.model_copy(update=changes))


def served(upstream: Simulator, listeners: list[Listener], routes: list[Route], *secrets: str) -> Table:
    return table(backend(provider(upstream.url + "/v1"))).model_copy(
        update={
            "listeners": tuple(listeners),
            "routes": tuple(routes),
            "secrets": tuple(sorted(("upstream@1", *secrets))),
        }
    )


async def status(client: aiohttp.ClientSession, port: int, host: str, path: str = MODELS) -> int:
    headers = {**BEARER, "Host": host}
    async with client.get(f"http://127.0.0.1:{port}{path}", headers=headers, allow_redirects=False) as response:
        await response.read()
        return response.status


async def test_each_port_has_routes_of_its_own(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    one, two = free(2)
    listeners = [listener("one", one), listener("two", two)]
    routes = [route("ai/r#0", ("one", "a.test")), route("ai/s#0", ("two",)), route("ai/own", path="/")]
    async with running(served(upstream, listeners, routes)) as rig:
        own = rig.gateway.port
        wanted = {(one, "a.test"): 200, (one, "b.test"): 404, (two, "b.test"): 200, (own, "b.test"): 200}
        assert {place: await status(client, *place) for place in wanted} == wanted
        await rig.settled(4)
        assert sorted(name for name, *_ in rig.meter.requests) == ["", "ai/own", "ai/r#0", "ai/s#0"]


async def test_a_request_sees_the_routes_of_the_most_specific_listener_alone(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    (port,) = free(1)
    listeners = [
        listener("any", port),
        listener("wide", port, "*.example.com"),
        listener("narrow", port, "*.foo.example.com"),
        listener("exact", port, "abc.foo.example.com"),
    ]
    routes = [route(f"ai/{each}#0", (each,)) for each in ("any", "wide", "narrow")]
    async with running(served(upstream, listeners, routes)) as rig:
        hosts = ["bar.com", "bar.example.com", "bar.foo.example.com", "abc.foo.example.com", "example.com"]
        assert [await status(client, port, host) for host in hosts] == [200, 200, 200, 404, 200]
        await rig.settled(5)
        found = [name for name, *_ in rig.meter.requests]
        assert found == ["ai/any#0", "ai/wide#0", "ai/narrow#0", "", "ai/any#0"]


async def test_a_port_opens_with_a_table_and_closes_with_the_next(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    one, two = free(2)
    async with running(served(upstream, [], [])) as rig:
        rig.gateway.load(served(upstream, [listener("one", one)], [route("r", ("one",))]), SECRETS)
        assert await status(client, one, "a.test") == 200
        await rig.gateway.replace(served(upstream, [listener("two", two)], [route("r", ("two",))]), SECRETS)
        assert await status(client, two, "a.test") == 200
        assert await status(client, one, "a.test") == 404  # on the connection that is still open, and ends now
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", one)


async def test_a_session_outlives_its_listener(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    (port,) = free(1)
    both = served(upstream, [listener("one", port)], [route("r", ("one",))])
    async with running(both) as rig:
        async with client.ws_connect(f"ws://127.0.0.1:{port}{REALTIME}", headers=BEARER) as session:
            assert (await session.receive_json(timeout=5))["type"] == "session.created"
            rig.gateway.load(served(upstream, [], []), SECRETS)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            await session.send_str(json.dumps({"type": "response.create"}))
            while (await session.receive_json(timeout=5))["type"] != "response.done":
                pass
            rig.gateway.load(both, SECRETS)  # and back again
            assert await status(client, port, "a.test") == 200
            assert len(rig.gateway.sessions()) == 1
        await until(lambda: rig.meter.closed, "the session is over")
        assert len(rig.meter.turns) == 1


async def test_requests_under_way_on_a_listener_that_is_gone_are_finished_and_drained(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    (port,) = free(1)
    ask = {**ASK, "stream": True, "metadata": {"scenario": "slow:20"}}
    async with running(served(upstream, [listener("one", port)], [route("r", ("one",))])) as rig:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with client.post(url, json=ask, headers=BEARER) as response:
            await response.content.readuntil(b"\n\n")
            rig.gateway.load(served(upstream, [], []), SECRETS)
            assert not rig.gateway.idle
            draining = asyncio.create_task(rig.gateway.drain(replace(AT_ONCE, patience=30), asyncio.Event()))
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
        await draining
        assert rig.gateway.idle


async def test_all_ports_are_drained_and_none_is_opened_then(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    one, two = free(2)
    async with running(served(upstream, [listener("one", one)], [route("r", ("one",))])) as rig:
        assert await status(client, one, "a.test") == 200
        await rig.gateway.drain(AT_ONCE, asyncio.Event())
        assert not rig.gateway.ready()
        rig.gateway.load(served(upstream, [listener("two", two)], []), SECRETS)
        for port in (one, two):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)


async def test_a_table_whose_port_is_taken_is_refused_and_the_old_one_stays(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    one, two = sorted(free(2))
    old = served(upstream, [], [route("ai/own")])
    with socket.create_server(("127.0.0.1", two)):
        async with running(old) as rig:
            with pytest.raises(TableRefused, match=f"a port that listeners want cannot be had: .*{two}.*in use"):
                rig.gateway.load(served(upstream, [listener("one", one), listener("two", two)], []), SECRETS)
            own = listener("own", rig.gateway.port)
            with pytest.raises(TableRefused, match="is the data plane's own port"):
                await rig.gateway.replace(served(upstream, [own], []), SECRETS)
            assert rig.gateway.table() is old
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", one)
            assert await status(client, rig.gateway.port, "a.test") == 200


async def test_a_start_with_a_port_that_is_taken(upstream: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad = served(upstream, [listener("one", taken.getsockname()[1])], [])
        with pytest.raises(OSError, match="in use"):
            async with running(bad):
                pass


# -- TLS -------------------------------------------------------------------------------------------------------------


async def shown(port: int, name: str | None) -> str:
    """The certificate that a client is shown who asks for this name; empty where its handshake is refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")
    except (ssl.SSLError, ConnectionError):
        return ""
    try:
        handshake = writer.get_extra_info("ssl_object")
        assert handshake.selected_alpn_protocol() == "http/1.1"
        return ssl.DER_cert_to_PEM_cert(handshake.getpeercert(binary_form=True))
    finally:
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()


def secrets(**pems: bytes) -> dict[str, SecretStr]:
    return {**SECRETS, **{name: SecretStr(value.decode()) for name, value in pems.items()}}


async def test_clients_are_shown_the_certificate_of_the_name_that_they_ask_for(upstream: Simulator) -> None:
    (port,) = free(1)
    one, two = pem("a.test"), pem("*.b.test")
    listeners = [
        listener("one", port, "a.test", tls=True, certificates=("one",)),
        listener("two", port, "*.b.test", tls=True, certificates=("two",)),
        listener("broken", port, "broken.b.test", tls=True, certificates=("broken",)),
    ]
    routes = [route("ai/r#0", ("one",)), route("ai/s#0", ("two",))]
    broken = b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n"
    async with running(served(upstream, [], [])) as rig:
        with capture_logs() as logs:
            wanted = served(upstream, listeners, routes, "one", "two", "broken")
            rig.gateway.load(wanted, secrets(one=one, two=two, broken=broken))
        assert [entry["listener"] for entry in logs] == ["ai/gateway/broken"]
        assert await shown(port, "a.test") in one.decode() != ""
        assert await shown(port, "A.test") in one.decode()
        assert await shown(port, "x.b.test") in two.decode()
        with capture_logs() as logs:
            refused = {name: await shown(port, name) for name in ("c.test", "broken.b.test", None)}
        assert set(refused.values()) == {""}
        assert [(entry["host"], entry["port"]) for entry in logs] == [("c.test", port)]  # one line for a while
        renewed = pem("a.test")
        again = [listener("one", port, "a.test", tls=True, certificates=("new",)), *listeners[1:]]
        rig.gateway.load(
            served(upstream, again, routes, "new", "two", "broken"), secrets(new=renewed, two=two, broken=broken)
        )
        assert await shown(port, "a.test") in renewed.decode()
        assert await shown(port, "x.b.test") in two.decode()


async def test_requests_by_tls_belong_to_the_listener_of_their_host(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    (port,) = free(1)
    made = pem("a.test")
    listeners = [
        listener("one", port, "a.test", tls=True, certificates=("one",)),
        listener("any", port, tls=True, certificates=("one",)),
    ]
    served_ = served(upstream, listeners, [route("ai/r#0", ("one",)), route("ai/s#0", ("any",))], "one")
    async with running(served(upstream, [], [])) as rig:
        rig.gateway.load(served_, secrets(one=made))
        for host in ("a.test", "b.test"):
            async with client.get(
                f"https://127.0.0.1:{port}{MODELS}",
                headers={**BEARER, "Host": host},
                ssl=False,
                server_hostname=host,
            ) as response:
                assert response.status == 200
        await rig.settled(2)
        assert [name for name, *_ in rig.meter.requests] == ["ai/r#0", "ai/s#0"]


async def test_the_first_of_two_certificates_of_one_kind_is_shown(upstream: Simulator) -> None:
    (port,) = free(1)
    one, two = pem("a.test"), pem("a.test")
    both = [listener("one", port, tls=True, certificates=("one", "two", "broken"))]
    async with running(served(upstream, [], [])) as rig:
        rig.gateway.load(served(upstream, both, [], "one", "two", "broken"), secrets(one=one, two=two, broken=b""))
        assert await shown(port, None) in one.decode() != ""


async def test_a_port_changes_to_tls_and_back(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    (port,) = free(1)
    made = pem("a.test")
    plain = served(upstream, [listener("one", port)], [route("r", ("one",))])
    secure = served(upstream, [listener("one", port, tls=True, certificates=("one",))], [route("r", ("one",))], "one")
    async with running(plain) as rig:
        assert await shown(port, "a.test") == ""
        rig.gateway.load(secure, secrets(one=made))
        assert await shown(port, "a.test") in made.decode() != ""
        rig.gateway.load(plain, SECRETS)
        assert await status(client, port, "a.test") == 200


# -- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_answered_before_anybody_is_asked_who_they_are(
    upstream: Simulator, client: aiohttp.ClientSession, code: int
) -> None:
    (port,) = free(1)
    moved = Redirect(scheme="https", status=code)
    routes = [route("ai/r#0", ("one",), forwards=(), redirect=moved)]
    async with running(served(upstream, [listener("one", port)], routes)) as rig:
        url = f"http://127.0.0.1:{port}/v1/models?a=%20b"
        for method in ("GET", "POST"):
            async with client.request(method, url, headers={"Host": "a.test:81"}, allow_redirects=False) as response:
                assert (response.status, await response.read()) == (code, b"")
                assert response.headers["Location"] == "https://a.test/v1/models?a=%20b"
                assert response.headers["x-tidegate-request-id"]
        await rig.settled(2)
        assert set(rig.meter.requests) == {("ai/r#0", "", code, "")}
        assert CALLERS.keys
    assert not upstream.requests


async def test_a_websocket_is_redirected_too(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    moved = sealed(Route(name="ai/r#0", redirect=Redirect(hostname="b.test", port=8080)))
    async with running(Table(routes=(moved,))) as rig:
        answer = await rig.raw(handshake(REALTIME))
    assert answer.startswith(b"HTTP/1.1 302 Found\r\n")
    assert f"\r\nlocation: http://b.test:8080{REALTIME}\r\n".encode() in answer
