"""The page from results: what is met and missed, what is left out, and what is told of the rounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import report
from bench.loads import loads
from bench.series import Run

from .made import cpu, one_round, series

PACED = {
    "direct": {"cpu_us_msg": 0.0, "down_lat_us.p50": 30.0, "down_lat_us.p99": 80.0},
    "C relay": {"cpu_us_msg": 20.0, "down_lat_us.p50": 60.0, "down_lat_us.p99": 160.0},
    "Tidegate": {"cpu_us_msg": 40.0, "down_lat_us.p50": 80.0, "down_lat_us.p99": 200.0},
}


def test_without_results_it_says_how_to_get_some() -> None:
    assert report.page({}) == "Nothing was measured yet: run `make bench`.\n"


def test_goals_and_figures_are_shown() -> None:
    page = report.page({"paced": series("paced", one_round(PACED), one_round(PACED), left_out=("SMG",))})
    assert "Measured on 2026-01-02 at commit abc1234, 2 cores of A CPU, Linux 6.1. nginx 1.2." in page
    assert "Left out, since they were not there or did not start: SMG." in page
    assert "| C relay | ≤ 1.5 (stretch 1.25) | 2.00 | **missed** |" in page
    assert "| direct | ≤ 60 µs | 50 µs | met |" in page
    assert "| C relay | 20.0 | 30 | 80 | 2.00 |" in page
    assert "Medians of 2 rounds" in page
    assert "The direct way takes p50 30 µs and p99 80 µs." in page
    assert "](benchmarks/paced.svg)" in page


def test_a_spread_is_shown_if_there_is_one() -> None:
    rounds = [one_round(cpu(Tidegate=each, C_relay=10)) for each in (20, 30, 25)]
    said = report.page({"text": series("text", *rounds)})
    assert "| Tidegate | 25.0 (20.0 to 30.0) |  |" in said
    assert "| C relay | 10.0 | 2.50 (2.00 to 3.00) |" in said


def test_what_the_direct_way_does() -> None:
    saturated = one_round({name: {"cpu_us_msg": 9.0, "msgs_s": 90000.0} for name in ("direct", "Tidegate")})
    said = report.section(loads()["saturated"], series("saturated", saturated))
    assert "The direct way does 90,000 messages a second." in said


def test_what_reading_text_costs() -> None:
    text = one_round({"Tidegate": {"cpu_us_msg": 10.0}, "Tidegate reading text": {"cpu_us_msg": 13.0}})
    assert "a message costs 1.30 times as much" in report.page({"text": series("text", text)})


def test_a_small_ratio_is_a_fraction() -> None:
    chat = one_round({"Tidegate": {"cpu_us_req": 100.0, "rps": 1.0}, "LiteLLM": {"cpu_us_req": 16000.0, "rps": 1.0}})
    assert "| LiteLLM | ≤ 1/150 | 1/160 | met |" in report.page({"chat": series("chat", chat)})


def test_disturbed_rounds_are_told_of() -> None:
    quiet, loud = one_round(PACED), one_round(PACED, disturbed="others used 50 % of a core")
    load = loads()["paced"]
    assert "Disturbed, and not counted: 1 more." in report.section(load, series("paced", quiet, quiet, quiet, loud))
    said = report.section(load, series("paced", quiet, loud))
    assert "**Disturbed: 1 of 2**, the last because others used 50 % of a core." in said
    page = report.page({"paced": series("paced", quiet, loud), "text": series("text", quiet)})
    assert "**Disturbed, so not to be relied on**: paced." in page


def test_a_relay_without_figures_has_a_reason() -> None:
    failed = one_round(PACED)
    failed.runs["SMG"] = Run(problem="closed: 3")
    said = report.section(loads()["paced"], series("paced", failed))
    assert "| SMG |  |  |  |  |" in said
    assert "SMG has no figures in some rounds: closed: 3." in said


def test_parts_that_were_measured_apart_are_told_apart() -> None:
    paced = series("paced", one_round(PACED))
    text = series("text", one_round(cpu(Tidegate=1)))
    later = text.model_copy(update={"made": text.made.model_copy(update={"commit": "fff0000"})})
    page = report.page({"paced": paced, "text": later})
    assert "Measured (paced) on 2026-01-02 at commit abc1234" in page
    assert "Measured (text) on 2026-01-02 at commit fff0000" in page


def test_only_what_is_between_the_markers_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page, results, pictures = tmp_path / "benchmarks.md", tmp_path / "results", tmp_path / "benchmarks"
    results.mkdir()
    (results / "paced.json").write_text(series("paced", one_round(PACED)).model_dump_json())
    page.write_text(f"Before\n\n{report.BEGIN}\n\nold\n\n{report.END}\n\nAfter\n")
    for name, path in (("PAGE", page), ("RESULTS", results), ("PICTURES", pictures)):
        monkeypatch.setattr(report, name, path)
    report.write()
    written = page.read_text()
    assert written.startswith(f"Before\n\n{report.BEGIN}\n\nMeasured on")
    assert written.endswith(f"{report.END}\n\nAfter\n")
    assert "old" not in written
    assert [path.name for path in pictures.iterdir()] == ["paced.svg"]
    report.write()
    assert page.read_text() == written


def test_our_page_has_the_markers() -> None:
    text = report.PAGE.read_text("utf-8")
    assert text.count(report.BEGIN) == text.count(report.END) == 1
    assert text.index(report.BEGIN) < text.index(report.END)
