"""The condition Healthy of Backends: whether any provider is left that works, by what gateways say. Pure.

A gateway speaks of Backends that it was asked for: that no provider of one is healthy, or that one has done what it was
asked. It is False where somebody says the former and nobody the latter. Where gateways disagree it stays True, and the
message says who finds what: one gateway without a way to the internet must not take every Backend down with it. Who has
nothing to say of a Backend, as one that has just started, is not counted.

Nothing flaps: who found no healthy provider is taken to do so until it has not said it for CALM, so that a provider
that comes and goes stays unhealthy; and what it said first stays, as long as it is about the same. Of a connection that
is lost the last word counts for GRACE. A gateway that is not ready any more says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from controller.compile.statuses import Condition, false, true
from controller.programmed import GRACE, NAMED, Gateway
from dataplane.table.messages import Failing, HealthMessage

CALM: Final = 10.0
"""Seconds."""
EVERY: Final = 2.0
"""Seconds between two looks at what gateways say: they say it no more often."""
REASON: Final = "NoHealthyProvider"
HEALTHY: Final = true("Healthy", "Some provider can be asked, as far as gateways know.")
"""Without a number, which would change with every gateway that comes or goes."""


class _Word(NamedTuple):
    """The last of a gateway."""

    health: HealthMessage
    healthy: frozenset[str] | None
    """As in the message."""
    heard: float

    def finds_healthy(self, backend: str) -> bool:
        """One that is not listed is what it says of all others."""
        return self.healthy is None or backend in self.healthy


class _Unhealthy(NamedTuple):
    """A Backend, as one gateway finds it."""

    providers: Mapping[str, Failing]
    said: float
    """When it was said last."""


@dataclass(slots=True)
class Healthy:
    """Backends are known by `namespace/name`. `begun`: when this controller began to listen to gateways."""

    begun: float
    _words: dict[str, _Word] = field(default_factory=dict)
    """By the pod's uid."""
    _unhealthy: dict[str, dict[str, _Unhealthy]] = field(default_factory=dict)
    """By the pod's uid, and Backend."""
    _found: Mapping[str, Condition] = field(default_factory=dict)
    _heard_all: bool = False
    """Has every ready gateway been heard, or had time to speak?"""
    _looked: float = float("-inf")

    def look(self, ready: Sequence[Gateway], said: Mapping[str, HealthMessage], now: float) -> None:
        """Take note of what gateways say, by the pods' uids."""
        if now < self._looked + EVERY:
            return
        self._looked = now
        self._listen(said, now)
        words = [(gateway, self._words.get(gateway.uid)) for gateway in ready]
        heard = bool(words) and all(word for _, word in words)
        self._heard_all = self._heard_all or heard or now - self.begun >= GRACE
        said_by = sorted((gateway.name, gateway.uid, word) for gateway, word in words if word)
        found = {backend for _, uid, _ in said_by for backend in self._unhealthy[uid]}
        self._found = {backend: self._condition(backend, said_by) for backend in found}

    def condition(self, backend: str) -> Condition | None:
        """None: nothing can be said, since this controller has just begun to listen."""
        return self._found.get(backend, HEALTHY) if self._heard_all else None

    def _listen(self, said: Mapping[str, HealthMessage], now: float) -> None:
        for uid, health in said.items():
            before = self._words.get(uid)
            if before is not None and before.health is health:
                self._words[uid] = before._replace(heard=now)
            else:
                healthy = None if health.healthy is None else frozenset(health.healthy)
                self._words[uid] = _Word(health, healthy, now)
        self._words = {uid: word for uid, word in self._words.items() if now - word.heard < GRACE}
        before_all, self._unhealthy = self._unhealthy, {}
        for uid, word in self._words.items():
            found = {name: each for name, each in before_all.get(uid, {}).items() if now - each.said < CALM}
            for backend, providers in word.health.unhealthy.items():
                found[backend] = _Unhealthy(_kept(providers, found.get(backend)), now)
            self._unhealthy[uid] = found

    def _condition(self, backend: str, said_by: Sequence[tuple[str, str, _Word]]) -> Condition:
        finding = {name: found for name, uid, _ in said_by if (found := self._unhealthy[uid].get(backend))}
        others = sum(name not in finding and word.finds_healthy(backend) for name, _, word in said_by)
        providers: dict[str, Failing] = {}
        for found in finding.values():
            providers = {**found.providers, **providers}
        return _disputed(finding, others, providers) if others else _agreed(len(finding), providers)


def _kept(providers: Mapping[str, Failing], before: _Unhealthy | None) -> Mapping[str, Failing]:
    """With the words of before, where they are about the same: a provider's have numbers and times in them."""
    known = before.providers if before is not None else {}
    return {
        name: known[name] if name in known and known[name].reason == each.reason else each
        for name, each in providers.items()
    }


def _agreed(gateways: int, providers: Mapping[str, Failing]) -> Condition:
    who = f"{gateways} gateways find" if gateways > 1 else "1 gateway finds"
    return false(
        "Healthy",
        REASON,
        f"{who} no healthy provider, and none finds one: {_listed(providers)}. Mend what is said of one of them. This "
        "is True again once one has answered a request, or the time is over for which it asked to be left alone.",
    )


def _disputed(finding: Iterable[str], others: int, providers: Mapping[str, Failing]) -> Condition:
    names = sorted(finding)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    find = "find" if len(names) > 1 else "finds"
    return true(
        "Healthy",
        f"{len(names)} of {len(names) + others} gateways that were asked {find} no healthy provider "
        f"({', '.join(names[:NAMED])}{more}), the others do: {_listed(providers)}. If that stays, look at the network "
        "of the gateways that are named.",
    )


def _listed(providers: Mapping[str, Failing]) -> str:
    names = sorted(providers)
    told = [f"{name}: {(providers[name].why or providers[name].reason).rstrip('.')}" for name in names[:NAMED]]
    return "; ".join([*told, *([f"and {len(names) - NAMED} more"] if len(names) > NAMED else [])])
