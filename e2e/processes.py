"""Real processes: the gateway, the simulator, and whatever else listens; started, waited for, ended and looked at."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".cache" / "e2e"
TIDEGATE = ROOT / ".venv" / "bin" / "tidegate"

CLIENT_KEY = "tg-e2e-client-5f0c9b7d1e"
UPSTREAM_KEY = "sk-e2e-upstream-8a41d6c2f9"
STALE_KEY = "sk-e2e-stale-3b7e90c4d5"
WRONG_KEY = "tg-e2e-wrong-c1d2e3f405"
KEYS = (CLIENT_KEY, UPSTREAM_KEY, STALE_KEY, WRONG_KEY)
"""None of them may be in a log, a metric or an error."""

AT_ONCE = ("--drain-patience", "0s", "--drain-closing", "0s")
"""What SIGTERM does unless a test says otherwise: sessions are told, settled and closed now."""

STARTS_S = 20.0
ENDS_S = 15.0


@dataclass
class Process:
    """One that runs, with everything that it has printed in `log`."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    ports: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, said: Callable[[], object]) -> None:
        """Wait until it is so. Fails if that takes too long, or the process ends first."""
        deadline = time.monotonic() + STARTS_S
        while not said():
            assert self.popen.poll() is None, f"{self.name} ended with {self.popen.returncode}:\n{self.text()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready after {STARTS_S:g} s:\n{self.text()}"
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask it to end (SIGTERM), and wait. The exit code."""
        if self.popen.poll() is None:
            self.popen.terminate()
        return self.ended()

    def ended(self) -> int:
        """Wait for the end of what was asked to end. The exit code."""
        try:
            return self.popen.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {ENDS_S:g} s of SIGTERM:\n{self.text()}") from None

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()


def start(name: str, command: Sequence[str | Path], folder: Path, **environment: str) -> Process:
    """Start a process that logs into the folder."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | environment,
        )
    return Process(name, popen, log)


def start_simulator(folder: Path, provider: str = "openai") -> Process:
    """A provider's double; `ports["url"]` is where."""
    options = ["--listen", "127.0.0.1:0", "--key", UPSTREAM_KEY, "--provider", provider]
    process = start("simulator", [TIDEGATE, "simulate", *options], folder)
    pattern = re.compile(r"serves (http://127\.0\.0\.1:\d+)/")
    process.wait_for(lambda: pattern.search(process.text()))
    found = pattern.search(process.text())
    assert found
    process.ports["url"] = found[1]
    return process


def start_gateway(
    folder: Path,
    upstreams: dict[str, str],
    *options: str | Path,
    name: str = "gateway",
    config: str = "gateway.yaml",
    key: str = CLIENT_KEY,
    program: Sequence[str | Path] = (TIDEGATE,),
) -> Process:
    """A gateway for gateway.yaml or another of the files here; `ports` has "host:port" under "url" and "admin"."""
    text = (ROOT / "e2e" / config).read_text()
    for placeholder, url in upstreams.items():
        text = text.replace(placeholder, url)
    file = folder / f"{name}.yaml"
    file.write_text(text)
    listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json", *AT_ONCE]
    process = start(
        name,
        [*program, "serve", "-f", file, *listen, *options],
        folder,
        E2E_CLIENT_KEY=key,
        E2E_UPSTREAM_KEY=UPSTREAM_KEY,
        E2E_STALE_KEY=STALE_KEY,
    )
    pattern = re.compile(r'"url":"https?://([\d.:]+)","admin":"http://([\d.:]+)"')
    process.wait_for(lambda: pattern.search(process.text()))
    found = pattern.search(process.text())
    assert found
    process.ports = {"url": found[1], "admin": found[2]}
    process.wait_for(lambda: _answers(f"http://{found[2]}/readyz"))
    return process


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def fetch(url: str) -> str:
    """The body of a GET."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    """A port that nobody listens on now, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_quiet(text: str, where: str) -> None:
    """No key and no traceback."""
    for key in KEYS:
        assert key not in text, f"a key is in {where}"
    at = text.find("Traceback (most recent call last)")
    assert at < 0, f"a traceback is in {where}:\n{text[max(0, at - 1000) : at + 5000]}"
