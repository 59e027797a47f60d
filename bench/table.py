"""What a table of 5,000 routes costs to compile, to load and to look routes up in. Beside nobody: one process, no load.

`make bench-changes` prints it before what changes cost live sessions.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from multidict import CIMultiDict

from bench.changes import write
from controller import compile as compiler
from dataplane.snapshot import Snapshot
from tidegate.documents import Documents

T = TypeVar("T")

SIZES = (10, 200, 5000)
LOOKUPS = 5000


def main() -> None:
    gc.set_threshold(100_000)  # as the process that compiles has it
    print("| routes | read the files, ms | compile, ms | make ready, ms | look one up, µs |\n|---|---|---|---|---|")
    for routes in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), 9, routes)
            loaded, reading = timed(lambda: Documents({}).load([folder]))
        compiled, compiling = timed(lambda: compiler.compile(loaded.contents, open_by_default=True))  # noqa: B023
        snapshot, building = timed(lambda: Snapshot.build(compiled.table, compiled.secrets))  # noqa: B023
        cells = (f"{milliseconds:.0f}" for milliseconds in (reading, compiling, building))
        print(f"| {routes:,} | {' | '.join(cells)} | {lookup(snapshot, compiled):.2f} |")
    print()


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """With the milliseconds of CPU that it took."""
    began = time.process_time()
    return work(), (time.process_time() - began) * 1000


def lookup(snapshot: Snapshot, compiled: compiler.Compiled) -> float:
    """Microseconds of CPU for one, all routes in turn."""
    hosts = [host for route in compiled.table.routes for host in route.hostnames]
    wanted = [hosts[number % len(hosts)] for number in range(LOOKUPS)]
    headers: CIMultiDict[str] = CIMultiDict()

    def all_of_them() -> None:
        for host in wanted:
            assert snapshot.router.match(host, "/v1/realtime", "GET", headers, "model=voice")

    return statistics.median(timed(all_of_them)[1] for _ in range(5)) / LOOKUPS * 1000


if __name__ == "__main__":
    main()
