"""What goldens of Gateways do not say: hostnames that two have in common, ports that stay, names that fit, and the way
from Kubernetes' objects to sockets."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from controller import compile as compiler
from controller.compile import Compiled, Install, LabelSelector, UpstreamRule
from controller.compile.gateway_services import service_name
from controller.compile.objects import Identity
from controller.compile.parents import intersection
from dataplane.server import AddressPolicy, Gateway
from simulator.server import Simulator
from tests.dataplane.certificates import pair
from tests.dataplane.rig import ASK, Remembering

Document = dict[str, Any]
GROUP = "gateway.networking.k8s.io"
CLASS: Document = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "tidegate"},
    "spec": {"controllerName": "tidegate.dev/controller"},
}
HTTP: Document = {"name": "http", "port": 80, "protocol": "HTTP"}


def gateway(name: str, *listeners: Document, created: str = "") -> Document:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Gateway",
        "metadata": {"name": name, "namespace": "ai", **({"creationTimestamp": created} if created else {})},
        "spec": {"gatewayClassName": "tidegate", "listeners": list(listeners or (HTTP,))},
    }


def httproute(*rules: Document, parents: tuple[str, ...] = ("g",)) -> Document:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "ai"},
        "spec": {"parentRefs": [{"name": name} for name in parents], "rules": list(rules)},
    }


def compiled(*documents: Document, **changes: Any) -> Compiled:
    return compiler.compile([CLASS, *documents], install=Install(**changes))


@pytest.mark.parametrize(
    ("listener", "route", "both"),
    [
        ("", [], ()),
        ("", ["a.test"], ("a.test",)),
        ("a.test", [], ()),
        ("a.test", ["a.test", "b.test"], ("a.test",)),
        ("a.test", ["*.test", "a.test"], ("a.test",)),
        ("a.test", ["*.a.test"], None),
        ("*.test", ["a.test", "b.a.test", "*.a.test"], ("a.test", "b.a.test", "*.a.test")),
        ("*.test", ["test", "*.tset"], None),
        ("*.test", ["*.test"], ("*.test",)),
        ("*.a.test", ["*.test", "b.a.test"], ("*.a.test", "b.a.test")),
        ("*.a.test", ["xa.test"], None),
    ],
)
def test_hostnames_that_both_have(listener: str, route: list[str], both: tuple[str, ...] | None) -> None:
    assert intersection(listener, route) == both


def targets(*documents: Document, **changes: Any) -> dict[str, int]:
    return {each.name: each.port for each in compiled(*documents, **changes).table.listeners}


@given(st.sets(st.integers(0, 300), min_size=1, max_size=40), st.data())
def test_ports_of_older_gateways_stay_when_younger_come(numbers: set[int], data: st.DataObject) -> None:
    """In so little room that many hashes are the same."""
    all_ = [gateway(f"g{number}", created=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z") for number in numbers]
    old = data.draw(st.integers(1, len(all_)))
    oldest = sorted(all_, key=lambda each: each["metadata"]["creationTimestamp"])[:old]
    before, after = targets(*oldest, first_port=65_480), targets(*all_, first_port=65_480)
    assert before.items() <= after.items()
    assert len(set(after.values())) == len(after)
    assert all(65_480 <= port <= 65_535 for port in after.values())


def test_where_all_ports_are_taken_the_youngest_say_so() -> None:
    found = compiled(gateway("a", created="2026-01-01T00:00:00Z"), gateway("b"), first_port=65_535)
    assert [each.name for each in found.table.listeners] == ["ai/a/http"]
    (b,) = [each for each in found.statuses if each.name == "b"]
    assert [each.conditions[0].reason for each in b.listeners] == ["PortUnavailable"]
    assert [service["metadata"]["annotations"]["tidegate.dev/gateway"] for service in found.services] == ["ai/a"]  # type: ignore[index]


def test_listeners_of_one_name_are_no_danger_to_the_table() -> None:
    found = compiled(gateway("g", HTTP, {**HTTP, "port": 81}))
    assert len(found.table.listeners) == 1


@pytest.mark.parametrize("name", ["g", "g" * 253])
def test_names_of_services_fit(name: str) -> None:
    found = service_name(Install(name="tidegate" * 8), Identity("Gateway", "ai", name))
    assert len(found) <= 63
    (service,) = compiled(gateway(name)).services
    assert all(len(str(value)) <= 63 for value in service["metadata"]["labels"].values())  # type: ignore[index]


def test_nobody_finds_a_name_whose_service_is_a_neighbours() -> None:
    """Of so many names, two have the same 32 bits."""
    names = [service_name(Install(), Identity("Gateway", "ai", f"g{number}")) for number in range(200_000)]
    assert len(set(names)) == len(names)


def test_without_an_install_there_are_no_gateways() -> None:
    found = compiler.compile([CLASS, gateway("g"), httproute({"backendRefs": []})])
    assert (found.table.listeners, found.services) == ((), ())
    assert {each.kind for each in found.statuses} == {"HTTPRoute"}
    assert found.table.routes[0].attached == ()


def test_a_class_says_what_it_can() -> None:
    (status,) = compiled().statuses
    assert list(status.features) == sorted(set(status.features))
    assert "HTTPRoute" in status.features


def shown(chain: str, key: str) -> Compiled:
    """A listener with this certificate and key."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls", "namespace": "ai", "resourceVersion": "1"},
        "stringData": {"tls.crt": chain, "tls.key": key},
    }
    https = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "tls"}]}}
    return compiled(secret, gateway("g", https))


