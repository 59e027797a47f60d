"""What leaves the process about each turn and each session, and that every writer gets the same."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import get_args

import orjson
import pytest

from dataplane.metering.batches import Bounds, Reason
from dataplane.metering.instruments import Instruments
from dataplane.metering.prices import Cost, PriceSource, PriceStatus
from dataplane.metering.records import FanOut, Log, Record, rfc3339, session_record, turn_record
from dataplane.metering.sink import TIMEOUT
from dataplane.metering.usage import Operation, Status, Tokens
from tests.dataplane.metering.cases import HEARD, NOW, SPOKEN, cut_session, ended_session, estimated_turn, spoken_turn

PRICED = Cost(Decimal("0.0455200"), "priced", "catalogue")
UNREPORTED = Cost(None, "unreported", "")


class Kept:
    """A writer."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)


def test_a_turn() -> None:
    assert turn_record(spoken_turn(), PRICED, None, NOW) == {
        "kind": "turn",
        "id": "turn-1",
        "time": "2026-11-01T12:30:15.250Z",
        "session": "session-1",
        "response_id": "resp_1",
        "operation": "realtime_inference",
        "status": "completed",
        "route": "ai/voice",
        "backend": "ai/voice",
        "provider": "openai",
        "provider_kind": "openai",
        "public_model": "voice",
        "request_model": "gpt-realtime",
        "response_model": "gpt-realtime-2025-08-28",
        "caller": {"namespace": "ai", "key": "ci-bot", "team": "support"},
        "estimated": False,
        "tokens": {
            "input_text": 200,
            "input_audio": 800,
            "cached_text": 50,
            "cached_audio": 250,
            "output_text": 100,
            "output_audio": 400,
        },
        "cost_usd": "0.04552",
        "cost_status": "priced",
        "price_source": "catalogue",
        "duration": None,
    }


def test_an_estimated_turn_says_so() -> None:
    record = turn_record(estimated_turn(), PRICED, None, NOW)
    assert (record["estimated"], record["tokens"]) == (True, HEARD.nonzero())


def test_a_session() -> None:
    assert session_record(ended_session(), NOW) == {
        "kind": "session",
        "id": "session-1",
        "time": "2026-11-01T12:30:15.250Z",
        "route": "ai/voice",
        "backend": "ai/voice",
        "provider": "openai",
        "model": "gpt-realtime-2025-08-28",
        "caller": {"namespace": "ai", "key": "ci-bot", "team": "support"},
        "client_address": "192.0.2.1",
        "turns": 1,
        "tokens": SPOKEN.nonzero(),
        "cost_usd": None,
        "estimated": False,
        "estimated_tokens": {},
        "estimated_cost_usd": None,
        "seconds": 62.5,
        "close_code": 1000,
        "reason": "client_closed",
        "initiator": "client",
    }


def test_what_was_estimated_in_a_session_is_apart() -> None:
    record = session_record(cut_session(), NOW)
    assert (record["estimated"], record["estimated_tokens"]) == (True, HEARD.nonzero())
    assert (record["tokens"], record["cost_usd"]) == (ended_session().tokens.nonzero(), "0.04552")
    assert record["estimated_cost_usd"] == "0.00808"


@pytest.mark.parametrize(
    ("amount", "text"), [("1E-7", "0.0000001"), ("0", "0"), ("0E-9", "0"), ("100", "100"), ("1.50", "1.5")]
)
def test_money_is_written_in_plain_digits(amount: str, text: str) -> None:
    assert turn_record(spoken_turn(), Cost(Decimal(amount), "priced", "backend"), None, NOW)["cost_usd"] == text


def test_nothing_reported_is_null() -> None:
    record = turn_record(replace(spoken_turn(), tokens=None), UNREPORTED, None, NOW)
    assert (record["tokens"], record["cost_usd"], record["cost_status"]) == (None, None, "unreported")


def test_a_duration_has_microseconds() -> None:
    assert turn_record(spoken_turn(), UNREPORTED, 0.003000000000156433, NOW)["duration"] == 0.003


def test_a_name_without_end_does_not_fill_the_log() -> None:
    turn = replace(spoken_turn(), request_model="m" * 100_000, response_model="n" * 100_000, response_id="r" * 100_000)
    assert len(repr(turn_record(turn, UNREPORTED, None, NOW))) < 2000


