"""What one data plane does with the offers of several controllers. No I/O: events and the time go in, actions come out.

It takes an offer unless that is older than what it holds: then it says so, and the controller offers again once it has
caught up. If all controllers that are left offer only older ones, theirs is the truth after all: the cluster's storage
was restored, or a replica was ahead of the others and died. That takes `DOUBT` seconds.

One table at a time is fetched and loaded. Offers that come meanwhile wait, one for each controller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from dataplane.table.messages import FromDataPlane, HealthMessage, Hello, Holds, Offer, Refuse, Stale
from dataplane.table.schemas import SERVED
from dataplane.table.watermark import Watermark, joined, older

DOUBT: Final = 3.0
"""Seconds that only older tables are offered before the newest of them is taken."""
AGAIN: Final = 10.0
"""Seconds until a table that was refused is tried again, whoever offers it."""


class Held(NamedTuple):
    """The table that is served."""

    table: str
    """Its hash."""
    watermark: Watermark


class Send(NamedTuple):
    peer: str
    message: FromDataPlane


class Fetch(NamedTuple):
    """Get what is missing of the offer from the peer, and load it; then say `loaded`, `refused` or `lost`."""

    peer: str
    offer: Offer


class Redial(NamedTuple):
    """Close the connection, and dial again: the controller offers afresh then."""

    peer: str


Action = Send | Fetch | Redial


@dataclass(slots=True)
class _Peer:
    """A controller that is connected."""

    offer: Offer | None = None
    """Its last one."""
    waits: bool = False
    """Is the offer not answered yet?"""
    hears: bool = False
    """Does it want to know how providers are doing?"""


class _Refused(NamedTuple):
    table: str
    reasons: tuple[str, ...]
    until: float


@dataclass(slots=True)
class Subscription:
    """`now` is in seconds, of a clock that never goes back. Peers are known by their addresses."""

    pod: str
    version: str
    held: Held | None = None
    _peers: dict[str, _Peer] = field(default_factory=dict)
    _busy: Fetch | None = None
    _loading: bool = False
    """Has all of what is fetched come?"""
    _doubted: float | None = None
    """Since when only older ones are offered."""
    _refused: _Refused | None = None
    _health: HealthMessage | None = None
    """What was said last."""

    @property
    def busy(self) -> bool:
        """Whether a table is being fetched or loaded."""
        return self._busy is not None

    def connected(self, peer: str) -> list[Action]:
        """A connection with this controller is open."""
        self._peers[peer] = _Peer()
        table, watermark = self.held or ("", None)
        hello = Hello(schemas=SERVED, table=table, watermark=watermark, pod=self.pod, version=self.version)
        return [Send(peer, hello)]

    def offered(self, peer: str, offer: Offer, now: float) -> list[Action]:
        """Offers of a connection that is lost are nobody's."""
        if (known := self._peers.get(peer)) is None:
            return []
        actions: list[Action] = []
        known.offer, known.waits = offer, True
        if not known.hears and "health" in offer.hears:
            known.hears = True
            if self._health:
                actions.append(Send(peer, self._health))
        if self._busy and self._busy.peer == peer and self._busy.offer.table != offer.table and not self._loading:
            self._busy = None  # it went on to another
        return [*actions, *self._decided(now)]

    def lost(self, peer: str, now: float) -> list[Action]:
        """Its connection is closed. What is being loaded is loaded all the same."""
        self._peers.pop(peer, None)
        if self._busy and self._busy.peer == peer and not self._loading:
            self._busy = None
        return list(self._decided(now))

    def loading(self) -> None:
        """All of what was to be fetched has come."""
        self._loading = True

    def loaded(self, now: float) -> list[Action]:
        """What was fetched is served."""
        offer = self._over()
        return [*self._holds(Held(offer.table, offer.watermark)), *self._decided(now)]

    def refused(self, reasons: Sequence[str], now: float) -> list[Action]:
        """What was fetched cannot be served; what was held is."""
        self._refused = _Refused(self._over().table, tuple(reasons), now + AGAIN)
        return list(self._decided(now))

    def booted(self, held: Held, now: float) -> list[Action]:
        """A snapshot is served, since nothing was held."""
        return [*self._holds(held), *self._decided(now)]

    def health(self, health: HealthMessage) -> list[Action]:
        """Providers are doing like this now: say so where it is news."""
        if health == self._health:
            return []
        self._health = health
        return [Send(name, health) for name, peer in self._peers.items() if peer.hears]

    def look(self, now: float) -> list[Action]:
        """To be called every now and then: doubt grows with time."""
        return list(self._decided(now))

    def restart(self) -> None:
        """Nobody is connected any more, and nothing is under way."""
        self._peers.clear()
        self._busy, self._loading, self._doubted = None, False, None

    def _over(self) -> Offer:
        assert self._busy
        offer, self._busy, self._loading = self._busy.offer, None, False
        return offer

    def _holds(self, held: Held) -> Iterator[Action]:
        """Say it to all. Who offers what was held until now, where that was newer, is to offer it afresh."""
        before, self.held = self.held, held
        self._doubted = None
        back = before is not None and older(held.watermark, before.watermark)
        for name, peer in self._peers.items():
            if peer.offer and peer.offer.table == held.table:
                peer.waits = False
            if back and before and peer.offer and peer.offer.table == before.table:
                yield self._redialled(name)
            else:
                yield Send(name, Holds(table=held.table, watermark=held.watermark))

    def _decided(self, now: float) -> Iterator[Action]:
        """Answer what can be answered, and begin with the best of the rest."""
        for name, offer in self._waiting():
            if answer := self._answer(offer, now):
                self._peers[name].waits = False
                yield Send(name, answer)
        trusted = self._trusts_only_older(now)
        if self._busy and not self._loading and not trusted and self._is_older(self._busy.offer):
            yield self._redialled(self._busy.peer)  # it was trusted, and another one has better now
            self._busy = None
        for name, peer in self._peers.items():
            if trusted or not (peer.offer and self._is_older(peer.offer)):
                continue
            if self._doubted is None and peer.waits:
                peer.waits = False
                yield Send(name, self._stale(peer.offer))
            elif self._doubted is not None and not peer.waits:
                yield self._redialled(name)  # it was told `stale` while another one had better
        if self._busy is None and (best := self._best(trusted)):
            self._busy = best
            yield best

    def _redialled(self, name: str) -> Redial:
        self._peers[name].offer = None
        return Redial(name)

    def _waiting(self) -> list[tuple[str, Offer]]:
        busy_with = self._busy.peer if self._busy else ""
        waiting = [(name, peer.offer) for name, peer in self._peers.items() if peer.waits and peer.offer]
        return [(name, offer) for name, offer in waiting if name != busy_with]

    def _answer(self, offer: Offer, now: float) -> FromDataPlane | None:
        """Without anything being done for it."""
        if self.held and offer.table == self.held.table:
            self.held = Held(offer.table, joined(self.held.watermark, offer.watermark))
            return Holds(table=offer.table, watermark=self.held.watermark)
        if offer.schema_number not in SERVED:
            return Refuse.because(offer.table, [f"schema {offer.schema_number} is unknown; known are {SERVED}"])
        if self._refused and self._refused.table == offer.table and now < self._refused.until:
            return Refuse.because(offer.table, self._refused.reasons)
        return None

    def _is_older(self, offer: Offer) -> bool:
        held = self.held
        return held is not None and offer.table != held.table and older(offer.watermark, held.watermark)

    def _stale(self, offer: Offer) -> Stale:
        assert self.held
        return Stale(table=offer.table, watermark=self.held.watermark)

    def _trusts_only_older(self, now: float) -> bool:
        """Whether there has been nothing else for so long that it is believed."""
        offers = [peer.offer for peer in self._peers.values() if peer.offer]
        if not offers or not all(map(self._is_older, offers)):
            self._doubted = None
            return False
        if self._doubted is None:
            self._doubted = now
        return now - self._doubted >= DOUBT

    def _best(self, trusted: bool) -> Fetch | None:
        """The newest offer that may be taken. One without an outline is answered already: it is of a table that was
        held when it was made, and all have been told of the one after it."""
        found = [
            Fetch(name, offer)
            for name, offer in self._waiting()
            if offer.outline and (trusted or not self._is_older(offer))
        ]
        return max(found, key=lambda each: _age(each.offer.watermark), default=None)


def _age(watermark: Watermark) -> tuple[int, int]:
    """Grows with every step."""
    return watermark.epoch, sum(watermark.versions.values())
