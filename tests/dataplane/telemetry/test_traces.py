"""Spans of handshakes and turns, as a collector gets them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from dataplane.metering.instruments import Instruments
from dataplane.metering.prices import UNREPORTED, Cost
from dataplane.metering.usage import ANONYMOUS, Caller, Tokens
from dataplane.telemetry.facade import Telemetry
from dataplane.tracing import Handshake, Timing
from tests.dataplane.metering.cases import spoken_turn
from tests.dataplane.telemetry.collector import Collector, attributes

CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID, SPAN_ID = bytes.fromhex(CLIENT[3:35]), bytes.fromhex(CLIENT[36:52])
CALLER = Caller("ai", "ci-bot", "support")
OPENED = Handshake(
    session="session-1",
    route="ai/voice",
    backend="ai/voice",
    caller=CALLER,
    began=1000.0,
    ended=1000.25,
    status=101,
    provider="main",
    provider_kind="openai",
    model="gpt-realtime",
    upstream="api.example:443",
    dialled=1000.05,
)
PRICE = Cost(Decimal("0.0425"), "priced", "catalogue")
SPOKEN = Timing(began=1001.5, ended=1004.0, prompted=1001.0, first_audio=1001.75, trigger="voice")


@pytest.fixture
def telemetry(collector: Collector) -> Telemetry:
    return Telemetry(Instruments(), "1.2.3")


def parts(span: Span) -> dict[str, object]:
    return dict(attributes(span.attributes))


def test_a_handshake_is_a_span_with_one_of_the_dial_in_it(telemetry: Telemetry, collector: Collector) -> None:
    telemetry.tracer.handshake(OPENED)
    telemetry.shutdown()
    [server], [dial] = collector.named("GET ai/voice"), collector.named("dial main")
    assert (server.kind, dial.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert (server.trace_id, server.span_id) == (dial.trace_id, dial.parent_span_id)
    assert (server.parent_span_id, len(server.links)) == (b"", 0)
    times = [server.start_time_unix_nano, dial.start_time_unix_nano, server.end_time_unix_nano]
    assert times == pytest.approx([1000.0e9, 1000.05e9, 1000.25e9])
    assert parts(server) == {
        "http.request.method": "GET",
        "http.response.status_code": 101,
        "tidegate.session.id": "session-1",
        "tidegate.route": "ai/voice",
        "tidegate.backend": "ai/voice",
        "tidegate.provider": "main",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-realtime",
        "tidegate.caller.namespace": "ai",
        "tidegate.caller.key": "ci-bot",
        "tidegate.caller.team": "support",
    }
    assert parts(dial) == {
        "tidegate.provider": "main",
        "gen_ai.provider.name": "openai",
        "server.address": "api.example",
        "server.port": 443,
    }


@pytest.mark.parametrize(
    ("upstream", "server"),
    [
        ("[2001:db8::1]:8443", {"server.address": "2001:db8::1", "server.port": 8443}),
        ("somewhere", {}),
    ],
)
def test_where_the_upstream_is(
    telemetry: Telemetry, collector: Collector, upstream: str, server: dict[str, object]
) -> None:
    telemetry.tracer.handshake(replace(OPENED, upstream=upstream))
    telemetry.shutdown()
    [dial] = collector.named("dial main")
    assert {name: value for name, value in parts(dial).items() if name.startswith("server.")} == server


@pytest.mark.parametrize(
    ("status", "code", "server_fails", "dial_fails"),
    [
        (502, "upstream_unreachable", True, True),
        (429, "upstream_refused", False, True),
        (500, "internal_error", True, False),
    ],
)
def test_what_was_refused_says_why(
    telemetry: Telemetry, collector: Collector, status: int, code: str, server_fails: bool, dial_fails: bool
) -> None:
    telemetry.tracer.handshake(replace(OPENED, status=status, code=code))
    telemetry.shutdown()
    [server], [dial] = collector.named("GET ai/voice"), collector.named("dial main")
    assert (parts(server)["http.response.status_code"], parts(server)["error.type"]) == (status, code)
    assert parts(dial).get("error.type") == (code if dial_fails else None)
    failed = [span.status.code == Status.STATUS_CODE_ERROR for span in (server, dial)]
    assert failed == [server_fails, dial_fails]


def test_what_was_refused_before_it_went_anywhere_has_no_dial(telemetry: Telemetry, collector: Collector) -> None:
    refused = replace(OPENED, status=404, code="model_not_found", provider="", provider_kind="", upstream="")
    telemetry.tracer.handshake(replace(refused, dialled=None, model=""))
    telemetry.shutdown()
    [span] = collector.spans()
    assert parts(span)["error.type"] == "model_not_found"


def test_a_turn_is_a_trace_of_its_own_that_links_to_the_handshake(telemetry: Telemetry, collector: Collector) -> None:
    opened = telemetry.tracer.handshake(OPENED)
    telemetry.tracer.turn(spoken_turn(), PRICE, SPOKEN, opened)
    telemetry.shutdown()
    [handshake], [turn] = collector.named("GET ai/voice"), collector.named("realtime_inference gpt-realtime")
    assert turn.kind == Span.SPAN_KIND_CLIENT
    assert turn.parent_span_id == b""
    assert turn.trace_id != handshake.trace_id
    [link] = turn.links
    assert (link.trace_id, link.span_id) == (handshake.trace_id, handshake.span_id)
    assert turn.status.code == Status.STATUS_CODE_UNSET
    assert parts(turn) == {
        "gen_ai.operation.name": "realtime_inference",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-realtime",
        "gen_ai.response.model": "gpt-realtime-2025-08-28",
        "gen_ai.response.id": "resp_1",
        "gen_ai.response.finish_reasons": ["completed"],
        "gen_ai.conversation.id": "session-1",
        "gen_ai.realtime_session.id": "session-1",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 500,
        "gen_ai.usage.cache_read.input_tokens": 300,
        "gen_ai.usage.text.input_tokens": 200,
        "gen_ai.usage.audio.input_tokens": 800,
        "gen_ai.usage.text.cache_read.input_tokens": 50,
        "gen_ai.usage.audio.cache_read.input_tokens": 250,
        "gen_ai.usage.text.output_tokens": 100,
        "gen_ai.usage.audio.output_tokens": 400,
        "tidegate.session.id": "session-1",
        "tidegate.turn.id": "turn-1",
        "tidegate.turn.status": "completed",
        "tidegate.turn.trigger": "voice",
        "tidegate.route": "ai/voice",
        "tidegate.backend": "ai/voice",
        "tidegate.provider": "openai",
        "tidegate.requested.model": "voice",
        "tidegate.cost.usd": 0.0425,
        "tidegate.cost.status": "priced",
        "tidegate.estimated": False,
        "tidegate.first_audio_ms": 750.0,
        "tidegate.caller.namespace": "ai",
        "tidegate.caller.key": "ci-bot",
        "tidegate.caller.team": "support",
        "server.address": "api.example",
        "server.port": 443,
    }


def test_a_turn_begins_when_it_was_asked_for(telemetry: Telemetry, collector: Collector) -> None:
    telemetry.tracer.turn(spoken_turn(), PRICE, SPOKEN)
    telemetry.tracer.turn(spoken_turn(), PRICE, Timing(began=1001.5, ended=1004.0))
    telemetry.shutdown()
    asked, unasked = collector.spans()
    assert [span.start_time_unix_nano for span in (asked, unasked)] == pytest.approx([1001.0e9, 1001.5e9])
    assert [span.end_time_unix_nano for span in (asked, unasked)] == pytest.approx([1004.0e9] * 2)
    events = {event.name: event.time_unix_nano for event in asked.events}
    assert events == pytest.approx(
        {"tidegate.prompted": 1001.0e9, "tidegate.began": 1001.5e9, "tidegate.first_audio": 1001.75e9}
    )
    assert not unasked.events
    assert "tidegate.first_audio_ms" not in parts(unasked)


def test_what_was_estimated_is_kept_apart(telemetry: Telemetry, collector: Collector) -> None:
    tokens = Tokens(input_audio=10, output_audio=4)
    telemetry.tracer.turn(replace(spoken_turn(), status="lost", estimated=True, tokens=tokens), PRICE, SPOKEN)
    telemetry.shutdown()
    [span] = collector.spans()
    found = parts(span)
    assert found["tidegate.estimated"] is True
    assert found["tidegate.estimated_usage.audio.input_tokens"] == 10
    assert found["tidegate.estimated_usage.output_tokens"] == 4
    assert not [name for name in found if name.startswith("gen_ai.usage.")]


@pytest.mark.parametrize(
    ("status", "error"),
    [("completed", None), ("cancelled", None), ("incomplete", None), ("failed", "failed"), ("lost", "lost")],
)
def test_how_a_turn_ended(telemetry: Telemetry, collector: Collector, status: str, error: str | None) -> None:
    telemetry.tracer.turn(replace(spoken_turn(), status=status, tokens=None), UNREPORTED, SPOKEN)  # type: ignore[arg-type]
    telemetry.shutdown()
    [span] = collector.spans()
    assert parts(span)["tidegate.turn.status"] == status
    assert parts(span).get("error.type") == error
    assert (span.status.code == Status.STATUS_CODE_ERROR) is (error is not None)
    assert not [name for name in parts(span) if ".usage." in name or name == "tidegate.cost.usd"]


@pytest.mark.parametrize("by", ["", "voice", "client"])
def test_who_cut_a_turn_off(telemetry: Telemetry, collector: Collector, by: str) -> None:
    cut = replace(spoken_turn(), status="cancelled")
    telemetry.tracer.turn(cut, PRICE, replace(SPOKEN, interrupted_by=by))
    telemetry.shutdown()
    [span] = collector.spans()
    assert parts(span).get("tidegate.turn.interrupted_by", "") == by
    assert span.status.code == Status.STATUS_CODE_UNSET


def test_seconds_that_are_billed_are_no_tokens(telemetry: Telemetry, collector: Collector) -> None:
    heard = replace(spoken_turn(), operation="transcription", request_model="whisper-1", tokens=Tokens(seconds=1.5))
    telemetry.tracer.turn(heard, PRICE, Timing(began=1001.5, ended=1004.0))
    telemetry.shutdown()
    [span] = collector.named("transcription whisper-1")
    assert {name: value for name, value in parts(span).items() if "usage" in name} == {"tidegate.usage.seconds": 1.5}
    assert "gen_ai.response.finish_reasons" not in parts(span)


def test_an_authenticated_clients_span_is_the_parent(telemetry: Telemetry, collector: Collector) -> None:
    telemetry.tracer.handshake(replace(OPENED, traceparent=CLIENT))
    chat = replace(spoken_turn(), operation="chat", session="")
    telemetry.tracer.turn(chat, PRICE, Timing(1000.0, 1001.0), traceparent=CLIENT)
    telemetry.shutdown()
    for name in ("GET ai/voice", "chat gpt-realtime"):
        [span] = collector.named(name)
        assert (span.trace_id, span.parent_span_id, len(span.links)) == (TRACE_ID, SPAN_ID, 0)


def test_a_strangers_span_is_only_linked(telemetry: Telemetry, collector: Collector) -> None:
    telemetry.tracer.handshake(replace(OPENED, traceparent=CLIENT, caller=ANONYMOUS))
    chat = replace(spoken_turn(), operation="chat", caller=ANONYMOUS)
    telemetry.tracer.turn(chat, PRICE, Timing(1000.0, 1001.0), traceparent=CLIENT)
    telemetry.shutdown()
    for name in ("GET ai/voice", "chat gpt-realtime"):
        [span] = collector.named(name)
        assert (span.trace_id == TRACE_ID, span.parent_span_id) == (False, b"")
        assert [(link.trace_id, link.span_id) for link in span.links] == [(TRACE_ID, SPAN_ID)]


def test_who_decides_about_sampling(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    """By default a parent does. Its word is a stranger's only on paper."""
    telemetry = Telemetry(Instruments())
    unsampled = CLIENT[:-2] + "00"
    telemetry.tracer.handshake(replace(OPENED, traceparent=unsampled, session="theirs"))
    telemetry.tracer.handshake(replace(OPENED, traceparent=unsampled, session="ours", caller=ANONYMOUS))
    telemetry.shutdown()
    assert [parts(span)["tidegate.session.id"] for span in collector.named("GET ai/voice")] == ["ours"]


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
def test_a_stranger_cannot_have_sampled_what_is_not(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, sampler: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    telemetry = Telemetry(Instruments())
    opened = telemetry.tracer.handshake(replace(OPENED, traceparent=CLIENT, caller=ANONYMOUS))
    telemetry.tracer.turn(spoken_turn(), PRICE, SPOKEN, opened)
    telemetry.shutdown()
    assert collector.spans() == []


@pytest.mark.parametrize("bad", ["x", CLIENT + "-", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff" + CLIENT[2:]])
def test_a_traceparent_that_is_none_is_ignored(telemetry: Telemetry, collector: Collector, bad: str) -> None:
    for caller in (CALLER, ANONYMOUS):
        telemetry.tracer.handshake(replace(OPENED, traceparent=bad, caller=caller))
    telemetry.shutdown()
    for span in collector.named("GET ai/voice"):
        assert (span.parent_span_id, len(span.links)) == (b"", 0)


def test_names_from_outside_are_bounded_and_never_lose_a_batch(telemetry: Telemetry, collector: Collector) -> None:
    hostile = replace(
        spoken_turn(), request_model="half\ud83d" * 100_000, response_model="half\ud83d", response_id="r" * 9999
    )
    telemetry.tracer.turn(hostile, PRICE, SPOKEN)
    telemetry.tracer.handshake(replace(OPENED, model="n\udc80" * 9999))
    telemetry.shutdown()
    assert len(collector.spans()) == 3
    assert len(collector.everything()) < 20_000


def test_spans_say_who_sent_them(telemetry: Telemetry, collector: Collector) -> None:
    telemetry.tracer.handshake(OPENED)
    telemetry.shutdown()
    [resource] = collector.resources()
    assert (resource["service.name"], resource["service.version"], resource["service.instance.id"]) == (
        "tidegate",
        "1.2.3",
        "pod-1",
    )
