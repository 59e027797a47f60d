"""Keys that have expired, or will soon: said once when a table is loaded, by the names of their entries."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from dataplane.callers.expiry import SOON, Expiries, expiring
from dataplane.slices import SLICE, at_once
from dataplane.table import CallerKey, CallerSet

NOW = 1_767_225_600.0
DAY = 86_400


def keys(*ends: float | None, of: str = "ai/keys@3#support") -> CallerSet:
    return CallerSet(
        id=of,
        namespace="ai",
        keys=tuple(
            CallerKey(name=f"key-{number}", sha256=f"{number:064x}", expires=end) for number, end in enumerate(ends)
        ),
    )


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (None, []),
        (NOW + SOON, []),
        (NOW + SOON - 1, ['Secret ai/keys, entry "key-0" (2026-01-07T23:59:59Z) False']),
        (NOW + 1, ['Secret ai/keys, entry "key-0" (2026-01-01T00:00:01Z) False']),
        (NOW, ['Secret ai/keys, entry "key-0" (2026-01-01T00:00:00Z) True']),
        (0, ['Secret ai/keys, entry "key-0" (1970-01-01T00:00:00Z) True']),
    ],
)
def test_what_has_expired_and_what_does_soon(end: float | None, told: list[str]) -> None:
    assert [f"{each} {each.expired}" for each in at_once(expiring([keys(end)], NOW))] == told


def test_thousands_of_keys_are_looked_at_in_slices() -> None:
    work = expiring([keys(*[None] * SLICE, NOW), keys(*[None] * SLICE)], NOW)
    assert (next(work), next(work)) == (None, None)
    with pytest.raises(StopIteration) as end:
        next(work)
    assert [each.entry for each in end.value.value] == [f"key-{SLICE}"]


def test_each_is_said_once_and_again_when_it_is_over() -> None:
    expiries = Expiries()
    table = [keys(NOW + DAY, NOW - DAY, NOW + 30 * DAY)]
    with capture_logs() as lines:
        at_once(expiries.tell(table, NOW))
        at_once(expiries.tell(table, NOW + 1))
        at_once(expiries.tell([*table, keys(NOW + 2, of="ai/more@1")], NOW + 1))
        at_once(expiries.tell(table, NOW + DAY))
    assert [(line["event"].partition(":")[0], line["keys"]) for line in lines] == [
        ("keys have expired and open nothing any more", ['Secret ai/keys, entry "key-1" (2025-12-31T00:00:00Z)']),
        ("keys expire within a week", ['Secret ai/keys, entry "key-0" (2026-01-02T00:00:00Z)']),
        ("keys expire within a week", ['Secret ai/more, entry "key-0" (2026-01-01T00:00:02Z)']),
        ("keys have expired and open nothing any more", ['Secret ai/keys, entry "key-0" (2026-01-02T00:00:00Z)']),
    ]


def test_of_many_ten_are_named() -> None:
    with capture_logs() as lines:
        at_once(Expiries().tell([keys(*[NOW] * 12)], NOW))
    (line,) = lines
    assert (len(line["keys"]), line["keys"][-1]) == (11, "and 2 more")
