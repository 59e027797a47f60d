"""A machine within this one: network, processes and mounts of its own, all of which end with one process.

What starts in it and is forgotten (containerd's shims, their containers, what they mount) dies when the machine's first
process does, and that dies with whoever started it. Outside are its control groups, which `close` deletes, or the next
machine of that name, and the empty folder /var/lib/cni.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from cluster import programs
from cluster.programs import BIN, Program

COMMANDS = ("containerd", "containerd-shim-runc-v2", "ctr", "ip", "nft", "nsenter", "runc", "setpriv", "unshare")
PLUGINS = Path("/usr/lib/cni")
INSIDE = Path("/run/node")
"""Where the machine has the folder that it is given."""

CNI_STATE = Path("/var/lib/cni")
# What a kubelet insists on, and would otherwise set for the whole machine outside.
TUNED = {
    "kernel/keys/root_maxbytes": 25000000,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
}
PATIENCE_S = 60
DIES_S = 20.0


def missing() -> list[str]:
    """What a node needs and is not there, in words. Empty where one can be started."""
    wanted = [] if os.geteuid() == 0 else ["root"]
    wanted += [command for command in COMMANDS if shutil.which(command, path=programs.path()) is None]
    wanted += [str(file) for file in (PLUGINS / "ptp", BIN / "kubelet") if not file.exists()]
    return wanted


class Machine:
    """Made when it is constructed. `address` is its own, in a network that it shares with the outer machine alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first = Program("machine", _UNSHARE, folder)
        self._first.start()
        try:
            self._pid = self._find_first()
            self.number = self._connect()
            self._furnish()
        except BaseException:
            self._first.kill()
            raise

    @property
    def name(self) -> str:
        return f"tidegate-{self.number}"

    @property
    def outside(self) -> str:
        """The outer machine's address."""
        return f"198.18.{self.number}.1"

    @property
    def address(self) -> str:
        return f"198.18.{self.number}.2"

    @property
    def on_its_network(self) -> list[str]:
        """What to write before a command that shall run on the machine's network, and nothing else of it."""
        return ["nsenter", "--target", str(self._pid), "--net", "--"]

    @property
    def inside(self) -> list[str]:
        """What to write before a command that shall run in the machine."""
        enter = ["nsenter", "--target", str(self._pid), "--net", "--mount", "--pid", "--"]
        return [*enter, "setpriv", "--pdeathsig", "TERM", "--"]

    def run(self, *command: str | Path) -> str:
        """What the command prints, run in the machine."""
        return _run(*self.inside, *command)

    def check(self) -> None:
        """Raise Ended where it has ended by itself."""
        self._first.check()

    def close(self) -> None:
        """End it with all that runs in it, and leave nothing."""
        self._first.kill()
        link = Path("/sys/class/net") / self._link(self.number)
        deadline = time.monotonic() + DIES_S
        # The network goes after the last process, and the control groups are only then free.
        while link.exists() or not delete_groups(self.name):
            assert time.monotonic() < deadline, f"processes of {self.name} do not die"
            time.sleep(0.1)

    def _find_first(self) -> int:
        """The pid, seen from outside, of the machine's first process."""
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children")
        self._first.wait_for(lambda: children.exists() and children.read_text().strip(), "has no process")
        pid = int(children.read_text())
        comm = Path(f"/proc/{pid}/comm")
        self._first.wait_for(lambda: comm.read_text().strip() == "pause", "does not run pause")
        return pid

    def _connect(self) -> int:
        """Join it with the outer machine by a cable, whose free number it gets."""
        for number in range(1, 255):
            ends = [self._link(number), "type", "veth", "peer", "name", "eth0", "netns", str(self._pid)]
            if subprocess.run(["ip", "link", "add", *ends], capture_output=True, check=False).returncode == 0:
                return number
        raise AssertionError(f"no network could be made for a node: {_run('ip', 'link', 'add', *ends)}")

    def _furnish(self) -> None:
        link = self._link(self.number)
        _run("ip", "address", "add", f"{self.outside}/30", "dev", link)
        _run("ip", "link", "set", link, "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/30", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        # A network outlives its processes until their last connections, to pods that are gone, are given up.
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_orphan_retries")
        CNI_STATE.mkdir(parents=True, exist_ok=True)
        for place in ("/run", "/var/log", CNI_STATE):
            self.run("mount", "-t", "tmpfs", "tmpfs", place)
        self.run("mkdir", INSIDE)
        self.run("mount", "--bind", self._folder, INSIDE)
        for name, value in TUNED.items():
            file = self._folder / name.replace("/", ".")
            file.write_text(f"{value}\n")
            self.run("mount", "--bind", file, Path("/proc/sys", name))
        assert delete_groups(self.name), f"processes of an earlier {self.name} do not die"
        for hierarchy in _hierarchies():
            (hierarchy / self.name).mkdir()

    @staticmethod
    def _link(number: int) -> str:
        return f"tidegate{number}"


_UNSHARE: list[str | Path] = [
    *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
    *("--", BIN / "pause"),
]


def delete_groups(name: str) -> bool:
    """Delete the control groups of a machine. False as long as some process is in one."""
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError:
                return False
    return True


def _hierarchies() -> Iterator[Path]:
    """Where control groups are mounted: one place, or with version 1 one for each controller."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield Path(place)


def _run(*command: str | Path) -> str:
    line = [str(part) for part in command]
    done = subprocess.run(
        line, capture_output=True, text=True, check=False, timeout=PATIENCE_S, env={"PATH": programs.path()}
    )
    assert done.returncode == 0, f"{' '.join(line)} failed:\n{done.stderr}{done.stdout}"
    return done.stdout
