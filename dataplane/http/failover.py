"""One HTTP request, asked of one provider after the other until one takes it, as long as the client has nothing of an
answer.

What is asked again has either not reached the provider, or was refused by it, or the provider broke down before it
answered. One that took a request and is slow is not asked again: it may be at work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import TracebackType

from dataplane import faults
from dataplane.errors import Refusal
from dataplane.services import Services
from dataplane.upstreams.choose import Destination
from dataplane.upstreams.pools import Lease, Tries
from dataplane.upstreams.response import Response

Ask = Callable[[Destination], Awaitable[Response]]
"""Sends the request there. Raises Refusal."""


class Asking(AbstractContextManager["Asking"]):
    """The request's way; the provider that it is with is left at the end."""

    __slots__ = ("_lease", "_now", "_tries")

    def __init__(self, services: Services, tries: Tries) -> None:
        """Raises Refusal where nobody can be asked."""
        self._now = services.pools.now
        self._tries = tries
        self._lease: Lease = tries.first()

    @property
    def destination(self) -> Destination:
        """Where it is."""
        return self._lease.destination

    async def answer(self, ask: Ask, *, repeatable: bool) -> Response:
        """The first answer that is no fault of the provider, or the last one. `repeatable`: may it be sent again, once
        something of it was sent? Raises the Refusal of the last."""
        while True:
            lease = self._lease
            try:
                response = await ask(lease.destination)
            except Refusal as refusal:
                again = refusal.unsent or (repeatable and _lost(refusal))
                self._move(self._tries.after(lease, refusal, repeatable=again))
                continue
            fault = self._fault(lease.destination, response)
            if fault is None:
                lease.succeeded()
                return response
            why = f"Provider {lease.destination.provider.name} answered {response.status}."
            following = self._tries.instead(lease, fault, why, repeatable=repeatable)
            if following is None:
                return response
            response.close()
            self._move(following)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lease.leave()

    def _move(self, lease: Lease) -> None:
        self._lease.leave()
        self._lease = lease

    def _fault(self, destination: Destination, response: Response) -> faults.Fault | None:
        own = destination.provider.credential.kind != "passthrough"
        return faults.of_status(response.status, response.fields, self._now(), own=own)


def _lost(refusal: Refusal) -> bool:
    """May it be sent again that was sent? Not what the provider may be at work on, or has answered somehow."""
    return refusal.fault is not None and refusal.fault.reason in ("unreachable", "credential", "forbidden", "lost")
