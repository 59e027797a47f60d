"""Rounds of a benchmark: every relay once, one after the other, with all others frozen; and again if disturbed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from bench.judge import Metered, disturbed, flat, metered, problem, shares
from bench.loads import Load
from bench.peers import PEERS, installed
from bench.processes import OTHERS_CPU, build, freeze, thaw
from bench.relays import DIRECT, NGINX, RELAYS, Running, direct, nginx_binary, started
from bench.series import Round, Run
from bench.upstream import Books, Upstream, upstream

WAKES_S = 0.3
"""What a thawed relay has for the timers that went off meanwhile."""
SETTLES_S = 3.0
"""What Tidegate has, at most, to count the last turn after its client has gone."""
LONGEST_S = 240.0
"""A run that takes longer is given up."""
WARM = ("--sessions", "50", "--ramp", "100", "--duration", "0.2", "--warmup", "0.2", "--mode", "idle")
"""What is made once is made by these sessions, before memory is read."""


@dataclass
class Bench:
    """The upstreams and relays that run. Relays are started when first needed."""

    stack: ExitStack
    folder: Path
    generator: str = field(default_factory=build)
    left_out: dict[str, str] = field(default_factory=dict)
    """Relays that cannot be measured, and why."""
    _upstreams: dict[bool, Upstream] = field(default_factory=dict)
    _relays: dict[tuple[str, bool], Running] = field(default_factory=dict)

    def upstream(self, *, tls: bool) -> Upstream:
        if tls not in self._upstreams:
            made = self.stack.enter_context(upstream(self.generator, self.folder, tls=tls))
            self._upstreams[tls] = made
        return self._upstreams[tls]

    def contenders(self, load: Load, chosen: frozenset[str]) -> list[str]:
        """Those that can be measured. What is not here is noted."""
        wanted = [name for name in load.contenders if name in chosen]
        for name in wanted:
            if (name in PEERS and not installed(name)) or (name == NGINX and not nginx_binary()):
                self.left_out[name] = "not installed"
        return [name for name in wanted if name not in self.left_out]

    @contextmanager
    def awake(self, load: Load, name: str) -> Iterator[Running]:
        """The relay, and no other, runs meanwhile."""
        if name == DIRECT:
            yield direct(self.upstream(tls=False))
            return
        relay, up = {**RELAYS, **PEERS}[name], self.upstream(tls=load.tls)
        place = self.folder / f"{name}{'-tls' if load.tls else ''}".replace(" ", "-")
        if load.fresh:
            with started(relay, up, place.with_name(f"{place.name}-fresh"), self.generator) as here:
                yield here
            return
        here = self._relays.get((name, load.tls)) or self.stack.enter_context(started(relay, up, place, self.generator))
        self._relays[name, load.tls] = here
        thaw(here.pids)
        time.sleep(WAKES_S)
        try:
            yield here
        finally:
            freeze(here.pids)


def round_of(bench: Bench, load: Load, names: list[str], tries: int) -> Round:
    """Measure all, at most so many times: until nothing disturbs, else the least disturbed of them."""
    made: list[tuple[float, Round]] = []
    for number in range(1, tries + 1):
        runs = {name: _run(bench, load, name) for name in names if name not in bench.left_out}
        foreign, stolen = (
            max((getattr(run, each) for run in runs.values()), default=0) for each in ("foreign", "stolen")
        )
        made.append((foreign + stolen, Round(runs=runs, disturbed=disturbed(foreign, stolen), tries=number)))
        if not made[-1][1].disturbed:
            break
    best = min(made, key=lambda each: each[0])[1]
    return best.model_copy(update={"tries": len(made)})


def _run(bench: Bench, load: Load, name: str) -> Run:
    """A relay that cannot be started is left out from then on."""
    try:
        with bench.awake(load, name) as relay:
            return measure(bench.generator, load, relay)
    except SystemExit as error:
        bench.left_out[name] = f"it could not be started: {error}"[:300]
        return Run(problem=bench.left_out[name])


def measure(generator: str, load: Load, relay: Running) -> Run:
    """Put the load on the relay once."""
    relay.upstream.set(**load.settings)
    if load.fresh:
        _generate(generator, (*load.arguments, *WARM), relay)
    billed, used = relay.upstream.books(), _metered(relay)
    try:
        report = _generate(generator, load.arguments, relay)
    except (subprocess.SubprocessError, ValueError) as error:
        return Run(problem=f"the generator failed: {error}"[:300])
    books = relay.upstream.books() - billed
    settled = _settled(relay, used, books) if used else None
    wrong = problem(load, report, books, settled, judges=relay.judges)
    foreign, stolen = shares(report)
    kept = {figure.key: report[figure.key] for figure in load.figures}
    return Run(figures={} if wrong else kept, problem=wrong, foreign=round(foreign, 1), stolen=round(stolen, 1))


def _generate(generator: str, arguments: tuple[str, ...], relay: Running) -> dict[str, float]:
    command = [generator, *arguments, "--port", str(relay.port), "--stats-port", str(relay.upstream.control)]
    command += ["--cpu", str(OTHERS_CPU)]
    for header in relay.headers:
        command += ["--header", header]
    if relay.pids:
        command += ["--proxy-pid", ",".join(map(str, relay.pids))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LONGEST_S)
    report = flat(json.loads(done.stdout))
    if "ramp_s" in report:
        report["setups_s"] = report["opened"] / max(report["ramp_s"], 0.001)
    return report


def _metered(relay: Running) -> Metered | None:
    if not relay.metrics:
        return None
    with urlopen(relay.metrics, timeout=10) as answer:
        return metered(str(answer.read(), "utf-8"))


def _settled(relay: Running, before: Metered, billed: Books) -> Metered | None:
    """What was metered, as soon as it is as many turns as were billed."""
    end = time.monotonic() + SETTLES_S
    while (now := _metered(relay)) and now.turns - before.turns < billed.done + billed.replies + billed.streams:
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return now - before if now else None
