"""A gateway and a simulator as processes, with a view into the gateway's: memory, open files, tasks, timers."""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e import processes
from e2e.processes import Process

HERE = Path(__file__).parent
NOWHERE = "http://127.0.0.1:9"
ANSWERS_S = 20.0
ENDINGS = frozenset(
    re.findall(r"^\| `(\w+)` \|", (processes.ROOT / "docs/reference/endings.md").read_text(), re.MULTILINE)
)
"""The labels of docs/reference/endings.md."""


@dataclass(frozen=True)
class Sample:
    """What the gateway holds at a moment."""

    seconds: float
    rss_kb: int
    files: int
    tasks: int
    timers: int
    objects: int
    blocks: int
    sessions: int


@dataclass
class Stand:
    gateway: Process
    simulator: Process
    reports: Path
    began: float

    @property
    def host(self) -> str:
        """Of the gateway, as HOST:PORT."""
        return self.gateway.ports["url"]

    def metrics(self) -> str:
        return processes.fetch(f"http://{self.gateway.ports['admin']}/metrics")

    def sessions(self) -> int:
        """How many are open."""
        found: list[object] = json.loads(processes.fetch(f"http://{self.gateway.ports['admin']}/sessions"))["sessions"]
        return len(found)

    def wait_for_quiet(self, seconds: float) -> None:
        """Wait until no session is open. Raises TimeoutError."""
        wait_until(lambda: self.sessions() == 0, "sessions are left", seconds)

    def ledger(self) -> str:
        """What the simulator booked, as JSON."""
        return processes.fetch(f"{self.simulator.ports['url']}/_ledger")

    def records(self, kind: str) -> list[dict[str, object]]:
        """The usage records of one kind (`turn`, `session`) in the gateway's log."""
        lines = (json.loads(line) for line in self.gateway.text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == kind]

    def sample(self) -> Sample:
        pid, sessions = self.gateway.popen.pid, self.sessions()
        status = Path(f"/proc/{pid}/status").read_text()
        rss = int(re.findall(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[0])
        files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return Sample(time.monotonic() - self.began, rss, files, sessions=sessions, **self._report())

    def _report(self) -> dict[str, int]:
        before = self._lines()
        self.gateway.popen.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(self._lines()) > len(before), "the gateway does not say what it holds")
        found: dict[str, int] = json.loads(self._lines()[-1])
        return found

    def _lines(self) -> list[str]:
        return self.reports.read_text().splitlines(keepends=True) if self.reports.exists() else []


def wait_until(so: Callable[[], object], otherwise: str, seconds: float = ANSWERS_S) -> None:
    """Wait until it is so. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


@contextmanager
def running(*options: str, simulator: Callable[[str], str] = lambda url: url) -> Iterator[Stand]:
    """Both, until the block ends; the gateway must end well then, and its log have neither a key nor a traceback.

    `simulator`: where the gateway is to find it, given where it is."""
    with tempfile.TemporaryDirectory(prefix="tidegate-nightly-") as name:
        folder = Path(name)
        double = processes.start_simulator(folder)
        reports = folder / "holding.jsonl"
        try:
            addresses = dict.fromkeys(("ECHO", "REFLECTOR", "MOCK"), NOWHERE)
            gateway = processes.start_gateway(
                folder,
                addresses | {"SIMULATOR": simulator(double.ports["url"])},
                *options,
                program=(sys.executable, HERE / "observed.py", reports),
            )
            try:
                yield Stand(gateway, double, reports, time.monotonic())
            finally:
                code = gateway.stop()
        finally:
            double.stop()
        assert code == 0, f"the gateway ended with {code}:\n{gateway.text()[-3000:]}"
        processes.assert_quiet(gateway.text(), "the log of the gateway")
