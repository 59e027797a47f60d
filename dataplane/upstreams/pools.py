"""How all providers are doing, and a request's way through those of its Backend.

    tries = pools.named(exchange, model, allow)
    lease = tries.first()
    while True:
        try: …                                  # ask lease.destination
        except Refusal as refusal: lease = tries.after(lease, refusal)

What is known of a provider stays over changes of the table, as long as its Backend has a provider of that name; with
another address or another credential its health begins anew. It goes with the Backend.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from dataplane import models
from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.faults import REASONS, Fault
from dataplane.slices import SLICE, Slices
from dataplane.table import Backend, Provider
from dataplane.upstreams.choose import Choice, Destination, Member, Providers, Wish, nobody
from dataplane.upstreams.health import Standing
from dataplane.upstreams.unhealthy import Report, reported

TIMEOUTS = 5
"""After so many providers that did not answer in time no other is tried: the client has waited long enough."""
QUIET = 60.0
"""Seconds between two lines of the log that say that a provider rests."""

log = structlog.get_logger("tidegate.upstream")


class Meter(Protocol):
    """What is counted of providers."""

    def upstream_healthy(self, backend: str, provider: str, *, healthy: bool | None) -> None: ...

    def upstream_active(self, backend: str, provider: str, kind: str, change: int) -> None: ...

    def ejected(self, backend: str, provider: str, reason: str) -> None: ...

    def rate_limited(self, backend: str, provider: str) -> None: ...

    def failed_over(self, backend: str, reason: str) -> None: ...


class Pools:
    """Those of all Backends. `clock` is in seconds from any moment on, `now` since the epoch, `rand` in [0, 1)."""

    def __init__(
        self,
        meter: Meter,
        *,
        rand: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.clock, self.now = clock, now
        self._meter, self._rand = meter, rand
        self._served: Mapping[str, Backend] = {}
        self._asked: dict[str, Providers] = {}
        """By Backend, of those that were asked for something."""
        self._quiet: dict[tuple[str, str], float] = {}
        """Until when nothing is said of a provider that rests."""

    def following(self, backends: Mapping[str, Backend]) -> Slices[None]:
        """These are the Backends now, by name."""
        self._served = backends
        for count, (name, providers) in enumerate(list(self._asked.items()), 1):
            backend = backends.get(name)
            if backend is None:
                del self._asked[name]
                self._forget(providers.standings.values())
            elif backend is not providers.backend:
                self._renewed(backend)
            if count % SLICE == 0:
                yield

    # -- who is asked ------------------------------------------------------------------------------------------

    def named(
        self,
        exchange: Exchange,
        requested: str,
        allow: models.Allow,
        *,
        session: bool = False,
        within: Backend | None = None,
    ) -> Tries:
        """For a request that names a model; empty: none, so that it gets a default. `within`: the Backend with those
        of its providers alone that may be asked. Raises as `Providers.named`."""
        providers = self._within(exchange.backend, within)
        return self._tries(exchange, providers, providers.named(requested, allow), session=session)

    def any(self, exchange: Exchange, *, session: bool = False, within: Backend | None = None) -> Tries:
        """For one that has no model. Raises Refusal configuration_error."""
        providers = self._within(exchange.backend, within)
        return self._tries(exchange, providers, providers.any(), session=session)

    def of(self, backend: Backend) -> Providers:
        """Its providers."""
        found = self._asked.get(backend.name)
        if found is not None and found.backend is backend:
            return found
        if self._served.get(backend.name) is backend:
            return self._renewed(backend)
        known = found.standings if found is not None else {}  # of a table that is not served any more
        return Providers(
            backend, {each.name: known.get(each.name) or _new(backend, each) for each in backend.providers}
        )

    def _within(self, backend: Backend, part: Backend | None) -> Providers:
        found = self.of(backend)
        return found if part is None or part is backend else Providers(part, found.standings, bound=True)

    def shown(self, backend: str, provider: str) -> dict[str, object]:
        """How a provider is doing, for whoever runs the gateway; nothing where its Backend was never asked."""
        found = self._asked.get(backend)
        standing = found.standings.get(provider) if found is not None else None
        return standing.shown(self.clock()) if standing is not None else {}

    def report(self) -> Slices[Report]:
        """Of which Backends no provider is healthy now."""
        return reported(list(self._asked.values()), self.clock())

    def _tries(self, exchange: Exchange, providers: Providers, wish: Wish, *, session: bool) -> Tries:
        balance = exchange.backend.balance
        sticky = _in_common(exchange) if balance.sticky and len(wish.members) > 1 else ""
        choice = Choice(wish, balance, self._rand, session=session, sticky=sticky)
        return Tries(self, providers, choice, session=session)

    def _renewed(self, backend: Backend) -> Providers:
        before = self._asked.get(backend.name)
        old = before.standings if before is not None else {}
        standings = {each.name: old.get(each.name) or _new(backend, each) for each in backend.providers}
        for provider in backend.providers:
            standing = standings[provider.name]
            if standing.moved(_place(provider)) or provider.name not in old:
                self._meter.upstream_healthy(backend.name, provider.name, healthy=True)
        self._forget(standing for name, standing in old.items() if name not in standings)
        providers = self._asked[backend.name] = Providers(backend, standings)
        return providers

    def _forget(self, standings: Iterable[Standing]) -> None:
        for standing in standings:
            self._meter.upstream_healthy(standing.backend, standing.provider, healthy=None)

    # -- what became of it -------------------------------------------------------------------------------------

    def counted(self, standing: Standing, change: int, *, session: bool) -> None:
        """Something began there, or is over."""
        if session:
            standing.sessions += change
        else:
            standing.requests += change
        kind = "session" if session else "request"
        self._meter.upstream_active(standing.backend, standing.provider, kind, change)

    def succeeded(self, standing: Standing, epoch: int) -> None:
        """A provider did what it was asked."""
        if standing.succeeded(epoch):
            self._meter.upstream_healthy(standing.backend, standing.provider, healthy=True)
            log.info("a provider is back", backend=standing.backend, provider=standing.provider)

    def failed(self, lease: Lease, epoch: int, fault: Fault, why: str) -> None:
        """It did not."""
        standing, now = lease.standing, self.clock()
        about = standing.backend, standing.provider
        if fault.reason == "rate_limited":
            self._meter.rate_limited(*about)
        if fault.rest:
            model = lease.destination.upstream_model
            if standing.rest(model, fault, why, now) and now >= self._quiet.get(about, 0.0):
                self._quiet = {each: until for each, until in self._quiet.items() if until > now}
                self._quiet[about] = now + QUIET
                wait, of = round(fault.rest, 1), None if fault.whole else model or None
                log.warning("a provider rests", backend=about[0], provider=about[1], model=of, seconds=wait, error=why)
        if not fault.counts:
            return
        seconds = standing.failed(epoch, fault, why, lease.backend.health, now, self._rand())
        if seconds:
            self._meter.ejected(*about, fault.reason)
            self._meter.upstream_healthy(*about, healthy=False)
            reason, wait = REASONS[fault.reason], round(seconds, 1)
            what = "a provider is ejected"
            log.warning(what, backend=about[0], provider=about[1], reason=reason, seconds=wait, error=why)

    def failed_over(self, backend: Backend, fault: Fault) -> None:
        """A request goes to another provider."""
        self._meter.failed_over(backend.name, fault.reason)


class Tries:
    """One request's way from provider to provider."""

    __slots__ = ("_choice", "_pools", "_providers", "_session", "_slow", "count")

    def __init__(self, pools: Pools, providers: Providers, choice: Choice, *, session: bool) -> None:
        self._pools, self._providers, self._choice, self._session = pools, providers, choice, session
        self._slow = 0
        self.count = 0
        """How many were asked."""

    def first(self) -> Lease:
        """Raises Refusal where nobody can be asked."""
        lease = self._next()
        if lease is None:
            raise nobody(self._providers.backend, self._choice.wish, self._pools.clock())
        return lease

    def after(self, lease: Lease, refusal: Refusal, *, repeatable: bool = True) -> Lease:
        """The next one, where the last did not take it. `repeatable`: may it be asked of another?

        Raises the refusal where there is no other, or where no other would do better."""
        following = refusal.fault and self.instead(lease, refusal.fault, refusal.message, repeatable=repeatable)
        if following is None:
            raise refusal
        return following

    def instead(self, lease: Lease, fault: Fault, why: str, *, repeatable: bool = True) -> Lease | None:
        """The same for what is no Refusal; None: there is no other."""
        lease.failed(fault, why)
        self._slow += fault.reason == "timeout"
        following = self._next() if repeatable and self._slow < TIMEOUTS else None
        if following is not None:
            self._pools.failed_over(self._providers.backend, fault)
        return following

    def _next(self) -> Lease | None:
        member = self._choice.next(self._pools.clock())
        if member is None:
            return None
        self.count += 1
        destination = self._providers.destination(self._choice.wish, member)
        return Lease(self._pools, self._providers.backend, member, destination, session=self._session)


