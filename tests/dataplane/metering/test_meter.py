"""What goes into the meter comes out of the instruments, to the token and per label set."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane import table
from dataplane.metering import instruments as names
from dataplane.metering.counters import Counter, Definition, Histogram
from dataplane.metering.labels import LABEL_SETS, OVERFLOW, Labels
from dataplane.metering.usage import ANONYMOUS, NO_TOKENS, Caller, Tokens, Usage
from dataplane.realtime import endings
from tests.dataplane.metering.cases import (
    SPOKEN,
    ended_session,
    estimated_turn,
    new_meter,
    spoken_turn,
    take_everything,
)

amounts = st.integers(0, 10**6)


@st.composite
def tokens(draw: st.DrawFn) -> Tokens:
    parts = {name: draw(amounts) for name in ("input_text", "input_audio", "input_image", "input_unknown")}
    parts |= {name: draw(amounts) for name in ("output_text", "output_audio", "output_image", "output_unknown")}
    parts |= {f"cached_{kind}": draw(st.integers(0, parts[f"input_{kind}"])) for kind in ("text", "audio", "image")}
    parts["cached_unknown"] = draw(st.integers(0, parts["input_unknown"]))
    parts["cache_write"] = draw(st.integers(0, parts["input_unknown"] - parts["cached_unknown"]))
    parts["reasoning"] = draw(st.integers(0, parts["output_text"]))
    return Tokens(**parts, seconds=draw(st.sampled_from([0.0, 0.5, 2.25])))


turns = st.builds(
    Usage,
    id=st.uuids().map(str),
    operation=st.sampled_from(["chat", "realtime_inference", "transcription"]),
    status=st.sampled_from(["completed", "cancelled", "failed", "incomplete", "lost"]),
    tokens=st.none() | tokens(),
    provider=st.just("main"),
    provider_kind=st.sampled_from(["openai", "custom"]),
    request_model=st.sampled_from(["gpt-realtime", "gpt-4o"]),
    response_model=st.sampled_from(["gpt-realtime", "gpt-4o-2024-08-06"]),
    route=st.sampled_from(["ai/a", "ai/b"]),
    backend=st.just("ai/main"),
    caller=st.sampled_from([ANONYMOUS, Caller("ai", "ci-bot", "support"), Caller("ai", "web", "support")]),
    estimated=st.booleans(),
    by_key=st.booleans(),
)


def sums(histogram: Histogram) -> dict[Labels, float]:
    return {labels: series.sum for labels, series in histogram.series.items()}


def labels_of(usage: Usage) -> Labels:
    return (
        usage.operation,
        usage.provider_kind,
        usage.request_model,
        usage.response_model,
        usage.route,
        usage.backend,
        usage.caller.team,
        usage.caller.key if usage.by_key else "",
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(turns, max_size=12))
def test_every_metric_is_the_sum_of_the_turns_per_label_set(many: list[Usage]) -> None:
    meter, i, ledger = new_meter()
    counted: dict[str, dict[Labels, int]] = defaultdict(lambda: defaultdict(int))
    for usage in many:
        meter.turn(usage)
        t = usage.tokens or NO_TOKENS
        said = "unreported" if usage.tokens is None else "estimated" if usage.estimated else "reported"
        counted["turns"][*labels_of(usage), usage.status, said] += 1
        for direction in ("input", "output"):
            for modality in ("text", "audio", "image", "unknown"):
                amount = getattr(t, f"{direction}_{modality}")
                if amount and usage.estimated:
                    counted["estimated"][*labels_of(usage), direction, modality] += amount
                elif amount:
                    counted[direction][*labels_of(usage), modality] += amount
        for name, modality, amount in (
            ("cached", "text", t.cached_text),
            ("cached", "audio", t.cached_audio),
            ("cached", "image", t.cached_image),
            ("cached", "unknown", t.cached_unknown),
            ("written", "unknown", t.cache_write),
            ("reasoning", "unknown", t.reasoning),
        ):
            if amount and not usage.estimated:
                counted[name][*labels_of(usage), modality] += amount

    assert nonzero(i.input_tokens) == counted["input"]
    assert nonzero(i.output_tokens) == counted["output"]
    assert nonzero(i.cache_read) == counted["cached"]
    assert nonzero(i.cache_write) == counted["written"]
    assert nonzero(i.reasoning) == counted["reasoning"]
    assert nonzero(i.turns) == counted["turns"]
    assert nonzero(i.estimated_tokens) == counted["estimated"]

    reported = [usage.tokens for usage in many if usage.tokens is not None and not usage.estimated]
    estimated = [usage.tokens for usage in many if usage.tokens is not None and usage.estimated]
    assert sum(sums(i.operation_input).values()) == sum(t.input for t in reported)
    assert sum(sums(i.operation_output).values()) == sum(t.output for t in reported)
    assert sum(sums(i.token_usage).values()) == sum(t.input + t.output for t in reported)
    assert sum(i.transcription_seconds.values.values()) == sum(t.seconds for t in reported)
    assert sum(i.estimated_seconds.values.values()) == sum(t.seconds for t in estimated)
    assert sum(i.cost_lookups.values.values()) == len(reported)
    for counter, of_estimates in ((i.cost, False), (i.estimated_cost, True)):
        priced = [cost.usd for usage, cost, _ in ledger.turns if cost.usd and usage.estimated is of_estimates]
        assert sum(counter.values.values()) == pytest.approx(float(sum(priced)))
    assert [usage for usage, _, _ in ledger.turns] == many


def nonzero(counter: Counter) -> dict[Labels, float]:
    return {labels: value for labels, value in counter.values.items() if value}


def test_a_turn_is_priced_recorded_and_timed() -> None:
    meter, i, ledger = new_meter()
    usage = replace(spoken_turn(), operation="chat", status="failed")
    cost = meter.turn(usage, duration=1.5)
    assert cost.usd == Decimal("0.04552")
    assert ledger.turns == [(usage, cost, 1.5)]
    for histogram in (i.operation_duration, i.inference_duration):
        assert sums(histogram) == {(*labels_of(usage), "failed"): 1.5}


def test_success_and_interruption_are_no_errors() -> None:
    meter, i, _ = new_meter()
    for status in ("completed", "cancelled", "incomplete"):
        meter.turn(replace(spoken_turn(), status=status), duration=1.0)
    assert set(i.inference_duration.series) == {(*labels_of(spoken_turn()), "")}


def test_the_public_model_s_own_price_wins() -> None:
    meter, _, _ = new_meter()
    cost = meter.turn(spoken_turn(), table.Price(output_audio="0"))
    assert (cost.usd, cost.source) == (Decimal("0.04552") - 400 * Decimal(64) / 10**6, "mixed")


def test_the_asked_model_s_price_holds_where_the_answered_one_is_unknown() -> None:
    meter, _, _ = new_meter()
    assert meter.turn(replace(spoken_turn(), response_model="snapshot-of-today")).usd == Decimal("0.04552")


def test_without_usage_there_is_a_turn_and_no_cost() -> None:
    meter, i, _ = new_meter()
    cost = meter.turn(replace(spoken_turn(), tokens=None, status="failed"))
    assert (cost.usd, cost.status) == (None, "unreported")
    assert not i.cost_lookups.values
    assert not i.operation_input.series
    assert list(i.input_tokens.values.values()) == [0]
    assert list(i.turns.values) == [(*labels_of(spoken_turn()), "failed", "unreported")]


def test_an_estimate_is_apart_from_what_was_reported() -> None:
    """The same numbers, reported and estimated: neither finds its way into a figure of the other."""
    meter, i, ledger = new_meter()
    meter.turn(spoken_turn())
    before = {each.definition.name: each for each in i.snapshot()}
    cost = meter.turn(replace(spoken_turn(), estimated=True))
    changed = {each.definition.name for each in i.snapshot() if each != before[each.definition.name]}
    counters = {"gen_ai.client.inference.usage.input_tokens", "gen_ai.client.inference.usage.output_tokens"}
    assert changed - counters == {"tidegate.turns", "tidegate.estimated.tokens", "tidegate.estimated.cost"}
    assert nonzero(i.input_tokens) == {
        (*labels_of(spoken_turn()), "text"): 200,
        (*labels_of(spoken_turn()), "audio"): 800,
    }
    assert i.estimated_cost.values == {labels_of(spoken_turn()): float(cost.usd or 0)} == i.cost.values
    assert [usage.estimated for usage, _, _ in ledger.turns] == [False, True]


def test_an_estimate_confirms_no_model() -> None:
    meter, i, _ = new_meter()
    meter.turn(replace(spoken_turn(), request_model="made-up", response_model="", estimated=True))
    assert {labels[2] for labels in i.turns.values} == {"_OTHER"}


def test_how_long_a_turn_took_is_known_of_estimated_ones_too() -> None:
    meter, i, _ = new_meter()
    meter.turn(replace(estimated_turn(), operation="chat"), duration=1.5)
    assert list(sums(i.inference_duration).values()) == [1.5]


def test_seconds_alone_do_not_count_as_zero_tokens() -> None:
    meter, i, _ = new_meter()
    heard = replace(spoken_turn(), operation="transcription", tokens=Tokens(seconds=1.5), request_model="whisper-1")
    meter.turn(heard)
    assert not i.token_usage.series
    assert sum(i.transcription_seconds.values.values()) == 1.5


def test_clients_cannot_make_up_series() -> None:
    meter, i, _ = new_meter()
    made_up = replace(spoken_turn(), request_model="made-up", response_model="", tokens=None, status="failed")
    meter.turn(made_up)
    meter.load(
        table.Table(
            backends=(
                table.Backend(
                    name="ai/voice",
                    providers=(table.Provider(name="openai", kind="openai", url="https://api.openai.com/v1"),),
                    models=(table.Model(name="voice", targets=(table.Target(provider="openai", model="declared"),)),),
                ),
            )
        )
    )
    meter.turn(replace(made_up, request_model="declared"))
    meter.turn(replace(made_up, request_model="confirmed", response_model="confirmed"))
    meter.turn(replace(made_up, request_model="x" * 4000, response_model="y" * 4000))
    asked = [labels[2] for labels in i.turns.values]
    answered = [labels[3] for labels in i.turns.values]
    assert asked == ["_OTHER", "declared", "confirmed", "_OTHER"]
    assert answered == ["", "", "confirmed", "_OTHER"]


def test_what_users_hear_names_no_model_that_a_client_made_up() -> None:
    meter, i, _ = new_meter()
    target = table.Target(provider="openai", model="declared")
    served = table.Backend(
        name="ai/voice",
        providers=(table.Provider(name="openai", kind="openai", url="https://api.openai.com/v1"),),
        models=(table.Model(name="voice", targets=(target,)),),
    )
    meter.load(table.Table(backends=(served,)))
    where = ("ai/voice", "ai/voice")
    for model, confirmed in (("made-up", False), ("declared", False), ("confirmed", True)):
        meter.first_audio(*where, model, "voice", 0.5, confirmed=confirmed)
        meter.interrupted(*where, model, "voice", confirmed=confirmed)
    names = ["_OTHER", "declared", "confirmed"]
    assert [labels[2] for labels in sums(i.first_audio)] == names
    assert [labels[2] for labels in i.interruptions.values] == names


@pytest.mark.parametrize(("by_key", "key"), [(False, ""), (True, "ci-bot")])
def test_sessions(by_key: bool, key: str) -> None:
    meter, i, ledger = new_meter()
    where, ended = ("ai/voice", "ai/voice"), replace(ended_session(), by_key=by_key)
    who = (*where, "support", key)
    meter.session_opened(*where, ended.caller, by_key=by_key)
    meter.session_opened(*where, ended.caller, by_key=by_key)
    assert i.sessions_active.values == {who: 2}
    meter.session_closed(ended)
    assert i.sessions_active.values == {who: 1}
    assert i.sessions.values == {who: 2}
    assert sums(i.session_duration) == {where: 62.5}
    assert i.closes.values == {(*where, "1000", "client_closed", "client"): 1}
    assert ledger.sessions == [ended]


def test_names_of_callers_are_bounded() -> None:
    meter, i, _ = new_meter()
    meter.turn(replace(spoken_turn(), caller=Caller("ai", "k" * 4000, "t" * 4000), by_key=True))
    assert [labels[6:8] for labels in i.turns.values] == [("_OTHER", "_OTHER")]


def test_what_was_opened_is_closed_however_many_callers_there_are() -> None:
    """Where a caller's name has no room, it has none when the session ends, either."""
    meter, i, _ = new_meter()
    sessions = [
        replace(ended_session(), caller=Caller("ai", f"key-{n}", f"team-{n % 700}"), by_key=n % 2 == 0)
        for n in range(3 * LABEL_SETS)
    ]
    for each in sessions:
        meter.session_opened(each.route, each.backend, each.caller, by_key=each.by_key)
    assert sum(i.sessions_active.values.values()) == len(sessions)
    for each in reversed(sessions):
        meter.session_closed(each)
    assert set(i.sessions_active.values.values()) == {0}


