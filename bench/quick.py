"""`make bench-quick`: in under two minutes, what Tidegate costs beside a C relay and nginx. Writes nothing.

The loads of `make bench` with short windows and fewer sessions. Ratios within a round travel to other machines,
absolute values do not. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import callers
from bench.loads import CPU_EVENT, CPU_MESSAGE, CPU_REQUEST, MEMORY, QUERY, QUICK, SETUP_CPU, Figure, loads
from bench.machine import made
from bench.neighbours import CONFIG, load
from bench.processes import HERE, build, free_port, prepare, running
from bench.relays import C_RELAY, NGINX, TIDEGATE
from bench.rounds import Bench, round_of
from bench.series import Round, Series, Spread, absolute, problems, ratio

__all__ = ["CONFIG", "HERE", "QUERY", "build", "free_port", "load", "running"]  # for the other benchmarks

SHOWN: tuple[tuple[str, Figure, tuple[str, ...]], ...] = (
    ("paced", CPU_MESSAGE, (C_RELAY, NGINX)),
    ("paced-tls", CPU_MESSAGE, (NGINX,)),
    ("chat", CPU_REQUEST, (NGINX,)),
    ("sse", CPU_EVENT, (NGINX,)),
    ("idle", MEMORY, ()),
    ("idle", SETUP_CPU, ()),
)
"""What is shown: of a load, a figure, and beside whom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    prepare()
    known, beside = loads(QUICK), {key: (*others, TIDEGATE) for key, _, others in SHOWN}
    rounds: dict[str, list[Round]] = {key: [] for key in beside}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:  # gateways end before their files
        bench, here = Bench(stack, Path(folder)), made()
        for number in range(options.rounds):
            for key, names in beside.items():
                there = bench.contenders(known[key], frozenset(names))
                rounds[key].append(round_of(bench, known[key], there, tries=1))
            print(f"round {number + 1} of {options.rounds}", flush=True)
    for name, why in bench.left_out.items():
        print(f"{name} was left out: {why}.")
    results = {key: Series(load=key, made=here, rounds=each) for key, each in rounds.items()}
    wrong = report(results)
    print(*callers.costs(), sep="\n")
    sys.exit("\n".join(wrong) if wrong else 0)


def report(results: dict[str, Series]) -> list[str]:
    """Print what is shown. Answers with what was wrong with Tidegate's own runs."""
    for key, figure, others in SHOWN:
        series = results[key]
        print(f"{key}, {figure.title}: {_shown(absolute(series, TIDEGATE, figure), figure.unit)}")
        for other in others:
            print(f"  Tidegate / {other}: {_shown(ratio(series, TIDEGATE, other, figure))}")
    disturbed = sum(bool(each.disturbed) for series in results.values() for each in series.rounds)
    if disturbed:
        print(
            f"The machine was disturbed in {disturbed} of {sum(len(each.rounds) for each in results.values())} rounds."
        )
    return [f"{key}: {why}" for key, series in results.items() for why in problems(series, TIDEGATE)]


def _shown(found: Spread | None, unit: str = "") -> str:
    if found is None:
        return "no figure"
    return f"{found.median:.2f} {unit}".rstrip() + f" (from {found.least:.2f} to {found.most:.2f})"


if __name__ == "__main__":
    os.chdir(HERE.parent)
    main()
