"""The ledger of record: one structured log line for each turn and for each session.

The lines hold what bills and investigations need, and neither content nor keys. Tokens that are zero are left
out; `"tokens": null` says that the provider reported nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import structlog

from dataplane.metering.prices import Cost
from dataplane.metering.usage import ANONYMOUS, NO_TOKENS, Caller, Tokens, Usage

LONGEST_NAME = 256
"""Characters of a name from outside that a line holds: a request may name a model of megabytes."""


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
    turns: int = 0
    tokens: Tokens = NO_TOKENS
    """As the provider reported them."""
    estimated: Tokens = NO_TOKENS
    """Of the turns of which it reported nothing."""
    cost: Decimal | None = None
    """USD of the turns that have a price; None if none has."""


class Log:
    """Writes records as log lines. Configure logging first: the logger is bound when this is made."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("dataplane.metering").bind()

    def turn(self, usage: Usage, cost: Cost, duration: float | None) -> None:
        self._log.info("turn", **turn_record(usage, cost, duration))

    def session(self, summary: SessionSummary) -> None:
        self._log.info("session", **session_record(summary))


def turn_record(usage: Usage, cost: Cost, duration: float | None) -> dict[str, object]:
    """The fields of a turn's line; `duration` in seconds."""
    return {
        "id": usage.id,
        "session": usage.session,
        "response_id": _name(usage.response_id),
        "operation": usage.operation,
        "status": usage.status,
        "route": usage.route,
        "backend": usage.backend,
        "provider": usage.provider,
        "provider_kind": usage.provider_kind,
        "public_model": _name(usage.public_model),
        "request_model": _name(usage.request_model),
        "response_model": _name(usage.response_model),
        "caller": _caller(usage.caller),
        "tokens": None if usage.tokens is None else usage.tokens.nonzero(),
        "cost_usd": usd(cost.usd),
        "cost_status": cost.status,
        "price_source": cost.source,
        "duration": None if duration is None else round(duration, 6),
    }


def session_record(summary: SessionSummary) -> dict[str, object]:
    """The fields of a session's line."""
    return {
        "id": summary.id,
        "route": summary.route,
        "backend": summary.backend,
        "provider": summary.provider,
        "model": _name(summary.model),
        "caller": _caller(summary.caller),
        "turns": summary.turns,
        "tokens": summary.tokens.nonzero(),
        "cost_usd": usd(summary.cost),
        "seconds": round(summary.seconds, 3),
        "close_code": summary.close_code,
        "reason": summary.reason,
        "initiator": summary.initiator,
    }


def _name(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _caller(caller: Caller) -> dict[str, str]:
    return {"namespace": caller.namespace, "key": caller.key, "team": caller.team}


def usd(amount: Decimal | None) -> str | None:
    """Plain digits: `0.0123`, never `1.23E-2`."""
    if amount is None:
        return None
    text = format(amount, "f")
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text
