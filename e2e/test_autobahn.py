"""Autobahn's fuzzing client against three ways through the gateway, in front of an echo server of Autobahn's own; and
its fuzzing server behind a fourth.

- *Passthrough*: a pure splice. Everything must pass, and with NIGHTLY=1 compression too (sections 12 and 13).
- *relay*: the realtime relay reading no message (autobahn/unread.py), so that data comes back.
- *provider*: the same relay, the suite being the provider and the echo the client (autobahn/provider.py).
- *Realtime*: a real Realtime route. What is no JSON event is answered by the gateway, so echoes cannot pass.

What does not pass must stand in autobahn/<way>.toml with its reason, and what stands there must not pass. The page
docs/reference/websocket-conformance.md is made from the results: UPDATE=1 writes it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import processes
import pytest
from autobahn import page
from conftest import CACHE, ROOT, start_stack
from processes import Process

HERE = ROOT / "e2e" / "autobahn"
PYTHON = CACHE / "autobahn" / "bin" / "python"
SUITE = CACHE / "autobahn" / "suite"
UNREAD = [processes.TIDEGATE.parent / "python", HERE / "unread.py"]
PAGE = ROOT / "docs" / "reference" / "websocket-conformance.md"
COMPRESSION = ["12.*", "13.*"]
TAKES_S = 420.0
PASSED = {"OK", "INFORMATIONAL"}
PARTS = {"Passthrough": 5, "relay": 6, "Realtime": 10, "provider": 6}
"""How many clients share the cases of a way. Most of the time they wait for what must not come; on the Realtime route
also for a first event, which an echo server does not have."""


class Expected(NamedTuple):
    """A case as it is written down. Where timing decides, it has more verdicts than one."""

    verdicts: list[str]
    reason: str


PASSES = Expected(["passed"], "")


def verdict(found: dict) -> str:
    """What became of a case, in a few words; "passed" where it is as the suite wants it."""
    answered = re.match(r'\{"type":"error".*"code":"(\w+)"', found["answer"])
    if answered:
        return f"answered {answered[1]}"
    words = [name.lower() for name in (found["behavior"],) if name not in PASSED]
    words += [f"close {name.lower()}" for name in (found["behaviorClose"],) if name not in PASSED]
    return ", ".join(words) or "passed"


def table(way: str) -> list[tuple[str, Expected]]:
    """Pattern of cases → what is expected; the first that matches holds."""
    file = HERE / f"{way.lower()}.toml"
    rows = tomllib.loads(file.read_text())["exception"] if file.exists() else []
    return [(pattern, Expected(row["verdicts"], row["reason"])) for row in rows for pattern in row["cases"]]


def expected(way: str, cases: Iterable[str]) -> dict[str, Expected]:
    """What the tables say of these cases. Fails where a pattern is for none of them."""
    rows = table(way)
    unused = [pattern for pattern, _ in rows if not any(fnmatchcase(case, pattern) for case in cases)]
    assert unused == [], f"{way.lower()}.toml has patterns for no case"
    return {case: next((row for pattern, row in rows if fnmatchcase(case, pattern)), PASSES) for case in cases}


class Fuzzers:
    """All clients, running side by side. `provider` is the suite's server, with so many `cases`."""

    def __init__(self, folder: Path, urls: dict[str, str], provider: Process, cases: int) -> None:
        self._folder, self._urls, self._provider, self._cases = folder, urls, provider, cases
        self._clients: dict[str, list[Process]] = {}
        for way in urls:
            if way != "provider":  # which is in more of a hurry: when the others are done
                self._begin(way)

    def _begin(self, way: str) -> None:
        self._clients[way] = [self._start(way, self._urls[way], part) for part in range(1, PARTS[way] + 1)]

    def _start(self, way: str, url: str, part: int) -> Process:
        name, share = f"{way}-{part}", f"{part}/{PARTS[way]}"
        command = [PYTHON, "-W", "ignore", HERE / "fuzz.py", SUITE, url, self._folder / f"{name}.json"]
        command += ["*", "--except", *COMPRESSION, "--part", share]
        if way == "provider":
            command = [PYTHON, "-W", "ignore", HERE / "provider.py", "echo", url, str(self._cases), share]
        return processes.start(name, command, self._folder)

    def results(self, way: str) -> dict[str, str]:
        """Case → verdict. Waits for them."""
        if way not in self._clients:
            self._begin(way)
        for client in self._clients[way]:
            assert client.popen.wait(TAKES_S) == 0, client.text()
        found: dict[str, dict] = {}
        if way == "provider":  # the last ones are written when the connections are gone
            self._provider.wait_for(lambda: len(self._found(way)) == self._cases)
            found = self._found(way)
        else:
            for client in self._clients[way]:
                found |= self._found(client.name)
        assert len(found) > 300, "the suite did not run"
        return {case: verdict(found[case]) for case in sorted(found, key=page.order)}

    def _found(self, name: str) -> dict[str, dict]:
        return json.loads((self._folder / f"{name}.json").read_text())

    def stop(self) -> None:
        for clients in self._clients.values():
            for client in clients:
                if client.popen.poll() is None:
                    client.kill()


