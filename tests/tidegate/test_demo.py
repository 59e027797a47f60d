"""The demo: three real turns, equal books, and exit 1 when they are not."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import cast

import pytest
from rich.console import Console

from simulator.ledger import Ledger
from tests.tidegate.processes import run
from tidegate.commands import demo
from tidegate.demo import books
from tidegate.demo.configuration import CALLER_KEY, PROVIDER_KEY
from tidegate.exits import Exit

EXPOSITION = """\
# TYPE gen_ai_client_inference_usage_input_tokens_total counter
gen_ai_client_inference_usage_input_tokens_total{gen_ai_operation_name="realtime_inference",\
gen_ai_request_model="gpt-realtime",gen_ai_token_modality="text"} 12
gen_ai_client_inference_usage_input_tokens_total{gen_ai_operation_name="transcription",\
gen_ai_request_model="whisper",gen_ai_token_modality="audio"} 5
# TYPE tidegate_turns_total counter
tidegate_turns_total{status="completed"} 2
tidegate_turns_total{status="cancelled"} 1
# TYPE tidegate_gen_ai_cost_USD_total counter
tidegate_gen_ai_cost_USD_total{gen_ai_request_model="gpt-realtime"} 0.5
"""


async def test_it_holds_three_turns_and_the_books_agree() -> None:
    done = await run("demo")
    assert done.code == 0, done.err
    assert done.err == ""
    shown = done.out
    assert "kind: Backend" in shown
    assert re.search(r"you +Hello!.*\nmodel +\w.*\n +\d+ tokens in \(\d+ text\), \d+ out \(\d+ text\)", shown)
    assert re.search(
        r"heard +\w.*\nmodel +\w.*\n +[\d.]+ s of audio; \d+ tokens in \(.*audio.*\), \d+ out \(.*audio", shown
    )
    assert re.search(r'model +calls get_weather\({"city":"Lisbon"}\)\n', shown)
    assert re.search(r"model +.*22 °C and sunny in Lisbon", shown)
    rows = re.findall(r"^ +(\w[\w, ]*?) {2,}(\d+) +(\d+) += *$", shown, re.MULTILINE)
    assert len(rows) == 9
    assert all(int(billed) == int(counted) > 0 for _, billed, counted in rows)
    assert re.search(r"cost +0\.\d*[1-9]\d* USD", shown)
    assert "Equal, to the token." in shown
    assert "What to try next:" in shown
    assert "\x1b[" not in shown
    assert PROVIDER_KEY not in shown
    assert CALLER_KEY not in shown


TOTALS: Mapping[str, float] = {
    "turns": 3, "input_text_tokens": 12, "input_audio_tokens": 0, "cached_text_tokens": 0, "cached_audio_tokens": 0,
    "output_text_tokens": 0, "output_audio_tokens": 0, "transcription_input_tokens": 5,
    "transcription_output_tokens": 0,
}  # fmt: skip


def test_equal_books_agree() -> None:
    assert books.agree(books.compare(TOTALS, books.Metrics(EXPOSITION)))


@pytest.mark.parametrize("total", TOTALS)
def test_one_token_of_difference_is_seen(total: str) -> None:
    entries = books.compare({**TOTALS, total: TOTALS[total] + 1}, books.Metrics(EXPOSITION))
    assert not books.agree(entries)
    assert len([entry for entry in entries if entry.billed != entry.counted]) == 1


async def test_books_that_differ_fail_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Ledger.report

    def report(ledger: Ledger) -> dict[str, object]:
        totals = ledger.totals
        return {**honest(ledger), "totals": {**totals, "output_audio_tokens": totals["output_audio_tokens"] + 1}}

    monkeypatch.setattr(Ledger, "report", report)
    screen = Console(file=io.StringIO(), width=100)
    assert await demo.show(screen) is Exit.FAILED
    assert "The books differ" in cast("io.StringIO", screen.file).getvalue()


def test_use_by_model() -> None:
    used = books.Metrics(EXPOSITION).models()
    assert used["gpt-realtime"].tokens == {"text in": 12}
    assert used["gpt-realtime"].usd == 0.5
    assert used["whisper"].tokens == {"audio in": 5}
