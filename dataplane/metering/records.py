"""Usage records: what leaves the process about each turn and each session.

A record is made once, as plain data that is JSON as it stands, and given to every writer: the log, which is the
ledger of record and always on; an HTTP sink and OTLP logs where they are asked for. So all of them say the same. It
holds what bills and investigations need, and neither content nor keys. docs/usage-records.md explains the fields.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Protocol, get_args

from dataplane.known import Known
from dataplane.metering.instruments import Instruments
from dataplane.metering.names import clean
from dataplane.metering.prices import Cost
from dataplane.metering.usage import ANONYMOUS, NO_TOKENS, Caller, Tokens, Usage
from dataplane.process import logs
from dataplane.process.outlet import Lost

Record = Mapping[str, object]
"""Ready for JSON. It is shared: nobody changes it."""
_CLEAN: Known[str, str] = Known(clean)


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A realtime session that has ended, and what all its turns used."""

    id: str
    route: str
    backend: str
    provider: str
    """Name of the Backend's provider entry."""
    model: str
    """The model that the upstream said it serves, or else the one that was asked for."""
    seconds: float
    """From its start to its end."""
    close_code: int
    reason: str
    """Label from the table of endings."""
    initiator: str
    """Who ended it: `client`, `upstream`, `gateway`."""
    caller: Caller = ANONYMOUS
    by_key: bool = False
    """Do metrics name the caller's key?"""
    client: str = ""
    """Address of who asked."""
    turns: int = 0
    tokens: Tokens = NO_TOKENS
    """As the provider reported them."""
    estimated: Tokens = NO_TOKENS
    """Of the turns of which it reported nothing."""
    cost: Decimal | None = None
    """USD of the reported turns that have a price; None if none has."""
    estimated_cost: Decimal | None = None
    """USD of the estimated ones."""


class Writer(Protocol):
    """A place that records go to. Called from the event loop, for every turn: it neither blocks nor raises."""

    def write(self, record: Record) -> None: ...


class Log:
    """Writes records as log lines, and counts what becomes of them. Configure logging first: the logger is bound when
    this is made."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._write = logs.writer("dataplane.metering", self._count)
        for lost in (None, *get_args(Lost)):  # there from the beginning, so that `rate` sees the first
            self._count(lost, 0)

    def write(self, record: Record) -> None:
        self._write(str(record["kind"]), record)

    def _count(self, lost: Lost | None, lines: int) -> None:
        """From the thread that writes the log, too."""
        with self._instruments.lock:
            self._instruments.usage_records.add(("log", "dropped" if lost else "delivered", lost or ""), lines)


def utc_now() -> datetime:
    return datetime.now(UTC)


class FanOut:
    """Makes the records of a meter, and gives each to all writers in turn. `now`: an aware time."""

    def __init__(self, *writers: Writer, now: Callable[[], datetime] = utc_now) -> None:
        self._writers = writers
        self._now = now

    def turn(self, usage: Usage, cost: Cost, duration: float | None) -> None:
        self._write(turn_record(usage, cost, duration, self._now()))

    def session(self, summary: SessionSummary) -> None:
        self._write(session_record(summary, self._now()))

    def _write(self, record: Record) -> None:
        for writer in self._writers:
            writer.write(record)


def turn_record(usage: Usage, cost: Cost, duration: float | None, ended: datetime) -> Record:
    """The fields of a turn; `duration` in seconds. Tokens that are zero are left out; `None` for all of them says
    that the provider reported nothing and nothing was estimated."""
    return {
        "kind": "turn",
        "id": usage.id,
        "time": rfc3339(ended),
        "session": usage.session,
        "response_id": clean(usage.response_id),
        "operation": usage.operation,
        "status": usage.status,
        "route": _CLEAN[usage.route],
        "backend": _CLEAN[usage.backend],
        "provider": _CLEAN[usage.provider],
        "provider_kind": usage.provider_kind,
        "public_model": _CLEAN[usage.public_model],
        "request_model": _CLEAN[usage.request_model],
        "response_model": _CLEAN[usage.response_model],
        "caller": _caller(usage.caller),
        "estimated": usage.estimated,
        "tokens": None if usage.tokens is None else usage.tokens.nonzero(),
        "cost_usd": usd(cost.usd),
        "cost_status": cost.status,
        "price_source": cost.source,
        "duration": None if duration is None else round(duration, 6),
    }


def session_record(summary: SessionSummary, ended: datetime) -> Record:
    """The fields of a session. What was estimated is apart from what was reported."""
    estimated = summary.estimated.nonzero()
    return {
        "kind": "session",
        "id": summary.id,
        "time": rfc3339(ended),
        "route": clean(summary.route),
        "backend": clean(summary.backend),
        "provider": clean(summary.provider),
        "model": clean(summary.model),
        "caller": _caller(summary.caller),
        "client_address": clean(summary.client),
        "turns": summary.turns,
        "tokens": summary.tokens.nonzero(),
        "cost_usd": usd(summary.cost),
        "estimated": bool(estimated),
        "estimated_tokens": estimated,
        "estimated_cost_usd": usd(summary.estimated_cost),
        "seconds": round(summary.seconds, 3),
        "close_code": summary.close_code,
        "reason": summary.reason,
        "initiator": summary.initiator,
    }


def rfc3339(moment: datetime) -> str:
    """To the millisecond, in UTC: `2026-11-21T12:41:15.123Z`."""
    return f"{_second(int(moment.timestamp()))}.{moment.microsecond // 1000:03}Z"


@lru_cache(maxsize=1)
def _second(since_epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_epoch))


def _caller(caller: Caller) -> dict[str, str]:
    return {"namespace": _CLEAN[caller.namespace], "key": _CLEAN[caller.key], "team": _CLEAN[caller.team]}


def usd(amount: Decimal | None) -> str | None:
    """Plain digits: `0.0123`, never `1.23E-2`."""
    if amount is None:
        return None
    text = format(amount, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
