"""The clocks of a live session: its watch is asked when that is due, and what it says is done.

`watch` is the arithmetic, without a clock; here are the timer, the peers that are asked for a sign of life, and those
that are given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dataplane.realtime import endings
from dataplane.realtime.actions import Action
from dataplane.realtime.legs import Leg
from dataplane.realtime.relay import Relay
from dataplane.realtime.watch import Pulse, Watch
from dataplane.services import Limits
from dataplane.table import SessionLimits

LATE = 0.001
"""Seconds that the watch is asked after it is due: uvloop's clock has milliseconds, and nothing may come early."""


class Clocks:
    """Of a session that has both its legs, and began at `started`. `carried` is called at each look; `perform` carries
    out what the relay decides there, and sees to faults."""

    __slots__ = ("_carried", "_client", "_limits", "_over", "_perform", "_relay", "_timer", "_upstream", "_watch")

    def __init__(
        self,
        started: float,
        limits: SessionLimits,
        patience: Limits,
        relay: Relay,
        upstream: Leg,
        client: Leg,
        carried: Callable[[], None],
        perform: Callable[[Callable[[], list[Action]]], object],
    ) -> None:
        self._limits = limits
        self._relay = relay
        self._upstream = upstream
        self._client = client
        self._carried = carried
        self._perform = perform
        self._watch = Watch(
            asyncio.get_running_loop().time(),
            started=started,
            ping=patience.ping,
            silence=patience.silence,
            idle=limits.idle,
            duration=limits.duration,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self._look_later()

    def stop(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._watch.due + LATE, self._look)

    def _look(self) -> None:
        """Do what the clocks ask for. What follows an ending has times of its own."""
        self._timer = None
        if self._relay.ending is None:
            self._perform(self._asked_for)
        if self._relay.ending is None and not self._over:
            self._look_later()

    def _asked_for(self) -> list[Action]:
        self._carried()
        now, here, watch = asyncio.get_running_loop().time(), self._relay, self._watch
        ending = watch.look(now, here.client_messages + here.upstream_messages)
        if ending is not None:
            return here.end(ending, _TIMES_UP[ending].format(self._limits))
        actions = self._checked(self._upstream, watch.upstream, here.ping_upstream, now)
        return actions + self._checked(self._client, watch.client, here.ping_client, now)

    def _checked(self, leg: Leg, pulse: Pulse, ping: Callable[[], list[Action]], now: float) -> list[Action]:
        """See whether a peer lives; ask one that is quiet, and give up one that is dead."""
        match pulse.look(now, leg.received, excused=leg.excused):
            case "quiet" if asking := ping():
                pulse.asked()
                return asking
            case "dead":
                leg.give_up("silent")
        return []


_TIMES_UP = {
    endings.IDLE: "No message passed for {0.idle:g} s.",
    endings.DURATION: "The session is {0.duration:g} s old, which is the most it may be.",
}
"""What the client is told, from the session's limits."""
