"""All limits of this process: what is counted of everybody, and how much the newest table allows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import structlog

from dataplane.callers import applies
from dataplane.limits.budget import Budget, Unavailable
from dataplane.limits.fleet import Fleet
from dataplane.limits.subjects import REST
from dataplane.limits.tally import Ask, Taken, Tally
from dataplane.metering.prices import UnitPrices
from dataplane.metering.usage import Caller
from dataplane.process.pulse import Every
from dataplane.slices import SLICE, Slices, at_once
from dataplane.table import CallerLimits, Limit, Price, Table

MOST = 65_536
"""Subjects that are counted by themselves. Keys are few, but subjects of tokens may be any number. When this room is
taken, each namespace whose Policies limit anything still has an equal part of as much, which nobody else can take."""
BEAT = 1.0
"""Seconds between two looks at what can be forgotten."""
LOOKED_AT = 2000
"""Tallies that are looked at each time: some 2 ms."""

UNHEARD = "The store of limits has not answered: of other processes this is what was heard last, which may be old."
"""Of what is counted together."""

Prices = Callable[[str, str, Price | None], UnitPrices]
Tell = Callable[[str, str, str], None]

log = structlog.get_logger("tidegate")


class Limiter:
    """One for a gateway. `prices`: what a model costs; `tell` counts decisions; `now` is the clock, in seconds since
    the epoch; `fleet` is what is counted together with other processes, if anything is."""

    def __init__(
        self,
        prices: Prices,
        tell: Tell = lambda *_: None,
        *,
        now: Callable[[], float] = time.time,
        fleet: Fleet | None = None,
        most: int = MOST,
    ) -> None:
        self.prices = prices
        self.tell = tell
        self._now = now
        self._fleet = fleet
        self._most = most
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._maxima: dict[tuple[str, str], int] = {}
        self._last: dict[tuple[str, str], int] = {}
        """What was said last of limits that the table says nothing of, though something is counted."""
        self._sweep: Iterator[tuple[str, str]] = iter(())
        self._beat: Every | None = None
        self._held: Counter[str] = Counter()
        """Tallies, by the namespace of their Policies."""
        self._share = most
        """Tallies that a namespace may have in any case."""
        self._full: set[str] = set()
        """Namespaces of which new callers count together."""

    def load(self, table: Table) -> None:
        """From now on the maxima of this table hold, for sessions that are open, too. What it says nothing of, since a
        Policy is not accepted any more, say, holds for these as it was said last."""
        at_once(self.loading(table))

    def loading(self, table: Table) -> Slices[None]:
        """`load` in slices."""
        maxima: dict[tuple[str, str], int] = {}
        tenants: set[str] = set()
        for count, route in enumerate(table.routes, 1):
            for forward in route.forwards:
                for part in forward.policies.limits:
                    tenants.add(_tenant(part.policy))
                    maxima.update(((part.policy, limit.name), limit.max) for limit in part.limits)
            if count % SLICE == 0:
                yield
        counted: set[str] = set()
        for count, (policy, _) in enumerate(list(self._tallies), 1):
            counted.add(policy)
            if count % SLICE == 0:
                yield
        last = self._last | self._maxima
        self._last = {key: most for key, most in last.items() if key[0] in counted and key not in maxima}
        self._maxima = maxima
        self._share = self._most // max(1, len(tenants))

    def budget(self, limits: Sequence[CallerLimits], caller: Caller, backend: str) -> Budget | None:
        """What limits this caller on this Backend (`namespace/name`); None where nothing does."""
        if not limits:
            return None
        parts = [part for part in limits if applies(part.subjects, caller)]
        return Budget(self, parts, caller, backend) if parts else None

    def start(self) -> None:
        """Begin to forget what is over, and to count together with the others."""
        self._beat = Every(BEAT, lambda _: self._forget())
        if self._fleet:
            self._fleet.start(self._shared)

    async def stop(self) -> None:
        """Tell the others what was counted last. Once more is no harm."""
        if self._beat:
            self._beat.stop()
        if self._fleet:
            await self._fleet.stop()

    async def refresh(self) -> str:
        """Hear what other processes have counted, for half a second at most; what is to be said where that failed."""
        if self._fleet is None or next(self._shared(), None) is None:
            return ""
        return "" if await self._fleet.refresh() else UNHEARD

    def listing(self) -> Slices[list[dict[str, object]]]:
        """Everything that is counted, in slices: by process, or as far as is known here, by all of them."""
        shown: list[dict[str, object]] = []
        for number, tally in enumerate(list(self._tallies.values()), 1):
            if number % SLICE == 0:
                yield
            shown += self._shown(tally)
        return shown

    def _shown(self, tally: Tally) -> Iterator[dict[str, object]]:
        more: dict[str, object] = {}
        if tally.subject == REST:
            more["takes_new"] = not self._has_room(_tenant(tally.policy))
        for name, count in tally.shown(self.now()):
            yield {
                "policy": tally.policy,
                "limit": name,
                "subject": tally.subject,
                "used": count.all_used,
                "reserved": count.all_reserved,
                "max": self._maxima.get((tally.policy, name)),
                "unit": "nano-usd" if name.startswith("spend") else name.partition("/")[0],
                "window_end": count.window.end if count.per else None,
                "source": "fleet" if tally.shared and self._fleet and self._fleet.up else "local",
                **more,
            }

    # -- what budgets ask --------------------------------------------------------------------------------------

    def now(self) -> float:
        return self._now() + (self._fleet.ahead if self._fleet else 0.0)

    def maximum(self, policy: str, limit: Limit) -> int:
        key = policy, limit.name
        most = self._maxima.get(key)
        return self._last.get(key, limit.max) if most is None else most

    def known(self, policy: str, subject: str) -> Tally | None:
        return self._tallies.get((policy, subject)) or (
            None if self._has_room(_tenant(policy)) else self._tallies.get((policy, REST))
        )

    def tally(self, limits: CallerLimits, subject: str) -> Tally:
        found = self._tallies.get((limits.policy, subject))
        if found is None:
            found = self._new(limits.policy, subject)
        found.shared = found.shared or limits.fleet
        return found

    def changed(self, tally: Tally) -> None:
        if self._fleet and tally.shared:
            self._fleet.changed(tally)

    async def take_together(self, tally: Tally, ask: Ask) -> Taken:
        if self._fleet is None:
            raise Unavailable
        return await self._fleet.take(tally, ask)

    # -- what is kept ------------------------------------------------------------------------------------------

    def _new(self, policy: str, subject: str) -> Tally:
        """A tally of its own, while there is room for one: then one for all the rest, which nobody can make larger."""
        tenant = _tenant(policy)
        if not self._has_room(tenant):
            if tenant not in self._full:
                log.warning("limits are counted of too many callers: new ones count together", namespace=tenant)
            self._full.add(tenant)
            subject = REST
        key = policy, subject
        if key not in self._tallies:
            self._tallies[key] = Tally(policy, subject)
            self._held[tenant] += 1
        return self._tallies[key]

    def _has_room(self, tenant: str) -> bool:
        return len(self._tallies) < self._most or self._held[tenant] < self._share

    def _shared(self) -> Iterator[Tally]:
        return (tally for tally in list(self._tallies.values()) if tally.shared)

    def _forget(self) -> None:
        """Drop what no longer matters, some at a time."""
        now, looked = self.now(), list(islice(self._sweep, LOOKED_AT))
        for key in looked:
            tally = self._tallies.get(key)
            if tally is not None and tally.idle(now) and not (self._fleet and self._fleet.owes(tally)):
                self._drop(key)
        if len(looked) < LOOKED_AT:
            self._sweep = iter(list(self._tallies))
        self._full -= {*filter(self._has_room, self._full)}

    def _drop(self, key: tuple[str, str]) -> None:
        del self._tallies[key]
        tenant = _tenant(key[0])
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]


def _tenant(policy: str) -> str:
    """The namespace of a Policy."""
    return policy.partition("/")[0]
