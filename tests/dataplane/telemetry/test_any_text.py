"""Whatever text comes in as a name, everything that is told of it can still be read."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from dataplane.metering.counters import Histogram
from dataplane.metering.instruments import Instruments
from dataplane.metering.labels import LABEL_SETS
from dataplane.metering.meter import Meter
from dataplane.metering.names import LONGEST, clean
from dataplane.metering.prices import Cost, PriceBook
from dataplane.metering.records import FanOut, SessionSummary, session_record, turn_record
from dataplane.metering.usage import Caller, Usage
from dataplane.telemetry.facade import Telemetry
from dataplane.telemetry.metrics import Metrics, Source
from dataplane.tracing import Handshake, Timing
from tests.dataplane.metering.cases import NOW, Ledger, ended_session, spoken_turn
from tests.dataplane.telemetry.collector import Collector, attributes

HOSTILE = (
    "half \ud800",
    "\udc80",
    "a\0b",
    "a\nb\r\nc",
    'quote " back \\ {x="1"} 1',
    "x" * 10_000,
    "\u2028\x85\x1b[31m",
    "é",
)
text = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=()), max_size=40))
Made = TypeVar("Made", Usage, SessionSummary, Handshake)


def any_text(draw: st.DrawFn, made: Made) -> Made:
    """With any text in each field that holds some, but for those of which we say what may be in them."""
    ours = {
        *("id", "operation", "status", "session", "provider_kind"),
        *("reason", "initiator", "traceparent", "upstream"),
    }
    names = [each.name for each in fields(made) if isinstance(getattr(made, each.name), str) and each.name not in ours]
    changes: dict[str, Any] = {name: draw(text) for name in names}
    return replace(made, caller=Caller(draw(text), draw(text), draw(text)), **changes)


@st.composite
def turns(draw: st.DrawFn) -> Usage:
    return any_text(draw, spoken_turn())


@st.composite
def sessions(draw: st.DrawFn) -> SessionSummary:
    return any_text(draw, ended_session())


@st.composite
def handshakes(draw: st.DrawFn) -> Handshake:
    return any_text(draw, Handshake("s", "r", "b", Caller(), 1.0, 2.0, 101, "c", "p", "k", "m", "h:1", dialled=1.5))


def assert_legible(instruments: Instruments) -> list[Metric]:
    """By Prometheus and by OTLP; what Prometheus gets."""
    metrics = Metrics(instruments, Resource({}))
    exposition = metrics.exposition().decode()
    metrics.shutdown()
    assert not set(exposition) & {"\0", "\r"}
    found = list(text_string_to_metric_families(exposition))
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for sample in (sample for family in found for sample in family.samples):
        series = sample.name, frozenset(sample.labels.items())
        assert series not in seen, "Prometheus takes a series once"
        seen.add(series)
        assert max(map(len, sample.labels.values()), default=0) <= 512
    encode_metrics(Source(instruments, Resource({})).collect(InMemoryMetricReader())).SerializeToString()
    return found


@settings(max_examples=25)
@given(st.data())
def test_in_any_label_of_any_metric(data: st.DataObject) -> None:
    instruments = Instruments()
    for each in instruments.all():
        for _ in range(2):
            labels = tuple(data.draw(text) for _ in each.definition.labels)
            if isinstance(each, Histogram):
                each.observe(labels, 1.0)
            else:
                each.add(labels, 1.0)
    samples = [sample for family in assert_legible(instruments) for sample in family.samples]
    counted = {each.definition.name for each in instruments.all()}
    assert len({sample.name for sample in samples}) >= len(counted), "none is lost"


@settings(max_examples=25)
@given(turns(), sessions(), text)
def test_in_what_the_meter_is_told(turn: Usage, session: SessionSummary, word: str) -> None:
    instruments = Instruments()
    meter = Meter(instruments, PriceBook(now=lambda: NOW), Ledger())
    for estimated in (False, True):
        meter.turn(replace(turn, estimated=estimated), duration=1.0)
    where = session.route, session.backend
    meter.session_opened(*where, session.caller, by_key=session.by_key)
    meter.session_closed(session)
    meter.tunnel_opened(*where)
    meter.handshake(*where, 101, 1.0)
    meter.first_audio(*where, turn.response_model, word, 0.1, confirmed=True)
    meter.interrupted(*where, turn.response_model, word, confirmed=True)
    meter.traffic(*where, word, 1, 1, 1)
    meter.request(*where, 200, word, 1.0)
    meter.unmetered(word, *where)
    assert_legible(instruments)
    assert set(instruments.sessions_active.values.values()) == {0}, "what was opened is closed"


@settings(max_examples=50)
@given(turns(), sessions())
def test_in_a_record(turn: Usage, session: SessionSummary) -> None:
    for record in (
        turn_record(turn, Cost(Decimal(1), "priced", "backend"), None, NOW),
        session_record(session, NOW),
    ):
        line = orjson.dumps(record)
        assert json.loads(line) == record
        assert len(line) < 12 * LONGEST * 4 + 1000


# The exporters' threads draw random numbers while Hypothesis looks whether its strategies do.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
def test_in_spans_and_log_records(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    """All arrive: one that cannot be encoded would take its batch with it. Nobody can fill the log, either."""
    telemetry = Telemetry(Instruments())
    out = FanOut(*telemetry.records)
    cost, sent = Cost(Decimal(1), "priced", "backend"), 0

    @settings(max_examples=40)
    @given(turns(), sessions(), handshakes(), text)
    def tell(turn: Usage, session: SessionSummary, handshake: Handshake, word: str) -> None:
        nonlocal sent
        opened = telemetry.tracer.handshake(handshake)
        timing = Timing(1.0, 2.0, trigger=word, interrupted_by=word)
        telemetry.tracer.turn(turn, cost, timing, opened, traceparent=word)
        out.turn(turn, cost, None)
        out.session(session)
        sent += 1

    with capture_logs() as log:
        tell()
        telemetry.shutdown()
    assert (len(collector.spans()), len(collector.records())) == (3 * sent, 2 * sent)
    assert (log, caplog.records) == ([], [])
    texts = [
        value
        for span in collector.spans()
        for value in [span.name, *attributes(span.attributes).values()]
        if isinstance(value, str)
    ]
    assert max(map(len, texts)) <= len("realtime_inference ") + LONGEST


def test_of_the_process_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment may hold any bytes."""
    monkeypatch.setenv("POD_UID", "pod\udcff\n1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gate\udcffway")
    telemetry = Telemetry(Instruments(), version="1")
    families = {each.name: each for each in text_string_to_metric_families(telemetry.exposition().decode())}
    telemetry.shutdown()
    [sample] = families["target_info"].samples
    assert (sample.labels["service_instance_id"], sample.labels["service_name"]) == ("pod??1", "gate?way")


def test_what_becomes_of_it() -> None:
    assert [clean(each, 12) for each in HOSTILE] == [
        "half ?", "?", "a?b", "a?b??c", 'quote " bac…', "x" * 11 + "…", "???[31m", "é"
    ]  # fmt: skip


def test_names_that_become_one_are_one_series_and_do_not_fill_the_metric() -> None:
    instruments = Instruments()
    for number in range(LABEL_SETS + 5):
        instruments.sessions.add(("route" + chr(0xD800 + number % 1000), "b", "", ""))
        instruments.loop_lag.observe((), 0.1)
        instruments.session_duration.observe(("x" * 1000 + str(number), "b"), 1.0)
    assert instruments.sessions.values == {("route?", "b", "", ""): LABEL_SETS + 5}
    assert len(instruments.session_duration.series) == 1
