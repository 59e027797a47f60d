"""What was measured: runs, rounds and series, as they are kept in bench/results, and the arithmetic on them. Pure.

A ratio, and a difference with the direct way, is taken within a round, where both were measured one after the other:
what the machine did meanwhile cancels out. Then the median of the rounds is the figure.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from bench.loads import Figure
from bench.relays import DIRECT

QUIET_ENOUGH = 3
"""So many rounds in which nothing disturbed are enough to do without the others."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Run(_Kept):
    """One relay under one load, once: its figures by the generator's keys, or the problem for which it has none.
    `foreign` and `stolen`: CPU that others took of both cores meanwhile, in percent of one."""

    figures: dict[str, float] = {}
    problem: str = ""
    foreign: float = 0.0
    stolen: float = 0.0


class Round(_Kept):
    """Each relay once, one after the other. `disturbed`: why its figures are worth less; `tries`: how often it was
    run until it was undisturbed, or nobody wanted to wait any longer."""

    runs: dict[str, Run]
    disturbed: str = ""
    tries: int = 1


class Made(_Kept):
    """When, from what and on what it was measured."""

    date: str
    commit: str
    cpu: str
    cores: int
    kernel: str
    versions: dict[str, str]


class Series(_Kept):
    """All rounds of one load. `left_out`: relays that were not there."""

    load: str
    made: Made
    rounds: list[Round]
    left_out: list[str] = []


@dataclass(frozen=True)
class Spread:
    """A median, and the least and the most that was found, in so many rounds."""

    median: float
    least: float
    most: float
    rounds: int


def spread(values: list[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None


def worth(series: Series) -> list[Round]:
    """The rounds that count: the undisturbed ones if there are enough, else all."""
    quiet = [each for each in series.rounds if not each.disturbed]
    return quiet if len(quiet) >= min(QUIET_ENOUGH, len(series.rounds)) else series.rounds


def absolute(series: Series, name: str, figure: Figure) -> Spread | None:
    """What the relay showed, or what it added to the direct way if that is what the figure is."""
    if not figure.added:
        return spread([value * figure.scale for value in _values(series, name, figure.key)])
    return _paired(series, name, DIRECT, figure, lambda here, there: (here - there) * figure.scale)


def ratio(series: Series, name: str, base: str, figure: Figure) -> Spread | None:
    return _paired(series, name, base, figure, lambda here, there: here / there)


def problems(series: Series, name: str) -> list[str]:
    """Why it has no figures in some rounds, each reason once."""
    runs = [each.runs[name] for each in series.rounds if name in each.runs]
    return list(dict.fromkeys(run.problem for run in runs if run.problem))


def _values(series: Series, name: str, key: str) -> list[float]:
    runs = [each.runs[name] for each in worth(series) if name in each.runs]
    return [run.figures[key] for run in runs if key in run.figures]


def _paired(
    series: Series, name: str, base: str, figure: Figure, combine: Callable[[float, float], float]
) -> Spread | None:
    pairs = [
        (each.runs[name].figures[figure.key], each.runs[base].figures[figure.key])
        for each in worth(series)
        if all(one in each.runs and figure.key in each.runs[one].figures for one in (name, base))
    ]
    return spread([combine(here, there) for here, there in pairs if there])
