"""Medians, ratios within the round, and which rounds count."""

from __future__ import annotations

from bench.loads import ADDED_P50, CPU_MESSAGE, Figure
from bench.series import Run, Series, absolute, problems, ratio, spread, worth

from .made import cpu, one_round, series


def test_a_spread_has_the_median_and_the_ends() -> None:
    found = spread([3.0, 1.0, 2.0, 10.0])
    assert found
    assert (found.median, found.least, found.most, found.rounds) == (2.5, 1.0, 10.0, 4)
    assert spread([]) is None


def test_a_ratio_is_taken_within_the_round() -> None:
    """The machine was twice as slow in the second round: neither ratio shows it, that of the medians would."""
    found = ratio(
        series("paced", one_round(cpu(Tidegate=30, nginx=20)), one_round(cpu(Tidegate=60, nginx=40))),
        "Tidegate", "nginx", CPU_MESSAGE,
    )  # fmt: skip
    assert found
    assert (found.least, found.most) == (1.5, 1.5)


def test_a_round_in_which_one_of_both_failed_has_no_ratio() -> None:
    rounds = one_round(cpu(Tidegate=30, nginx=20)), one_round(cpu(Tidegate=90))
    found = ratio(series("paced", *rounds), "Tidegate", "nginx", CPU_MESSAGE)
    assert found
    assert (found.median, found.rounds) == (1.5, 1)


def test_nothing_is_divided_by_the_direct_way() -> None:
    assert ratio(series("paced", one_round(cpu(Tidegate=30, direct=0))), "Tidegate", "direct", CPU_MESSAGE) is None


def test_added_latency_is_beyond_the_direct_way_of_the_round() -> None:
    def p50(**relays: float) -> dict[str, dict[str, float]]:
        return {name: {"down_lat_us.p50": value} for name, value in relays.items()}

    found = absolute(
        series("paced", one_round(p50(Tidegate=100, direct=40)), one_round(p50(Tidegate=300, direct=250))),
        "Tidegate", ADDED_P50,
    )  # fmt: skip
    assert found
    assert (found.least, found.most) == (50, 60)


def test_figures_are_scaled() -> None:
    found = absolute(
        series("paced", one_round(cpu(Tidegate=3000))), "Tidegate", Figure("cpu_us_msg", "", "ms", scale=0.001)
    )
    assert found
    assert found.median == 3


def test_disturbed_rounds_do_not_count_where_enough_are_quiet() -> None:
    quiet, loud = one_round(cpu(Tidegate=30)), one_round(cpu(Tidegate=90), disturbed="somebody")
    assert worth(series("paced", quiet, loud, quiet, quiet)) == [quiet] * 3
    assert worth(series("paced", quiet, loud, quiet, loud)) == [quiet, loud, quiet, loud]
    assert worth(series("paced", quiet, quiet)) == [quiet, quiet]


def test_problems_are_told_once() -> None:
    bad = one_round({}).model_copy(update={"runs": {"SMG": Run(problem="it broke")}})
    assert problems(series("paced", bad, bad, one_round(cpu(SMG=1))), "SMG") == ["it broke"]


def test_what_is_kept_is_read_again() -> None:
    kept = series("paced", one_round(cpu(Tidegate=30), disturbed="somebody"), left_out=("SMG",))
    assert Series.model_validate_json(kept.model_dump_json()) == kept
