"""What the HTTP sink sends when: a bounded queue of usage records, batches of them, and a schedule of tries.

No I/O and no clock: `now` is an argument, in seconds of any clock that only goes forward; `rand` gives numbers in
[0, 1). One batch is under way at a time, and keeps its records and its key until it is delivered or given up, so order
is kept, and a receiver that sees a batch twice sees the same one.

What is lost, and why (`Reason`); every other record is delivered at least once:

* `queue_full`: the newest record, when the queue holds as many or as large ones as it may. What was queued keeps its
  place, so that an outage leaves one gap, at its end, and nothing under way is torn apart.
* `refused`: a batch that the receiver answered with a status that no repetition mends.
* `expired`: a batch that was tried in vain for `Bounds.patience`. It makes way, so that one that its receiver cannot
  digest does not hold up all others.
* `closed`: what was left when the process ended.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from typing import Literal

Reason = Literal["queue_full", "refused", "expired", "failed", "closed"]

HEAD, TAIL = b'{"records":[', b"]}"
_AROUND = len(HEAD + TAIL) - 1  # the last record has no comma
_RETRIED = frozenset([408, 425, 429])

KIB, MIB = 1024, 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in records and bytes of JSON, times in seconds."""

    batch_records: int = 500
    batch_bytes: int = 512 * KIB
    """Of the whole body; half of what common servers take by default. A record that is larger goes alone."""
    age: float = 1.0
    """So long the oldest record waits for others, until a batch is sent that is not full."""
    queue_records: int = 20_000
    queue_bytes: int = 16 * MIB
    """Both hold for what is under way, too."""
    first_retry: float = 0.5
    """Doubled with every try."""
    longest_retry: float = 30.0
    longest_wait: float = 300.0
    """So long a receiver may ask to be left alone, by Retry-After."""
    patience: float = 900.0
    """From a batch's first try to its last."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One body to send, as often as it takes."""

    key: str
    """The same for every try, and for no other batch: a hash of the records' ids."""
    body: bytes
    records: int


@dataclass(slots=True)
class _UnderWay:
    batch: Batch
    size: int
    tries: int = 0
    first_try: float = 0.0
    due: float = 0.0


_Queued = tuple[str, bytes, float]
"""Id, JSON, since when. A plain tuple: the garbage collector leaves a long queue of them alone."""


class Batches:
    """The queue. Its user calls `take`, sends what that gives, and then says what came of it: `done` or `failed`."""

    def __init__(self, rand: Callable[[], float], bounds: Bounds | None = None) -> None:
        self._rand = rand
        self._bounds = bounds or Bounds()
        self._queue: deque[_Queued] = deque()
        self._queued_bytes = 0
        self._under_way: _UnderWay | None = None
        self._hurried = False

    @property
    def records(self) -> int:
        """Those that are held, under way or not."""
        return len(self._queue) + (self._under_way.batch.records if self._under_way else 0)

    @property
    def size(self) -> int:
        """Bytes of the records that are held."""
        return self._queued_bytes + (self._under_way.size if self._under_way else 0)

    def add(self, record_id: str, body: bytes, now: float) -> bool:
        """Queue a record, as JSON. False: there is no room, and it is dropped."""
        size = _size(body)
        if self.records >= self._bounds.queue_records or self.size + size > self._bounds.queue_bytes:
            return False
        self._queue.append((record_id, body, now))
        self._queued_bytes += size
        return True

    def due(self) -> float | None:
        """When `take` will have a batch: None if there is nothing to send, else a time, which may be over."""
        if self._under_way:
            return self._under_way.due
        if not self._queue:
            return None
        oldest = self._queue[0][2]
        return oldest if self._hurried or self._is_full() else oldest + self._bounds.age

    def take(self, now: float) -> Batch | None:
        """The batch to send now: the one under way once more, or else a new one."""
        due = self.due()
        if due is None or now < due:
            return None
        if self._under_way is None:
            self._under_way = self._assembled(now)
        self._under_way.tries += 1
        return self._under_way.batch

    def done(self) -> int:
        """The batch is over: it arrived, or it is not wanted. How many records it held."""
        done, self._under_way = self._under_way, None
        return done.batch.records if done else 0

    def failed(self, now: float, retry_after: float = 0.0) -> int:
        """The batch may not have arrived. How many records are dropped with it, because it was tried for too long: 0
        where it will be taken once more, not before so many seconds as the receiver asked for."""
        if self._under_way is None:
            return 0
        wait = max(self._backoff(self._under_way.tries), min(retry_after, self._bounds.longest_wait))
        self._under_way.due = now + wait
        expires = self._under_way.first_try + self._bounds.patience
        return self.done() if self._under_way.due > expires else 0

    def hurry(self, now: float) -> None:
        """The end is near: from now on no record waits for others; the batch under way is due, and if that fails, on
        the schedule of a new one."""
        self._hurried = True
        if self._under_way:
            self._under_way.tries, self._under_way.due = 0, now

    def close(self) -> int:
        """Drop everything. How many records that were."""
        left = self.records
        self._queue.clear()
        self._queued_bytes, self._under_way = 0, None
        return left

    def _is_full(self) -> bool:
        """Whether what is queued fills a batch."""
        return (
            len(self._queue) >= self._bounds.batch_records or _AROUND + self._queued_bytes >= self._bounds.batch_bytes
        )

    def _assembled(self, now: float) -> _UnderWay:
        ids: list[str] = []
        bodies: list[bytes] = []
        size = 0
        while self._queue and len(bodies) < self._bounds.batch_records:
            record_id, body, _ = self._queue[0]
            if bodies and _AROUND + size + _size(body) > self._bounds.batch_bytes:
                break
            self._queue.popleft()
            ids.append(record_id)
            bodies.append(body)
            size += _size(body)
        self._queued_bytes -= size
        key = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]
        return _UnderWay(Batch(key, HEAD + b",".join(bodies) + TAIL, len(bodies)), size, first_try=now, due=now)

    def _backoff(self, tries: int) -> float:
        """Half of it by chance, so that gateways do not come back all at once."""
        longest = min(self._bounds.longest_retry, self._bounds.first_retry * 2.0 ** min(tries - 1, 64))
        return longest * (0.5 + 0.5 * self._rand())


def _size(record: bytes) -> int:
    return len(record) + 1  # a comma


def is_delivered(status: int) -> bool:
    return 200 <= status < 300


def is_worth_retrying(status: int) -> bool:
    """Whether the same request may be answered otherwise later: too slow, too early, too many, or out of order.
    Redirects are not followed: they would take the token elsewhere."""
    return status >= 500 or status in _RETRIED


def retry_after(header: str, now: float) -> float:
    """Seconds that a Retry-After header asks for, which says a number of them or a date; 0 where it says neither.
    `now`: seconds since the epoch. RFC 9110, section 10.2.3."""
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        parsed = parsedate_tz(text)
        return max(0.0, mktime_tz(parsed) - now) if parsed else 0.0
    except (ValueError, OverflowError):
        return 0.0
