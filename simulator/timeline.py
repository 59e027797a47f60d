"""What happens next, and when: scripts played side by side, with the clock as an argument. Pure.

A script yields events, and pauses between them. Scripts that are due take turns, in the order in which they
became due, so the same inputs give the same order of events every time.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass

from simulator.shapes import Json

FOREVER = math.inf


@dataclass(frozen=True)
class Pause:
    """So many seconds before the next step. `FOREVER` ends with the client's next event. A script that is late makes
    up for it, unless the pause counts from now."""

    seconds: float
    from_now: bool = False


@dataclass(frozen=True)
class Close:
    """Close the WebSocket."""

    code: int
    reason: str


@dataclass(frozen=True)
class Reset:
    """Reset the TCP connection."""


@dataclass(frozen=True)
class HangUp:
    """End the TCP connection, without a CLOSE."""


@dataclass(frozen=True)
class Garble:
    """Send what is no WebSocket frame."""


@dataclass(frozen=True)
class Freeze:
    """Neither send nor read for so many seconds; then reset the TCP connection."""

    seconds: float


@dataclass(frozen=True)
class Ping:
    """Send a WebSocket PING."""


@dataclass(frozen=True)
class Noise:
    """Send a message that is no event."""

    text: str


@dataclass(frozen=True)
class Audio:
    """Send audio as a binary message."""

    data: bytes


@dataclass(frozen=True)
class Receipt:
    """A server event that reports usage: `book` it in the moment in which it is sent."""

    event: Json
    book: Callable[[], None]


Mishap = Close | Reset | HangUp | Garble | Freeze
"""After one of these nothing more is said."""
Said = Json | Audio | Noise | Ping | Mishap  # a Json is a server event
Action = Said | Receipt
Script = Generator[Action | Pause, None, None]


@dataclass
class _Running:
    script: Script
    due: float
    order: int


class Timeline:
    """Scripts under way."""

    def __init__(self) -> None:
        self._running: list[_Running] = []
        self._order = 0

    def start(self, script: Script, now: float) -> None:
        """Begin a script, behind those that are due already."""
        self._order += 1
        self._running.append(_Running(script, now, self._order))

    def wake(self, now: float) -> None:
        """The client has sent something: end the pauses that waited for it."""
        for running in self._running:
            if running.due == FOREVER:
                running.due = now

    def next_due(self) -> float | None:
        """When something happens by itself; None: never."""
        soonest = min((running.due for running in self._running), default=FOREVER)
        return None if soonest == FOREVER else soonest

    def step(self, now: float) -> Action | None:
        """The next action that is due, if any."""
        while due := [running for running in self._running if running.due <= now]:
            running = min(due, key=lambda r: (r.due, r.order))
            step = next(running.script, None)
            if step is None:
                self._running.remove(running)
            elif isinstance(step, Pause):
                self._later(running, (now if step.from_now else running.due) + step.seconds)
            else:
                self._later(running, running.due)
                return step
        return None

    def _later(self, running: _Running, due: float) -> None:
        self._order += 1
        running.due, running.order = due, self._order
