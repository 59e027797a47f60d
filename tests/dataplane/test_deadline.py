"""One deadline that moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from dataplane.deadline import Deadline


class Clock:
    """A loop that has timers and nothing else."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def go(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if not timer.over and timer.at <= self.now]:
            timer.over = True
            timer.call()

    @property
    def armed(self) -> list[float]:
        return [timer.at for timer in self.timers if not timer.over]


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.over = at, call, False

    def cancel(self) -> None:
        self.over = True


def made() -> tuple[Clock, Deadline, list[float]]:
    clock, expired = Clock(), list[float]()
    loop = cast("asyncio.AbstractEventLoop", clock)
    return clock, Deadline(loop, lambda: expired.append(clock.now)), expired


def test_it_expires_once() -> None:
    clock, deadline, expired = made()
    deadline.give(5)
    clock.go(4.9)
    assert not expired
    clock.go(0.1)
    clock.go(100)
    assert expired == [105.0]
    assert not clock.armed


def test_it_moves_to_later_without_a_timer() -> None:
    clock, deadline, expired = made()
    for _ in range(50):
        deadline.give(5)
        clock.go(0.01)
        deadline.lift()
    assert len(clock.timers) == 1
    deadline.give(5)
    clock.go(4.9)
    assert not expired
    clock.go(0.1)
    assert len(expired) == 1


def test_it_moves_to_sooner() -> None:
    clock, deadline, expired = made()
    deadline.give(120)
    deadline.give(15)
    assert clock.armed == [115.0]
    clock.go(15)
    assert expired == [115.0]


def test_none_until_it_is_set_again() -> None:
    clock, deadline, expired = made()
    deadline.give(5)
    deadline.lift()
    clock.go(10)
    assert (expired, clock.armed) == ([], [])
    deadline.give(5)
    clock.go(5)
    assert expired == [115.0]


def test_stopped_for_good() -> None:
    clock, deadline, expired = made()
    deadline.give(5)
    deadline.stop()
    deadline.stop()
    assert not clock.armed
    clock.go(10)
    assert not expired
