"""A gateway that follows controllers, over TLS and through everything that goes wrong on the way."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut
from dataplane.metering.updates import Updates
from dataplane.process.garbage import Garbage
from dataplane.server import Gateway
from dataplane.sources import controller, dialling
from dataplane.sources.controller import SNAPSHOT, Controllers, Pod
from dataplane.sources.dialling import Credentials, Name
from dataplane.sources.loading import Loader
from dataplane.sources.subscription import Action, Subscription
from dataplane.table import Route, Table, bundle, sealed
from dataplane.table.messages import (
    Done,
    FromController,
    Hello,
    Holds,
    PartsMessage,
    Refuse,
    SecretsMessage,
    Stale,
    Want,
    encode,
)
from tests.dataplane.rig import SECRETS, backend, provider, table
from tests.dataplane.sources.double import PATIENCE, TOKEN, Double, Published, authority, published, replica, saved

VOICE = backend(provider("https://a.test/v1"))
FIRST = table(VOICE)


def routes(*names: str) -> Table:
    """The first table, and a route for each name."""
    more = tuple(sealed(Route(name=name, hostnames=(f"{name}.test",))) for name in names)
    return FIRST.model_copy(update={"routes": (*FIRST.routes, *more)})


@dataclass
class Cluster:
    """What gateways and controllers of one install have in common."""

    credentials: Credentials
    context: ssl.SSLContext
    stack: AsyncExitStack
    instruments: Instruments = field(default_factory=Instruments)

    async def controller(self) -> Double:
        return await self.stack.enter_async_context(replica(self.credentials, self.context))

    async def gateway(self, *names: Name, snapshot: Path | None = None) -> Following:
        meter = Meter(self.instruments, PriceBook(), FanOut())
        gateway = Gateway(meter=meter)
        loader = Loader(gateway, meter, Garbage(lambda: True).kept_away)
        controllers = Controllers(
            names,
            self.credentials,
            loader,
            Updates(self.instruments),
            Pod("gateway-1", "1.0"),
            gateway.pools,
            snapshot=snapshot,
            rand=lambda: 0.1,
        )
        following = Following(gateway, controllers, self.instruments)
        return await self.stack.enter_async_context(following.run())


@dataclass
class Following:
    gateway: Gateway
    controllers: Controllers
    instruments: Instruments

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Following]:
        task = asyncio.create_task(self.controllers.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.005)

    @property
    def routes(self) -> list[str]:
        return [route.name for route in self.gateway.table().routes]

    def updates(self, result: str) -> float:
        return self.instruments.table_updates.values[(result,)]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    ca, context = authority(tmp_path / "tls", "controller.test")
    (tmp_path / "token").write_text(TOKEN + "\n")
    async with AsyncExitStack() as stack:
        yield Cluster(Credentials(ca, tmp_path / "token"), context, stack)


async def test_the_first_table_and_one_change(cluster: Cluster) -> None:
    one = await cluster.controller()
    first = published(FIRST, SECRETS, 1)
    await one.publish(first)
    gateway = await cluster.gateway(one.name)
    hello = await one.said(Hello)
    assert isinstance(hello, Hello)
    assert (hello.table, hello.pod, hello.version) == ("", "gateway-1", "1.0")
    assert one.tokens == [f"Bearer {TOKEN}"]
    want = await one.said(Want)
    assert isinstance(want, Want)
    assert set(want.parts) == set(first.parts)
    assert want.secrets == ("upstream@1",)
    await one.said(Holds(table=first.table, watermark=first.offer.watermark))
    assert gateway.gateway.table() == FIRST

    second = published(routes("more"), SECRETS, 2)
    await one.publish(second)
    change = await one.said(Want)
    assert isinstance(change, Want)
    assert (len(change.parts), change.secrets) == (1, ())
    await one.said(Holds(table=second.table, watermark=second.offer.watermark))
    assert gateway.routes == ["ai/voice", "more"]
    assert gateway.gateway.table().backends[0].hash == VOICE.hash
    assert gateway.updates("applied") == 2
    assert cluster.instruments.controllers_connected.values == {(): 1}
    assert cluster.instruments.table_applied.values[()] > 1e9


async def test_parts_that_are_as_they_were_stay_the_same_objects(cluster: Cluster) -> None:
    one = await cluster.controller()
    await one.publish(published(FIRST, SECRETS, 1))
    gateway = await cluster.gateway(one.name)
    await one.said(Holds)
    before = gateway.gateway.table()
    await one.publish(published(routes("more"), SECRETS, 2))
    await one.said(Holds)
    after = gateway.gateway.table()
    assert after is not before
    assert after.backends[0] is before.backends[0]
    assert after.routes[0] is before.routes[0]


async def test_a_secret_that_was_rotated(cluster: Cluster) -> None:
    one = await cluster.controller()
    await one.publish(published(FIRST, SECRETS, 1))
    gateway = await cluster.gateway(one.name)
    await one.said(Holds)
    rotated = provider("https://a.test/v1").model_copy(
        update={"credential": VOICE.providers[0].credential.model_copy(update={"secret": "upstream@2"})}
    )
    changed = table(backend(rotated)).model_copy(update={"secrets": ("upstream@2",)})
    await one.publish(published(changed, {"upstream@2": SecretStr("Bearer new")}, 2))
    want = await one.said(Want)
    assert isinstance(want, Want)
    assert want.secrets == ("upstream@2",)
    await one.said(Holds)
    assert gateway.gateway._snapshot.secrets == {"upstream@2": SecretStr("Bearer new")}


async def test_a_table_that_cannot_be_served_is_refused_and_the_one_before_stays(cluster: Cluster) -> None:
    one = await cluster.controller()
    await one.publish(published(FIRST, SECRETS, 1))
    gateway = await cluster.gateway(one.name)
    await one.said(Holds)
    broken = FIRST.model_copy(update={"backends": ()})
    bad = published(broken, SECRETS, 2)
    with capture_logs() as logs:
        await one.publish(bad)
        reasons = ("route ai/voice: backend ai/voice is not in the table",)
        await one.said(Refuse(table=bad.table, reasons=reasons))
        await one.publish(published(broken, SECRETS, 3))  # as controllers do
        await one.said(Refuse(table=bad.table, reasons=reasons))
    assert gateway.gateway.table() == FIRST
    assert gateway.updates("refused") == 1
    assert [(each["log_level"], each.get("reasons")) for each in logs] == [("error", list(reasons))]

    await one.publish(published(routes("mended"), SECRETS, 4))
    await one.said(Holds)
    assert gateway.routes == ["ai/voice", "mended"]


async def test_a_part_that_was_changed_on_its_way_is_refused_and_not_quoted(cluster: Cluster) -> None:
    one = await cluster.controller()
    newer = published(FIRST, SECRETS, 1)
    await one.publish(newer)
    one.says = [said.replace('"name":"ai/voice"', '"colour":"sk-red","name":"ai/voice"') for said in answers(newer)]
    gateway = await cluster.gateway(one.name)
    refusal = await one.said(Refuse)
    assert isinstance(refusal, Refuse)
    assert "is not what its hash" in refusal.reasons[0]
    assert "sk-red" not in refusal.reasons[0]
    assert not gateway.controllers.held


def answers(publication: Published) -> list[str]:
    want = Want(table=publication.table, parts=tuple(publication.parts), secrets=tuple(publication.secrets))
    return list(publication.answers(want))


async def test_a_second_controller_that_lags_behind(cluster: Cluster) -> None:
    ahead, behind = await cluster.controller(), await cluster.controller()
    new, old = published(routes("new"), SECRETS, 9), published(FIRST, SECRETS, 5)
    await ahead.publish(new)
    gateway = await cluster.gateway(ahead.name, behind.name)
    await ahead.said(Holds)
    await behind.said(Hello)
    await behind.publish(old)
    await behind.said(Stale(table=old.table, watermark=new.offer.watermark))
    assert gateway.routes == ["ai/voice", "new"]
    assert gateway.updates("stale") == 1

    await behind.publish(published(routes("new"), SECRETS, 9))
    await behind.said(Holds(table=new.table, watermark=new.offer.watermark))
    assert gateway.updates("applied") == 1


async def test_what_is_served_is_told_to_every_controller(cluster: Cluster) -> None:
    one, other = await cluster.controller(), await cluster.controller()
    gateway = await cluster.gateway(one.name, other.name)
    await one.said(Hello)
    await other.said(Hello)
    first = published(FIRST, SECRETS, 1)
    await one.publish(first)
    await other.said(Holds(table=first.table, watermark=first.offer.watermark))
    assert cluster.instruments.controllers_connected.values == {(): 2}
    await one.cut()
    await gateway.until(lambda: cluster.instruments.controllers_connected.values == {(): 1})


async def test_a_storage_that_was_restored(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controllers that are left have only older tables: they are the truth after all."""
    monkeypatch.setattr("dataplane.sources.subscription.DOUBT", 0.3)
    one, other = await cluster.controller(), await cluster.controller()
    await one.publish(published(routes("new"), SECRETS, 9))
    gateway = await cluster.gateway(one.name, other.name)
    await one.said(Holds)
    await other.said(Hello)
    await other.publish(published(FIRST, SECRETS, 5))
    await other.said(Stale)
    one.door = 503
    with capture_logs() as logs:
        await one.cut()
        await gateway.until(lambda: gateway.routes == ["ai/voice"])
    assert any("there are only older tables" in each["event"] for each in logs)