def test_what_goes_on_in_sessions() -> None:
    meter, i, _ = new_meter()
    where = ("ai/voice", "ai/voice")
    meter.handshake(*where, 503, 0.25)
    meter.first_audio(*where, "gpt-realtime", "voice", 0.5, confirmed=True)
    meter.first_audio(*where, "m" * 4000, "client", 0.25, confirmed=True)
    meter.interrupted(*where, "gpt-realtime", "client", confirmed=True)
    for _ in range(2):
        meter.traffic(*where, "client", 10, 30, 2)
    assert sums(i.handshake_duration) == {(*where, "503"): 0.25}
    assert sums(i.first_audio) == {(*where, "gpt-realtime", "voice"): 0.5, (*where, "_OTHER", "client"): 0.25}
    assert i.interruptions.values == {(*where, "gpt-realtime", "client"): 1}
    assert i.io.values == {(*where, "client", "received"): 20, (*where, "client", "sent"): 60}
    assert i.messages.values == {(*where, "client"): 4}


def test_the_process() -> None:
    meter, i, _ = new_meter()
    assert i.draining.values == {(): 0}
    assert i.sessions_capacity.values == {}
    meter.loop_lag(0.25)
    meter.loop_lag(0.5)
    meter.draining(draining=True)
    meter.capacity(1000)
    assert sums(i.loop_lag) == {(): 0.75}
    assert i.draining.values == {(): 1}
    assert i.sessions_capacity.values == {(): 1000}
    meter.draining(draining=False)
    meter.capacity(0)
    assert i.draining.values == {(): 0}
    assert i.sessions_capacity.values == {}, "any number is no capacity of 0"


