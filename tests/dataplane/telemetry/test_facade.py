"""What the environment asks for, what is lost, and how it all ends."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from dataplane.metering.instruments import Instruments
from dataplane.metering.records import FanOut
from dataplane.telemetry.delivery import Delivery
from dataplane.telemetry.environment import QUEUE, Signal, queue, wanted
from dataplane.telemetry.facade import Telemetry
from dataplane.telemetry.quiet import Seldom
from dataplane.tracing import Untraced
from tests.dataplane.metering.cases import spoken_turn
from tests.dataplane.telemetry.collector import Collector
from tests.dataplane.telemetry.test_traces import OPENED, PRICE

ALL = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}


@pytest.mark.parametrize(
    ("env", "asked"),
    [
        ({}, ""),
        (ALL, "metrics traces logs"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "traces"),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c:4318/v1/logs"}, "logs"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "traces"),
        ({"OTEL_METRICS_EXPORTER": "prometheus, otlp"}, "metrics"),
        ({**ALL, "OTEL_LOGS_EXPORTER": "none"}, "metrics traces"),
        ({**ALL, "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_TRACES_EXPORTER": "none"}, "logs"),
        ({**ALL, "OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"}, ""),
        ({**ALL, "OTEL_SDK_DISABLED": "false"}, "metrics traces logs"),
    ],
)
def test_the_standard_variables_say_what_is_exported(env: Mapping[str, str], asked: str) -> None:
    signals: tuple[Signal, ...] = ("metrics", "traces", "logs")
    assert [signal for signal in signals if wanted(signal, env)] == asked.split()


@pytest.mark.parametrize(("said", "size"), [("", QUEUE), ("7", 7), ("many", QUEUE), ("0", QUEUE), ("-1", QUEUE)])
def test_how_much_may_wait(monkeypatch: pytest.MonkeyPatch, said: str, size: int) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", said)
    assert (queue("traces"), queue("logs")) == (size, QUEUE)


def busy(telemetry: Telemetry, turns: int = 1) -> None:
    telemetry.tracer.handshake(OPENED)
    for _ in range(turns):
        FanOut(*telemetry.records).turn(spoken_turn(), PRICE, None)


def test_nothing_is_exported_that_nobody_asked_for(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    telemetry = Telemetry(Instruments())
    assert isinstance(telemetry.tracer, Untraced)
    busy(telemetry)
    telemetry.shutdown()
    assert collector.bodies == []


def test_all_three_signals_go_to_one_endpoint(collector: Collector) -> None:
    telemetry = Telemetry(Instruments())
    busy(telemetry)
    telemetry.shutdown()
    assert {path for path, _ in collector.bodies} == {"/v1/metrics", "/v1/traces", "/v1/logs"}


def lost(instruments: Instruments) -> dict[str, float]:
    """Of spans and of records, by result and reason."""
    spans = {"spans " + " ".join(labels).strip(): value for labels, value in instruments.spans.values.items()}
    every = spans | {" ".join(labels).strip(): value for labels, value in instruments.usage_records.values.items()}
    return {outcome: items for outcome, items in every.items() if items}


def test_what_arrives_is_counted(collector: Collector) -> None:
    instruments = Instruments()
    telemetry = Telemetry(instruments)
    assert instruments.spans.values == {("delivered", ""): 0, ("dropped", "queue_full"): 0, ("dropped", "failed"): 0}
    busy(telemetry, turns=3)
    telemetry.shutdown()
    assert lost(instruments) == {"spans delivered": 2, "otlp delivered": 3}


def test_what_a_collector_refuses_is_counted(collector: Collector) -> None:
    collector.status = 400
    instruments = Instruments()
    telemetry = Telemetry(instruments)
    busy(telemetry, turns=3)
    telemetry.shutdown()
    assert lost(instruments) == {"spans dropped failed": 2, "otlp dropped failed": 3}


def test_a_collector_that_is_silent_costs_no_more_than_the_queue(
    silent: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    for variable in ("OTEL_BSP", "OTEL_BLRP"):
        monkeypatch.setenv(f"{variable}_MAX_QUEUE_SIZE", "10")
        monkeypatch.setenv(f"{variable}_MAX_EXPORT_BATCH_SIZE", "4")
    instruments = Instruments()
    telemetry = Telemetry(instruments)
    for _ in range(50):
        busy(telemetry, turns=2)
    assert lost(instruments) == {"spans dropped queue_full": 90, "otlp dropped queue_full": 90}
    silent.released.set()
    telemetry.shutdown(20)
    assert (len(silent.spans()), len(silent.records())) == (10, 10)


@pytest.mark.parametrize("outcome", ["taken", "refused", "failing"])
def test_what_was_carried_makes_room(outcome: str) -> None:
    instruments = Instruments()
    delivery = Delivery(2, instruments.spans, instruments.lock)

    def export(batch: Sequence[int]) -> str:
        if outcome == "failing":
            raise OSError
        return outcome

    for _ in range(3):
        assert [delivery.admitted() for _ in range(3)] == [True, True, False]
        with suppress(OSError):
            assert delivery.carried([1, 2], export, "taken") == outcome
    carried = "delivered" if outcome == "taken" else "dropped failed"
    assert lost(instruments) == {f"spans {carried}": 6, "spans dropped queue_full": 3}


async def test_the_end_waits_no_longer_than_it_is_told(silent: Collector) -> None:
    """OpenTelemetry waits for half a minute."""
    telemetry = Telemetry(Instruments())
    busy(telemetry)
    with capture_logs() as logs:
        await asyncio.wait_for(asyncio.to_thread(telemetry.shutdown, 0.5), 20)
    assert not silent.released.is_set()
    assert [line["signals"] for line in logs if "did not take" in line["event"]] == [["metrics", "traces", "logs"]]


def test_nothing_waits_for_a_collector_that_is_gone(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    instruments = Instruments()
    telemetry = Telemetry(instruments)
    busy(telemetry)
    telemetry.shutdown()
    assert lost(instruments) == {"spans dropped failed": 2, "otlp dropped failed": 1}


def test_a_missing_exporter_is_told_once_and_metrics_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with capture_logs() as logs:
        telemetry = Telemetry(Instruments())
    [line] = logs
    assert "tidegate[otlp]" in line["event"]
    assert line["signals"] == ["metrics", "traces", "logs"]
    assert isinstance(telemetry.tracer, Untraced)
    assert b"target_info" in telemetry.exposition()
    telemetry.shutdown()


def test_a_protocol_that_is_not_spoken_is_told(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf")
    with capture_logs() as logs:
        telemetry = Telemetry(Instruments())
    assert [line["signal"] for line in logs] == ["metrics", "traces"]
    busy(telemetry)
    telemetry.shutdown()
    assert {path for path, _ in collector.bodies} == {"/v1/logs"}


@pytest.mark.parametrize("endpoint", ["htp:/x", "nonsense", "http://127.0.0.1:99999", "http://user:S3CRET@[::1"])
def test_an_endpoint_that_is_none_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, endpoint: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)
    with capture_logs() as logs:
        telemetry = Telemetry(Instruments())
    assert [line["signal"] for line in logs] == ["traces"]
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in str(logs)
    assert "S3CRET" not in str(logs)
    busy(telemetry)
    telemetry.shutdown()
    assert {path for path, _ in collector.bodies} == {"/v1/metrics", "/v1/logs"}, "the others are not affected"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")],
)
def test_a_setting_that_cannot_be_costs_its_signal_alone(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with capture_logs() as logs:
        telemetry = Telemetry(Instruments())
    assert [line["signal"] for line in logs] == ["traces"]
    busy(telemetry)
    telemetry.shutdown()
    assert {path for path, _ in collector.bodies} == {"/v1/metrics", "/v1/logs"}


def test_a_header_that_cannot_be_read_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team: c0ffee-secret")
    with capture_logs() as logs:
        Telemetry(Instruments()).shutdown()
    assert {line["event"] for line in logs} == {
        "a header in OTEL_EXPORTER_OTLP_HEADERS is not sent: write name=value,name=value"
    }
    assert "c0ffee" not in caplog.text


def test_a_collector_that_is_away_is_worth_a_line_a_minute() -> None:
    seldom = Seldom()

    def passes(second: float, logger: str = "spans", level: int = logging.WARNING) -> bool:
        record = logging.LogRecord(logger, level, __file__, 1, "Transient error", (), None)
        record.created = second
        return seldom.filter(record)

    assert [second for second in range(0, 130, 5) if passes(second)] == [0, 60, 120]
    assert passes(130, level=logging.ERROR)
    assert passes(130, logger="logs")


def test_no_thread_is_left_behind(collector: Collector) -> None:
    before = set(threading.enumerate())
    telemetry = Telemetry(Instruments())
    busy(telemetry)
    telemetry.shutdown()
    assert {thread for thread in threading.enumerate() if thread.name.startswith("Otel")} <= before
