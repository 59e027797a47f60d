"""What the leader keeps in the cluster, against an API server that is a double."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from controller import duties, keeping
from controller.api import Api, ApiError
from controller.compile import Install
from controller.duties import Duties
from controller.hint_keys import HintKeys
from controller.keeping import Keeper
from controller.kinds import CLUSTER_ROLE, GATEWAY_CLASS, SECRET, SERVICE, Kind
from controller.leader import Leader
from controller.mirror import Mirror, Scope, metadata, text
from controller.settings import Settings
from controller.trust import Trust
from tests.controller.cluster import thing
from tests.controller.push.tables import publication

PATIENCE_S = 20.0
SYSTEM = "tidegate-system"
LEASE_UID = "uid-of-the-lease"
Body = dict[str, Any]


@dataclass
class Double:
    """An API server that keeps what it is given, but for names that it `refuses`."""

    stored: dict[tuple[str, str], Body] = field(default_factory=dict)
    refuses: dict[str, ApiError] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    applied: list[str] = field(default_factory=list)

    async def get(self, kind: Kind, _namespace: str, name: str) -> Body | None:
        return self.stored.get((kind.name, name))

    async def apply(self, kind: Kind, body: Mapping[str, object]) -> Body:
        name = text(metadata(body).get("name"))
        self.applied.append(name)
        if name in self.refuses:
            raise self.refuses[name]
        return self.stored.setdefault((kind.name, name), dict(body))

    create = apply

    async def delete(self, _kind: Kind, _namespace: str, name: str) -> None:
        self.deleted.append(name)


@dataclass
class Leads:
    """A leader, as far as duties know one."""

    leads: bool = True
    name: str = "tidegate-controller"
    uid: str = LEASE_UID
    changes: list[Callable[[], None]] = field(default_factory=list)


@dataclass
class Stand:
    double: Double
    duties: Duties
    mirror: Mirror
    leader: Leads


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "EVERY_S", 0.005)
    monkeypatch.setattr(duties, "BOOT_S", 0.0)


@asynccontextmanager
async def leading(*seen: tuple[Kind, Body]) -> AsyncIterator[Stand]:
    double, leader, mirror = Double(), Leads(), Mirror()
    mirror.replace(GATEWAY_CLASS, Scope(GATEWAY_CLASS.name), [], 1, 0)
    for kind, body in seen:
        mirror.see(kind, body)
    settings = Settings.model_validate({"install": {"name": "tidegate", "namespace": SYSTEM, "instance": "tidegate"}})
    api = cast("Api", double)
    keeper = Keeper(api, settings, cast("Leader", leader))
    trust = Trust(keeper, api, settings, "")
    install = Install(namespace=SYSTEM)
    hint_keys = HintKeys(keeper, api, settings, lambda: None)
    made = Duties(api, install, mirror, cast("Leader", leader), trust, keeper, lambda _kind: False, hint_keys)
    task = asyncio.create_task(made.run())
    try:
        yield Stand(double, made, mirror, leader)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(said: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not said():
            await asyncio.sleep(0.005)


def service(name: str, gateway: str, owner: str = "") -> Body:
    owners = {"ownerReferences": [{"apiVersion": "v1", "kind": "Lease", "name": "x", "uid": owner}]} if owner else {}
    annotations = {"tidegate.dev/gateway": gateway}
    return thing(SERVICE, name, 1, SYSTEM, {"ports": []}, metadata={"annotations": annotations, **owners})


async def test_all_that_it_makes_goes_with_the_install() -> None:
    """What is of a namespace with the Lease, the GatewayClass with the chart's ClusterRole."""
    async with leading() as stand:
        stand.double.stored["ClusterRole", "tidegate-controller"] = thing(CLUSTER_ROLE, "tidegate-controller", 1)
        stand.duties.published(publication("voice"), [service("tidegate-gw-1", "ai/public")])
        await until(lambda: ("Secret", "tidegate-boot") in stand.double.stored)
        await until(lambda: ("GatewayClass", "tidegate") in stand.double.stored)
        made = {key: body for key, body in stand.double.stored.items() if key[0] != "ClusterRole"}
        assert set(made) == {
            ("Secret", "tidegate-affinity"),
            ("Secret", "tidegate-ca"),
            ("ConfigMap", "tidegate-ca"),
            ("Secret", "tidegate-boot"),
            ("Service", "tidegate-gw-1"),
            ("GatewayClass", "tidegate"),
        }
        for (kind, name), body in made.items():
            owners = {each["uid"] for each in body["metadata"]["ownerReferences"]}
            assert owners == {"ClusterRole-tidegate-controller" if kind == "GatewayClass" else LEASE_UID}, name


