"""`make bench`: what relaying costs, with Tidegate and with others; writes bench/results and docs/benchmarks.md.

It takes three quarters of an hour on a quiet machine of two cores. Peers are measured if they are installed, which
`make bench-peers` does. For example: make bench OPTIONS="--rounds 3 --only paced,chat".
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench import report
from bench.loads import FULL, QUICK, Load, loads
from bench.machine import made
from bench.peers import PEERS
from bench.processes import CACHE, HERE, prepare
from bench.relays import DIRECT, RELAYS
from bench.rounds import Bench, round_of
from bench.series import Made, Round, Series


def main() -> None:
    options = _options()
    sizes = loads(QUICK if options.quick else FULL)
    chosen = [sizes[key] for key in options.only or sizes]
    prepare()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:  # gateways end before their files
        bench, here = Bench(stack, Path(folder)), made()
        rounds: dict[str, list[Round]] = {load.key: [] for load in chosen}
        for number in range(options.rounds):
            for load in chosen:
                names = turned(bench.contenders(load, options.relays), number)
                rounds[load.key].append(one := round_of(bench, load, names, 1 + options.repeats))
                print(line(number, load, one), flush=True)
                _keep(load, rounds[load.key], here, bench, CACHE if options.quick else report.RESULTS)
    if not options.quick:
        report.write()
        print(f"wrote {report.PAGE.relative_to(HERE.parent)}")


def turned(names: list[str], number: int) -> list[str]:
    """Another one begins in each round, so that none has the better place."""
    place = number % len(names) if names else 0
    return names[place:] + names[:place]


def line(number: int, load: Load, one: Round) -> str:
    """What a round found, for whoever waits."""
    figure = load.figures[0]
    runs = [
        f"{name} {run.figures[figure.key]:.{figure.digits}f}" if run.figures else f"{name}: {run.problem}"
        for name, run in one.runs.items()
    ]
    mark = f" DISTURBED: {one.disturbed}" if one.disturbed else ""
    return f"round {number + 1}, {load.key}, {figure.title} in {figure.unit}: {', '.join(runs)}{mark}"


def _keep(load: Load, rounds: list[Round], here: Made, bench: Bench, folder: Path) -> None:
    left_out = sorted(name for name in bench.left_out if name in load.contenders)
    series = Series(load=load.key, made=here, rounds=rounds, left_out=left_out)
    folder.mkdir(exist_ok=True)
    (folder / f"{load.key}.json").write_text(series.model_dump_json(indent=1) + "\n", "utf-8")


def _options() -> argparse.Namespace:
    everyone = (DIRECT, *RELAYS, *PEERS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1, help="times that a disturbed round is run again, at most")
    parser.add_argument("--only", type=_some_of(tuple(loads())), help=f"loads, of {', '.join(loads())}")
    parser.add_argument("--relays", type=_some_of(everyone), default=everyone, help=f"of {', '.join(everyone)}")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="short windows, fewer sessions; results go to .cache/bench, and no page is written",
    )
    options = parser.parse_args()
    options.relays = frozenset(options.relays)
    return options


class _some_of:  # noqa: N801
    """Names with commas between them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __call__(self, text: str) -> tuple[str, ...]:
        found = tuple(word.strip() for word in text.split(","))
        if unknown := [word for word in found if word not in self._names]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
        return found


if __name__ == "__main__":
    os.chdir(HERE.parent)
    main()