async def test_a_controller_that_restarts_with_the_same_table(cluster: Cluster) -> None:
    one = await cluster.controller()
    first = published(FIRST, SECRETS, 1)
    await one.publish(first)
    gateway = await cluster.gateway(one.name)
    await one.said(Holds)
    before = gateway.gateway.table()
    await one.cut()
    hello = await one.said(Hello)
    assert isinstance(hello, Hello)
    assert (hello.table, hello.watermark) == (first.table, first.offer.watermark)
    await one.said(Holds(table=first.table, watermark=first.offer.watermark))
    assert gateway.gateway.table() is before
    assert not [each for each in one.heard if isinstance(each, Want)]


async def test_a_connection_that_is_cut_in_the_middle(cluster: Cluster) -> None:
    one = await cluster.controller()
    first = published(FIRST, SECRETS, 1)
    await one.publish(first)
    one.says = [*answers(first)[:1]]
    gateway = await cluster.gateway(one.name)
    await one.said(Want)
    one.says = None
    await one.cut()
    await one.said(Hello)
    await one.said(Holds)
    assert gateway.gateway.table() == FIRST
    assert gateway.updates("failed") == 1


async def test_another_controller_takes_over_what_one_did_not_deliver(cluster: Cluster) -> None:
    one, other = await cluster.controller(), await cluster.controller()
    one.silent = True
    first = published(FIRST, SECRETS, 1)
    await one.publish(first)
    gateway = await cluster.gateway(one.name, other.name)
    await one.said(Want)
    await other.said(Hello)
    await other.publish(first)
    one.door = 503
    await one.cut()
    await other.said(Holds)
    assert gateway.controllers.source == f"{other.name} (127.0.0.1)"


