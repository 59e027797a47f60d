"""The processes that a cluster consists of."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import processes

BIN = processes.ROOT / ".cache" / "cluster" / "bin"
STARTS_S = 60.0
ENDS_S = 30.0
LAST_LINES = 20


class Ended(Exception):
    """A program of the cluster ended, or did not start, by itself. The message has the last lines of its log."""


class Program:
    """One process, which can be ended and started again. It logs into NAME.log, and dies with whoever started it."""

    def __init__(self, name: str, command: Sequence[str | Path], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for us: they are ended in order
            )

    def wait_for(self, said: Callable[[], object], what: str) -> None:
        """Wait until it is so. Raises Ended where that takes too long, or the process ends first."""
        deadline = time.monotonic() + STARTS_S
        while not said():
            self.check()
            if time.monotonic() > deadline:
                raise Ended(f"{self.name}: {what} after {STARTS_S:g} s. Its log ends:\n{self.last_lines()}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raise Ended where it was started and has ended unasked."""
        if self._popen is not None and self._popen.poll() is not None:
            code = self._popen.returncode
            raise Ended(f"{self.name} ended by itself with {code}. Its log ends:\n{self.last_lines()}")

    def last_lines(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])

    def stop(self) -> None:
        """End it (SIGTERM, and SIGKILL where that does not help), and wait for that."""
        popen, self._popen = self._popen, None
        if popen is None:
            return
        popen.send_signal(signal.SIGCONT)
        popen.terminate()
        try:
            popen.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()

    def kill(self) -> None:
        """End it without its leave, as a lost machine would."""
        popen, self._popen = self._popen, None
        assert popen is not None, f"{self.name} was not started"
        popen.kill()
        popen.wait()

    def freeze(self) -> None:
        """It takes connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def _environment() -> dict[str, str]:
    """Without what would send calls to 127.0.0.1 to a proxy, or change what the programs are told by options."""
    kept = ("HOME", "LANG", "PATH", "TMPDIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, below those that the kernel gives to outgoing connections."""
    probes: list[socket.socket] = []
    while len(probes) < count:
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", random.randrange(15000, 32000)))
        except OSError:
            probe.close()
        else:
            probes.append(probe)
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
