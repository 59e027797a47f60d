"""Windows are those of the calendar, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.limits.windows import ALWAYS, Window, window, written
from dataplane.table import Per

MOMENTS = st.integers(3 * 10**7, 7 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(MOMENTS, st.sampled_from(get_args(Per)))
def test_windows_follow_each_other_without_a_gap(moment: datetime, per: Per) -> None:
    now = moment.timestamp()
    found = window(per, now)
    assert found.start <= now < found.end
    assert window(per, found.start) == window(per, found.end - 0.001) == found
    assert window(per, found.end).start == found.end
    assert window(per, found.start - 1).end == found.start


@given(MOMENTS)
def test_a_month_is_the_calendar_s(moment: datetime) -> None:
    found = window("Month", moment.timestamp())
    first, following = datetime.fromtimestamp(found.start, UTC), datetime.fromtimestamp(found.end, UTC)
    assert (first.year, first.month, first.day) == (moment.year, moment.month, 1)
    assert (following.day, following - timedelta(days=1)) == (1, (following - timedelta(days=1)))
    assert (following - timedelta(days=1)).month == moment.month


@pytest.mark.parametrize(
    ("per", "moment", "start", "end"),
    [
        ("Month", "2028-02-29T23:59:59", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("Month", "2100-02-28T12:00:00", "2100-02-01T00:00:00", "2100-03-01T00:00:00"),
        ("Month", "2026-12-31T23:59:59", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        ("Month", "2027-01-01T00:00:00", "2027-01-01T00:00:00", "2027-02-01T00:00:00"),
        ("Day", "2028-02-29T00:00:00", "2028-02-29T00:00:00", "2028-03-01T00:00:00"),
        ("Hour", "2026-11-22T13:59:59", "2026-11-22T13:00:00", "2026-11-22T14:00:00"),
        ("Minute", "2026-11-22T13:59:59", "2026-11-22T13:59:00", "2026-11-22T14:00:00"),
        ("Second", "2026-11-22T13:59:59", "2026-11-22T13:59:59", "2026-11-22T14:00:00"),
    ],
)
def test_ends_of_windows(per: Per, moment: str, start: str, end: str) -> None:
    assert window(per, _seconds(moment) + 0.5) == Window(_seconds(start), _seconds(end))
    assert written(_seconds(end)) == f"{end}Z"


def test_what_is_counted_at_a_time_has_no_window() -> None:
    assert window(None, 0) is window(None, 4e9) is ALWAYS


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())
