"""Keys that have expired, or will soon: said when a table is loaded, once for each, since else nobody would notice
before a caller is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import structlog

from dataplane.limits.windows import written
from dataplane.slices import SLICE, Slices
from dataplane.table import CallerSet

SOON: Final = 7 * 86_400
"""Seconds before its end from which on a key expires soon."""
_SHOWN: Final = 10

log = structlog.get_logger("tidegate")


class Expiring(NamedTuple):
    """A key that has an end, which is near or past."""

    secret: str
    """`namespace/name`."""
    entry: str
    expires: float
    """Seconds since the epoch."""
    expired: bool

    def __str__(self) -> str:
        return f'Secret {self.secret}, entry "{self.entry}" ({written(int(self.expires))})'


def expiring(sets: Iterable[CallerSet], now: float) -> Slices[list[Expiring]]:
    """Keys that have expired at `now`, or do so soon; in slices."""
    found: list[Expiring] = []
    count = 0
    for each in sets:
        for key in each.keys:
            if key.expires is not None and key.expires < now + SOON:
                secret = each.id.partition("@")[0]
                found.append(Expiring(secret, key.name, key.expires, key.expires <= now))
            count += 1
            if count % SLICE == 0:
                yield
    return found


class Expiries:
    """Remembers what was said."""

    def __init__(self) -> None:
        self._said: set[Expiring] = set()

    def tell(self, sets: Iterable[CallerSet], now: float) -> Slices[None]:
        """Log what was not said before, of the keys of a table."""
        found = yield from expiring(sets, now)
        new = [each for each in found if each not in self._said]
        self._said = set(found)
        if expired := [each for each in new if each.expired]:
            log.warning("keys have expired and open nothing any more: replace or remove them", keys=_some(expired))
        if soon := [each for each in new if not each.expired]:
            log.warning("keys expire within a week: replace them", keys=_some(soon))


def _some(keys: list[Expiring]) -> list[str]:
    more = [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    return [*map(str, keys[:_SHOWN]), *more]
