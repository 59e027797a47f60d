"""Whatever becomes of controllers, of the API server and of the storage behind it: gateways serve what is declared, as
soon as anybody can know it, and never what was declared before. A user talks all the while and notices nothing."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import controllers
import processes
import pytest
from cluster.control_plane import ControlPlane
from controllers import Install, metric, until
from faults import Double, Relay, Repeating
from replicas import (
    ONE,
    SECRET,
    TWO,
    Stand,
    apply,
    backend,
    backends_of,
    condition_is,
    moved,
    opened,
    place_of,
    programmed,
    secret,
    shown,
)
from test_controller_gateways import asked, knocked

from dataplane.sources import boot
from dataplane.table.delta import Unreadable

KILLS = 40 if os.environ.get("NIGHTLY") else 6
AWAY_S = 60.0
SEED = int(os.environ.get("SEED", "7"))
EDITS = 1000


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One of our own, since it is broken."""
    with ControlPlane(tmp_path_factory.mktemp("plane") / "plane") as plane:
        plane.install_crds()
        yield plane


@pytest.fixture(scope="module")
def stand(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("install")
    simulator = processes.start_simulator(folder)
    with plane.namespace("install") as namespace, plane.namespace("voice") as voice:
        install = Install(plane, namespace, folder)
        stand = Stand(plane, install, simulator)
        try:
            install.prepare(upstreams={"allow": [{"namespaces": {}, "networks": ["127.0.0.0/8"]}]})
            stand.begin(voice)
            yield stand
            stand.balance()
        finally:
            simulator.stop()
            install.end()


@pytest.fixture
def namespace(plane: ControlPlane) -> Iterator[str]:
    """One for each test. What is in it goes with it."""
    with plane.namespace() as name:
        yield name


@pytest.fixture(autouse=True)
def _nobody_is_cut_off(stand: Stand) -> Iterator[None]:
    before = stand.talk.turns
    yield
    stand.tidy()
    until(lambda: stand.talk.check() or stand.talk.turns > before, lambda: "no turn for the whole of a test")


# -- controllers ----------------------------------------------------------------------------------------------------


def test_a_controller_that_is_killed_again_and_again(stand: Stand, namespace: str) -> None:
    stand.up(ONE)
    apply(stand.plane, namespace, SECRET)
    rng, client, there = Random(SEED), stand.client(), list[str]()

    def change() -> None:
        """One Backend more, or one less, or another spec."""
        deed = rng.random()
        if deed < 0.4 or not there:
            there.append(f"b{rng.getrandbits(40):x}")
            client.create(backends_of(namespace), backend(stand, there[-1]))
        elif deed < 0.7:
            client.delete(backends_of(namespace, there.pop(rng.randrange(len(there)))))
        else:
            client.merge(backends_of(namespace, rng.choice(there)), moved(rng.randrange(100)))

    moments = Random(SEED + 1)
    with Repeating(change):
        for _ in range(KILLS):
            time.sleep(moments.uniform(0, 2))  # which may be before it was ready
            stand.kill(ONE)
            stand.start(ONE)
    stand.converges()
    # Another one makes the same of it.
    stand.up(ONE, TWO)
    token = stand.install.pod("double")
    tables = set()
    for port in stand.ports.values():
        double = Double(f"127.0.0.1:{port}", stand.install.ca(), token)
        until(lambda double=double: double.delivery)
        tables.add(double.offer.table)
        double.close()
    assert len(tables) == 1


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
def test_a_replica_that_lags_takes_nobody_back(stand: Stand, namespace: str, leads: bool) -> None:
    stand.up(ONE, TWO)
    until(lambda: stand.install.holder() in stand.replicas, stand.install.holder)
    leader = stand.install.holder()
    follower = TWO if leader == ONE else ONE
    lagging, other = (leader, follower) if leads else (follower, leader)
    apply(stand.plane, namespace, SECRET, opened("moving"), backend(stand, "moving"))
    stand.converges()
    client, path, name = stand.client(), backends_of(namespace, "moving"), f"{namespace}/moving"
    client.merge(path, moved(0))
    until(lambda: place_of(stand.gateway, name) == 0)
    until(lambda: programmed(client.get(path)) == (client.get(path)["metadata"]["generation"], True))
    places, said = [0], [(0, False)]

    def look() -> None:
        places.append(place_of(stand.gateway, name))
        said.append(programmed(client.get(path)))
        assert places[-1] >= places[-2], f"the gateway went from v{places[-2]} back to v{places[-1]}"
        assert said[-1] >= said[-2], f"Programmed went from {said[-2]} back to {said[-1]}"

    frozen = stand.replicas[lagging].popen
    frozen.send_signal(signal.SIGSTOP)
    changer = stand.client()
    try:
        if leads:
            until(lambda: stand.install.holder() == other, stand.install.holder)
        with Repeating(look):
            for number in range(1, 6):
                changer.merge(path, moved(number))
                until(lambda number=number: place_of(stand.gateway, name) == number)
            frozen.send_signal(signal.SIGCONT)
            for number in range(6, 12):
                changer.merge(path, moved(number))
                time.sleep(0.3)
            until(lambda: place_of(stand.gateway, name) == 11)
            until(lambda: programmed(changer.get(path)) == (changer.get(path)["metadata"]["generation"], True))
    finally:
        frozen.send_signal(signal.SIGCONT)
    stand.converges()


def test_replicas_do_not_hold_each_other_up(stand: Stand, namespace: str) -> None:
    """Whichever of them has listed last, or began last: a gateway that has a table of one takes that of the other, and
    does not have to wait until it may doubt its own."""
    stand.up(ONE, TWO)
    apply(stand.plane, namespace, SECRET, opened("moving"), backend(stand, "moving"))
    stand.converges()
    client, said = stand.client(), len(stand.gateway.text())
    for number in range(20):
        if number % 10 == 5:
            stand.kill((ONE, TWO)[number // 10])
            client.create(backends_of(namespace), backend(stand, "passing"))
            client.delete(backends_of(namespace, "passing"))
            stand.up(ONE, TWO)
        client.merge(backends_of(namespace, "moving"), moved(number))
        until(lambda number=number: place_of(stand.gateway, f"{namespace}/moving") == number)
        until(lambda: not stand.unprogrammed(), stand.unprogrammed)
    assert "older tables" not in stand.gateway.text()[said:]
    stand.converges()


# -- objects --------------------------------------------------------------------------------------------------------


def test_a_secret_goes_comes_back_and_is_rotated(stand: Stand, namespace: str) -> None:
    """That of the session that is open, too: it keeps what it began with."""
    stand.up(ONE, TWO)
    voice = next(name for name in stand.served() if name.endswith("/voice"))

    def answers(status: int) -> None:
        until(lambda: asked(stand.gateway, f"/{voice}") == status, lambda: asked(stand.gateway, f"/{voice}"))

    where = voice.partition("/")[0]
    answers(200)
    stand.plane.kubectl("delete", "secret", "-n", where, "key")
    answers(500)
    apply(stand.plane, where, SECRET)
    answers(200)
    apply(stand.plane, where, secret(processes.STALE_KEY))
    answers(502)
    apply(stand.plane, where, SECRET)
    answers(200)
    stand.converges()


def test_a_thousand_edits_are_few_tables_and_the_last_is_served(stand: Stand, namespace: str) -> None:
    stand.up(ONE)
    apply(stand.plane, namespace, SECRET, opened("edited"), backend(stand, "edited"))
    stand.converges()
    client = stand.client()
    before = metric(stand.replicas[ONE], "tidegate_controller_publications_total")
    for number in range(EDITS):
        client.merge(backends_of(namespace, "edited"), moved(number))
    until(lambda: place_of(stand.gateway, f"{namespace}/edited") == EDITS - 1)
    assert metric(stand.replicas[ONE], "tidegate_controller_publications_total") - before < EDITS / 5
    stand.converges()


# -- gateways -------------------------------------------------------------------------------------------------------


def test_one_that_refuses_and_one_that_is_cut_off_are_named(stand: Stand, namespace: str) -> None:
    stand.up(ONE)
    line = Relay(f"127.0.0.1:{stand.ports[ONE]}")
    other = stand.install.gateway("gateway-2", line.address)
    apply(stand.plane, namespace, SECRET, opened("spread"), backend(stand, "spread"))
    stand.converges()
    double = Double(
        f"127.0.0.1:{stand.ports[ONE]}",
        stand.install.ca(),
        stand.install.pod("gateway-3"),
        refuses=["port 10080 is taken: end what listens there"],
    )
    line.cut()
    apply(stand.plane, namespace, backend(stand, "spread", **moved(1)["spec"]))
    said = condition_is(stand, namespace, "spread", "False Refused", "gateway-2")
    assert "gateway-3" in said
    assert "port 10080 is taken: end what listens there" in said
    assert "gateway-2" in said
    assert "gateway-1" not in said
    # Who refuses goes; who is cut off serves what it has, and is named until it is reached.
    double.close()
    stand.install.delete_pod("gateway-3")
    condition_is(stand, namespace, "spread", "False Pending", "gateway-2")
    assert place_of(other, f"{namespace}/spread") == -1
    assert place_of(stand.gateway, f"{namespace}/spread") == 1
    line.mend()
    assert condition_is(stand, namespace, "spread", "True Programmed") == "Served by every ready gateway."
    assert place_of(other, f"{namespace}/spread") == 1
    stand.gone(other)
    line.close()


def test_without_a_controller_gateways_serve_on_and_new_ones_start_from_the_copy(stand: Stand, namespace: str) -> None:
    stand.up(ONE)
    apply(stand.plane, namespace, SECRET, opened("copied"), backend(stand, "copied"))
    stand.converges()
    copied = stand.install.folder / "boot"

    until(lambda: f"{namespace}/copied" in copy_of(stand, copied))
    stand.up()
    path = f"/{namespace}/copied"
    assert asked(stand.gateway, path) == 200
    new = stand.install.gateway("gateway-4", "127.0.0.1:9", options=("--boot", copied))
    assert shown(new)["source"] == "snapshot"
    assert asked(new, path) == 200
    assert stand.served(new) == stand.served()
    stand.gone(new)


def copy_of(stand: Stand, folder: Path) -> str:
    """Put the Secrets of the copy there as a kubelet would, a folder each; what they hold, empty where that is not
    whole."""
    listed: Any = stand.plane.get("secrets", "-n", stand.install.namespace)
    for each in listed["items"]:
        name = each["metadata"]["name"]
        if name.startswith(f"{controllers.NAME}-boot"):
            shutil.rmtree(folder / name, ignore_errors=True)
            (folder / name).mkdir(parents=True)
            for entry, value in (each.get("data") or {}).items():
                (folder / name / entry).write_bytes(base64.b64decode(value))
    try:
        return str([part.json for part in boot.read(folder).parts])
    except Unreadable:
        return ""


def test_whoever_is_no_gateway_gets_no_table(stand: Stand, namespace: str) -> None:
    stand.up(ONE)
    install, plane, account = stand.install, stand.plane, f"{controllers.NAME}-dataplane"
    audience = ("--audience", "tidegate-controller")
    bound = ("--bound-object-kind", "Pod", "--bound-object-name")
    pod = {"spec": {"serviceAccountName": account, "containers": [{"name": "any", "image": "none"}]}}
    plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "namespace": install.namespace}, **pod}
    plane.apply(plain)
    plane.kubectl("create", "serviceaccount", "-n", namespace, account)
    gone = install.pod("gone").read_text()
    install.delete_pod("gone")
    good = install.pod("good").read_text()
    tokens = {
        "none": ("", 401),
        "of nobody": ("e30.e30.e30", 401),
        "not signed so": (f"{good[:-8]}AAAAAAAA", 401),
        "for another audience": (plane.token(install.namespace, account, *bound, "good"), 401),
        "of a pod that is gone": (gone, 401),
        "of another account": (plane.token(install.namespace, "default", *audience), 403),
        "of a namesake elsewhere": (plane.token(namespace, account, *audience), 403),
        "of no pod": (plane.token(install.namespace, account, *audience), 403),
        "of a pod that is no gateway": (plane.token(install.namespace, account, *audience, *bound, "plain"), 403),
    }
    found = {name: knocked(stand.replicas[ONE], token) for name, (token, _) in tokens.items()}
    assert found == {name: status for name, (_, status) in tokens.items()}
    double = Double(f"127.0.0.1:{stand.ports[ONE]}", install.ca(), install.folder / "good.token")
    until(lambda: double.delivery)
    double.close()


def test_a_gateway_of_the_version_before_and_one_of_another_age(stand: Stand, namespace: str) -> None:
    stand.up(ONE)
    apply(stand.plane, namespace, SECRET, opened("old"), backend(stand, "old"))
    stand.converges()
    address, ca = f"127.0.0.1:{stand.ports[ONE]}", stand.install.ca()
    before = Double(address, ca, stand.install.pod("gateway-5"), schemas=[1])
    until(lambda: before.delivery)
    assert before.delivery.outline.schema_number == 1
    assert {part.kind for part in before.delivery.parts} <= {"backend", "route", "callers"}
    assert condition_is(stand, namespace, "old", "True Programmed") == "Served by every ready gateway."
    another = Double(address, ca, stand.install.pod("gateway-6"), schemas=[97, 98])
    until(lambda: another.ended)
    assert "upgrade the data plane" in another.ended
    apply(stand.plane, namespace, backend(stand, "old", **moved(1)["spec"]))
    condition_is(stand, namespace, "old", "False Pending", "gateway-6")
    stand.tidy()
    for double in (before, another):
        double.close()
    condition_is(stand, namespace, "old", "True Programmed")


# -- the API server -------------------------------------------------------------------------------------------------


def test_the_api_server_is_away_and_what_was_deleted_meanwhile_is_no_ghost(stand: Stand, namespace: str) -> None:
    """Deleted behind its back, so that no watch can ever tell; and as soon as it answers again."""
    stand.up(ONE, TWO)
    names = ["stays", "vanishes", "goes"]
    for name in names:
        apply(stand.plane, namespace, SECRET, opened(name, name), backend(stand, name))
    stand.converges()
    api = stand.plane.programs["kube-apiserver"]
    api.freeze()
    over = time.monotonic() + AWAY_S
    while time.monotonic() < over:
        assert {asked(stand.gateway, f"/{namespace}/{name}") for name in names} == {200}
    api.thaw()
    api.kill()
    forget(stand.plane, f"/registry/tidegate.dev/backends/{namespace}/vanishes")
    assert {asked(stand.gateway, f"/{namespace}/{name}") for name in names} == {200}
    api.start()
    api.wait_for(stand.plane.ready, "is not ready")
    stand.client().delete(backends_of(namespace, "goes"))
    until(lambda: [asked(stand.gateway, f"/{namespace}/{name}") for name in names] == [200, 404, 404])
    stand.converges()
    # Nor does the other replica have one: it alone is heard now.
    stand.up(TWO)
    apply(stand.plane, namespace, backend(stand, "stays", **moved(1)["spec"]))
    until(lambda: place_of(stand.gateway, f"{namespace}/stays") == 1)
    stand.converges()


def forget(plane: ControlPlane, key: str) -> None:
    """Delete from the storage."""
    body = json.dumps({"key": base64.b64encode(key.encode()).decode()}).encode()
    request = urllib.request.Request(f"{plane.storage}/v3/kv/deleterange", body)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["deleted"] == "1"


def test_a_storage_that_was_put_back_is_followed(stand: Stand, namespace: str) -> None:
    stand.up(ONE, TWO)
    apply(stand.plane, namespace, SECRET, opened("kept"), backend(stand, "kept", **moved(1)["spec"]))
    stand.converges()
    etcd, api = stand.plane.programs["etcd"], stand.plane.programs["kube-apiserver"]
    data, copy = stand.plane.folder / "etcd", stand.plane.folder / "etcd.copy"
    etcd.freeze()
    shutil.copytree(data, copy)
    etcd.thaw()
    apply(stand.plane, namespace, backend(stand, "lost"), backend(stand, "kept", **moved(2)["spec"]))
    stand.converges()
    api.kill()
    etcd.kill()
    shutil.rmtree(data)
    copy.rename(data)
    etcd.start()
    api.start()
    api.wait_for(stand.plane.ready, "is not ready")
    until(lambda: f"{namespace}/lost" not in stand.served())
    until(lambda: place_of(stand.gateway, f"{namespace}/kept") == 1)
    assert shown(stand.gateway)["watermark"]["epoch"] > 0
    stand.converges()
    apply(stand.plane, namespace, backend(stand, "kept", **moved(3)["spec"]), backend(stand, "new"))
    until(lambda: place_of(stand.gateway, f"{namespace}/kept") == 3)
    stand.converges()
