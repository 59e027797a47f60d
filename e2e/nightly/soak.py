"""A soak: sessions come and go for a long time, and the gateway must hold no more at the end than at the beginning.

    python -m e2e.nightly.soak [--minutes 30] [--callers 40]        (SOAK_MINUTES sets the default)

Fails where a session or a completion did not go well, the books differ from the provider's to the token, or memory,
open files, tasks or timers grew. Memory is fitted by a line over all samples after the first quarter, in which caches
and arenas fill; it may grow by 1 MB/h and, since a short run cannot tell so little from chance, by 2 MB in all.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import statistics
import sys
import time
from collections import Counter

from e2e import books
from e2e.nightly import stand
from e2e.nightly.callers import TRANSCRIPTION, visit
from e2e.nightly.stand import Sample, Stand

MB = 1024
GROWTH_MB, GROWTH_MB_H = 2.0, 1.0
MORE_BLOCKS = 1.01
"""What Python's allocator holds may grow so much: it says what is kept, memory also what is fragmented."""
WARM_UP = 0.25
"""Part of the run whose samples do not count."""
EVERY_S = 15.0
SETTLES_S = 90.0
IDLE_S = 35.0
"""Until connections to the provider that nobody uses are closed."""
COLUMNS = "{:>7} {:>9} {:>9} {:>7} {:>7} {:>7} {:>9} {:>9}"
NAMES = ("memory MB", "sessions", "files", "tasks", "timers", "objects", "blocks")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES", 30)))
    parser.add_argument("--callers", type=int, default=40)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"soak of {options.minutes:g} minutes with {options.callers} callers, seed {options.seed}")
    with stand.running() as it:
        soak = Soak(it, options.callers, options.minutes * 60, random.Random(options.seed))
        asyncio.run(soak.run())
        complaints = soak.complaints()
    soak.report()
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    return 1 if complaints else 0


class Soak:
    def __init__(self, it: Stand, callers: int, seconds: float, rng: random.Random) -> None:
        self._stand, self._callers, self._seconds, self._rng = it, callers, seconds, rng
        self._outcomes: Counter[str] = Counter()
        self._samples: list[Sample] = []
        self._books: Counter[str] = Counter()
        self._before = self._after = it.sample()

    async def run(self) -> None:
        """Talk, look now and then, and wait until all is quiet."""
        await self._talk(until=time.monotonic() + 5)  # so that what is made once is there
        self._before = await self._quiet()
        until = time.monotonic() + self._seconds
        looking = asyncio.create_task(self._look())
        try:
            await self._talk(until)
        finally:
            looking.cancel()
        self._after = await self._quiet()

    async def _talk(self, until: float) -> None:
        async def caller(rng: random.Random) -> None:
            while time.monotonic() < until:
                await visit(self._stand.host, rng, self._outcomes)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._callers):
                group.create_task(caller(random.Random(self._rng.random())))

    async def _look(self) -> None:
        print(COLUMNS.format("minute", *NAMES))
        while True:
            await asyncio.sleep(EVERY_S)
            self._samples.append(sample := await asyncio.to_thread(self._stand.sample))
            print(row(sample), flush=True)

    async def _quiet(self) -> Sample:
        """What is held when nobody is there."""
        await asyncio.to_thread(self._stand.wait_for_quiet, SETTLES_S)
        await asyncio.sleep(IDLE_S)
        return await asyncio.to_thread(self._stand.sample)

    def growth(self) -> float:
        """Of memory over the samples that count, in MB, by the line that fits them best."""
        counted = self._samples[int(len(self._samples) * WARM_UP) :]
        if len(counted) < 3:
            return math.inf  # nothing can be told
        line = statistics.linear_regression([each.seconds for each in counted], [each.rss_kb for each in counted])
        return line.slope * (counted[-1].seconds - counted[0].seconds) / MB

    def complaints(self) -> list[str]:
        """What is wrong."""
        wrong = [f"{count} of: {what}" for what, count in self._outcomes.items() if not what.endswith("whole")]
        metrics = books.summed(books.of_metrics(self._stand.metrics()), TRANSCRIPTION["model"])
        ledger = books.of_totals(self._stand.ledger())
        if not ledger:
            wrong.append("nobody said anything")
        if metrics != ledger:
            wrong.append(f"the books differ: the gateway's has {metrics}, the provider's {ledger}")
        self._books = ledger
        for what in ("files", "tasks", "timers"):
            before, after = getattr(self._before, what), getattr(self._after, what)
            if after > before:
                wrong.append(f"{after} {what} are left, and there were {before}")
        if self._after.blocks > self._before.blocks * MORE_BLOCKS:
            wrong.append(f"Python holds {self._after.blocks} blocks of memory, and held {self._before.blocks}")
        allowed = GROWTH_MB + GROWTH_MB_H * self._seconds * (1 - WARM_UP) / 3600
        if math.isinf(self.growth()):
            wrong.append("the run is too short to say whether memory grows")
        elif self.growth() > allowed:
            wrong.append(f"memory grew by {self.growth():.1f} MB, and {allowed:.1f} is allowed")
        return wrong

    def report(self) -> None:
        print(COLUMNS.format("", *NAMES))
        for name, sample in (("before", self._before), ("after", self._after)):
            print(row(sample, name))
        hours = max(self._seconds * (1 - WARM_UP) / 3600, 1e-9)
        print(f"memory grew by {self.growth():.1f} MB, {self.growth() / hours:.1f} MB/h")
        for counts in (self._outcomes, self._books):
            print(", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())))


def row(sample: Sample, name: str = "") -> str:
    memory, minutes = f"{sample.rss_kb / MB:.1f}", f"{sample.seconds / 60:.1f}"
    held = (sample.sessions, sample.files, sample.tasks, sample.timers, sample.objects, sample.blocks)
    return COLUMNS.format(name or minutes, memory, *held)


if __name__ == "__main__":
    sys.exit(main())
