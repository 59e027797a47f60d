"""Two connections joined: what comes from one goes to the other, as it is. Nothing is read, nothing is kept.

Where one cannot write, the other is not read; a peer that takes nothing of what waits for it is cut off, as in a
session. There are no Pings, since nobody knows where a frame would fit in: the kernel finds out about a peer that is
gone. When one connection ends, the other is closed once it has sent what it still holds, or aborted if it does not get
rid of that in time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import structlog

from dataplane.realtime.legs import Leg
from dataplane.revocation import Access
from dataplane.services import Services
from dataplane.snapshot import Snapshot
from dataplane.upstreams.pools import Lease

FLUSH_S = 10.0
UNANSWERED_MS = 120_000
"""What the peer's kernel has not confirmed for so long: it is gone. Otherwise a quarter of an hour would pass, and
keepalive (see `upstreams.connect`) is for connections that are quiet."""

log = structlog.get_logger("tidegate")


class End(Leg):
    """One of the two."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)

    def drop(self) -> None:
        """Send what is held, then close; give up after `FLUSH_S`."""
        if self._transport is not None and self._open:
            self._cut_in(FLUSH_S, self.abort)
            self._transport.close()


class Splice:
    """Both, made before either has a connection. `over` is called once, when both are gone."""

    def __init__(
        self,
        services: Services,
        name: str,
        route: str,
        backend: str,
        over: Callable[[], None],
        access: Access | None = None,
    ) -> None:
        """`name`: the request's id, for the log. `access`: what it rests on, if it is to end with that."""
        stall = services.limits.stall
        self.backend = backend
        self.lease: Lease | None = None
        """Of the provider that it is with."""
        self.client = End(self._from_client, self._lost, self._balance, stall=stall)
        self.upstream = End(self._from_upstream, self._lost, self._balance, stall=stall)
        self._name, self._route = name, route
        self._services = services
        self._over = over
        self._access = access
        self._told: dict[str, tuple[int, int]] = {}
        """What the meter knows of each leg: bytes received, bytes sent."""
        self._timer: asyncio.TimerHandle | None = None
        """The next time that it is told; None before the beginning."""

    @property
    def joined(self) -> bool:
        return self._timer is not None

    async def prepare(self, began: Snapshot) -> None:
        """What is to be done before `check`, which waits for nothing."""
        if self._access is not None:
            await self._services.revocations.prepare(began)

    def check(self, began: Snapshot) -> None:
        """For what `began` with this snapshot. Raises Refusal access_revoked where it must not begin any more."""
        if self._access is not None:
            self._services.revocations.check(self._access, began)

    def begin(self) -> None:
        """Both are there."""
        if self._access is not None:
            self._services.revocations.watch(self._access, self._revoke)
        with self._services.guard:
            self._services.meter.tunnel_opened(self._route, self.backend)
        self._tell_later()

    def cut(self) -> None:
        """End both, whatever they still hold."""
        self.client.abort()
        self.upstream.abort()

    def _revoke(self, _why: str) -> None:
        """Nobody can be told why: it is not known where an event would fit in."""
        self.cut()

    def _from_client(self, data: bytes) -> None:
        self.upstream.write(data)

    def _from_upstream(self, data: bytes) -> None:
        self.client.write(data)

    def _balance(self) -> None:
        self.client.read(not self.upstream.full)
        self.upstream.read(not self.client.full)

    def _lost(self) -> None:
        self.client.drop()
        self.upstream.drop()
        if not (self.client.connected or self.upstream.connected):
            self._end()

    def _end(self) -> None:
        if self._access is not None:
            self._services.revocations.forget(self._access, self._revoke)
        if self._timer is not None:  # it is joined
            self._timer.cancel()
            with self._services.guard:
                self._tell()
                self._services.meter.tunnel_closed(self._route, self.backend)
        for side, leg in self._legs.items():
            if leg.fate == "stalled":
                what = "a WebSocket of a Passthrough path was cut off: a peer took nothing of what waited for it"
                log.info(what, request=self._name, route=self._route, backend=self.backend, peer=side)
        self._over()

    @property
    def _legs(self) -> dict[str, End]:
        return {"client": self.client, "upstream": self.upstream}

    # -- what the meter is told, now and then ------------------------------------------------------------------

    def _tell_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._services.limits.ping, self._tell_and_go_on)

    def _tell_and_go_on(self) -> None:
        with self._services.guard:
            self._tell()
        self._tell_later()

    def _tell(self) -> None:
        for side, leg in self._legs.items():
            received, sent = self._told.get(side, (0, 0))
            if (leg.received, leg.sent) != (received, sent):
                self._told[side] = leg.received, leg.sent
                meter = self._services.meter
                meter.traffic(self._route, self.backend, side, leg.received - received, leg.sent - sent, 0)
