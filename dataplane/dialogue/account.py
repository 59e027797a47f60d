"""What is told of one connection: while it runs, and once it is over."""

from __future__ import annotations

import asyncio

from dataplane.dialogue.lanes import Lanes
from dataplane.dialogue.socket import WebSocket
from dataplane.exchange import Exchange
from dataplane.metering.records import SessionSummary, usd
from dataplane.realtime.endings import Ending
from dataplane.services import Services
from dataplane.upstreams.choose import Destination


class Account:
    """`client`: the address of who asks."""

    def __init__(self, services: Services, exchange: Exchange, client: str) -> None:
        self.began = asyncio.get_running_loop().time()
        self.lanes = Lanes(services, exchange)
        self.sockets: dict[str, WebSocket] = {}
        """By side: `client`, `upstream`."""
        self.destination: Destination | None = None
        """Of what was asked last; None: no provider has taken anything yet."""
        self._services, self._exchange, self._client = services, exchange, client
        self._told: dict[str, tuple[int, int, int]] = {}
        """What the meter knows of each side: bytes received, bytes sent, messages received."""

    @property
    def messages(self) -> int:
        """That passed, in both directions."""
        return sum(socket.messages for socket in self.sockets.values())

    def tell_traffic(self) -> None:
        """Count what was carried since the last time."""
        route, backend = self._exchange.route.name, self._exchange.backend.name
        for side, socket in self.sockets.items():
            carried = socket.leg.received, socket.leg.sent, socket.messages
            before = self._told.get(side, (0, 0, 0))
            self._told[side] = carried
            if carried != before:
                received, sent, count = (new - old for new, old in zip(carried, before, strict=True))
                with self._services.guard:
                    self._services.meter.traffic(route, backend, side, received, sent, count)

    def summary(self, ending: Ending, close_code: int) -> SessionSummary:
        """For the record of the session."""
        exchange, lanes = self._exchange, self.lanes
        provider, model = self._where
        return SessionSummary(
            id=exchange.id,
            route=exchange.route.name,
            backend=exchange.backend.name,
            provider=provider,
            model=model,
            seconds=self._age,
            close_code=close_code,
            reason=ending.label,
            initiator=ending.initiator,
            caller=exchange.caller,
            by_key=exchange.telemetry().caller_key,
            client=self._client,
            turns=lanes.turns,
            tokens=lanes.tokens,
            cost=lanes.cost,
        )

    def shown(self, ending: Ending | None) -> dict[str, object]:
        """For whoever runs the gateway, as `realtime.entry` shows a session: neither content nor keys."""
        exchange, caller, lanes = self._exchange, self._exchange.caller, self.lanes
        provider, model = self._where
        legs = {side: socket.leg for side, socket in self.sockets.items()}
        return {
            "id": exchange.id,
            "route": exchange.route.name,
            "backend": exchange.backend.name,
            "provider": provider,
            "model": model,
            "caller": {"namespace": caller.namespace, "key": caller.key, "team": caller.team},
            "client_address": self._client,
            "seconds": round(self._age, 3),
            "turns": lanes.turns,
            "tokens": lanes.tokens.nonzero(),
            "estimated_tokens": {},
            "cost_usd": usd(lanes.cost),
            "estimated_cost_usd": None,
            "bytes": {side: {"received": leg.received, "sent": leg.sent} for side, leg in legs.items()},
            "ending": ending.label if ending is not None else None,
        }

    @property
    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    @property
    def _where(self) -> tuple[str, str]:
        """Provider and model."""
        to = self.destination
        return ("", "") if to is None else (to.provider.name, to.upstream_model)
