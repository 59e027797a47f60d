"""Turns to meter, and a ledger that keeps what it is given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from dataplane.metering.instruments import Generations, Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import Cost, PriceBook
from dataplane.metering.records import SessionSummary
from dataplane.metering.updates import Updates
from dataplane.metering.usage import ANONYMOUS, Caller, Tokens, Usage

SPOKEN = Tokens(input_text=200, input_audio=800, cached_text=50, cached_audio=250, output_text=100, output_audio=400)


NOW = datetime(2026, 11, 1, 12, 30, 15, 250_000, tzinfo=UTC)
HEARD = Tokens(input_text=40, input_audio=120, output_text=15, output_audio=60)
"""An estimate."""


class Ledger:
    """Records in memory."""

    def __init__(self) -> None:
        self.turns: list[tuple[Usage, Cost, float | None]] = []
        self.sessions: list[SessionSummary] = []

    def turn(self, usage: Usage, cost: Cost, duration: float | None) -> None:
        self.turns.append((usage, cost, duration))

    def session(self, summary: SessionSummary) -> None:
        self.sessions.append(summary)


def new_meter(generations: Generations = "both") -> tuple[Meter, Instruments, Ledger]:
    instruments, ledger = Instruments(generations), Ledger()
    book = PriceBook(now=lambda: NOW)
    return Meter(instruments, book, ledger), instruments, ledger


def spoken_turn() -> Usage:
    return Usage(
        id="turn-1",
        operation="realtime_inference",
        status="completed",
        tokens=SPOKEN,
        provider="openai",
        provider_kind="openai",
        request_model="gpt-realtime",
        response_model="gpt-realtime-2025-08-28",
        route="ai/voice",
        backend="ai/voice",
        caller=Caller("ai", "ci-bot", "support"),
        session="session-1",
        response_id="resp_1",
        public_model="voice",
    )


def ended_session() -> SessionSummary:
    return SessionSummary(
        id="session-1",
        route="ai/voice",
        backend="ai/voice",
        provider="openai",
        model="gpt-realtime-2025-08-28",
        seconds=62.5,
        close_code=1000,
        reason="client_closed",
        initiator="client",
        caller=Caller("ai", "ci-bot", "support"),
        client="192.0.2.1",
        turns=1,
        tokens=SPOKEN,
    )


def estimated_turn() -> Usage:
    """The client vanished in the middle of it."""
    return replace(spoken_turn(), id="turn-2", status="lost", tokens=HEARD, estimated=True, response_id="resp_2")


def cut_session() -> SessionSummary:
    """One with an estimated turn."""
    return replace(
        ended_session(), turns=2, estimated=HEARD, cost=Decimal("0.04552"), estimated_cost=Decimal("0.00808")
    )


def take_everything(meter: Meter, instruments: Instruments) -> None:
    """Let one of everything happen that there is a metric for."""
    where = ("ai/voice", "ai/voice")
    meter.handshake(*where, 101, 0.004)
    meter.handshake(*where, 401, 0.001)
    meter.session_opened(*where, spoken_turn().caller)
    meter.session_opened(*where, spoken_turn().caller, by_key=True)
    _take_turns(meter)
    meter.first_audio(*where, "gpt-realtime-2025-08-28", "voice", 0.31, confirmed=True)
    meter.interrupted(*where, "gpt-realtime-2025-08-28", "voice", confirmed=True)
    meter.traffic(*where, "client", 5000, 9000, 50)
    meter.traffic(*where, "upstream", 9000, 5000, 90)
    meter.tunnel_opened(*where)
    meter.session_closed(cut_session())
    meter.request(*where, 200, "", 0.25)
    meter.request("", "", 404, "unknown_host", 0.001)
    meter.unmetered("unanswered", *where)
    meter.upstream_healthy("ai/voice", "eu", healthy=True)
    meter.upstream_healthy("ai/voice", "us", healthy=False)
    meter.upstream_active("ai/voice", "eu", "session", 1)
    meter.ejected("ai/voice", "us", "credential")
    meter.rate_limited("ai/voice", "eu")
    meter.failed_over("ai/voice", "credential")
    meter.keys_fetched("https://idp.example.com/jwks.json", "fetched")
    meter.keys_fetched("https://idp.example.com/jwks.json", "failed")
    meter.loop_lag(0.0004)
    meter.capacity(1000)
    meter.draining(draining=False)
    meter.limited("ai/budget", "tokens/Day", "admitted")
    meter.limited("ai/budget", "tokens/Day", "refused")
    meter.guardrail_found("ai/guards", "no-cards", "input", "block", "enforce", 2)
    meter.guardrail_failed("ai/guards", "ours", "timeout", "closed")
    meter.guardrail_asked("ai/guards", "ours", "webhook", 0.05)
    meter.guardrails_judged(*where, "output", 0.0003)
    meter.limit_store(None)
    meter.limit_store(0.0003)
    instruments.usage_records.add(("log", "delivered", ""), 10)
    instruments.usage_records.add(("log", "dropped", "failed"), 1)
    instruments.usage_records.add(("http", "delivered", ""), 9)
    instruments.usage_records.add(("http", "dropped", "queue_full"), 1)
    instruments.usage_retries.add(("http", "503"))
    instruments.usage_queue.set(("http",), 2)
    instruments.spans.add(("delivered", ""), 12)
    updates = Updates(instruments)
    updates.ended("applied")
    updates.ended("stale")
    updates.applied(1_790_000_000.5, from_snapshot=False)
    updates.connected(2)


def _take_turns(meter: Meter) -> None:
    """Reported, estimated and unreported; by tokens and by seconds; sessions and completions."""
    meter.turn(spoken_turn())
    meter.turn(estimated_turn())
    meter.turn(replace(spoken_turn(), status="cancelled", tokens=None, by_key=True))
    heard = replace(spoken_turn(), operation="transcription", response_model="")
    meter.turn(replace(heard, request_model="whisper-1", tokens=Tokens(seconds=1.5)))
    meter.turn(
        replace(
            heard, request_model="whisper-1", response_model="whisper-1", tokens=Tokens(seconds=2.25), estimated=True
        )
    )
    meter.turn(replace(heard, request_model="gpt-4o-transcribe", tokens=Tokens(input_audio=16, output_unknown=8)))
    chat = replace(spoken_turn(), operation="chat", request_model="gpt-5.4", response_model="gpt-5.4")
    cached = Tokens(input_unknown=100, cached_unknown=40, cache_write=10, output_unknown=30, reasoning=20)
    meter.turn(replace(chat, tokens=cached), duration=1.25)
    meter.turn(replace(chat, status="failed", tokens=None, caller=ANONYMOUS), duration=0.03)
    timed = replace(spoken_turn(), provider_kind="xai", request_model="grok-voice-latest", response_model="")
    meter.turn(timed)
    time = Tokens(seconds=3.5, session_seconds=60.0, items=2)
    meter.turn(replace(timed, operation="realtime_session_time", tokens=time))
    meter.turn(replace(chat, request_model="llama", response_model="llama", provider_kind="custom"))
