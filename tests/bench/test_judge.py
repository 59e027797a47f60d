"""When a run has no figures, and when a round is disturbed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.judge import FOREIGN, STOLEN, Metered, disturbed, flat, metered, problem, shares
from bench.loads import loads
from bench.upstream import Books

PACED, CHAT, RATE = (loads()[key] for key in ("paced", "chat", "chat-rate"))
BILLED = Books(up=500, down=600, done=12, audio=480, replies=0, streams=0)
USED = Metered(turns=12, input=1200, output=2400, other=0)
REPORT = {
    "sessions": 200, "opened": 200, "open_end": 200, "msgs_s": 4001,
    "all.up": 500, "all.down": 600, "all.done": 12, "all.audio": 480,
    "errors.closed": 0, "errors.untimed": 0,
}  # fmt: skip
REPLIES = Books(up=0, down=0, done=0, audio=0, replies=30, streams=4)


def test_a_run_in_which_all_is_right() -> None:
    assert problem(PACED, REPORT, BILLED, USED) == ""
    assert problem(PACED, REPORT, BILLED, None) == ""
    assert problem(CHAT, {"all.ok": 34}, REPLIES, Metered(34, 34 * 120, 34 * 300, 0)) == ""


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"errors.closed": 2}, "closed: 2"),
        ({"opened": 199}, "of 200 sessions 199 opened and 200 stayed"),
        ({"open_end": 198}, "of 200 sessions 200 opened and 198 stayed"),
        ({"all.down": 599}, "messages down: 599 at the client, 600 at the upstream"),
        ({"all.audio": 479}, "pieces of audio: 479 at the client, 480 at the upstream"),
        ({"errors.untimed": 1}, "untimed: 1"),
        ({"all.up": 501}, "messages up: 501 at the client, 500 at the upstream"),
        ({"msgs_s": 3000}, "3000 of 4000 a second were relayed"),
    ],
)
def test_what_is_wrong_is_told(wrong: dict[str, float], told: str) -> None:
    assert problem(PACED, REPORT | wrong, BILLED, USED) == told


def test_who_judges_text_puts_it_into_messages_of_its_own_but_loses_no_audio() -> None:
    made = REPORT | {"all.down": 580, "all.up": 512, "errors.untimed": 7}
    assert problem(PACED, made, BILLED, USED, judges=True) == ""
    lost = made | {"all.audio": 479, "errors.bad": 1}
    assert problem(PACED, lost, BILLED, USED, judges=True) == (
        "bad: 1; pieces of audio: 479 at the client, 480 at the upstream"
    )


def test_waiting_for_a_connection_is_in_the_latency() -> None:
    assert problem(RATE, {"all.ok": 30, "errors.late": 5, "rps": 1000}, replace(REPLIES, streams=0), None) == ""


@pytest.mark.parametrize("part", ["turns", "input", "output", "other"])
def test_what_was_metered_is_what_was_billed(part: str) -> None:
    used = replace(USED, **{part: getattr(USED, part) + 1})
    assert problem(PACED, REPORT, BILLED, used).startswith("metered ")


def test_metrics_are_read() -> None:
    text = """# TYPE tidegate_turns_total counter
tidegate_turns_total{route="a",usage="reported"} 7.0
tidegate_turns_total{route="b",usage="reported"} 1.0
tidegate_turns_total{route="a",usage="estimated"} 2.0
tidegate_unmetered_total{reason="binary"} 1.0
gen_ai_client_token_usage_sum{gen_ai_token_type="input",route="a"} 700.0
gen_ai_client_token_usage_sum{gen_ai_token_type="output",route="a"} 1400.0
gen_ai_client_token_usage_count{gen_ai_token_type="output",route="a"} 7.0
"""
    assert metered(text) == Metered(turns=10, input=700, output=1400, other=3)
    assert metered("") == Metered(0, 0, 0, 0)


def test_the_report_is_flattened() -> None:
    report = {"kind": "ws", "secs": 2.0, "lat": {"p50": 3}, "busy": [1.5, 2]}
    assert flat(report) == {"secs": 2, "lat.p50": 3, "busy.0": 1.5, "busy.1": 2}


def test_what_others_used_is_what_is_left_of_both_cores() -> None:
    ours = {"proxy_cpu_pct": 20.0, "gen_cpu_pct": 10.0, "ups_cpu_pct": 10.0}
    cores = {"core_busy_pct.0": 25.0, "core_busy_pct.1": 22.0, "core_steal_pct.0": 0.5, "core_steal_pct.1": 1.0}
    assert shares(ours | cores) == (7.0, 1.5)
    assert shares(ours | {"core_busy_pct.0": 15.0, "core_busy_pct.1": 20.0}) == (0.0, 0.0)
    assert shares(ours | cores | {"core_busy_pct.2": 100.0}) == (7.0, 1.5)


def test_a_round_is_disturbed_by_others_and_by_the_host() -> None:
    assert disturbed(FOREIGN, STOLEN) == ""
    assert disturbed(31, 0) == "others used 31 % of a core"
    assert disturbed(0, 9) == "the host took 9 %"
    assert disturbed(31, 9) == "others used 31 % of a core and the host took 9 %"
