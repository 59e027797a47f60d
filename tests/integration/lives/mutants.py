"""Wrong gateways, made from a right one: what its meter was told is played again with one thing broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from dataplane.metering.counters import Counter, Histogram, Instrument
from dataplane.metering.instruments import Instruments
from dataplane.metering.labels import Labels
from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import Tokens, Usage
from tests.integration.lives.life import PLACES
from tests.integration.lives.tape import MARK, Call

PROCESS = frozenset({"loop_lag", "capacity", "draining", "sessions_capacity"})
"""Not sums of what happened."""
ELSEWHERE = frozenset({"usage_records", "usage_retries", "usage_queue", "spans", "tunnels_active", "key_fetches"}) | {
    "session_seconds",
    "session_items",
    "limit_store_up",
    "limit_store_errors",
    "limit_store_duration",
    "table_updates",
    "table_applied",
    "table_from_snapshot",
    "controllers_connected",
    "upstream_healthy",
    "upstream_active",
    "ejections",
    "rate_limited",
    "failovers",
    "guardrail_failures",
    "guardrail_duration",
    "guardrail_judging",
}
"""Of what does not happen here: nothing is sent to a receiver (tests/dataplane/metering/test_sink.py, telemetry/), no
WebSocket is passed through (http/test_tunnels.py), no issuer publishes keys (callers/), there is no store of limits
(limits/), no controller sends tables (sources/), no provider bills time (integration/test_time_is_billed.py) or is left
out (integration/test_pools.py), and nobody judges what is said (judges/, http/)."""

PROVIDERS = frozenset({"upstream_healthy", "ejected", "rate_limited", "failed_over"})
"""What is told of providers: nothing here compares that (tests/integration/test_pools.py does)."""

Break = Callable[[list[Call], Instruments], list[Call]]


class Deaf(Counter):
    def add(self, labels: Labels, amount: float = 1) -> None:
        """Counts nothing."""


class DeafHistogram(Histogram):
    def observe(self, labels: Labels, value: float) -> None:
        """Counts nothing."""


class Twice(Counter):
    def add(self, labels: Labels, amount: float = 1) -> None:
        for _ in range(2):
            Counter.add(self, labels, amount)


class TwiceHistogram(Histogram):
    def observe(self, labels: Labels, value: float) -> None:
        for _ in range(2):
            Histogram.observe(self, labels, value)


def of_instruments() -> Iterator[tuple[str, Break]]:
    """Every metric, deaf or counting twice."""
    for name, instrument in vars(Instruments()).items():
        if isinstance(instrument, Counter | Histogram) and name not in ELSEWHERE:
            yield f"{name} counts nothing", _exchange(name, Deaf, DeafHistogram)
            if name not in PROCESS:
                yield f"{name} counts twice", _exchange(name, Twice, TwiceHistogram)


def _exchange(name: str, counter: type[Counter], histogram: type[Histogram]) -> Break:
    def broken(calls: list[Call], instruments: Instruments) -> list[Call]:
        setattr(instruments, name, _broken(getattr(instruments, name), counter, histogram))
        return calls

    return broken


def _broken(whole: Instrument, counter: type[Counter], histogram: type[Histogram]) -> Instrument:
    if isinstance(whole, Histogram):
        return histogram(whole.definition, whole.bounds)
    made = counter(whole.definition)
    if hasattr(whole, "set"):  # a gauge that is set is deaf to that too
        made = type("Broken", (counter, type(whole)), {"set": lambda *_: None})(whole.definition)
    return made


def of_calls(calls: list[Call]) -> Iterator[tuple[str, Break]]:
    """Each kind of thing that the meter is told: once too few, once too often."""
    places: dict[str, list[int]] = {}
    for place, call in enumerate(calls):
        if call[0] not in {*PROCESS, *PROVIDERS, MARK} and _compared(call):
            places.setdefault(call[0], []).append(place)
    for name, found in places.items():
        for place in (found[0], found[len(found) // 2], found[-1]):
            yield f"{name} is not told, {place}", _at(place, lambda _: [])
            yield f"{name} is told twice, {place}", _at(place, lambda call: [call, call])


def _compared(call: Call) -> bool:
    """Traffic is compared on the calm road alone, and of the upstream's leg its messages, not its bytes."""
    if call[0] != "traffic":
        return True
    route, _, side, _, _, messages = call[1]
    return route == PLACES["calm"].route and (side == "client" or messages != 0)


def of_endings(calls: list[Call]) -> Iterator[tuple[str, Break]]:
    """Each ending: under another's name, with another code, told by nobody, and each with its turns not counted."""
    last: dict[str, tuple[int, SessionSummary]] = {}
    turns: dict[str, int] = {}
    for place, (name, args, _) in enumerate(calls):
        told = args[0] if args else None
        if name == "turn" and isinstance(told, Usage):
            turns[told.session] = place
        elif isinstance(told, SessionSummary) and (told.id in turns or told.reason not in last):
            last[told.reason] = place, told
    for reason, (place, summary) in last.items():
        other = "idle" if reason != "idle" else "duration"
        yield f"{reason} is called {other}", _at(place, _told(replace(summary, reason=other)))
        yield f"{reason} has another code", _at(place, _told(replace(summary, close_code=summary.close_code + 1)))
        yield f"{reason} is not told", _at(place, lambda _: [])
        if summary.id in turns:
            yield f"the last turn before {reason} is not counted", _at(turns[summary.id], lambda _: [])
            yield f"the last turn before {reason} is counted twice", _at(turns[summary.id], lambda call: [call, call])


def of_turns(calls: list[Call]) -> Iterator[tuple[str, Break]]:
    """Turns of every operation and status, reported and not: each marked wrongly, or a token off."""
    seen: dict[tuple[object, ...], tuple[int, Usage]] = {}
    for place, (name, args, _) in enumerate(calls):
        if name == "turn" and isinstance(usage := args[0], Usage):
            seen.setdefault((usage.operation, usage.status, usage.estimated, usage.tokens is None), (place, usage))
    for kind, (place, usage) in seen.items():
        for what, wrong in _wrong(usage):
            yield f"{kind} {what}", _at(place, _told(wrong))


def _wrong(usage: Usage) -> Iterator[tuple[str, Usage]]:
    yield "has another status", replace(usage, status="failed" if usage.status != "failed" else "completed")
    yield "is of another model", replace(usage, request_model="other")
    yield "is of another route", replace(usage, route="ai/nowhere")
    yield "is of another team", replace(usage, caller=replace(usage.caller, team="sales"))
    yield "is told apart by key", replace(usage, by_key=True)
    if usage.tokens is None:
        yield "is made up", replace(usage, tokens=Tokens(input_text=5), estimated=False)
        return
    yield "is marked wrongly", replace(usage, estimated=not usage.estimated)
    yield "is unreported", replace(usage, tokens=None, estimated=False)
    if not usage.estimated:
        for field in ("input_text", "input_audio", "output_text", "output_audio", "cached_text", "seconds"):
            more = replace(usage.tokens, **{field: getattr(usage.tokens, field) + 1})
            yield f"has one more of {field}", replace(usage, tokens=more)


def _told(first: object) -> Callable[[Call], list[Call]]:
    """The call with another first argument."""
    return lambda call: [(call[0], (first, *call[1][1:]), call[2])]


def _at(place: int, change: Callable[[Call], list[Call]]) -> Break:
    def broken(calls: list[Call], _: Instruments) -> list[Call]:
        return [*calls[:place], *change(calls[place]), *calls[place + 1 :]]

    return broken