def start_server(name: str, command: list[str | Path], folder: Path) -> tuple[Process, int]:
    """A program that prints the port on which it listens."""
    process = processes.start(name, command, folder)
    pattern = re.compile(r"listens on (\d+)")
    process.wait_for(lambda: pattern.search(process.text()))
    found = pattern.search(process.text())
    assert found
    return process, int(found[1])


@pytest.fixture(scope="module")
def fuzzers(folder: Path) -> Iterator[Fuzzers]:
    with ExitStack() as ends:
        echo, port = start_server("echo", [PYTHON, HERE / "echo.py"], folder)
        ends.callback(echo.kill)
        other, other_port = start_server("echo-of-relay", [PYTHON, HERE / "echo.py"], folder)
        ends.callback(other.kill)
        unread, relay = start_server("unread", [*UNREAD, str(other_port)], folder)
        ends.callback(unread.kill)
        serve = [PYTHON, "-W", "ignore", HERE / "provider.py", "serve", SUITE, folder / "provider.json"]
        provider, provider_port = start_server("provider", [*serve, "*", "--except", *COMPRESSION], folder)
        ends.callback(provider.kill)
        before, before_provider = start_server("unread-provider", [*UNREAD, str(provider_port)], folder)
        ends.callback(before.kill)
        reflector, reflector_port = start_server("reflector", [PYTHON, HERE / "echo.py"], folder)
        ends.callback(reflector.kill)
        addresses = {"ECHO": f"http://127.0.0.1:{port}", "REFLECTOR": f"http://127.0.0.1:{reflector_port}"}
        stack = start_stack(folder, **addresses)
        ends.callback(stack.close)
        clients = Fuzzers(
            folder,
            {
                "Passthrough": f"ws://{stack.host}/echo/anything",
                "relay": f"ws://127.0.0.1:{relay}/",
                "provider": f"ws://127.0.0.1:{before_provider}/runCase",
                "Realtime": f"ws://{stack.host}/reflector/v1/realtime?model=any",
            },
            provider,
            int(re.findall(r"with (\d+) cases", provider.text())[0]),
        )
        ends.callback(clients.stop)
        yield clients
        for relayed in (unread, before):
            processes.assert_quiet(relayed.text(), "the log of the relay")


@pytest.mark.parametrize("way", PARTS)
def test_every_case_is_as_written_down(fuzzers: Fuzzers, way: str) -> None:
    results = fuzzers.results(way)
    written = expected(way, results)
    differ = {
        case: f"{found}, but written down is: {' or '.join(written[case].verdicts)}"
        for case, found in results.items()
        if found not in written[case].verdicts
    }
    assert differ == {}


def test_the_page_is_up_to_date(fuzzers: Fuzzers) -> None:
    made = page.render({way: expected(way, fuzzers.results(way)) for way in PARTS})
    if os.environ.get("UPDATE"):
        PAGE.write_text(made)
    assert PAGE.read_text() == made, "run UPDATE=1 e2e/run test_autobahn.py"


@pytest.mark.skipif(not os.environ.get("NIGHTLY"), reason="takes 20 minutes: NIGHTLY=1")
def test_compression_through_passthrough(tmp_path: Path) -> None:
    stack = start_stack(tmp_path)
    results = tmp_path / "results.json"
    url = f"ws://{stack.host}/v1/echo/ws?api-key={processes.CLIENT_KEY}"
    command = [PYTHON, "-W", "ignore", HERE / "fuzz.py", SUITE, url, results, *COMPRESSION]
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(command, check=True, timeout=7200, stdout=log, stderr=subprocess.STDOUT)
    found = json.loads(results.read_text())
    stack.close()
    assert len(found) > 200
    assert {case: verdict(result) for case, result in found.items() if verdict(result) != "passed"} == {}
