"""Time that is billed: by the clock, or by the audio of manual turns."""

from __future__ import annotations

import pytest

from dataplane.metering.usage import Tokens
from dataplane.realtime.events import may_be_object
from dataplane.realtime.stopwatch import Stopwatch


def test_a_minute_is_a_part_and_what_is_left_is_the_rest() -> None:
    watch = Stopwatch(100.0, manual=False)
    assert watch.part(159.0, 9.0, 0) is None
    assert watch.part(161.0, 9.0, 2) == Tokens(session_seconds=61.0, items=2)
    assert watch.rest(171.5, 9.0, 3) == Tokens(session_seconds=10.5, items=1)
    assert watch.rest(171.5, 9.0, 3) is None


def test_manual_turns_are_billed_by_their_audio() -> None:
    watch = Stopwatch(0.0, manual=True)
    assert watch.part(1000.0, 59.0, 0) is None
    assert watch.part(1000.0, 60.0, 0) == Tokens(seconds=60.0)


def test_it_switches() -> None:
    watch = Stopwatch(0.0, manual=False)
    watch.switch(10.0, 5.0, manual=True)
    watch.switch(30.0, 9.0, manual=False)
    assert watch.rest(31.0, 20.0, 0) == Tokens(seconds=4.0, session_seconds=11.0)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b'{"type":"a"}', True),
        (b'\xef\xbb\xbf \n{"type":"a"', True),
        (b"{\x10\xf0\xff", False),
        (b"{\x00a", False),
        (b"\x10\xf0", False),
        (b"", False),
    ],
)
def test_audio_is_told_from_events(payload: bytes, *, expected: bool) -> None:
    assert may_be_object(payload) is expected
