"""How much memory is used, of how much there is: read from Linux's own files, each time anew, since limits change.

In a container (a cgroup with a limit) the figure is the cgroup's own, not this process's: the kernel kills by that.
It counts what the process's RSS does not show, above all the buffers of its sockets, which are what slow peers fill,
and neighbours under the same limit. The cache of files is no part of it: the kernel drops all of it, what was used
lately included, before it kills. (The kubelet's working set takes off only `inactive_file`; whoever has just copied
big files would then be refused new sessions.) Every cgroup above is looked at as well, as far as it can be seen, and
the tightest counts.

On the machine as a whole the figure is the process's RSS: what else runs there is not the gateway's to make room for.
Other systems than Linux are not read.

Sources: kernel documentation, admin-guide/cgroup-v2.rst (Memory Interface Files), admin-guide/cgroup-v1/memory.rst,
filesystems/proc.rst (statm, meminfo); cgroups(7) for /proc/self/cgroup.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
GROUPS = Path("/sys/fs/cgroup")
_CACHE_MATTERS = 0.5
"""Below this share of its limit a cgroup has room, cache or not: then `memory.stat` is not read, which can cost the
kernel milliseconds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Bytes."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        return self.used / self.limit


Memory = Callable[[], Reading | None]
"""Reads the tightest limit there is; None where none can be read."""


def of_this_process(proc: Path = PROC, groups: Path = GROUPS) -> Memory:
    """Look for the limits once, and give what reads them. Never raises; a file that cannot be read is no limit."""
    gauges = [*_cgroups(proc, groups), _machine(proc)]

    def read() -> Reading | None:
        readings = [reading for gauge in gauges if (reading := _read(gauge)) is not None]
        return max(readings, key=lambda reading: reading.share, default=None)

    return read


def _read(gauge: Memory) -> Reading | None:
    with suppress(OSError, ValueError, LookupError, ZeroDivisionError):
        reading = gauge()
        return reading if reading is None or reading.limit > 0 else None
    return None


def _machine(proc: Path) -> Memory:
    def read() -> Reading:
        pages = int((proc / "self/statm").read_text().split()[1])
        return Reading(pages * mmap.PAGESIZE, _fields(proc / "meminfo")["MemTotal:"] * 1024)

    return read


@dataclass(frozen=True, slots=True)
class _Cgroup:
    """One folder of a memory controller, and the names that its version gives to things."""

    folder: Path
    limit: str
    usage: str
    cache: tuple[str, str]

    def __call__(self) -> Reading | None:
        limit = (self.folder / self.limit).read_text().strip()
        if limit == "max":
            return None
        reading = Reading(int((self.folder / self.usage).read_text()), int(limit))
        if reading.share < _CACHE_MATTERS:
            return reading
        stat = _fields(self.folder / "memory.stat")
        cache = sum(stat[name] for name in self.cache)
        return Reading(max(0, reading.used - cache), reading.limit)


_V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")
_V2 = "memory.max", "memory.current", ("inactive_file", "active_file")


def _cgroups(proc: Path, groups: Path) -> Iterator[Memory]:
    """This process's cgroups and those above. A container may see its own cgroup as the root of the mount while
    `/proc/self/cgroup` names it as the host does: folders that are not there are passed over."""
    with suppress(OSError, ValueError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":
                names, mount = _V2, groups
            elif "memory" in controllers.split(","):
                names, mount = _V1, groups / "memory"
            else:
                continue
            own = mount / path.lstrip("/")
            for folder in (own, *own.parents):
                if (folder == mount or mount in folder.parents) and (folder / names[1]).exists():
                    yield _Cgroup(folder, *names)


def _fields(file: Path) -> dict[str, int]:
    """The numbers of a file that has a name and a number a line, by name."""
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines}
