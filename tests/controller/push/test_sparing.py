"""What anybody may bring about does not fill the log."""

from __future__ import annotations

from controller.push.sparing import LINES, WINDOW, Sparing


def test_so_many_in_a_while_and_the_rest_is_counted() -> None:
    sparing = Sparing()
    first = [sparing.left_out(now=float(second)) for second in range(int(WINDOW))]
    assert first == [0] * LINES + [None] * (len(first) - LINES)
    assert sparing.left_out(WINDOW) == len(first) - LINES
    assert sparing.left_out(WINDOW) == 0
