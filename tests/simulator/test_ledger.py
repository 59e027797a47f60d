"""The ledger: what counts, what is unknown, what stays apart."""

from __future__ import annotations

import pytest

from simulator.ledger import Ledger
from simulator.shapes import Json

REALTIME: Json = {
    "total_tokens": 50,
    "input_tokens": 40,
    "output_tokens": 10,
    "input_token_details": {
        "text_tokens": 10,
        "audio_tokens": 25,
        "image_tokens": 5,
        "cached_tokens": 12,
        "cached_tokens_details": {"text_tokens": 4, "audio_tokens": 7, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 3, "audio_tokens": 7},
}


def booked(kind: str, *usages: Json | None) -> dict[str, float]:
    """The totals that are not 0."""
    ledger = Ledger()
    for number, usage in enumerate(usages):
        turn = f"turn-{number}"
        ledger.record(kind, turn, session="s", model="m", status="completed", usage=usage, billed=usage)
    return {name: number for name, number in ledger.totals.items() if number}


def test_realtime_usage_by_modality() -> None:
    assert booked("realtime", REALTIME) == {
        "turns": 1,
        "input_tokens": 40,
        "output_tokens": 10,
        "total_tokens": 50,
        "input_text_tokens": 10,
        "input_audio_tokens": 25,
        "input_image_tokens": 5,
        "cached_tokens": 12,
        "cached_text_tokens": 4,
        "cached_audio_tokens": 7,
        "cached_unknown_tokens": 1,
        "output_text_tokens": 3,
        "output_audio_tokens": 7,
    }


def test_chat_usage_with_reasoning_and_cache() -> None:
    usage: Json = {
        "prompt_tokens": 30,
        "completion_tokens": 20,
        "total_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 16},
    }
    assert booked("chat", usage) == {
        "turns": 1,
        "input_tokens": 30,
        "output_tokens": 20,
        "total_tokens": 50,
        "input_text_tokens": 26,
        "input_audio_tokens": 4,
        "cached_tokens": 8,
        "cached_unknown_tokens": 8,
        "output_text_tokens": 20,
        "reasoning_tokens": 16,
    }


def test_without_details_the_modality_is_unknown_and_without_usage_nothing_counts() -> None:
    bare: Json = {"input_tokens": 7, "output_tokens": 2, "total_tokens": 9}
    assert booked("realtime", bare, None, {"total_tokens": 5}) == {
        "turns": 3,
        "input_tokens": 7,
        "input_unknown_tokens": 7,
        "output_tokens": 2,
        "output_unknown_tokens": 2,
        "total_tokens": 14,
    }


def test_transcriptions_count_apart() -> None:
    details = {"text_tokens": 1, "audio_tokens": 16}
    tokens: Json = {"type": "tokens", "input_tokens": 17, "output_tokens": 8, "input_token_details": details}
    assert booked("transcription", tokens, {"type": "duration", "seconds": 1.63}) == {
        "turns": 2,
        "transcription_input_tokens": 17,
        "transcription_input_text_tokens": 1,
        "transcription_input_audio_tokens": 16,
        "transcription_output_tokens": 8,
        "transcription_seconds": 1.63,
    }


@pytest.mark.parametrize(("status", "reported"), [("cancelled", True), ("abandoned", False), ("dropped", False)])
def test_report_holds_every_turn_until_it_is_cleared(status: str, reported: bool) -> None:
    ledger = Ledger()
    ledger.record("realtime", "resp_1", session="sess_1", model="m", status=status, usage=None, billed=REALTIME)
    turn = {"id": "resp_1", "kind": "realtime", "session": "sess_1", "model": "m", "status": status, "usage": None}
    turns = [{**turn, "reported": reported, "billed": REALTIME}]
    assert ledger.report() == {"turns": turns, "totals": ledger.totals}
    ledger.clear()
    assert ledger.turns == []
    assert set(ledger.totals.values()) == {0}