def test_close_codes_that_peers_make_up_are_counted_by_the_thousand() -> None:
    """Those that are registered, and ours, are counted each."""
    meter, i, ledger = new_meter()
    for initiator in ("client", "upstream", "gateway"):
        for code in (1000, 1005, 1015, 3000, 3001, 3003, 3008, 4001, 4999):
            meter.session_closed(replace(ended_session(), close_code=code, initiator=initiator))
    found = {who: [labels[2] for labels in i.closes.values if labels[4] == who] for who in ("client", "upstream")}
    told = ["1000", "1005", "1015", "3000", "3xxx", "3003", "3008", "4xxx"]
    assert found == {"client": told, "upstream": told}
    assert [labels[2] for labels in i.closes.values if labels[4] == "gateway" and labels[2] > "3008"] == [
        "4001",
        "4999",
    ]
    assert ledger.sessions[8].close_code == 4999, "the record has it as it was"


def test_the_codes_of_all_endings_are_counted_each() -> None:
    meter, i, _ = new_meter()
    for ending in endings.ENDINGS:
        summary = replace(ended_session(), close_code=ending.code, reason=ending.label, initiator=ending.initiator)
        meter.session_closed(summary)
    assert {labels[2] for labels in i.closes.values} == {str(ending.code) for ending in endings.ENDINGS}


