"""Records of turns and sessions as OTLP logs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from dataplane.metering.instruments import Instruments
from dataplane.metering.prices import UNREPORTED, Cost
from dataplane.metering.records import FanOut
from dataplane.telemetry.facade import Telemetry
from tests.dataplane.metering.cases import ended_session, spoken_turn
from tests.dataplane.telemetry.collector import Collector, attributes

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
PRICE = Cost(Decimal("0.0425"), "priced", "catalogue")


def written(telemetry: Telemetry) -> FanOut:
    return FanOut(*telemetry.records, now=lambda: NOON)


def test_a_turn_is_an_event_with_the_fields_of_its_record(collector: Collector) -> None:
    telemetry = Telemetry(Instruments(), "1.2.3")
    written(telemetry).turn(spoken_turn(), PRICE, 2.5)
    telemetry.shutdown()
    [record] = collector.records()
    assert (record.event_name, record.severity_text) == ("tidegate.turn", "INFO")
    found = attributes(record.attributes)
    assert found == {
        "tidegate.kind": "turn",
        "tidegate.id": "turn-1",
        "tidegate.time": "2026-11-01T12:00:00.000Z",
        "tidegate.session": "session-1",
        "tidegate.response_id": "resp_1",
        "tidegate.operation": "realtime_inference",
        "tidegate.status": "completed",
        "tidegate.route": "ai/voice",
        "tidegate.backend": "ai/voice",
        "tidegate.provider": "openai",
        "tidegate.provider_kind": "openai",
        "tidegate.public_model": "voice",
        "tidegate.request_model": "gpt-realtime",
        "tidegate.response_model": "gpt-realtime-2025-08-28",
        "tidegate.caller.namespace": "ai",
        "tidegate.caller.key": "ci-bot",
        "tidegate.caller.team": "support",
        "tidegate.estimated": False,
        "tidegate.tokens.input_text": 200,
        "tidegate.tokens.input_audio": 800,
        "tidegate.tokens.cached_text": 50,
        "tidegate.tokens.cached_audio": 250,
        "tidegate.tokens.output_text": 100,
        "tidegate.tokens.output_audio": 400,
        "tidegate.cost_usd": "0.0425",
        "tidegate.cost_status": "priced",
        "tidegate.price_source": "catalogue",
        "tidegate.duration": 2.5,
    }


def test_a_session_that_ended_is_one_too(collector: Collector) -> None:
    telemetry = Telemetry(Instruments())
    written(telemetry).session(ended_session())
    telemetry.shutdown()
    [record] = collector.records()
    found = attributes(record.attributes)
    assert record.event_name == "tidegate.session.ended"
    assert (found["tidegate.id"], found["tidegate.close_code"], found["tidegate.turns"]) == ("session-1", 1000, 1)
    assert (found["tidegate.reason"], found["tidegate.initiator"]) == ("client_closed", "client")
    assert found["tidegate.tokens.input_audio"] == 800


def test_what_nobody_reported_is_left_out(collector: Collector) -> None:
    telemetry = Telemetry(Instruments())
    written(telemetry).turn(replace(spoken_turn(), tokens=None, session=""), UNREPORTED, None)
    telemetry.shutdown()
    [record] = collector.records()
    found = attributes(record.attributes)
    assert found["tidegate.cost_status"] == "unreported"
    assert not [name for name in found if name.startswith("tidegate.tokens.")]
    assert not {"tidegate.session", "tidegate.cost_usd", "tidegate.duration"} & set(found)


def test_every_record_has_an_id_of_its_own(collector: Collector) -> None:
    telemetry = Telemetry(Instruments())
    for number in range(1500):  # some batches
        written(telemetry).turn(replace(spoken_turn(), id=f"turn-{number}"), PRICE, None)
    telemetry.shutdown()
    assert sorted(map(_id, collector.records())) == sorted(f"turn-{number}" for number in range(1500))


def _id(record: LogRecord) -> str:
    return str(attributes(record.attributes)["tidegate.id"])


def test_names_from_outside_never_lose_a_batch(collector: Collector) -> None:
    telemetry = Telemetry(Instruments())
    hostile = replace(spoken_turn(), request_model="m" * 100_000, response_model="half\ud83d", response_id="r\udc80")
    written(telemetry).turn(hostile, PRICE, None)
    telemetry.shutdown()
    assert len(collector.records()) == 1
    assert len(collector.everything()) < 20_000


@pytest.mark.parametrize("variable", ["OTEL_LOGS_EXPORTER", "OTEL_SDK_DISABLED"])
def test_not_asked_for_is_not_written(collector: Collector, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "none" if variable == "OTEL_LOGS_EXPORTER" else "true")
    telemetry = Telemetry(Instruments())
    assert telemetry.records == ()
    telemetry.shutdown()
