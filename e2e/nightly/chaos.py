"""Chaos: a bad network on both sides of the gateway, and the books must be right all the same.

    python -m e2e.nightly.chaos [--minutes 5] [--callers 30]        (CHAOS_MINUTES sets the default)

Clients talk through one proxy, the gateway with the provider through another; both delay, throttle, cut, fall silent
and garble (see weather.py). Fails where a turn is missing, counted twice or not to the token (see audit.py), a session
ends in no documented way, or anything is left when all have gone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections import Counter

from e2e.nightly import stand
from e2e.nightly.audit import Audit, arrived
from e2e.nightly.callers import visit
from e2e.nightly.stand import Sample, Stand
from e2e.nightly.weather import Weather, weather

SETTLES_S = 180.0
"""Silence is noticed after a minute, and on both sides it may be one after the other."""
SHOWN = 12


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("CHAOS_MINUTES", 5)))
    parser.add_argument("--callers", type=int, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    print(f"chaos of {options.minutes:g} minutes with {options.callers} callers, seed {options.seed}", flush=True)
    chaos = Chaos(options.callers, options.minutes * 60, random.Random(options.seed))
    return asyncio.run(chaos.run())


class Chaos:
    def __init__(self, callers: int, seconds: float, rng: random.Random) -> None:
        self._callers, self._seconds, self._rng = callers, seconds, rng
        self._outcomes: Counter[str] = Counter()

    async def run(self) -> int:
        async with weather(self._rng, keep=True) as upstream, weather(self._rng) as clients:
            with stand.running(simulator=upstream.lead_to) as it:
                clients.lead_to(f"http://{it.host}")
                before = await asyncio.to_thread(it.sample)
                await self._talk(clients)
                wrong = await asyncio.to_thread(self._what_is_left, it, before)
                audit = Audit.of(it, [arrived(each) for each in upstream.connections])
                wrong += audit.run()
        self._report(clients, upstream, audit)
        for each in wrong[:SHOWN]:
            print(f"FAILED: {each}")
        if len(wrong) > SHOWN:
            print(f"and {len(wrong) - SHOWN} more")
        return 1 if wrong else 0

    async def _talk(self, clients: Weather) -> None:
        until = time.monotonic() + self._seconds

        async def caller(rng: random.Random) -> None:
            while time.monotonic() < until:
                await visit(clients.address, rng, self._outcomes)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._callers):
                group.create_task(caller(random.Random(self._rng.random())))

    @staticmethod
    def _what_is_left(it: Stand, before: Sample) -> list[str]:
        """When all have gone: complaints."""

        def gone() -> bool:
            now = it.sample()
            return now.sessions == 0 and now.files <= before.files and now.tasks <= before.tasks

        try:
            stand.wait_until(gone, "", SETTLES_S)
        except TimeoutError:
            return [f"something is left: {it.sample()}, and before there was {before}"]
        return []

    def _report(self, clients: Weather, upstream: Weather, audit: Audit) -> None:
        for name, counts in (
            ("clients' connections", clients.counts()),
            ("the provider's connections", upstream.counts()),
            ("what came of it for clients", self._outcomes),
            ("how sessions ended", Counter(str(each["reason"]) for each in audit.sessions)),
            (f"the provider's {len(audit.ledger)} turns", audit.counts),
        ):
            print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in counts.most_common()))


if __name__ == "__main__":
    sys.exit(main())
