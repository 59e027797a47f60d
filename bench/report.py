"""The page docs/benchmarks.md: what is between its markers is made from bench/results, the rest is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.goals import GOALS, SMALL, Goal
from bench.loads import CPU_MESSAGE, Figure, Load, loads
from bench.pictures import Bar, chart
from bench.processes import HERE
from bench.relays import DIRECT, TIDEGATE, TIDEGATE_TEXT
from bench.series import Made, Series, Spread, absolute, problems, ratio, worth

RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
PICTURES = PAGE.with_suffix("")
BEGIN = "<!-- Made by `make bench` from bench/results. Edit bench/report.py instead. -->"
END = "<!-- The end of what is made. -->"
NOT_HERE = """\
Not measured here: loading 5,000 routes, and the time from a change to its use, which have benchmarks of their own."""


def write() -> None:
    """The page and its pictures, from all results that there are."""
    results = {path.stem: Series.model_validate_json(path.read_text("utf-8")) for path in RESULTS.glob("*.json")}
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{page(results)}\n{END}{after}", "utf-8")
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for key, picture in pictures(results).items():
        (PICTURES / f"{key}.svg").write_text(picture, "utf-8")


def page(results: Mapping[str, Series]) -> str:
    """What is between the markers."""
    if not results:
        return "Nothing was measured yet: run `make bench`.\n"
    known = loads()
    shown = [key for key in known if key in results]
    parts = [_made(results), _goals(results), *(section(known[key], results[key]) for key in shown)]
    return "\n".join(parts)


# -- what was measured, and the goals ------------------------------------------------------------------------------


def _made(results: Mapping[str, Series]) -> str:
    """One line for each way in which results were made: parts may have been measured anew."""
    ways: dict[tuple[object, ...], list[str]] = {}
    for key, series in results.items():
        ways.setdefault((series.made.date, series.made.commit, series.made.cpu, series.made.kernel), []).append(key)
    lines = [_way(results[keys[0]].made, keys if len(ways) > 1 else []) for keys in ways.values()]
    missing = sorted({name for series in results.values() for name in series.left_out})
    if missing:
        lines.append(f"Left out, since they were not there or did not start: {', '.join(missing)}.")
    return "\n\n".join(lines) + "\n"


def _way(made: Made, keys: list[str]) -> str:
    of = f" ({', '.join(keys)})" if keys else ""
    versions = ", ".join(f"{name} {version}".strip() for name, version in made.versions.items())
    where = f"{made.cores} cores of {made.cpu}, {made.kernel}"
    return f"Measured{of} on {made.date} at commit {made.commit}, {where}. {versions}."


def _goals(results: Mapping[str, Series]) -> str:
    lines = ["## The goals", "", "| work | against | goal | measured | |", "|---|---|---|---|---|"]
    lines += [_goal(goal, results) for goal in GOALS]
    return "\n".join([*lines, "", *_remarks(results), NOT_HERE, ""])


def _remarks(results: Mapping[str, Series]) -> list[str]:
    """What is to be known of the goals' figures."""
    loud = [key for key in loads() if key in results and any(each.disturbed for each in worth(results[key]))]
    found = [f"**Disturbed, so not to be relied on**: {', '.join(loud)}.\n"] if loud else []
    text = ratio(results["text"], TIDEGATE_TEXT, TIDEGATE, CPU_MESSAGE) if "text" in results else None
    return (
        [*found, f"Where all text is read and logged, a message costs {_ratio(text)} times as much.\n"]
        if text
        else found
    )


def _goal(goal: Goal, results: Mapping[str, Series]) -> str:
    found = goal.measured(results)
    if found is None:
        measured = ""
    elif not goal.relative:
        measured = f"{_spread(found, goal.figure)} {goal.figure.unit}"
    elif goal.most < SMALL:
        measured = _between(f"1/{1 / found.median:.0f}", f"1/{1 / found.most:.0f}", f"1/{1 / found.least:.0f}")
    else:
        measured = _ratio(found)
    against = goal.against or "itself"
    return f"| {goal.work} | {against} | {goal.shown} | {measured} | {goal.verdict(results)} |"


