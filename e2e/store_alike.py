"""The store's double of tests/ against a real Redis, answer by answer: `python store_alike.py URL`, in the environment
of the gateway. The password is in TIDEGATE_STATE_PASSWORD.

Both are told the same, at random: several processes, limits with and without a window, asks of all sizes, scripts that
come late or twice. The double's clock is what the real one said.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from pydantic import SecretStr

from dataplane.limits.script import KEEP_MS
from dataplane.limits.store import ValkeyStore
from dataplane.limits.windows import ALWAYS, window
from tests.dataplane.limits.double import Memory

ROUNDS = 3000


def arguments(rand: random.Random, now: int, seq: int) -> list[str | int]:
    """One script of some process."""
    ends = {
        "requests/Second": window("Second", now / 1000).end + rand.choice([0, 0, 0, -1]),
        "tokens/Minute": window("Minute", now / 1000).end,
        "tokens/Month": window("Month", now / 1000).end,
        "sessions": ALWAYS.end,
    }
    names = rand.sample(sorted(ends), rand.randint(0, 4))
    asks = [
        rand.sample(range(1, len(names) + 1), rand.randint(1, len(names)))
        for _ in range(rand.randint(0, 5) if names else 0)
    ]
    ttl = rand.choice([1, 50, 15_000])
    said: list[str | int] = [
        f"p{rand.randint(1, 4)}",
        max(1, seq - rand.choice([0, 0, 0, 1, 3])),
        ttl,
        KEEP_MS,
        len(names),
        len(asks),
        rand.choice([0, 0, 1, 30]),
    ]
    for name in names:
        kind, known = "u" if name.startswith("requests") else "r", rand.choice([0, 0, 200])
        said += (
            name,
            ends[name] * 1000,
            kind,
            rand.randint(0, 10 ** rand.randint(0, 13)),
            rand.randint(0, 50),
            known,
        )
    for ask in asks:
        said.append(len(ask))
        for place in ask:
            said += (place, rand.randint(0, 40), rand.choice([1, 100, 400, 10**15]))
    return said


async def main(url: str) -> int:
    rand, clock = random.Random(7), [0]
    store, double = (
        ValkeyStore(url, SecretStr(os.environ["TIDEGATE_STATE_PASSWORD"]), timeout=10),
        Memory(lambda: clock[0]),
    )
    granted = 0
    for seq in range(1, ROUNDS):
        key = f"alike:{rand.randint(1, 5)}:{seq // 500}"
        first = await store.run("clock", ["p", seq, 1, 1, 0, 0, 0])
        assert isinstance(first, list)
        said = arguments(rand, int(first[1]), seq)
        real = await store.run(key, said)
        assert isinstance(real, list)
        clock[0] = int(real[1])
        simulated = double.script(key, [str(each) for each in said])
        if real != simulated:
            print(f"{key} {said}\nreal:   {real}\ndouble: {simulated}")
            return 1
        granted += real[3].count(b"1") if real[0] == b"ok" else 0
    await store.close()
    print(f"{ROUNDS} scripts are answered alike; granted: {granted}")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