async def test_a_service_that_is_refused_keeps_no_other_waiting() -> None:
    async with leading() as stand:
        stand.double.refuses["tidegate-gw-1"] = ApiError(422, "PATCH …: Service is invalid: no such range")
        wanted = [service("tidegate-gw-1", "ai/bad"), service("tidegate-gw-2", "ai/good")]
        gone = service("tidegate-gw-3", "ai/gone", LEASE_UID)
        stand.mirror.see(SERVICE, gone)
        stand.duties.published(publication("voice"), wanted)
        await until(lambda: ("Service", "tidegate-gw-2") in stand.double.stored)
        await until(lambda: "tidegate-gw-3" in stand.double.deleted)
        await until(lambda: stand.duties.refused)
        assert stand.duties.refused == {"ai/bad": "PATCH …: Service is invalid: no such range"}
        assert stand.duties.failed
        stand.double.refuses.clear()
        await until(lambda: not stand.duties.refused)
        assert ("Service", "tidegate-gw-1") in stand.double.stored


async def test_a_service_that_somebody_deletes_is_put_back_at_once() -> None:
    """Without it the Gateway has no address."""
    async with leading() as stand:
        wanted, scope = service("tidegate-gw-1", "ai/public"), Scope(SERVICE.name, SYSTEM)
        stand.duties.published(publication("voice"), [wanted])
        await until(lambda: stand.double.applied.count("tidegate-gw-1"))
        stand.mirror.replace(SERVICE, scope, [wanted], 1, 0)
        before = stand.double.applied.count("tidegate-gw-1")
        stand.mirror.replace(SERVICE, scope, [], 2, 0)
        await until(lambda: stand.double.applied.count("tidegate-gw-1") > before)


async def test_an_api_server_that_is_away_refuses_nothing() -> None:
    async with leading() as stand:
        stand.double.refuses["tidegate-gw-1"] = ApiError(0, "nobody is there")
        stand.duties.published(
            publication("voice"), [service("tidegate-gw-1", "ai/a"), service("tidegate-gw-2", "ai/b")]
        )
        await until(lambda: stand.double.applied.count("tidegate-gw-1") > 2)
        assert stand.duties.refused == {}
        assert "tidegate-gw-2" not in stand.double.applied


async def test_services_of_others_stay() -> None:
    """Of another install in this namespace, or of nobody."""
    others = [
        (SERVICE, service("other-gw-1", "ai/theirs", "uid-of-another-lease")),
        (SERVICE, service("by-hand", "ai/mine")),
        (SERVICE, service("ours", "ai/gone", LEASE_UID)),
    ]
    async with leading(*others) as stand:
        stand.duties.published(publication("voice"), [])
        await until(lambda: "ours" in stand.double.deleted)
        assert set(stand.double.deleted) == {"ours"}


async def test_a_snapshot_that_was_deleted_or_damaged_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (duties, keeping):
        monkeypatch.setattr(module, "LOOKED_AFTER_S", 0.0)
    key = (SECRET.name, "tidegate-boot")
    async with leading() as stand:
        stand.duties.published(publication("voice"), [])
        await until(lambda: key in stand.double.stored)
        written = stand.double.stored.pop(key)
        await until(lambda: key in stand.double.stored)
        assert stand.double.stored[key] == written


async def test_a_table_that_is_too_large_for_a_copy_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "BOOT_SECRETS", 0)
    with capture_logs() as logs:
        async with leading() as stand:
            assert not stand.duties.too_large
            stand.duties.published(first := publication("voice"), [])
            await until(lambda: stand.duties.too_large)
            stand.duties.published(publication("chat", before=first), [])
            monkeypatch.setattr(duties, "BOOT_SECRETS", 8)
            stand.leader.changes[0]()
            await until(lambda: not stand.duties.too_large)
    assert len([each for each in logs if "too large" in each["event"]]) == 1


async def test_another_install_is_told_of_once() -> None:
    def role(instance: str) -> Body:
        labels = {"app.kubernetes.io/instance": instance}
        return thing(CLUSTER_ROLE, "tidegate-controller", 1, metadata={"labels": labels})

    with capture_logs() as logs:
        async with leading() as stand:
            stand.double.stored["ClusterRole", "tidegate-controller"] = role("tidegate")
            stand.duties.published(publication("voice"), [])
            await until(lambda: ("Secret", "tidegate-boot") in stand.double.stored)
            assert not [each for each in logs if "another install" in each["event"]]
            stand.double.stored["ClusterRole", "tidegate-controller"] = role("second")
            stand.leader.changes[0]()
            stand.duties.published(publication("voice"), [service("tidegate-gw-1", "ai/public")])
            await until(lambda: ("Service", "tidegate-gw-1") in stand.double.stored)
    (told,) = [each for each in logs if "another install" in each["event"]]
    assert told["other"] == "second"