class Lease:
    """A request's turn with a provider: it counts there until somebody says `leave`."""

    __slots__ = ("_epoch", "_left", "_pools", "_session", "_trial", "backend", "destination", "standing")

    def __init__(
        self, pools: Pools, backend: Backend, member: Member, destination: Destination, *, session: bool
    ) -> None:
        self.backend = backend
        self.destination = destination
        self.standing = member.standing
        self._pools, self._session = pools, session
        self._epoch = self.standing.epoch
        self._trial = self.standing.begin(pools.clock())
        self._left = False
        pools.counted(self.standing, 1, session=session)

    def succeeded(self) -> None:
        """The provider took it."""
        if self._current:
            self._pools.succeeded(self.standing, self._epoch)
            self._epoch = self.standing.epoch  # what breaks off later is a fault of the provider as it is now
        self._settle()

    def waits(self) -> None:
        """The provider has neither taken it nor refused it by now: that is no reason for nobody else to try."""
        self._settle()

    def failed(self, fault: Fault, why: str) -> None:
        """It did not, or broke off later."""
        if self._current:
            self._pools.failed(self, self._epoch, fault, why)
        self._settle()

    def leave(self) -> None:
        """It is over, however it went."""
        if not self._left:
            self._left = True
            self._settle()
            self._pools.counted(self.standing, -1, session=self._session)

    @property
    def _current(self) -> bool:
        """Is it about the address and the credential that the provider has now?"""
        return self.standing.place == _place(self.destination.provider)

    def _settle(self) -> None:
        if self._trial:
            self._trial = self.standing.trying = False


def _new(backend: Backend, provider: Provider) -> Standing:
    return Standing(backend.name, provider.name, _place(provider))


def _place(provider: Provider) -> tuple[str, ...]:
    tls = (*provider.tls.ids, provider.tls.server_name) if provider.tls else ()
    return provider.url, provider.credential.secret, *tls


def _in_common(exchange: Exchange) -> str:
    """What the request has in common with others that are to go to the same provider; empty: nothing."""
    balance, caller = exchange.backend.balance, exchange.caller
    if balance.sticky == "header":
        return ", ".join(exchange.headers.all(balance.header))
    return f"{caller.namespace}\0{caller.key}" if caller.key else ""
