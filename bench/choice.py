"""`make bench-choice`: what it costs to choose a provider among ten, by each way of choosing."""

from __future__ import annotations

import random
import timeit

from dataplane.table import Backend, Balance, Provider
from dataplane.upstreams.choose import Choice, Providers
from dataplane.upstreams.health import Standing

PROVIDERS = 10
RUNS, AT_A_TIME = 50, 1000
WAYS = {
    "LeastActive": Balance(strategy="LeastActive"),
    "Weighted": Balance(strategy="Weighted"),
    "sticky": Balance(sticky="caller"),
}


def main() -> None:
    providers = tuple(Provider(name=f"p{each}", kind="openai", url="https://a.test/v1") for each in range(PROVIDERS))
    backend = Backend(name="ai/voice", providers=providers)
    pool = Providers(backend, {each.name: Standing(sessions=place % 3) for place, each in enumerate(providers)})
    for way, balance in WAYS.items():
        print(f"{way:<12} {microseconds(pool, balance):5.1f} µs")


def microseconds(pool: Providers, balance: Balance) -> float:
    """Of the fastest run: what else the machine does makes it slower, never faster."""

    def choose() -> None:
        wish, sticky = pool.named("gpt-realtime"), "support" if balance.sticky else ""
        Choice(wish, balance, random.random, session=True, sticky=sticky).next(0.0)

    return min(timeit.repeat(choose, number=AT_A_TIME, repeat=RUNS)) / AT_A_TIME * 1e6


if __name__ == "__main__":
    main()