# -- each load -----------------------------------------------------------------------------------------------------


def section(load: Load, series: Series) -> str:
    """A load: what it is, its picture, its figures, and what is to be known of its rounds."""
    parts = [f"## {load.title}", load.about]
    if bars(load, series):
        parts.append(f"![{load.title}: {load.figures[0].title}](benchmarks/{load.key}.svg)")
    return "\n\n".join([*parts, _table(load, series), _rounds(load, series)]) + "\n"


def _table(load: Load, series: Series) -> str:
    titles = [figure.heading for figure in load.figures]
    rows = [f"| | {' | '.join(titles)} | Tidegate ÷ this |", "|---" * (len(titles) + 2) + "|"]
    for name in _names(load, series):
        cells = [_spread(absolute(series, name, figure), figure) for figure in load.figures]
        beside = None if name == TIDEGATE else ratio(series, TIDEGATE, name, load.figures[0])
        cells.append(_ratio(beside) if beside else "")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _spread(found: Spread | None, figure: Figure) -> str:
    if found is None:
        return ""
    return _between(*(f"{each:,.{figure.digits}f}" for each in (found.median, found.least, found.most)))


def _ratio(found: Spread) -> str:
    return _between(*(f"{each:#.3g}".removesuffix(".") for each in (found.median, found.least, found.most)))


def _between(median: str, least: str, most: str) -> str:
    return f"{median} ({least} to {most})" if least != most else median


def _rounds(load: Load, series: Series) -> str:
    count, of = len(worth(series)), len(series.rounds)
    disturbed = [each.disturbed for each in series.rounds if each.disturbed]
    lines = [f"Medians of {count} rounds, with the least and the most." if count > 1 else "One round."]
    if disturbed and count < of:
        lines.append(f"Disturbed, and not counted: {of - count} more.")
    elif disturbed:
        lines.append(f"**Disturbed: {len(disturbed)} of {count}**, the last because {disturbed[-1]}.")
    lines += _direct(load, series)
    for name in [*_names(load, series), DIRECT]:
        lines += [f"{name} has no figures in some rounds: {why}." for why in problems(series, name)]
    return "\n".join(lines)


def _direct(load: Load, series: Series) -> list[str]:
    """What the direct way takes, where others' latency is given beyond it, and what it does, where that is measured."""
    taken = [each for each in load.figures if each.added]
    found = [(each.title.rpartition(", ")[2], _raw(series, each)) for each in taken]
    times = [f"{title} {each.median:.0f} µs" for title, each in found if each]
    lines = [f"The direct way takes {' and '.join(times)}."] if times else []
    done = [(each.title, absolute(series, DIRECT, each)) for each in load.figures if each.more_is_better]
    return [*lines, *(f"The direct way does {each.median:,.0f} {title}." for title, each in done if each)]


def _raw(series: Series, figure: Figure) -> Spread | None:
    """The direct way's own, of a figure that is given beyond it."""
    return absolute(series, DIRECT, replace(figure, added=False))


def _names(load: Load, series: Series) -> list[str]:
    there = {name for each in series.rounds for name in each.runs}
    return [name for name in load.contenders if name in there and name != DIRECT]


# -- pictures ------------------------------------------------------------------------------------------------------


def bars(load: Load, series: Series) -> list[Bar]:
    figure = load.figures[0]
    found = {name: absolute(series, name, figure) for name in _names(load, series)}
    return [
        Bar(
            name,
            each.median,
            each.least,
            each.most,
            f"{each.median:,.{figure.digits}f} {figure.unit}",
            name == TIDEGATE,
        )
        for name, each in found.items()
        if each
    ]


def pictures(results: Mapping[str, Series]) -> dict[str, str]:
    """A picture for each load that has figures, by key."""
    found = {}
    for key, load in loads().items():
        if key in results and (rows := bars(load, results[key])):
            figure = load.figures[0]
            note = f"{figure.heading}; {'longer' if figure.more_is_better else 'shorter'} is better"
            found[key] = chart(load.title, note, rows)
    return found
