"""What is counted of one subject under one Policy, and whether there is room for more. Pure.

A `Count` is what one process knows of one limit: its own totals, which only it changes, and what it last heard of the
others, where processes count together. `used` belongs to a window and begins at 0 in the next one; `reserved` is what
is set aside for all that is under way, whenever it began. So a new window begins with what is set aside, and what a
turn used counts in the window in which that becomes known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dataplane.limits.windows import Window, window
from dataplane.table import Limit, Per

TTL = 15.0
"""Seconds that what a process has set aside counts after it was last heard of."""


class Count:
    """How much there is of one limit."""

    __slots__ = ("others_reserved", "others_until", "others_used", "per", "reserved", "used", "window")

    def __init__(self, per: Per | None, now: float) -> None:
        self.per = per
        self.window: Window = window(per, now)
        self.used = 0
        self.reserved = 0
        self.others_used = 0
        self.others_reserved = 0
        self.others_until = 0.0
        """Until when what the others have set aside counts."""

    def at(self, now: float) -> Count:
        """It, in the window that `now` is in. A clock that is set back by a little gives nobody anything anew: the
        window goes on, to its own end. One that is set back by more than a window must not make it last for ever: then
        what was used counts in the window that it is now."""
        start, end = self.window
        if now >= end:
            self.window = window(self.per, now)
            self.used = self.others_used = 0
        elif now < start - (end - start):
            self.window = window(self.per, now)
        if self.others_reserved and now >= self.others_until:
            self.others_reserved = 0
        return self

    @property
    def all_used(self) -> int:
        return self.used + self.others_used

    @property
    def all_reserved(self) -> int:
        return self.reserved + self.others_reserved

    def heard(self, used: int, reserved: int, now: float) -> None:
        """What the others have, as the store says."""
        self.others_used, self.others_reserved, self.others_until = used, reserved, now + TTL


class Want(NamedTuple):
    """How much of one limit something takes."""

    limit: Limit
    max: int
    """The newest one, which may not be the limit's."""
    amount: int


Ask = tuple[Want, ...]
"""All that something takes of one tally; it gets all of it or nothing."""


class Short(NamedTuple):
    """Why there is no room: what was wanted, of which limit, and how much of that there was."""

    want: Want
    used: int
    reserved: int
    window: Window

    @property
    def left(self) -> int:
        return max(0, self.want.max - self.used - self.reserved)

    @property
    def waits_for_turns(self) -> bool:
        """Would there be room if all that is under way were over, and had used nothing?"""
        return self.used + self.want.amount <= self.want.max


class Tally:
    """All counts of one subject under one Policy."""

    __slots__ = ("counts", "policy", "shared", "subject")

    def __init__(self, policy: str, subject: str) -> None:
        self.policy = policy
        self.subject = subject
        self.shared = False
        """Do processes count together?"""
        self.counts: dict[str, Count] = {}
        """By the limit's name."""

    def count(self, limit: Limit, now: float) -> Count:
        """The count of a limit, in the window that `now` is in."""
        count = self.counts.get(limit.name)
        if count is None:
            count = self.counts[limit.name] = Count(limit.per, now)
        return count.at(now)

    def short(self, ask: Ask, now: float) -> Short | None:
        """The first limit that has no room."""
        for want in ask:
            count = self.count(want.limit, now)
            if count.all_used + count.all_reserved + want.amount > want.max:
                return Short(want, count.all_used, count.all_reserved, count.window)
        return None

    def take(self, ask: Ask, now: float) -> Taken:
        """Take it, whether there is room or not."""
        for want in ask:
            count = self.count(want.limit, now)
            if want.limit.kind == "requests":
                count.used += want.amount
            else:
                count.reserved += want.amount
        return Taken(self, ask, now)

    def add(self, limit: Limit, amount: int, now: float) -> None:
        """Count what was used."""
        self.count(limit, now).used += amount

    def idle(self, now: float) -> bool:
        """Is there nothing in it that matters?"""
        return not any(count.reserved or count.at(now).used for count in self.counts.values())

    @property
    def reserves(self) -> bool:
        """Is anything set aside by this process?"""
        return any(count.reserved for count in self.counts.values())

    def shown(self, now: float) -> Iterator[tuple[str, Count]]:
        """Each limit's name and count."""
        for name, count in self.counts.items():
            yield name, count.at(now)


class Taken(NamedTuple):
    """What was taken of one tally."""

    tally: Tally
    ask: Ask
    moment: float

    def release(self) -> None:
        """What was set aside is no longer; requests stay counted."""
        for want in self.ask:
            if want.limit.kind != "requests":
                self.tally.counts[want.limit.name].reserved -= want.amount

    def undo(self) -> None:
        """It was not taken after all."""
        self.release()
        for want in self.ask:
            count = self.tally.counts[want.limit.name]
            if want.limit.kind == "requests" and self.moment >= count.window.start:
                count.used -= want.amount
