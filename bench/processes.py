"""Processes of a benchmark: compiled, started on a core, waited for, frozen while they are not measured, ended."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "bench"
RELAY_CPU, OTHERS_CPU = 0, 1
"""The relay that is measured has a core to itself; generator, upstream and the benchmark share the other."""
ENDS = 10.0
"""Seconds that a process has for its end."""


def prepare() -> None:
    """Leave the relay's core, and let relays open as many files as the machine allows: each session takes two."""
    os.sched_setaffinity(0, {OTHERS_CPU})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def build() -> str:
    """The load generator, compiled once."""
    source, target = HERE / "loadgen" / "lg.c", CACHE / "lg"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or sys.exit("bench needs a C compiler and OpenSSL's headers (libssl-dev)")
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", target, source, "-lssl", "-lcrypto", "-lm"], check=True)
    return str(target)


@contextmanager
def running(
    command: list[str],
    port: int,
    cpu: int | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    seconds: float = 10.0,
) -> Iterator[int]:
    """A process that listens on a port after so many seconds at most, pinned to a core; its id. It and its children
    are ended at the end, whatever state they are in."""
    pin = ["taskset", "-c", str(cpu)] if cpu is not None and shutil.which("taskset") else []
    with (
        tempfile.TemporaryFile("w+") as complaints,
        subprocess.Popen(
            [*pin, *command],
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        ) as process,
    ):
        try:
            if not listens(port, process, seconds):
                complaints.seek(0)
                sys.exit(f"{process.args!r} does not listen on port {port}: {complaints.read()[-2000:]}")
            yield process.pid
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(ENDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def listens(port: int, process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait until something listens on the port. False: the process ended, or took too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


def free_port() -> int:
    """A port that nobody has, nor the next one: there the upstream answers to the generator if nothing else is said."""
    for _ in range(100):
        with socket.socket() as probe, socket.socket() as beside, suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            beside.bind(("127.0.0.1", port + 1))
            return port
    sys.exit("no two free ports were found side by side")


def family(pid: int) -> list[int]:
    """The process and all that descend from it: a relay may have workers."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def rss(pid: int) -> int:
    """KB of a process's memory."""
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0])


def freeze(pids: Iterable[int]) -> None:
    """Stop processes until they are thawed: they cost nothing meanwhile, not even by their timers."""
    _signal(pids, signal.SIGSTOP)


def thaw(pids: Iterable[int]) -> None:
    _signal(pids, signal.SIGCONT)


def _signal(pids: Iterable[int], what: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)