def test_every_record_is_json_whatever_the_names() -> None:
    """An event may hold half a surrogate pair, which JSON can write and UTF-8 cannot."""
    turn = replace(spoken_turn(), response_model="mod\ud800el", response_id="é" * 300)
    record = orjson.loads(orjson.dumps(turn_record(turn, UNREPORTED, None, NOW)))
    assert (record["response_model"], len(record["response_id"])) == ("mod?el", 256)
    assert orjson.dumps(session_record(replace(ended_session(), model="\udfff"), NOW))


def test_every_kind_of_token_is_in_the_record() -> None:
    tokens = Tokens(*range(1, len(fields(Tokens)) + 1))
    record = turn_record(replace(spoken_turn(), tokens=tokens), UNREPORTED, None, NOW)
    assert record["tokens"] == {each.name: number for number, each in enumerate(fields(Tokens), 1)}


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOW.replace(microsecond=0), "2026-11-01T12:30:15.000Z"),
        (NOW.astimezone(timezone(timedelta(hours=-7))), "2026-11-01T12:30:15.250Z"),
        (NOW.replace(microsecond=999_999), "2026-11-01T12:30:15.999Z"),
    ],
)
def test_times_are_in_utc(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_all_writers_get_the_same_record() -> None:
    first, second = Kept(), Kept()
    ticks = iter([NOW, NOW + timedelta(seconds=1)])
    records = FanOut(first, second, now=lambda: next(ticks))
    records.turn(spoken_turn(), PRICED, 0.5)
    records.session(ended_session())
    turn, session = first.records
    assert turn == turn_record(spoken_turn(), PRICED, 0.5, NOW)
    assert session == session_record(ended_session(), NOW + timedelta(seconds=1))
    assert all(mine is yours for mine, yours in zip(first.records, second.records, strict=True))


# -- docs/usage-records.md says what is so

PAGE = Path(__file__).parents[3] / "docs" / "usage-records.md"


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    _, _, rest = PAGE.read_text("utf-8").partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def documented(title: str) -> list[str]:
    """The names in the first column of a section's first table."""
    rows = re.findall(r"^\| (`.+?`) \|", section(title), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_the_page_shows_a_turn() -> None:
    [example] = re.findall(r"```json\n(.*?)```", section("A turn"), re.DOTALL)
    usage = replace(spoken_turn(), id=json.loads(example)["id"], session=json.loads(example)["session"])
    assert json.loads(example) == turn_record(usage, PRICED, None, NOW)


def test_the_page_has_every_field() -> None:
    assert documented("A turn") == list(turn_record(spoken_turn(), PRICED, None, NOW))
    assert sorted(documented("A session")) == sorted(session_record(ended_session(), NOW))
    assert sorted(documented("Tokens")) == sorted(each.name for each in fields(Tokens))


def test_the_page_has_every_value_that_a_field_may_take() -> None:
    text = section("A turn")
    for choice in (Status, Operation, PriceStatus, PriceSource):
        assert all(f"`{value}`" in text for value in get_args(choice) if value)


def test_the_page_says_what_the_sink_does() -> None:
    text, bounds = section("To a receiver of your own"), Bounds()
    assert all(f"| `{reason}` |" in text for reason in get_args(Reason))
    for said in (
        f"{bounds.batch_records} records or {bounds.batch_bytes // 1024} KiB",
        f"{bounds.age:g} second old",
        f"{bounds.queue_records:,} records or {bounds.queue_bytes // 1024**2} MiB",
        f"every {bounds.longest_retry:g} seconds",
        f"up to {bounds.longest_wait:g} seconds",
        f"for {bounds.patience / 60:g} minutes",
        f"within {TIMEOUT:g} seconds",
    ):
        assert said in " ".join(text.split())


def test_what_may_be_lost_is_0_from_the_beginning() -> None:
    """Prometheus' `rate` sees no increase in a series that begins above 0: an alert would miss the first loss."""
    instruments = Instruments()
    Log(instruments)
    assert instruments.usage_records.values == {
        ("log", "delivered", ""): 0,
        ("log", "dropped", "queue_full"): 0,
        ("log", "dropped", "failed"): 0,
    }