def test_what_else_is_in_the_chain_is_not_taken_for_the_key(tmp_path: Path) -> None:
    """A file that somebody put together by hand."""
    chain, key = pair("a.test")
    for other in (pair("b.test")[1], key):
        found = shown(f"Our certificate:\n{other}{chain}{other}", key)
        (pem,) = found.secrets.values()
        file = tmp_path / "pem"
        file.write_text(pem.get_secret_value())
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(file)


def test_a_key_that_gateways_cannot_use_is_said() -> None:
    found = shown(*pair("a.test", key=rsa.generate_private_key(65537, 1024)))
    assert found.secrets == {}
    (status,) = [each for each in found.statuses if each.kind == "Gateway"]
    (wrong,) = [each for each in status.listeners[0].conditions if each.type == "ResolvedRefs"]
    assert wrong.reason == "InvalidCertificateRef"
    assert "RSA key of 1024 bits" in wrong.message


async def test_from_objects_to_sockets() -> None:
    """Two Gateways, one of them with TLS; headers that filters write, a share that leads nowhere, a redirect."""
    async with (
        Simulator() as upstream,
        aiohttp.ClientSession(headers={"Authorization": "Bearer sk-simulator"}) as client,
    ):
        await ask(upstream, client)


async def ask(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    chain, key = pair("a.test")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls", "namespace": "ai"},
        "stringData": {"tls.crt": chain, "tls.key": key},
    }
    backend = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "b", "namespace": "ai"},
        "spec": {"providers": [{"name": "a", "openai": {}, "url": upstream.url + "/v1", "auth": {"passthrough": {}}}]},
    }
    https = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "tls"}]}}
    changes = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"set": [{"name": "x-tier", "value": "gold"}]},
    }
    ref = {"group": "tidegate.dev", "kind": "Backend", "name": "b"}
    rules = [
        {"filters": [changes], "backendRefs": [{**ref, "weight": 1}, {**ref, "name": "none", "weight": 1}]},
        {
            "matches": [{"path": {"value": "/old"}}],
            "filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}],
        },
    ]
    here = UpstreamRule(LabelSelector(), ("127.0.0.0/8",))
    objects = (secret, backend, gateway("g"), gateway("h", https), httproute(*rules, parents=("g", "h")))
    found = compiled(*objects, first_port=20_000, upstreams=(here,))
    chances = iter([0.1, 0.1, 0.9])
    served = Gateway(meter=Remembering(), addresses=AddressPolicy(allow_loopback=True), rand=lambda: next(chances))
    served.load(found.table, found.secrets)
    await served.start("127.0.0.1", 0)
    ports = {each.name: each.port for each in found.table.listeners}
    plain = f"http://127.0.0.1:{ports['ai/g/http']}"
    secure = f"https://127.0.0.1:{ports['ai/h/https']}"
    trusting = ssl.create_default_context(cadata=chain)
    try:
        for url in (plain, secure):
            path = f"{url}/v1/chat/completions"
            async with client.post(path, json=ASK, ssl=trusting, server_hostname="a.test") as response:
                assert (response.status, response.headers["x-tier"]) == (200, "gold")
        async with client.post(f"{plain}/v1/chat/completions", json=ASK) as response:
            assert response.status == 500
            assert "there is no Backend ai/none" in await response.text()
        async with client.get(f"{plain}/old", headers={"Host": "a.test"}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "https://a.test/old")
        async with client.get(f"http://127.0.0.1:{served.port}/v1/models") as response:
            assert response.status == 404  # nothing is served there that is on a Gateway
    finally:
        await served.stop()
