"""What is kept of a session beside its connections, and what is told of it: while it runs, and once it is over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal

from dataplane.limits.budget import Budget
from dataplane.limits.spending import Model as Asked
from dataplane.metering.records import SessionSummary, usd
from dataplane.metering.usage import Usage
from dataplane.models import find
from dataplane.realtime import endings
from dataplane.realtime.actions import Ended
from dataplane.realtime.jury import Jury
from dataplane.realtime.legs import Leg
from dataplane.realtime.live import LiveSession
from dataplane.realtime.stopwatch import Stopwatch
from dataplane.realtime.timing import Timings
from dataplane.realtime.turnstile import Turnstile
from dataplane.revocation import Access
from dataplane.services import Meter
from dataplane.table import Model, Price
from dataplane.upstreams.pools import Lease

Carried = tuple[int, int, int]
"""Of one leg: bytes received, bytes sent, messages received."""


@dataclass(slots=True)
class Entry:
    """One session, open or being opened."""

    live: LiveSession
    lease: Lease
    """Of the provider."""
    models: tuple[Model, ...]
    """The Backend's, for what else the session uses: its transcription model."""
    request: asyncio.Task[object] | None
    """Who opens it."""
    client: str = ""
    """Address of who asked."""
    access: Access | None = None
    """What it rests on, if it is to end with that."""
    turnstile: Turnstile | None = None
    """Where its caller is limited."""
    jury: Jury | None = None
    """Where guardrails hold."""
    seat: Budget | None = None
    """Is given back when it ends, with what is still set aside for it."""
    refused: bool = False
    """Was that cancelled, because the gateway ends everything?"""
    counted: bool = False
    """Was the client answered? Until then it is a request, not a session."""
    span: object | None = None
    """Of the handshake."""
    timings: Timings = field(default_factory=Timings)
    stopwatch: Stopwatch | None = None
    """Of what is billed by time, where the provider does."""
    cost: Decimal | None = None
    estimated_cost: Decimal | None = None
    _told: dict[str, Carried] = field(default_factory=dict)
    """What the meter knows of each leg's traffic."""

    def revoke(self, why: str) -> None:
        """End it, since its access is revoked."""
        self.live.end(endings.REVOKED, why)

    @property
    def model(self) -> Asked:
        """What limits are asked about."""
        return Asked.of(self.lease.destination, speaks=True)

    def price_of(self, usage: Usage) -> Price | None:
        """The Backend's own price of what was used."""
        if usage.operation in ("realtime_inference", "realtime_session_time"):
            return self.lease.destination.price
        found = find(self.models, usage.public_model)
        return found[0].price if found else None

    def charge(self, amount: Decimal | None, *, estimated: bool) -> None:
        """Add USD to what the session has cost; None where the price is not known."""
        if amount is None:
            return
        if estimated:
            self.estimated_cost = (self.estimated_cost or Decimal(0)) + amount
        else:
            self.cost = (self.cost or Decimal(0)) + amount

    def begin_time(self, now: float) -> None:
        """The session begins; its time is billed, if the provider does so."""
        session = self.live.session
        if session.terms.bills_time:
            self.stopwatch = Stopwatch(now, manual=session.noted.manual)

    def switch_time(self, now: float) -> None:
        """Its time is billed in the other way from now on."""
        if self.stopwatch is not None:
            noted = self.live.session.noted
            self.stopwatch.switch(now, noted.audio_seconds, manual=noted.manual)

    def time(self, now: float, *, over: bool = False) -> Usage | None:
        """The record of the time that has passed since the last one, if it is time for one, or the session is over."""
        if self.stopwatch is None:
            return None
        noted = self.live.session.noted
        take = self.stopwatch.rest if over else self.stopwatch.part
        used = take(now, noted.audio_seconds, noted.billed)
        return None if used is None else noted.time(used)

    def tell_traffic(self, meter: Meter) -> None:
        """Count what the session has carried since the last time."""
        terms, relay = self.live.session.terms, self.live.relay
        messages = {"client": relay.client_messages, "upstream": relay.upstream_messages}
        for side, leg in self._legs().items():
            carried = leg.received, leg.sent, messages[side]
            before = self._told.get(side, (0, 0, 0))
            if carried != before:
                self._told[side] = carried
                received, sent, count = (new - old for new, old in zip(carried, before, strict=True))
                meter.traffic(terms.route, terms.backend, side, received, sent, count)

    def _legs(self) -> dict[str, Leg]:
        legs = {"upstream": self.live.upstream}
        return legs if self.live.client is None else {"client": self.live.client, **legs}

    def summary(self, effect: Ended) -> SessionSummary:
        """For the record of the session."""
        noted, terms = self.live.session.noted, self.live.session.terms
        return SessionSummary(
            id=terms.id,
            route=terms.route,
            backend=terms.backend,
            provider=terms.provider,
            model=noted.model or terms.upstream_model,
            seconds=self.live.age,
            close_code=effect.close.code,
            reason=effect.ending.label,
            initiator=effect.ending.initiator,
            caller=terms.caller,
            by_key=terms.by_key,
            client=self.client,
            turns=noted.over,
            tokens=noted.tokens,
            estimated=noted.estimated,
            cost=self.cost,
            estimated_cost=self.estimated_cost,
        )

    def shown(self) -> dict[str, object]:
        """For whoever runs the gateway: neither content nor keys."""
        noted, terms, ending = self.live.session.noted, self.live.session.terms, self.live.relay.ending
        return {
            "id": terms.id,
            "route": terms.route,
            "backend": terms.backend,
            "provider": terms.provider,
            "model": noted.model or terms.upstream_model,
            "caller": {"namespace": terms.caller.namespace, "key": terms.caller.key, "team": terms.caller.team},
            "client_address": self.client,
            "seconds": round(self.live.age, 3),
            "turns": noted.over,
            "tokens": noted.tokens.nonzero(),
            "estimated_tokens": noted.estimated.nonzero(),
            "cost_usd": usd(self.cost),
            "estimated_cost_usd": usd(self.estimated_cost),
            "bytes": {side: {"received": leg.received, "sent": leg.sent} for side, leg in self._legs().items()},
            "ending": ending.label if ending is not None else None,
        }
