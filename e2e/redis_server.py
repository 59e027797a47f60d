"""A Redis of one's own, which can be killed and started again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import processes
from processes import Process

PASSWORD = "redis-e2e-72d0c1b5f8"


class Redis:
    """It remembers nothing that it did not hear since it was started."""

    def __init__(self, folder: Path) -> None:
        self.port = processes.free_port()
        self._folder = folder
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command = ["redis-server", *options, "--requirepass", PASSWORD, "--dir", str(self._folder)]
        self._process = processes.start("redis", command, self._folder)
        self._process.wait_for(lambda: processes.listens(self.port))

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()

    def freeze(self) -> None:
        """It takes connections and commands, and does nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.popen.pid, number)

    def cli(self, *command: str) -> str:
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *command],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=os.environ | {"REDISCLI_AUTH": PASSWORD},
        )
        return done.stdout