def test_tunnels_are_counted_while_they_are_open() -> None:
    meter, i, _ = new_meter()
    meter.tunnel_opened("r", "b")
    meter.tunnel_opened("r", "b")
    meter.tunnel_closed("r", "b")
    meter.traffic("r", "b", "client", 10, 20, 0)
    assert i.tunnels_active.values == {("r", "b"): 1}
    assert i.io.values == {("r", "b", "client", "received"): 10, ("r", "b", "client", "sent"): 20}
    assert i.messages.values == {}, "nobody saw one"


def test_how_providers_are_doing() -> None:
    meter, i, _ = new_meter()
    for healthy in (True, False, False, True):
        meter.upstream_healthy("b", "eu", healthy=healthy)
    meter.upstream_healthy("b", "us", healthy=False)
    meter.upstream_healthy("b", "gone", healthy=True)
    meter.upstream_healthy("b", "gone", healthy=None)
    assert i.upstream_healthy.values == {("b", "eu"): 1, ("b", "us"): 0}
    for change in (1, 1, -1):
        meter.upstream_active("b", "eu", "session", change)
    meter.upstream_active("b", "eu", "request", 1)
    assert i.upstream_active.values == {("b", "eu", "session"): 1, ("b", "eu", "request"): 1}
    meter.ejected("b", "eu", "timeout")
    meter.rate_limited("b", "eu")
    meter.failed_over("b", "timeout")
    assert i.ejections.values == {("b", "eu", "timeout"): 1}
    assert i.rate_limited.values == {("b", "eu"): 1}
    assert i.failovers.values == {("b", "timeout"): 1}


def test_what_guardrails_do() -> None:
    meter, i, _ = new_meter()
    meter.guardrail_found("ai/p", "no-cards", "input", "mask", "enforce", 2)
    meter.guardrail_found("ai/p", "no-cards", "input", "mask", "enforce", 1)
    meter.guardrail_failed("ai/p", "ours", "timeout", "open")
    meter.guardrail_asked("ai/p", "ours", "webhook", 0.3)
    meter.guardrails_judged("r", "b", "input", 0.002)
    assert i.guardrail_findings.values == {("ai/p", "no-cards", "input", "mask", "enforce"): 3}
    assert i.guardrail_failures.values == {("ai/p", "ours", "timeout", "open"): 1}
    assert i.guardrail_duration.series[("ai/p", "ours", "webhook")].sum == 0.3
    assert i.guardrail_judging.series[("r", "b", "input")].sum == 0.002


