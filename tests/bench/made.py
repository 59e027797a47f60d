"""Results that nobody measured."""

from __future__ import annotations

from bench.series import Made, Round, Run, Series

MADE = Made(date="2026-01-02", commit="abc1234", cpu="A CPU", cores=2, kernel="Linux 6.1", versions={"nginx": "1.2"})


def one_round(figures: dict[str, dict[str, float]], disturbed: str = "") -> Round:
    return Round(runs={name: Run(figures=each) for name, each in figures.items()}, disturbed=disturbed)


def series(load: str, *rounds: Round, left_out: tuple[str, ...] = ()) -> Series:
    return Series(load=load, made=MADE, rounds=list(rounds), left_out=list(left_out))


def cpu(**relays: float) -> dict[str, dict[str, float]]:
    """CPU per message by relay, with _ for spaces."""
    return {name.replace("_", " "): {"cpu_us_msg": value} for name, value in relays.items()}
