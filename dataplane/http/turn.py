"""What a request leaves behind that a model worked for: one record, whatever becomes of it."""

from __future__ import annotations

import asyncio
import time

from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.http.client import ClientGone
from dataplane.http.outcome import Said
from dataplane.ids import new_id
from dataplane.limits.spending import Model
from dataplane.metering.prices import Cost
from dataplane.metering.usage import Status, Usage
from dataplane.services import Services
from dataplane.tracing import Timing
from dataplane.upstreams.choose import Destination

_NO_TURN = frozenset(["upstream_unreachable", "upstream_address_refused", "upstream_credential_rejected"])


class Turn:
    """One that begins now; `outcome` is what its answer says."""

    def __init__(self, services: Services, exchange: Exchange, destination: Destination, outcome: Said) -> None:
        self.destination = destination
        self._outcome = outcome
        self._services, self._exchange = services, exchange
        self._began = time.monotonic()
        self._began_at = time.time()

    def move(self, to: Destination) -> None:
        """Another provider is asked."""
        if self._exchange.budget is not None:
            self._exchange.budget.reckon(Model.of(to, speaks=False))
        self.destination = to

    def broke_off(self, error: BaseException) -> None:
        """End it as what it ended with says; a request that the provider never took is no turn."""
        if isinstance(error, ClientGone | asyncio.CancelledError):
            self.end("cancelled")
        elif isinstance(error, Refusal) and error.worked:
            self.end(self._outcome.status)
        elif not (isinstance(error, Refusal) and _not_taken(error)):
            self.end("failed")

    def end(self, status: Status, *, later: bool = False) -> Cost:
        """Count it; what it cost. `later`: it was made in the background, and is heard of now; how long it took nobody
        knows, and another gateway that hears of it, too, gives it the same id."""
        exchange, destination, outcome = self._exchange, self.destination, self._outcome
        route, backend = exchange.route.name, exchange.backend.name
        usage = Usage(
            id=outcome.id if later else new_id(),
            operation="chat",
            status=status,
            tokens=outcome.tokens,
            provider=destination.provider.name,
            provider_kind=destination.provider.kind,
            request_model=destination.upstream_model,
            response_model=outcome.model,
            route=route,
            backend=backend,
            caller=exchange.caller,
            response_id=outcome.id,
            public_model=destination.public_model,
            by_key=exchange.telemetry().caller_key,
        )
        seconds = time.monotonic() - self._began
        cost = self._services.meter.turn(usage, own=destination.price, duration=None if later else seconds)
        if exchange.budget is not None:
            exchange.budget.used(usage, cost)
        timing = Timing(self._began_at, self._began_at + seconds)
        with self._services.guard:
            self._services.tracer.turn(usage, cost, timing, traceparent=exchange.headers.first.get("traceparent", ""))
        if outcome.unmetered:
            self._services.meter.unmetered(outcome.unmetered, route, backend)
        return cost


def _not_taken(refusal: Refusal) -> bool:
    return refusal.unsent or refusal.fault is None or refusal.code in _NO_TURN
