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
        ailing = proven = False
        for standing in providers.standings.values():  # of nearly all this is all that there is to be done
            ailing = ailing or standing.out_until > 0 or bool(standing.rests)
            proven = proven or standing.proven
        if ailing and (found := _unhealthy(providers, now)):
            unhealthy[providers.backend.name] = found
        elif proven:
            healthy.append(providers.backend.name)
        if count % SLICE == 0:
            yield
    return Report(unhealthy, healthy)


def _unhealthy(providers: Providers, now: float) -> Mapping[str, Standing]:
    """All that can be asked, where none of them is healthy; else nothing."""
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
    alone = len(wish.members) == 1  # then it is asked all the same, and while it has no room it takes some
    rest = member.standing.rest_of("" if alone else wish.name(member), now)
    return rest is not None and rest.asked and rest.seconds >= LONG and not (alone and rest.full)
