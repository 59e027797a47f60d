"""Lines on their way to a stream that may be slow, full, or read by nobody: whoever writes one never waits.

A write to a pipe that nobody reads blocks for good, and stdout often is one: the event loop must not do it. So lines
wait in a bounded queue, and one thread takes all that wait and writes them in one call. What finds no room, or cannot
be written, is lost and counted. The newest is lost, so that a gap is one.
"""

from __future__ import annotations

import select
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from queue import SimpleQueue
from typing import BinaryIO, Literal, cast

Lost = Literal["queue_full", "failed"]
"""Why: too much waited, or the stream did not take it."""
Tally = Callable[[Lost | None, int], None]
"""Is told that so many lines were written (None) or lost. Called from any thread; it neither blocks nor raises."""

LINES = 10_000
BYTES = 8 * 1024 * 1024
"""So much may wait, what is being written included; a line of a usage record has some 800 bytes."""
CHANGE = 2.0
"""Seconds that lines for another stream have."""

_Entry = tuple[bytes, Tally | None]


class Outlet:
    """A queue and its thread, which starts with the first line and is a daemon. Callable from any thread, also from
    finalizers (which come at any moment, in the middle of `write` too).

    `lost`: is told how many lines were lost since the last time, by the thread, when lines can be written again."""

    def __init__(self, lost: Callable[[int], None], lines: int = LINES, size: int = BYTES) -> None:
        self._tell = lost
        self._most_lines, self._most_bytes = lines, size
        self._stream: BinaryIO | None = None
        self._queue: SimpleQueue[_Entry] = SimpleQueue()  # reentrant, which no other queue is
        self._lock = threading.RLock()
        self._lines = self._bytes = self._lost = 0
        self._thread: threading.Thread | None = None
        self._torn = False

    def open(self, stream: BinaryIO) -> None:
        """Write to this stream from now on. Below its buffer, if it has one: what a buffer could not get rid of would
        come back with later lines, and hold up the end of the process. Waits a while for lines to an earlier one."""
        raw = cast("BinaryIO", getattr(stream, "raw", stream))
        if raw is not self._stream:
            self.flush(CHANGE)
            self._stream = raw

    def write(self, line: bytes, tally: Tally | None = None) -> None:
        """Queue a line (with its line break). `tally` will be told what became of it."""
        with self._lock:
            room = self._lines < self._most_lines and self._bytes + len(line) <= self._most_bytes
            if room:
                self._lines += 1
                self._bytes += len(line)
                self._queue.put((line, tally))
            else:
                self._lost += 1
            if self._thread is None:
                self._start()
        if tally and not room:
            tally("queue_full", 1)

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written that waits now, or lost, for so many seconds at most. False: it is not."""
        if self._thread is None:
            return not self._lines
        written = threading.Event()
        self._queue.put((b"", lambda _lost, _lines: written.set()))
        return written.wait(seconds)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        try:
            self._thread.start()
        except (RuntimeError, MemoryError):  # there is no room for a thread: the next line tries again
            self._thread = None

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with suppress(MemoryError):  # of these lines: a thread that ends would lose all that follow
                self._next()

    def _next(self) -> None:
        """Write what waits, as soon as anything does."""
        batch = [self._queue.get()]
        batch += [self._queue.get() for _ in range(self._queue.qsize())]
        size = sum(len(line) for line, _ in batch)
        complete = self._settle(batch, size, self._put(batch))
        if size and complete and self._lost:
            self._report()

    def _settle(self, batch: list[_Entry], size: int, written: int) -> bool:
        """Make room for so many bytes, and tell what became of the lines, of which `written` were. Whether all were."""
        done = len(batch) if written == size else _whole(batch, written)
        lost = [entry for entry in batch[done:] if entry[0]]
        with self._lock:
            self._lines -= sum(1 for line, _ in batch if line)
            self._bytes -= size
            self._lost += len(lost)
        _tell(batch[:done], None)
        _tell(batch[done:], "failed")
        return not lost

    def _put(self, batch: list[_Entry]) -> int:
        """Write these; how many bytes of them the stream took. After half a line comes a line break first."""
        stream, data, written = self._stream, b"", 0
        try:
            data = b"".join([line for line, _ in batch])
            if data and self._torn:
                self._torn = not self._some(stream, b"\n")
            while written < len(data):
                written += self._some(stream, memoryview(data)[written:])
        except (OSError, ValueError, MemoryError):  # nobody reads any more, the disk is full; the stream is closed
            self._torn = self._torn or (written > 0 and data[written - 1 : written] != b"\n")
        return written

    def _some(self, stream: BinaryIO | None, data: bytes | memoryview) -> int:
        """What a call of `write` writes; a stream in non-blocking mode is waited for."""
        if stream is None:
            return len(data)
        written = cast("int | None", stream.write(data))
        if written is None:
            select.select([], [stream], [])
        return written or 0

    def _report(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, 0
        self._tell(lost)


def _whole(batch: list[_Entry], written: int) -> int:
    """How many lines are in the first so many bytes, to their end."""
    ends = accumulate(len(line) for line, _ in batch)
    return sum(1 for end in ends if end <= written)


def _tell(entries: list[_Entry], lost: Lost | None) -> None:
    for tally, lines in Counter([tally for _, tally in entries if tally]).items() if entries else ():
        tally(lost, lines)
