"""Of which Backends no provider is healthy, so that somebody is told. Pure.

A provider is unhealthy from when it is ejected until it has done what it was asked: that an ejection has run out says
nothing, so nothing flaps. It is, too, while it has asked to be left alone for long and clients are refused for that.
One that was never asked is healthy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from dataplane.slices import SLICE, Slices
from dataplane.upstreams.choose import Member, Providers, Wish
from dataplane.upstreams.health import Standing

LONG: Final = 10.0
"""Seconds: whoever asks for less is back before anybody has read that it was away. Limits by the minute do that all day
long."""


class Report(NamedTuple):
    """Of Backends that were asked for something."""

    unhealthy: Mapping[str, Mapping[str, Standing]]
    """Those without a healthy provider, with each provider, by their names."""
    healthy: Sequence[str]
    """Those of which some provider has done what it was asked, and was not ejected since."""


def reported(asked: Iterable[Providers], now: float) -> Slices[Report]:
    """What is to be said of these."""
    unhealthy: dict[str, Mapping[str, Standing]] = {}
    healthy: list[str] = []
    for count, providers in enumerate(asked, 1):
        if found := _unhealthy(providers, now):
            unhealthy[providers.backend.name] = found
        elif any(standing.proven for standing in providers.standings.values()):
            healthy.append(providers.backend.name)
        if count % SLICE == 0:
            yield
    return Report(unhealthy, healthy)


def _unhealthy(providers: Providers, now: float) -> Mapping[str, Standing]:
    """All that can be asked, where none of them is healthy; else nothing."""
    if not any(standing.out_until or standing.rests for standing in providers.standings.values()):
        return {}
    found: dict[str, Standing] = {}
    for wish in providers.wishes():
        for member in wish.members:
            if not _is_unhealthy(wish, member, now):
                return {}
            found[member.provider.name] = member.standing
    return found


def _is_unhealthy(wish: Wish, member: Member, now: float) -> bool:
    if member.standing.out_until:
        return True
    rest = member.standing.rest_of(wish.name(member), now)
    if rest is None or not rest.asked or rest.seconds < LONG:
        return False
    alone = len(wish.members) == 1  # then it is asked all the same, and has room for some
    return not (alone and rest.full)
