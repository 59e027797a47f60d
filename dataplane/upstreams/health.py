"""How one provider is doing, by what became of what it was asked. Pure: time and chance are arguments.

It is in until so many failures in a row eject it, each time for longer; then one request at a time tries it, and what
becomes of that decides. A provider that says when to come back rests until then, for the model that was asked for:
limits are by model. Nobody asks a provider only to see whether it is there: what it answers to that says little.

What was begun before an ejection says nothing about what came after it, so that a hundred requests which fail together
are one ejection. `Standing.epoch` is what tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from dataplane.faults import Fault
from dataplane.table import Health

_MODELS = 64
"""How many models' rests are known. Beyond that a provider that asks for one more rests for all of them."""
NO_MODEL = "no model"
"""Stands for what is asked without naming one."""
_JITTER = 0.1
"""Part by which an ejection is longer or shorter, so that not all gateways come back in one moment."""


class Rest(NamedTuple):
    until: float
    asked: bool
    """Has the provider itself asked for it?"""
    full: bool = False
    """Has it no room (429)?"""
    seconds: float = 0.0
    """How long it is, from when it was asked for."""


@dataclass(slots=True)
class Standing:
    """Of one provider of one Backend, in this process."""

    backend: str = ""
    provider: str = ""
    place: tuple[str, ...] = ()
    """What its health is about: the provider's address, and the ids of what it is shown and trusted by."""
    sessions: int = 0
    """Sessions, and other WebSockets, that are open or being opened."""
    requests: int = 0
    """Other requests that are under way."""
    out_until: float = 0.0
    """When its ejection is over; 0: it is in. Past: whoever asks it tries whether it is back."""
    trying: bool = False
    """Is somebody?"""
    rests: dict[str, Rest] = field(default_factory=dict)
    """Until when it rests, by the name that it knows the model by; empty: for all of them."""
    why: str = ""
    """What it was ejected for, or rests for, in words."""
    reason: str = ""
    """The same as a metric label: see `faults.REASONS`."""
    proven: bool = False
    """Has it done what it was asked, since it was ejected last?"""
    epoch: int = 0
    """How often it was ejected, or came back."""
    failures: int = 0
    """In a row."""
    ejections: int = 0
    """In a row."""

    def resting(self, model: str, now: float, *, asked: bool = False) -> float:
        """Until when it rests, as far as this model is concerned; 0 where it does not. `asked`: only if it has asked
        for that itself."""
        rest = self.rest_of(model, now)
        return rest.until if rest is not None and (rest.asked or not asked) else 0.0

    def rest_of(self, model: str, now: float) -> Rest | None:
        """Its rest, as far as this model is concerned."""
        found = [rest for name in (model or NO_MODEL, "") if (rest := self.rests.get(name)) and rest.until > now]
        return max(found, key=lambda rest: (rest.asked, rest.until), default=None)

    def out(self, now: float) -> bool:
        """Is it ejected?"""
        return now < self.out_until

    def begin(self, now: float) -> bool:
        """It is asked; whether that is to try if it is back."""
        if self.out_until and now >= self.out_until and not self.trying:
            self.trying = True
            return True
        return False

    def succeeded(self, epoch: int) -> bool:
        """It did what it was asked in that epoch; whether it is back by that."""
        if epoch != self.epoch:
            return False
        back = self.out_until > 0
        self.failures = 0
        self.proven = True
        if back:
            self.ejections, self.out_until, self.why, self.reason = 0, 0.0, "", ""
            self.epoch += 1
        return back

    def failed(self, epoch: int, fault: Fault, why: str, health: Health, now: float, chance: float) -> float:
        """It failed at what it was asked in that epoch; for how many seconds it is ejected by that, or 0. `chance` is
        in [0, 1)."""
        if epoch != self.epoch or self.out(now):
            return 0.0
        self.failures += 1
        if not (self.out_until or fault.at_once or self.failures >= health.eject_after):
            return 0.0
        doubled = health.eject_for * 2.0 ** min(self.ejections, 30)
        seconds = min(doubled, health.eject_for_most) * (1 + _JITTER * (2 * chance - 1))
        self.ejections, self.failures = self.ejections + 1, 0
        self.out_until, self.why, self.reason = now + seconds, why, fault.reason
        self.proven = False
        self.epoch += 1
        return seconds

    def rest(self, model: str, fault: Fault, why: str, now: float) -> bool:
        """It is to be left alone for a while, for this model, or for what names none; whether that is news."""
        model = "" if fault.whole else model or NO_MODEL
        news = self.rest_of(model, now) is None
        if model not in self.rests and len(self.rests) >= _MODELS:
            self.rests = {name: rest for name, rest in self.rests.items() if rest.until > now}
            if len(self.rests) >= _MODELS:
                if not fault.asked:
                    return False
                model = ""
        before = self.rests.get(model)
        rest = Rest(now + fault.rest, fault.asked, fault.reason == "rate_limited", fault.rest)
        if before is None or before.until <= now or rest > before:
            self.rests[model] = rest
        if not self.out(now):
            self.why, self.reason = why, fault.reason
        return news

    def moved(self, place: tuple[str, ...]) -> bool:
        """It has this address, and these credentials, now; whether that is news, and its health begins anew."""
        if place == self.place:
            return False
        self.place = place
        self.failures = self.ejections = 0
        self.out_until, self.trying, self.why, self.reason, self.rests = 0.0, False, "", "", {}
        self.proven = False
        self.epoch += 1
        return True

    def shown(self, now: float) -> dict[str, object]:
        """For whoever runs the gateway."""
        rests = {model: round(rest.until - now, 1) for model, rest in self.rests.items() if rest.until > now}
        in_or_rests = "resting" if rests else "healthy"
        state = in_or_rests if not self.out_until else "ejected" if self.out(now) else "on trial"
        found: dict[str, object] = {"state": state, "sessions": self.sessions, "requests": self.requests}
        if state != "healthy":
            found["why"] = self.why
        if self.out(now):
            found["back_in_seconds"] = round(self.out_until - now, 1)
        if rests:
            found["rests_for_seconds"] = {model or "every model": seconds for model, seconds in rests.items()}
        return found