async def test_one_that_does_not_deliver_in_time(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.sources.line.WHOLE", 0.2)
    one = await cluster.controller()
    one.silent = True
    await one.publish(published(FIRST, SECRETS, 1))
    gateway = await cluster.gateway(one.name)
    await one.dialled(2)
    assert "a table did not come whole within 0.2 s" in gateway.controllers.waiting_for()


ZERO = "0" * 64
HOSTILE: dict[str, tuple[str | bytes | Callable[[str], FromController], str]] = {
    "no JSON": ("{", "is no JSON"),
    "binary": (b"{}", "is binary"),
    "no message": ('{"type":"other"}', "cannot be read"),
    "of a gateway": (encode(Holds(table=ZERO)), "cannot be read"),
    "parts of another table": (encode(PartsMessage(table=ZERO, parts=())), "parts of a table that is not being"),
    "a secret that nobody wants": (
        lambda table: SecretsMessage(table=table, values={"other": SecretStr("sk-2")}),
        "a secret that was not asked for",
    ),
    "a part that nobody wants": (
        lambda table: PartsMessage(table=table, parts=(("route", ZERO, {"name": "sk-2"}),)),
        "a part that was not asked for",
    ),
    "a secret that is none": ('{"type":"secrets","table":"' + ZERO + '","values":{"a":["sk-2"]}}', "cannot be read"),
    "done too early": (lambda table: Done(table=table), "4 of what was asked for did not come"),
    "too much": ("[" * (16 * 1024 * 1024 + 1), "1009"),
    "deep": ('{"type":"parts","parts":' + "[" * 100_000, "is no JSON"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_controller_that_says_what_it_may_not(cluster: Cluster, case: str) -> None:
    """The connection ends, the log says why, and it is tried again."""
    one = await cluster.controller()
    first = published(FIRST, SECRETS, 1)
    what, reason = HOSTILE[case]
    one.says = [encode(what(first.table)) if callable(what) else what]
    await one.publish(first)
    with capture_logs() as logs:
        gateway = await cluster.gateway(one.name)
        await one.dialled(2)
    (told,) = {str(each["error"]) for each in logs if each["log_level"] == "warning"}
    assert reason in told
    assert "sk-" not in told
    assert not gateway.controllers.held
    one.says = None
    await one.said(Holds)


async def test_parts_that_nobody_asked_for(cluster: Cluster) -> None:
    one = await cluster.controller()
    gateway = await cluster.gateway(one.name)
    await one.said(Hello)
    (connection,) = one._connections
    await connection.send(encode(Done(table=ZERO)))
    await one.dialled(2)
    assert "done, and nothing was asked for" in gateway.controllers.waiting_for()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "audience tidegate-controller"),
        (403, "the labels of the controller's own install; it says: for this reason"),
        (404, "--controller is the port 9443"),
        (503, "it has nothing to offer yet"),
        (500, "it answered 500"),
    ],
)
async def test_a_dial_that_is_refused_says_what_to_do_and_only_once(cluster: Cluster, status: int, words: str) -> None:
    one = await cluster.controller()
    one.door = status
    with capture_logs() as logs:
        gateway = await cluster.gateway(one.name)
        await one.dialled(3)
    (told,) = logs
    assert words in told["error"]
    assert TOKEN not in str(logs)
    assert words in gateway.controllers.waiting_for()
    one.door = 101
    await one.publish(published(FIRST, SECRETS, 1))
    await one.said(Holds)


