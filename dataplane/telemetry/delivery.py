"""What is on its way to the collector: bounded, and counted where it is lost.

OpenTelemetry's batches drop what does not fit their queue and tell nobody but the log. So every item is admitted here
first, and makes room when its batch was carried: their queue never overflows, and what is lost is a metric.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from dataplane.metering.counters import Counter
from dataplane.metering.labels import Labels

DELIVERED, FULL, FAILED = ("delivered", ""), ("dropped", "queue_full"), ("dropped", "failed")
"""Result and reason."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Delivery:
    """Of one signal; `room`: how many items may be on their way. Callable from any thread.

    `counter` counts what becomes of them; its labels are `sink`, a result (delivered, dropped) and a reason. Changed
    under `lock`."""

    def __init__(self, room: int, counter: Counter, lock: threading.Lock, sink: Labels = ()) -> None:
        self.room = room
        self._counter, self._sink = counter, sink
        self._lock = lock
        self._waiting = 0
        with lock:
            for outcome in (DELIVERED, FULL, FAILED):  # there from the beginning, so that `rate` sees the first
                counter.add((*sink, *outcome), 0)

    def admitted(self) -> bool:
        """Whether there is room for one more, which is taken."""
        with self._lock:
            if self._waiting >= self.room:
                self._counter.add((*self._sink, *FULL))
                return False
            self._waiting += 1
            return True

    def carried(self, batch: Sequence[Item], export: Callable[[Sequence[Item]], Result], success: Result) -> Result:
        """Export a batch, and count what became of it. Raises what `export` does."""
        result: Result | None = None
        try:
            result = export(batch)
            return result
        finally:
            self._settle(len(batch), delivered=result is success)

    def _settle(self, items: int, *, delivered: bool) -> None:
        with self._lock:
            self._waiting -= items
            self._counter.add((*self._sink, *(DELIVERED if delivered else FAILED)), items)
