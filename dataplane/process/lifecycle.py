"""What a gateway has from its start to its stop, and how that ends: port, sessions, upstream connections, timers."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from dataclasses import dataclass, field

from dataplane.callers.refresh import Refresher
from dataplane.dialogue.service import Dialogues
from dataplane.http.ports import Ports
from dataplane.http.tunnels import Tunnels
from dataplane.limits.limiter import Limiter
from dataplane.process.drain import MESSAGE, SOCKETS, Left
from dataplane.process.overload import LOOK, Overload
from dataplane.process.pulse import Every
from dataplane.realtime import endings
from dataplane.realtime.service import Realtime
from dataplane.services import Services

LAG_EVERY = 0.25
"""Seconds between two measurements of how late the event loop is."""


@dataclass(slots=True)
class Running:
    """`start` it once, and `stop` it as often as you like."""

    ports: Ports
    services: Services
    sessions: Realtime
    tunnels: Tunnels
    dialogues: Dialogues
    """WebSockets of the Responses API, which count as sessions."""
    overload: Overload
    keys: Refresher
    """Of issuers of tokens."""
    limiter: Limiter
    _timers: list[Every] = field(default_factory=list)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None, *, reuse_port: bool = False) -> None:
        """Raises OSError if the address is taken; then there is nothing to stop."""
        try:
            await self.ports.start(host, port, tls, reuse_port=reuse_port)
        except OSError:
            await self.services.pool.close()
            raise
        self.limiter.start()
        meter = self.services.meter
        meter.capacity(self.services.limits.sessions)
        self.overload.look()
        self.services.revocations.start()
        self._timers = [Every(LAG_EVERY, meter.loop_lag), Every(LOOK, lambda _: self._look())]

    def _look(self) -> None:
        self.overload.look()
        self.services.files.look()

    @property
    def accepting(self) -> bool:
        return self.ports.open

    def left(self) -> Left:
        return Left(self.sessions.live() + self.dialogues.live(), self.ports.requests, self.tunnels.live())

    def live(self, backend: str = "") -> int:
        """WebSockets that are open, or being opened: sessions and tunnels, of one Backend or of all."""
        return self.sessions.live(backend) + self.dialogues.live(backend) + self.tunnels.live(backend)

    def close(self) -> None:
        """Accept no connection, no session and no tunnel any more."""
        self.ports.close()
        self.sessions.refuse_new()
        self.dialogues.refuse_new()
        self.tunnels.refuse_new()

    def end_between_turns(self) -> None:
        """End each session as soon as it is between turns."""
        self.sessions.end_between_turns(endings.DRAINING, MESSAGE)
        self.dialogues.end_between_turns(endings.DRAINING, MESSAGE)

    async def stop(self, grace: float) -> None:
        """End everything that is under way: sessions get their event and Close, requests have `grace` seconds,
        and tunnels are cut then."""
        async with asyncio.TaskGroup() as ends:
            ends.create_task(self.ports.stop(grace))
            ends.create_task(self.sessions.stop())
            ends.create_task(self.dialogues.stop())
        await self.cut()

    async def cut(self) -> None:
        """End what is left without waiting for any peer; what was used is counted all the same."""
        await self.ports.stop(0)
        await self.keys.close()
        await self.sessions.cut()
        await self.dialogues.cut()
        self.tunnels.cut()
        await self.services.beside.stop()
        self.services.threads.stop()
        await self.services.revocations.stop()
        for timer in self._timers:
            timer.stop()
        await self.limiter.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(SOCKETS):
                await self.services.pool.close()
                await self.ports.closed()