def test_requests_and_what_could_not_be_metered() -> None:
    meter, i, _ = new_meter()
    meter.request("ai/voice", "ai/voice", 401, "invalid_api_key", 0.25)
    meter.request("", "", 404, "unknown_host", 0.001)
    meter.unmetered("too_large", "ai/voice", "ai/voice")
    assert i.requests.values == {
        ("ai/voice", "ai/voice", "401", "invalid_api_key"): 1,
        ("", "", "404", "unknown_host"): 1,
    }
    assert sums(i.request_duration) == {("ai/voice", "ai/voice"): 0.25, ("", ""): 0.001}
    assert i.unmetered.values == {("ai/voice", "ai/voice", "too_large"): 1}


def test_label_sets_are_bounded_and_nothing_is_lost() -> None:
    definition = Definition("x", "1", ("a", "b"), "")
    counter, histogram = Counter(definition), Histogram(definition, (1.0,))
    for number in range(LABEL_SETS + 50):
        for _ in range(2):
            counter.add((str(number), ""), 3)
            histogram.observe((str(number), ""), 3)
    assert len(counter.values) == len(histogram.series) == LABEL_SETS + 1
    assert counter.values[OVERFLOW] == sums(histogram)[OVERFLOW] == 50 * 2 * 3
    assert histogram.series[OVERFLOW].counts == [0, 100]
    assert counter.values["7", ""] == 6


def test_one_label_may_have_any_value() -> None:
    """Even the one that the overflow is made of."""
    counter = Counter(Definition("x", "1", ("a",), ""))
    counter.add(OVERFLOW[:1], 1)
    for number in range(LABEL_SETS):
        counter.add((str(number),), 1)
    assert counter.values[OVERFLOW[:1]] == counter.values[OVERFLOW] == 1


def test_no_label_set_is_the_overflow() -> None:
    assert max(len(each.definition.labels) for each in names.Instruments().all()) < len(OVERFLOW)


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram(Definition("x", "1", ("a", "b"), ""), (1.0, 4.0))
    for value in (0, 1, 2, 4, 5):
        histogram.observe(("", ""), value)
    assert histogram.series["", ""].counts == [2, 2, 1]


@pytest.mark.parametrize(
    ("generations", "there", "absent"),
    [
        ("both", {"gen_ai.client.token.usage", "gen_ai.client.inference.duration"}, set()),
        ("legacy", {"gen_ai.client.token.usage", "tidegate.turns"}, {"gen_ai.client.inference.duration"}),
        ("latest", {"gen_ai.client.inference.duration", "tidegate.turns"}, {"gen_ai.client.token.usage"}),
    ],
)
def test_one_generation_of_the_conventions_or_both(
    generations: names.Generations, there: set[str], absent: set[str]
) -> None:
    _, i, _ = new_meter(generations)
    exported = {each.definition.name for each in i.snapshot()}
    assert there <= exported
    assert not absent & exported


def test_no_metric_stays_empty_when_everything_happens() -> None:
    """So the golden of /metrics shows every label of every metric."""
    meter, i, _ = new_meter()
    take_everything(meter, i)
    filled = [each.series if isinstance(each, Histogram) else each.values for each in i.all()]
    assert all(filled)


def test_every_metric_is_declared_once() -> None:
    declared = [each.definition.name for each in names.Instruments().all()]
    assert len(declared) == len(set(declared))


def test_a_snapshot_shows_whole_turns_only() -> None:
    meter, i, _ = new_meter()
    done = threading.Event()

    def take_turns() -> None:
        for _ in range(500):
            meter.turn(spoken_turn())
        done.set()

    worker = threading.Thread(target=take_turns)
    worker.start()
    finished = False
    while not finished:
        finished = done.is_set()
        shot = {each.definition.name: each for each in i.snapshot()}
        turns_seen = shot["tidegate.turns"]
        usage_seen = shot["gen_ai.client.token.usage"]
        assert isinstance(turns_seen, Counter)
        assert isinstance(usage_seen, Histogram)
        count = sum(turns_seen.values.values())
        assert sum(sums(usage_seen).values()) == count * (SPOKEN.input + SPOKEN.output)
    worker.join()
    assert count == 500
