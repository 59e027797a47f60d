"""Windows in which things are counted: seconds, minutes, hours, days and months by the UTC calendar. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from dataplane.table import Per


class Window(NamedTuple):
    """From `start` until right before `end`, in seconds since the epoch."""

    start: int
    end: int


ALWAYS: Final = Window(0, 253_402_300_800)
"""Of what has no window, since it is counted at a time: until the year 10000."""
_SECONDS: Final = {"Second": 1, "Minute": 60, "Hour": 3600, "Day": 86_400}


def window(per: Per | None, now: float) -> Window:
    """The window that `now` (seconds since the epoch) is in."""
    if per is None:
        return ALWAYS
    if per != "Month":
        length = _SECONDS[per]
        start = int(now // length) * length
        return Window(start, start + length)
    day = datetime.fromtimestamp(now, UTC)
    first = datetime(day.year, day.month, 1, tzinfo=UTC)
    following = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
    return Window(int(first.timestamp()), int(following.timestamp()))


def written(moment: int) -> str:
    """A moment as people and programs read it: `2026-12-01T00:00:00Z`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
