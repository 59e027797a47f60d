"""How a data plane that was told to stop lets its sessions end; the phases, in seconds, in their order.

    lame duck   not ready, and still accepting: load balancers need a while to notice. HTTP answers close their
                connections, so that clients with a pool of them go elsewhere
    patience    the port is closed, nothing new is taken: calls end by themselves, and are not ended by us. On
                connections that are still open, HTTP requests are answered, sessions are refused (503)
    closing     the last of the patience: a session ends as soon as it is between turns
    (deadline)  the others end: each gets its event and Close, and its usage is settled
    linger      the admin port is scraped for the last time

When nothing is left, the rest of patience and closing is skipped. Requests, streamed answers and the WebSocket tunnels
of Passthrough paths have the same patience as sessions; at the deadline requests have two seconds to finish, and what
is left of them, and all tunnels, are cut: nobody knows where a tunnel would be between turns.

A pod must be given `grace_period` seconds, or it is killed before it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Protocol

import structlog

from dataplane.realtime.relay import LINGER, SETTLE

MESSAGE = "The gateway is shutting down."
CUTTING = 3.0
"""Seconds to account for what had to be cut, since it did not end."""
SOCKETS = 2.0
"""Seconds until all sockets are closed, once nobody uses them."""
LAST_WORDS = 10.0
"""Seconds for the last usage records and the last batches to collectors; whoever runs the gateway keeps to it."""
TICK = 0.05
"""Seconds between two looks at what is left."""

log = structlog.get_logger("tidegate")


@dataclass(frozen=True, slots=True)
class Drain:
    lame_duck: float = 10.0
    patience: float = 3600.0
    closing: float = 60.0
    """Part of the patience, at most all of it."""
    linger: float = 30.0
    """Two scrapes, at the usual 15 seconds."""

    @property
    def settling(self) -> float:
        """What the sessions that are left at the deadline need to be told, settled and closed; and the sockets."""
        return SETTLE + 3 * LINGER + CUTTING + SOCKETS

    @property
    def grace_period(self) -> float:
        """The least `terminationGracePeriodSeconds` of a pod (systemd: TimeoutStopSec)."""
        return self.lame_duck + self.patience + self.settling + self.linger + LAST_WORDS


AT_ONCE = Drain(lame_duck=0, patience=0, closing=0, linger=0)


@dataclass(frozen=True, slots=True)
class Left:
    """What is still under way."""

    sessions: int
    requests: int
    tunnels: int

    def __bool__(self) -> bool:
        return bool(self.sessions or self.requests or self.tunnels)


class House(Protocol):
    """What is emptied; `lifecycle.Running`."""

    @property
    def accepting(self) -> bool: ...

    def left(self) -> Left: ...

    def close(self) -> None:
        """Take nothing new."""

    def end_between_turns(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Emptying:
    """The phases of a house, up to the deadline. `hurry`: whoever sets it cuts the waiting short."""

    house: House
    phases: Drain
    hurry: asyncio.Event

    async def run(self) -> None:
        """Return when nothing is left, when the time is up, or when told to hurry. What is left then is the caller's
        to end. Each phase that takes time is logged as it begins."""
        phases, house = self.phases, self.house
        closing = min(phases.closing, phases.patience)
        await self._phase(
            "draining, lame duck: not ready, still accepting", phases.lame_duck, lambda: not house.accepting
        )
        house.close()
        await self._phase(
            "draining, patience: nothing new is taken, sessions end by themselves",
            phases.patience - closing,
            self._is_empty,
        )
        if not (self._is_empty() or self.hurry.is_set()):
            house.end_between_turns()
        await self._phase("draining, closing: sessions end as soon as they are between turns", closing, self._is_empty)
        if not self._is_empty():
            self._say("draining, deadline: what is left ends now", phases.settling)

    async def _phase(self, what: str, seconds: float, over: Callable[[], bool]) -> None:
        """Let so many seconds pass, or fewer: until it is `over`, or somebody is in a hurry."""
        if seconds <= 0 or over() or self.hurry.is_set():
            return
        self._say(what, seconds)
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while not (over() or self.hurry.is_set()) and (rest := end - clock()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(rest, TICK)):
                    await self.hurry.wait()

    def _is_empty(self) -> bool:
        return not self.house.left()

    def _say(self, what: str, seconds: float) -> None:
        log.info(what, seconds=seconds, **asdict(self.house.left()), grace_period=self.phases.grace_period)