async def test_a_certificate_of_another_authority(cluster: Cluster, tmp_path: Path) -> None:
    one = await cluster.controller()
    await one.publish(published(FIRST, SECRETS, 1))
    right = cluster.credentials.ca.read_bytes()
    other, _ = authority(tmp_path / "other")
    cluster.credentials.ca.write_bytes(other.read_bytes())
    gateway = await cluster.gateway(one.name)
    await gateway.until(lambda: "must be the ca.crt" in gateway.controllers.waiting_for())
    cluster.credentials.ca.write_bytes(right)
    await one.said(Holds)


async def test_a_certificate_of_another_name(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await cluster.controller()
    gateway = await cluster.gateway(Name("localhost", one.name.port))
    await gateway.until(lambda: "its certificate is none of localhost" in gateway.controllers.waiting_for())


async def test_files_that_are_not_there_or_are_none(cluster: Cluster) -> None:
    one = await cluster.controller()
    await one.publish(published(FIRST, SECRETS, 1))
    ca, token = cluster.credentials.ca, cluster.credentials.token
    right = ca.read_bytes()
    token.unlink()
    gateway = await cluster.gateway(one.name)

    async def told(words: str) -> None:
        await gateway.until(lambda: words in gateway.controllers.waiting_for())

    await told(f"--token-file {token}: No such file")
    token.write_bytes(b"\xff")
    await told(f"--token-file {token} holds no token")
    token.write_text("two words")
    await told(f"--token-file {token} holds no token")
    ca.write_text("nothing")
    await told(f"--controller-ca {ca} holds no certificates")
    ca.unlink()
    await told(f"--controller-ca {ca}: No such file")
    ca.write_bytes(right)
    token.write_text("renewed")
    await one.said(Holds)
    assert one.tokens[-1] == "Bearer renewed"


async def test_nobody_is_there(cluster: Cluster) -> None:
    gateway = await cluster.gateway(Name("127.0.0.1", 9), Name("no.such.host.invalid", 9))
    await gateway.until(lambda: "cannot be reached" in gateway.controllers.waiting_for())
    await gateway.until(lambda: "no.such.host.invalid cannot be resolved" in gateway.controllers.waiting_for())


async def test_all_addresses_of_a_name_are_dialled_and_new_ones_are_found(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataplane.sources.replicas.RESOLVE_EVERY", 0.1)
    found = ["127.0.0.1"]

    async def addresses(name: Name) -> list[str]:
        assert name.host == "controller.test"
        return list(found)

    monkeypatch.setattr(dialling, "addresses", addresses)
    one = await cluster.controller()
    first = published(FIRST, SECRETS, 1)
    await one.publish(first)
    await cluster.gateway(Name("controller.test", one.name.port))
    await one.said(Holds)
    other = await cluster.stack.enter_async_context(
        replica(cluster.credentials, cluster.context, one.name.port, "127.0.0.2")
    )
    found.append("127.0.0.2")
    await other.said(Hello)
    found.remove("127.0.0.1")
    await other.publish(published(routes("more"), SECRETS, 2))
    await one.said(Holds)  # it is connected, and stays so
    await one.cut()
    await other.publish(published(routes("more", "still"), SECRETS, 3))
    await other.said(Holds)
    assert one.dials == 1


async def test_a_gateway_boots_from_the_snapshot_and_then_the_controller_comes(
    cluster: Cluster, tmp_path: Path
) -> None:
    one = await cluster.controller()
    one.door = 503
    snapshot = published(routes("saved"), SECRETS, 5)
    saved(tmp_path / "boot", snapshot)
    with capture_logs() as logs:
        gateway = await cluster.gateway(one.name, Name("127.0.0.1", 9), snapshot=tmp_path / "boot")
        await gateway.controllers.has_table.wait()
    assert gateway.routes == ["ai/voice", "saved"]
    assert gateway.controllers.source == SNAPSHOT
    assert cluster.instruments.table_from_snapshot.values == {(): 1}
    assert any("that of the snapshot is served" in each["event"] for each in logs)

    first = published(routes("new"), SECRETS, 6)
    await one.publish(first)
    one.door = 101
    hello = await one.said(Hello)
    assert isinstance(hello, Hello)
    assert hello.table == snapshot.table
    await one.said(Holds(table=first.table, watermark=first.offer.watermark))
    assert gateway.routes == ["ai/voice", "new"]
    assert gateway.controllers.source == f"{one.name} (127.0.0.1)"
    assert cluster.instruments.table_from_snapshot.values == {(): 0}


async def test_a_snapshot_that_cannot_be_read_is_read_again(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "BOOT_AGAIN", 0.1)
    folder = tmp_path / "boot"
    gateway = await cluster.gateway(Name("127.0.0.1", 9), snapshot=folder)
    await gateway.until(lambda: f"{folder}: No such file" in gateway.controllers.waiting_for())
    saved(folder, published(FIRST.model_copy(update={"backends": ()}), SECRETS, 1))
    await gateway.until(lambda: "backend ai/voice is not in the table" in gateway.controllers.waiting_for())
    saved(folder, published(FIRST, SECRETS, 1))
    await gateway.until(lambda: gateway.controllers.held)
    assert gateway.gateway.table() == FIRST


async def test_what_nobody_foresaw_is_logged_and_it_begins_anew(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "LAST", 0.01)
    one = await cluster.controller()
    await one.publish(published(FIRST, SECRETS, 1))
    await cluster.gateway(one.name)
    await one.said(Holds)

    look = Subscription.look
    failed = asyncio.Event()

    def fail_once(self: Subscription, now: float) -> list[Action]:
        if failed.is_set():
            return look(self, now)
        failed.set()
        raise RuntimeError("nobody foresaw it")

    monkeypatch.setattr(Subscription, "look", fail_once)
    with capture_logs() as logs:
        await failed.wait()
        await one.said(Hello)
        await one.said(Holds)
    assert any("following the controllers failed" in each["event"] for each in logs)
    await one.publish(published(routes("more"), SECRETS, 2))
    await one.said(Holds)


async def test_five_thousand_routes_come_whole_and_the_next_change_is_small(cluster: Cluster) -> None:
    one = await cluster.controller()
    many = [f"route-{number}" for number in range(5000)]
    await one.publish(published(routes(*many), SECRETS, 1))
    gateway = await cluster.gateway(one.name)
    wants = [await one.said(Want) for _ in range(3)]
    assert [len(want.parts) for want in wants if isinstance(want, Want)] == [2000, 2000, 1003]
    await one.said(Holds)
    assert len(gateway.routes) == 5001
    kept = gateway.gateway.table().routes[4000]
    await one.publish(published(routes(*many[:-1], "another"), SECRETS, 2))
    change = await one.said(Want)
    assert isinstance(change, Want)
    assert len(change.parts) == 1
    await one.said(Holds)
    assert gateway.routes[-1] == "another"
    assert gateway.gateway.table().routes[4000] is kept


async def test_tokens_and_secrets_are_in_no_log(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """At no level of it, and of no library's. The double logs what it hears: it is none of ours."""
    caplog.set_level(logging.DEBUG)
    one = await cluster.controller()
    await one.publish(published(FIRST, SECRETS, 1))
    gateway = await cluster.gateway(one.name)
    await one.said(Holds)
    assert gateway.gateway._snapshot.secrets == SECRETS
    lines = [each.getMessage() for each in caplog.records if each.name != "websockets.server"]
    for secret in (TOKEN, *(each.get_secret_value() for each in SECRETS.values())):
        assert not [line for line in lines if secret in line]


def test_secrets_are_in_no_text() -> None:
    publication = published(FIRST, SECRETS, 1)
    sent = SecretsMessage(table=publication.table, values=dict(SECRETS))
    assert publication.offer.outline
    packed = bundle.packed(publication.offer.outline, (), SECRETS, publication.offer.watermark)
    for text in (repr(sent), str(sent), repr(bundle.unpacked(packed))):
        assert "sk-simulator" not in text
    assert "sk-simulator" in orjson.loads(encode(sent))["values"]["upstream@1"]
