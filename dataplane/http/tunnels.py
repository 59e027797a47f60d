"""All WebSockets of Passthrough paths in this process: whether there is room for one more, and their end.

They have the same caps as sessions, since they take as much room, and the same patience when the gateway shuts down.
But they end when their peers do, or are cut: nobody reads them, so nobody can tell their peers why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from dataplane.errors import shutting_down
from dataplane.exchange import Exchange
from dataplane.http import client as http
from dataplane.http import tunnel
from dataplane.http.message import Request
from dataplane.http.splice import Splice
from dataplane.limits.budget import Budget
from dataplane.services import Services


class Tunnels:
    """Serves them, and knows those that are open or being opened."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._splices: set[Splice] = set()
        self._by_backend: Counter[str] = Counter()
        self._refusing = False

    async def serve(self, request: Request, exchange: Exchange, admit: Callable[[], None]) -> http.Answer:
        """Serve one connection, until it is joined. `admit` raises Refusal where there is no room.

        Raises Refusal, ClientGone."""
        exchange.check_origin()
        admit()
        if self._refusing:
            raise shutting_down()
        route, backend = exchange.route.name, exchange.backend.name
        access, budget = exchange.revocable(), exchange.budget
        splice = Splice(self._services, exchange.id, route, backend, lambda: self._over(splice, budget), access)
        self._splices.add(splice)
        self._by_backend[backend] += 1
        try:
            if budget is not None:
                await budget.admit_session()
            return await tunnel.serve(self._services, request, exchange, splice)
        finally:
            if not splice.joined:
                self._over(splice, budget)

    def live(self, backend: str = "") -> int:
        """How many are open, or being opened: of one Backend, or of all."""
        return self._by_backend[backend] if backend else len(self._splices)

    def refuse_new(self) -> None:
        """From now on requests for one are answered 503. What is being opened may become one."""
        self._refusing = True

    def cut(self) -> None:
        """End all of them at once."""
        for splice in list(self._splices):
            splice.cut()

    def _over(self, splice: Splice, budget: Budget | None) -> None:
        if budget is not None:
            budget.leave()
        if splice.lease is not None:
            splice.lease.leave()
        if splice in self._splices:
            self._splices.remove(splice)
            self._by_backend[splice.backend] -= 1
            if not self._by_backend[splice.backend]:
                del self._by_backend[splice.backend]
