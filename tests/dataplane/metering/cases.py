"""Turns to meter, and a ledger that keeps what it is given."""

from __future__ import annotations

from datetime import UTC, datetime

from dataplane.metering.instruments import Generations, Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import Cost, PriceBook
from dataplane.metering.records import SessionSummary
from dataplane.metering.usage import Caller, Tokens, Usage

SPOKEN = Tokens(input_text=200, input_audio=800, cached_text=50, cached_audio=250, output_text=100, output_audio=400)


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
    book = PriceBook(now=lambda: datetime(2026, 11, 1, tzinfo=UTC))
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
        turns=1,
        tokens=SPOKEN,
    )
