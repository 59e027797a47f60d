"""Services of a cluster as providers, by the objects that an API server would show: each field of `custom.service` has
its effect, and endpoints that come and go end nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection

from controller import compile as compiler
from controller.compile import ExposeRule, Install, LabelSelector
from tests.integration.calls import WAYS, Call, Json, Objects, Stand, provider, standing
from tests.integration.rows import OK

INSTALL = Install(expose=(ExposeRule(LabelSelector(), path_prefixes=("/",)),))
SERVICE = {"name": "near", "port": 80}


def through(service: Json) -> Objects:
    """What is served by one Service alone."""
    fields = provider("one", custom={"service": service})
    without_url = {name: value for name, value in fields.items() if name != "url"}
    return Objects({"providers": [without_url], "expose": {"pathPrefix": "/"}})


def service(name: str, namespace: str, addresses: Sequence[str], port: int) -> list[Json]:
    """A Service with a port that leads to `port` of these addresses, and one that leads nowhere."""
    metadata = {"name": name, "namespace": namespace}
    ports = [{"name": "web", "port": 80}, {"name": "closed", "port": 81}]
    ends = [{"name": "web", "port": port}, {"name": "closed", "port": 1}]
    labels = {"kubernetes.io/service-name": name}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "ports": ends,
            "endpoints": [{"addresses": [address]} for address in addresses],
        },
    ]


GRANT: Json = {
    "apiVersion": "gateway.networking.k8s.io/v1beta1",
    "kind": "ReferenceGrant",
    "metadata": {"name": "models", "namespace": "models"},
    "spec": {
        "from": [{"group": "tidegate.dev", "kind": "Backend", "namespace": "ai"}],
        "to": [{"group": "", "kind": "Service"}],
    },
}


async def serve(stand: Stand, objects: Objects, near: Sequence[str] = ("127.0.0.1",)) -> None:
    """Serve these objects as in a cluster, where Service `near` is the simulator, and `models/far`, too."""
    port = int(stand.simulator.url.rpartition(":")[2])
    own = [each for each in objects.documents(stand.simulator.url) if each["kind"] != "HTTPRoute"]
    documents = [
        *own,
        *service("near", "ai", near, port),
        *service("far", "ai", ["127.0.0.1"], 1),
        *service("far", "models", ["127.0.0.1"], port),
        GRANT,
    ]
    compiled = compiler.compile(documents, install=INSTALL, open_by_default=True)
    await stand.gateway.gateway.replace(compiled.table, compiled.secrets)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"name": "far", "port": 80}, SERVICE),
        ({"name": "far", "port": 80}, {"name": "far", "namespace": "models", "port": 80}),
        ({"name": "near", "port": 81}, SERVICE),
    ],
    ids=["name", "namespace", "port"],
)
async def test_each_field_has_an_effect(wrong: Json, right: Json, way: str, tmp_path: Path) -> None:
    async with standing(tmp_path, Objects()) as stand:
        await serve(stand, through(wrong))
        seen = await stand.call(way, Call())
        assert (seen.status, seen.code) == (502, "upstream_unreachable"), seen.message
        await serve(stand, through(right))
        seen = await stand.call(way, Call())
        assert (seen.status, seen.code) == OK[way], seen.message
        host = f"{right['name']}.{right.get('namespace', 'ai')}.svc"
        assert [value.removesuffix(":80") for value in seen.sent("host")] == [host]


@pytest.mark.parametrize("way", WAYS)
async def test_where_nothing_is_ready(way: str, tmp_path: Path) -> None:
    async with standing(tmp_path, Objects()) as stand:
        await serve(stand, through(SERVICE), near=[])
        seen = await stand.call(way, Call())
    assert (seen.status, seen.code) == (503, "upstream_unavailable")
    assert seen.message == "No endpoint of the Service near.ai.svc:80 is ready."


async def test_endpoints_that_come_and_go_end_no_session(tmp_path: Path) -> None:
    async with standing(tmp_path, Objects()) as stand:
        await serve(stand, through(SERVICE))

        async def talk(socket: ClientConnection) -> str:
            await socket.send("before")
            assert await socket.recv() == "before"
            for near in (["127.0.0.1", "127.0.0.2"], ["127.0.0.2"], []):
                await serve(stand, through(SERVICE), near)
            await socket.send("after")
            return str(await socket.recv())

        assert (await stand.call("tunnel", Call(talk=talk))).shown == "after"
