"""What is refused so that the rest goes on: at the caps of sessions, and when memory is short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

import aiohttp
import pytest
from structlog.testing import capture_logs

from dataplane.process import lifecycle
from dataplane.process.memory import Memory, Reading, of_this_process
from dataplane.process.overload import Overload
from dataplane.realtime import relay
from dataplane.server import AddressPolicy, Gateway, Limits
from dataplane.table import Forward, Route, Table, sealed
from simulator.server import Simulator
from tests.dataplane.realtime import wires
from tests.dataplane.realtime.wires import Answered, Peer, ask, dial, gateway, handshake, until
from tests.dataplane.rig import ASK, BEARER, CALLERS, REQUIRED, SECRETS, Remembering, Rig, backend, provider, table

CHAT = "/v1/chat/completions"
ECHO = "/v1/bytes/5"
VOICE = "/v1/realtime?model=gpt-realtime"


@pytest.fixture(autouse=True)
async def no_peers_left() -> AsyncIterator[None]:
    yield
    while wires._PEERS:
        wires._PEERS.pop().reset()
    await asyncio.sleep(0)


# -- caps ------------------------------------------------------------------------------------------------------


async def opened(rig: Rig, path: str = VOICE) -> tuple[Peer, Answered]:
    peer = await dial(rig)
    peer.write(handshake(path))
    return peer, await peer.answer()


async def assert_cap(rig: Rig, cap: int, code: str, says: str) -> None:
    """A burst of 50 against the cap, then one more when it is full, and one when it is not."""
    peers = await asyncio.gather(*(opened(rig) for _ in range(50)))
    refused = [answer for _, answer in peers if answer.status != 101]
    assert len(refused) == 50 - cap
    for answer in refused:
        assert (answer.status, answer.error["type"], answer.error["code"]) == (503, "server_error", code)
        assert answer.get("retry-after") == "5"
        assert says in str(answer.error["message"])
    sessions = [peer for peer, answer in peers if answer.status == 101]
    assert (await ask(rig)).error["code"] == code
    assert rig.meter.opened == cap
    sessions[0].close()
    await sessions[0].gone()
    await until(lambda: len(rig.gateway.sessions()) == cap - 1, "its place is free")
    _, answer = await opened(rig)
    assert answer.status == 101
    assert (await ask(rig)).error["code"] == code


async def test_the_cap_of_the_process(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1")))
    async with gateway(served, limits=Limits(sessions=10)) as rig:
        await assert_cap(rig, 10, "overloaded", "has 10 sessions, which is its limit")


async def test_the_cap_of_a_backend(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1"), max_sessions=10))
    async with gateway(served, limits=Limits(sessions=11)) as rig:
        await assert_cap(rig, 10, "backend_overloaded", "Backend ai/voice has 10 sessions")


async def test_a_backend_at_its_cap_leaves_its_neighbour_alone(upstream: Simulator) -> None:
    one, other = (
        backend(provider(upstream.url + "/v1"), name=f"ai/{name}", max_sessions=cap)
        for name, cap in (("one", 1), ("other", 0))
    )
    routes = tuple(
        sealed(Route(name=host, hostnames=(host,), forwards=(Forward(backend=f"ai/{host}", policies=REQUIRED),)))
        for host in ("one", "other")
    )
    served = Table(backends=(one, other), routes=routes, callers=(CALLERS,), secrets=("upstream@1",))

    async def status(rig: Rig, host: str) -> int:
        peer = await dial(rig)
        peer.write(handshake(headers={"Host": host}))
        return (await peer.answer()).status

    async with gateway(served) as rig:
        assert [await status(rig, host) for host in ("other", "one", "one", "other")] == [101, 101, 503, 101]


async def test_what_is_refused_takes_no_place(upstream: Simulator) -> None:
    """A session that its upstream refuses, and one whose client leaves before it is answered."""
    served = table(backend(provider(upstream.url + "/v1")))
    async with gateway(served, limits=Limits(sessions=1)) as rig:
        for _ in range(3):
            assert (await ask(rig, VOICE + "&scenario=no-upgrade:401")).status == 502
            assert (await ask(rig, VOICE + "&scenario=no-upgrade:401")).error["code"] != "overloaded"
        sessions = rig.gateway._sessions
        assert sessions is not None
        leaving = await dial(rig)
        leaving.write(handshake(VOICE + "&scenario=silent"))
        await until(sessions.live, "it is being opened")
        assert (await ask(rig)).error["code"] == "overloaded"
        leaving.reset()
        await until(lambda: not sessions.live(), "its place is free")
        assert (await ask(rig)).status == 101


async def test_refusals_for_want_of_room_are_handshakes_too(upstream: Simulator) -> None:
    tracer = wires.Tracer()
    async with gateway(table(backend(provider(upstream.url + "/v1"))), limits=Limits(sessions=1), tracer=tracer) as rig:
        await opened(rig)
        assert (await ask(rig)).status == 503
        rig.gateway._overload.short = True
        assert (await ask(rig)).status == 503
    assert rig.meter.handshakes == [101, 503, 503]
    assert [done.code for done in tracer.handshakes] == ["", "overloaded", "overloaded"]


async def test_the_meter_is_told_the_cap(upstream: Simulator) -> None:
    with patch.object(Remembering, "capacity", autospec=True) as capacity:
        async with gateway(table(backend(provider(upstream.url))), limits=Limits(sessions=7)):
            assert capacity.call_args.args[1] == 7


# -- memory ----------------------------------------------------------------------------------------------------


class Fake:
    """A memory of 1,000 bytes."""

    def __init__(self) -> None:
        self.used: int | None = 0

    def __call__(self) -> Reading | None:
        return None if self.used is None else Reading(self.used, 1000)


@pytest.mark.parametrize(
    ("used", "short"),
    [
        ([0, 849, 850], [False, False, True]),
        ([850, 849, 800, 799, 800, 849], [True, True, True, False, False, False]),
        ([1000, 2000, 0, 850], [True, True, False, True]),
        ([None, 900, None], [False, True, False]),
    ],
)
def test_hysteresis(used: list[int | None], short: list[bool]) -> None:
    memory = Fake()
    overload = Overload(memory)
    decided = []
    with capture_logs() as logs:
        for memory.used in used:
            overload.look()
            decided.append(overload.short)
    assert decided == short
    changes = sum(now != before for before, now in zip([False, *short], short, strict=False))
    assert len(logs) == changes


def test_the_log_says_how_much() -> None:
    overload = Overload(lambda: Reading(900 * 2**20, 1000 * 2**20))
    with capture_logs() as logs:
        overload.look()
    assert (logs[0]["log_level"], logs[0]["used_mib"], logs[0]["limit_mib"]) == ("warning", 900, 1000)


@asynccontextmanager
async def watched(upstream: Simulator, memory: Memory) -> AsyncIterator[Rig]:
    """A gateway that looks at this memory all the time."""
    meter = Remembering()
    with patch.object(lifecycle, "LOOK", 0.005), patch.object(relay, "LINGER", 0.1):
        it = Gateway(meter=meter, addresses=AddressPolicy(allow_loopback=True), memory=memory)
        it.load(table(backend(provider(upstream.url + "/v1"))), SECRETS)
        await it.start("127.0.0.1", 0)
        try:
            yield Rig(it, meter)
        finally:
            await it.stop()


async def test_when_memory_is_short(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    memory = Fake()
    async with watched(upstream, memory) as rig:
        session, answer = await opened(rig)
        assert answer.status == 101
        assert (await session.event())["type"] == "session.created"
        body = {**ASK, "stream": True, "metadata": {"scenario": "slow:20"}}
        async with client.post(rig.url + CHAT, json=body, headers=BEARER) as streamed:
            memory.used = 850
            await until(lambda: rig.gateway._overload.short, "it is noticed")
            await assert_refused(rig, client)
            assert (await streamed.read()).endswith(b"data: [DONE]\n\n")  # what is under way goes on
        session.send(b'{"type":"response.create"}')
        while (await session.event())["type"] != "response.done":
            pass
        async with client.get(rig.url + ECHO) as response:
            assert response.status == 401  # a stranger learns nothing
        memory.used = 799
        await until(lambda: not rig.gateway._overload.short, "it is noticed")
        async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
            assert response.status == 200
        assert (await ask(rig)).status == 101


async def assert_refused(rig: Rig, client: aiohttp.ClientSession) -> None:
    answer = await ask(rig)
    assert (answer.status, answer.error["code"], answer.get("retry-after")) == (503, "overloaded", "5")
    for method, path in (("POST", CHAT), ("GET", ECHO)):
        async with client.request(method, rig.url + path, json=ASK, headers=BEARER) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            error = (await response.json())["error"]
            assert (error["type"], error["code"]) == ("server_error", "overloaded")
            assert "memory" in error["message"]


async def test_it_looks_before_the_first_request(upstream: Simulator) -> None:
    memory = Fake()
    memory.used = 990
    async with watched(upstream, memory) as rig:
        assert (await ask(rig)).error["code"] == "overloaded"


# -- reading the memory ----------------------------------------------------------------------------------------

PAGES = 100
MACHINE_KIB = 1000


def system(root: Path, groups: str, files: dict[str, str]) -> Memory:
    """A system in a folder: what /proc/self/cgroup says, and files of /sys/fs/cgroup."""
    proc = root / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(groups)
    (proc / "self/statm").write_text(f"9999 {PAGES} 1 1 0 1 0\n")
    (proc / "meminfo").write_text(f"MemTotal:  {MACHINE_KIB} kB\nMemFree: 1 kB\n")
    for name, text in files.items():
        file = root / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return of_this_process(proc, root / "sys")


def v2(folder: str, limit: str, used: int, cache: int = 10) -> dict[str, str]:
    """`cache`: of files, 10 bytes of which were used lately."""
    stat = f"anon 1\nactive_file 10\ninactive_file {cache - 10}"
    return {f"{folder}memory.max": limit, f"{folder}memory.current": str(used), f"{folder}memory.stat": stat}


def v1(folder: str, limit: int, used: int, cache: int = 10) -> dict[str, str]:
    place = f"memory/{folder}memory"
    stat = f"cache 1\ninactive_file 5\ntotal_inactive_file {cache - 10}\ntotal_active_file 10"
    return {f"{place}.limit_in_bytes": str(limit), f"{place}.usage_in_bytes": str(used), f"{place}.stat": stat}


OWN = Reading(PAGES * 4096, MACHINE_KIB * 1024)
"""40 % of the machine."""
NONE = 9223372036854771712
"""No limit, in version 1."""
V1 = "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "reading"),
    [
        # a container that sees its own cgroup as the root
        ("0::/\n", v2("", "1000", 900, 50), Reading(850, 1000)),
        ("0::/\n", v2("", "1000", 900, 800), OWN),
        ("0::/\n", v2("", "1000", 450), Reading(450, 1000)),  # the cache is not asked for
        ("0::/\n", v2("", "max", 900), OWN),
        # a service on a machine: its own limit, and one above that is tighter
        ("0::/a/b\n", {**v2("a/b/", "1000", 500), **v2("a/", "max", 990)}, Reading(490, 1000)),
        ("0::/a/b\n", {**v2("a/b/", "1000", 500), **v2("a/", "2000", 1800)}, Reading(1790, 2000)),
        ("0::/a/b\n", v2("a/b/", "max", 500) | v2("a/", "2000", 1800), Reading(1790, 2000)),
        # a container that is told the host's name of its cgroup
        ("0::/kubepods/pod1/c2\n", v2("", "1000", 900), Reading(890, 1000)),
        (V1, v1("", 1000, 900, 20), Reading(880, 1000)),
        (V1, v1("docker/abc/", 1000, 600), Reading(590, 1000)),
        (V1, v1("docker/abc/", 1000, 600) | v1("docker/", 1000, 700), Reading(690, 1000)),
        (V1, v1("", NONE, 900), OWN),
        # no cgroups, and files that say nothing of use
        ("", {}, OWN),
        ("nonsense", {}, OWN),
        ("0::/\n", {}, OWN),
        ("0::/\n", {**v2("", "1000", 900), "memory.stat": "anon 1"}, OWN),
        ("0::/\n", v2("", "0", 900), OWN),
        ("0::/\n", {"memory.max": "much", "memory.current": "900"}, OWN),
    ],
)
def test_the_tightest_limit(tmp_path: Path, groups: str, files: dict[str, str], reading: Reading) -> None:
    with patch("mmap.PAGESIZE", 4096):
        assert system(tmp_path, groups, files)() == reading


def test_limits_are_read_anew(tmp_path: Path) -> None:
    read = system(tmp_path, "0::/\n", v2("", "1000", 900))
    (tmp_path / "sys/memory.max").write_text("1200\n")
    assert read() == Reading(890, 1200)
    (tmp_path / "sys/memory.max").unlink()
    assert read() != Reading(890, 1200)


def test_a_system_without_these_files(tmp_path: Path) -> None:
    assert of_this_process(tmp_path, tmp_path)() is None


def test_this_machine() -> None:
    """Whatever it is: what is read makes sense."""
    reading = of_this_process()()
    assert reading is None or reading.used >= 0
    assert reading is None or reading.limit > 0
