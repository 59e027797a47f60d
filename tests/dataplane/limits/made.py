"""Limits, tallies and budgets, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from dataplane.limits.budget import Budget
from dataplane.limits.limiter import Limiter
from dataplane.limits.spending import Model
from dataplane.limits.tally import Want
from dataplane.metering.prices import UNREPORTED, Cost, UnitPrices
from dataplane.metering.usage import Caller, Operation, Status, Tokens, Usage
from dataplane.table import CallerLimits, Forward, Limit, PolicySet, Price, Route, Table

DAWN = 1_767_225_600.0
"""2026-01-01T00:00:00Z: every window begins."""
BOT = Caller("ai", "ci-bot", "support")
REQUESTS = Limit(kind="requests", max=10, per="Minute")
TOKENS = Limit(kind="tokens", max=1000, per="Day")
INPUT = Limit(kind="tokens", max=1000, per="Day", count="Input")
SEATS = Limit(kind="sessions", max=3)
SPEND = Limit(kind="spend", max=1_000_000_000, per="Month")
PRICED = Model("priced", "openai", "priced", None, speaks=True)
UNPRICED = PRICED._replace(name="unpriced", upstream_model="unpriced")
TIMED = Model("timed", "xai", "timed", None, speaks=True)
PRICES = UnitPrices(
    input_text=Decimal("0.0001"),
    input_audio=Decimal("0.0001"),
    output_text=Decimal("0.0001"),
    output_audio=Decimal("0.001"),
    source="backend",
)


def limits(*every: Limit, policy: str = "ai/p", reserve: int = 100, **fields: object) -> CallerLimits:
    first = CallerLimits(policy=policy, limits=every, reserve=reserve)
    return first.model_copy(update=fields)


def want(limit: Limit, amount: int, most: int = 0) -> Want:
    return Want(limit, most or limit.max, amount)


def table(*parts: CallerLimits) -> Table:
    """With these limits in force."""
    policies = PolicySet(limits=parts)
    return Table(routes=(Route(name="ai/voice", forwards=(Forward(backend="ai/voice", policies=policies),)),))


def usage(
    tokens: Tokens | None, status: Status = "completed", operation: Operation = "realtime_inference"
) -> tuple[Usage, Cost]:
    """Of a turn whose price is not known."""
    return Usage("u", operation, status, tokens, "p", "openai", "m", "m", "r", "b"), UNREPORTED


def costing(usd: str, tokens: Tokens) -> tuple[Usage, Cost]:
    return usage(tokens)[0], Cost(Decimal(usd), "priced", "backend")


@dataclass
class Desk:
    """A limiter whose clock stands still, and whoever asks it."""

    clock: float = DAWN
    most: int = 1000
    told: list[tuple[str, str, str]] = field(default_factory=list)
    limiter: Limiter = field(init=False)

    def __post_init__(self) -> None:
        self.limiter = Limiter(
            self._prices, lambda *said: self.told.append(said), now=lambda: self.clock, most=self.most
        )

    def budget(self, *parts: CallerLimits, caller: Caller = BOT, backend: str = "ai/voice") -> Budget:
        return Budget(self.limiter, parts, caller, backend)

    def shown(self) -> dict[str, tuple[object, object]]:
        """What is used and set aside, by limit."""
        return {str(each["limit"]): (each["used"], each["reserved"]) for each in self.listing()}

    def listing(self) -> Sequence[dict[str, object]]:
        work = self.limiter.listing()
        while True:
            try:
                next(work)
            except StopIteration as end:
                found: list[dict[str, object]] = end.value
                return found

    def _prices(self, _kind: str, model: str, _own: Price | None) -> UnitPrices:
        if model == "timed":
            return UnitPrices(session_second=Decimal("0.001"), second=Decimal("0.002"), source="backend")
        if model == "unknown":
            return UnitPrices()
        return PRICES if model == "priced" else UnitPrices(input_text=Decimal(1), source="backend")
