"""Autobahn's fuzzing client against three ways through the gateway, in front of an echo server of Autobahn's own.

- *Passthrough*: a pure splice. Everything must pass, and with NIGHTLY=1 compression too (sections 12 and 13).
- *relay*: the realtime relay reading no message (autobahn/unread.py), so that data comes back.
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
PAGE = ROOT / "docs" / "reference" / "websocket-conformance.md"
COMPRESSION = ["12.*", "13.*"]
TAKES_S = 420.0
PASSED = {"OK", "INFORMATIONAL"}
PARTS = {"Passthrough": 5, "relay": 6, "Realtime": 10}
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
    """All clients, running side by side."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        self._folder = folder
        self._clients = {
            way: [self._start(way, url, part) for part in range(1, PARTS[way] + 1)] for way, url in urls.items()
        }

    def _start(self, way: str, url: str, part: int) -> Process:
        results = self._folder / f"{way}-{part}.json"
        command = [PYTHON, "-W", "ignore", HERE / "fuzz.py", CACHE / "autobahn" / "suite", url, results]
        share = ["*", "--except", *COMPRESSION, "--part", f"{part}/{PARTS[way]}"]
        return processes.start(f"{way}-{part}", [*command, *share], self._folder)

    def results(self, way: str) -> dict[str, str]:
        """Case → verdict. Waits for them."""
        found: dict[str, dict] = {}
        for client in self._clients[way]:
            assert client.popen.wait(TAKES_S) == 0, client.text()
            found |= json.loads((self._folder / f"{client.name}.json").read_text())
        assert len(found) > 300, "the suite did not run"
        return {case: verdict(found[case]) for case in sorted(found, key=page.order)}

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
        unread, relay = start_server(
            "unread", [processes.TIDEGATE.parent / "python", HERE / "unread.py", str(other_port)], folder
        )
        ends.callback(unread.kill)
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
                "Realtime": f"ws://{stack.host}/reflector/v1/realtime?model=any",
            },
        )
        ends.callback(clients.stop)
        yield clients
        processes.assert_quiet(unread.text(), "the log of the relay")


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
    command = [PYTHON, "-W", "ignore", HERE / "fuzz.py", CACHE / "autobahn" / "suite", url, results, *COMPRESSION]
    with (tmp_path / "log").open("wb") as log:
        subprocess.run(command, check=True, timeout=7200, stdout=log, stderr=subprocess.STDOUT)
    found = json.loads(results.read_text())
    stack.close()
    assert len(found) > 200
    assert {case: verdict(result) for case, result in found.items() if verdict(result) != "passed"} == {}
