"""What happens every so often."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Every:
    """Calls `beat` every so many seconds, from now on until `stop`, with how late it is: the seconds that the event
    loop was busy with something else, or the machine with somebody else."""

    def __init__(self, seconds: float, beat: Callable[[float], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds = seconds
        self._beat = beat
        self._arm()

    def stop(self) -> None:
        self._timer.cancel()

    def _arm(self) -> None:
        self._due = self._loop.time() + self._seconds
        self._timer = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        late = max(0.0, self._loop.time() - self._due)
        self._arm()  # first: a beat that fails, or that stops us, is the last thing
        self._beat(late)
