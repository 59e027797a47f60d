"""Runs what a page tells its reader to type, in a folder and with ports of its own.

`tidegate serve` and `tidegate simulate` go on while the rest of the page runs, as in another terminal; a second one
takes the place of the first. The ports that the pages name are replaced by free ones, and back in the output.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from tests.docs import curl
from tests.docs.pages import ROOT

PORTS = ("8080", "9090", "9100", "4318", "9300")
PATIENCE = 60.0
"""Seconds that a command may take."""
_SERVER = re.compile(r"(?:^|[|;=\w] )\s*tidegate (serve|simulate)\b(?!.*--help)")
_OURS = re.compile(r"^(OPENAI_|TIDEGATE_|OTEL_|MAKE|MFLAGS|COVERAGE_)|_proxy$", re.IGNORECASE)


class Mismatch(Exception):
    """A command did not do what the page says."""


class Shell:
    """The terminals of one page. A context manager, which ends what still runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not _OURS.search(name)}
        self.environment |= {"HOME": str(folder), "COLUMNS": "120", "TERM": "dumb", "NO_COLOR": "1"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.environment["TIDEGATE_ADMIN"] = f"127.0.0.1:{self._ports['9090']}"
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "examples").symlink_to(ROOT / "examples")
        if not shutil.which("curl"):
            self._provide_curl()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._servers):
            self._stop(name)

    def write(self, name: str, text: str) -> None:
        """Make a file of the page."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._outward(text), "utf-8")

    def run(self, command: str, shown: str, code: int = 0) -> None:
        """Type a command and compare what it prints with what the page shows. Raises Mismatch."""
        if export := re.fullmatch(r"export ([A-Z_]+)=(\S+)", command):
            self.environment[export[1]] = export[2]
            return
        if server := _SERVER.search(command):
            self._start(server[1], command)
            self.says(server[1], shown)
            return
        done = subprocess.run(
            ["/bin/sh", "-c", self._outward(command)],
            cwd=ROOT if command.startswith("make ") else self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
            check=False,
        )
        printed = self._inward(done.stdout.decode())
        if done.returncode != code:
            raise Mismatch(f"$ {command}\nexit code {done.returncode}, not {code}:\n{printed}")
        if shown and not matches(shown, printed):
            raise Mismatch(f"$ {command}\nprinted:\n{printed}\nand the page shows:\n{shown}")

    def says(self, server: str, shown: str) -> None:
        """Wait until a server has printed this. Raises Mismatch."""
        process, log = self._servers[server], self.folder / f".{server}.log"
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            printed = self._inward(log.read_text("utf-8"))
            if matches(f"...\n{shown}...\n" if shown else "...\n", printed) and self._listens(server):
                return
            if process.poll() is not None:
                raise Mismatch(f"tidegate {server} ended with {process.returncode}:\n{printed}")
            time.sleep(0.05)
        raise Mismatch(f"tidegate {server} printed:\n{printed}\nand the page shows:\n{shown}")

    def _start(self, server: str, command: str) -> None:
        self._stop(server)
        if "--listen" not in command:
            command += f" --listen 127.0.0.1:{PORTS[0] if server == 'serve' else PORTS[2]}"
        if server == "serve" and "--admin" not in command:
            command += f" --admin 127.0.0.1:{PORTS[1]}"
        if server == "serve" and "--log-format" not in command:
            command += " --log-format console"  # as at the reader's terminal
        with (self.folder / f".{server}.log").open("wb") as log:
            self._servers[server] = subprocess.Popen(
                ["/bin/sh", "-c", self._outward(command)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _stop(self, server: str) -> None:
        if process := self._servers.pop(server, None):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(PATIENCE)

    def _listens(self, server: str) -> bool:
        port = self._ports[PORTS[0] if server == "serve" else PORTS[2]]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(port))) == 0

    def _outward(self, text: str) -> str:
        """With the ports of this page: `:8080` in addresses, `", 8080` in Python."""
        return re.sub(rf"(?:(?<=:)|(?<=\", ))({'|'.join(PORTS)})\b", lambda found: self._ports[found[1]], text)

    def _inward(self, text: str) -> str:
        shown = {port: documented for documented, port in self._ports.items()}
        return re.sub(rf":({'|'.join(shown)})\b", lambda found: f":{shown[found[1]]}", text)

    def _provide_curl(self) -> None:
        commands = self.folder / ".bin"
        commands.mkdir()
        program = commands / "curl"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {curl.__file__} "$@"\n')
        program.chmod(0o755)
        self.environment["PATH"] += f"{os.pathsep}{commands}"


def matches(shown: str, printed: str) -> bool:
    """Whether this was printed. `...` or `…` stands for anything: alone on a line, for any lines."""
    lines = [line.rstrip() for line in shown.splitlines()]
    pattern = "".join(r"(?:.*\n)*?" if line.strip() in ("...", "…") else f"{_pattern(line)}\n" for line in lines)
    text = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, text) is not None


def _pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in re.split(r"\.\.\.|…", line))


def _free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports
