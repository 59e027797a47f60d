"""The responses of one connection that are under way, and what all of them used."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from dataplane.affinity.bodies import Json
from dataplane.dialogue import messages
from dataplane.exchange import Exchange
from dataplane.http.responses import Outcome
from dataplane.http.turn import Turn
from dataplane.limits.spending import Model
from dataplane.metering.usage import NO_TOKENS, Status
from dataplane.services import Services
from dataplane.upstreams.choose import Destination


@dataclass(slots=True)
class Response:
    """One that is under way."""

    turn: Turn
    outcome: Outcome
    admitted: bool
    """Was it asked about before? Not one that the provider begins by itself, after steering."""
    begun: bool = False
    """Has the provider said so?"""


class Lanes:
    """On each lane there is one at a time."""

    def __init__(self, services: Services, exchange: Exchange) -> None:
        self.turns, self.tokens = 0, NO_TOKENS
        self.cost: Decimal | None = None
        """USD of the turns that have a price; None if none has."""
        self._services, self._exchange = services, exchange
        self._open: dict[str, Response] = {}
        self._free = asyncio.Event()
        """A response is over."""

    @property
    def busy(self) -> bool:
        """Is any under way?"""
        return bool(self._open)

    async def free(self, lane: str) -> None:
        """Wait until one may begin there."""
        while lane in self._open or len(self._open) >= messages.LANES:
            self._free.clear()
            await self._free.wait()

    async def admit(self, lane: str, to: Destination) -> Response:
        """One may begin, and does. Raises Refusal."""
        if (budget := self._exchange.budget) is not None:
            await budget.admit_turn(Model.of(to, speaks=False))
        return self._begin(lane, to, admitted=True)

    def follow(self, event: Json, to: Destination) -> None:
        """See what an event of the provider's makes of a response. `to`: of what was asked last."""
        lane, about = messages.lane_said(event), event.get("response")
        if messages.is_of_connection(event):
            return
        response = self._open.get(lane)
        if isinstance(about, dict) and (response is None or response.outcome.id not in ("", about.get("id"))):
            if response is not None:
                self._over(lane, "failed")
            response = self._begin(lane, to, admitted=False)
        if response is None:
            return
        if event.get("type") == "error" and not response.begun:
            self.forget(lane)  # it was refused, and is no turn
            return
        response.begun = response.begun or isinstance(about, dict)
        response.outcome.read_event(event)
        if response.outcome.ended:
            self._over(lane, response.outcome.status)

    def forget(self, lane: str) -> None:
        """Nobody took it."""
        response = self._open.pop(lane)
        if response.admitted and self._exchange.budget is not None:
            self._exchange.budget.release_turn()
        self._free.set()

    def end(self, status: Status) -> None:
        """All that are under way end so."""
        for lane in list(self._open):
            self._over(lane, status)

    def _begin(self, lane: str, to: Destination, *, admitted: bool) -> Response:
        outcome = Outcome()
        response = Response(Turn(self._services, self._exchange, to, outcome), outcome, admitted)
        self._open[lane] = response
        return response

    def _over(self, lane: str, status: Status) -> None:
        response = self._open[lane]
        cost = response.turn.end(status).usd
        self.turns += 1
        self.tokens += response.outcome.tokens or NO_TOKENS
        if cost is not None:
            self.cost = (self.cost or Decimal(0)) + cost
        self.forget(lane)
