"""Lines to a stream that is slow, full, broken, or read by nobody."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import pytest

from dataplane.process.outlet import Lost, Outlet

PATIENCE_S = 20.0
Told = list[tuple[Lost | None, int]]


class Stream:
    """Takes what it is told to, raises what it is told to, and waits while it is held."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.errors: list[OSError | MemoryError] = []
        self.at_most: list[int] = []
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def write(self, data: bytes) -> int:
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        if self.at_most:
            data = data[: self.at_most.pop(0)]
        elif self.errors:
            raise self.errors.pop(0)
        self.taken.append(bytes(data))
        return len(data)

    @property
    def text(self) -> bytes:
        return b"".join(self.taken)

    @contextmanager
    def held(self, outlet: Outlet) -> Iterator[None]:
        """Nobody reads: the thread is stuck with a first line."""
        self.entered.clear()
        self.open.clear()
        outlet.write(b"first\n")
        assert self.entered.wait(PATIENCE_S)
        try:
            yield
        finally:
            self.open.set()


@pytest.fixture
def stream() -> Stream:
    return Stream()


def outlet_to(stream: Stream, **bounds: int) -> tuple[Outlet, list[int]]:
    losses: list[int] = []
    outlet = Outlet(losses.append, **bounds)
    outlet.open(cast("BinaryIO", stream))
    return outlet, losses


def teller(told: Told) -> Callable[[Lost | None, int], None]:
    return lambda lost, lines: told.append((lost, lines))


def test_what_waits_is_written_in_order_and_in_one_call(stream: Stream) -> None:
    outlet, losses = outlet_to(stream)
    told: Told = []
    tally = teller(told)
    with stream.held(outlet):
        for number in range(100):
            outlet.write(b"%d\n" % number, tally)
        assert told == []
        assert not outlet.flush(0.0)
    assert outlet.flush(PATIENCE_S)
    assert stream.taken == [b"first\n", b"".join(b"%d\n" % number for number in range(100))]
    assert (told, losses) == ([(None, 100)], [])


@pytest.mark.parametrize("bounds", [{"lines": 3}, {"size": len(b"first\n") + 2 * len(b"0\n")}])
def test_the_newest_is_lost_where_there_is_no_room(stream: Stream, bounds: dict[str, int]) -> None:
    outlet, losses = outlet_to(stream, **bounds)
    told: Told = []
    tally = teller(told)
    with stream.held(outlet):
        for number in range(5):
            outlet.write(b"%d\n" % number, tally)
        assert told == [("queue_full", 1)] * 3
    assert outlet.flush(PATIENCE_S)
    assert stream.text == b"first\n0\n1\n"
    assert told[3:] == [(None, 2)]
    assert sum(losses) == 3
    outlet.write(b"later\n", tally)
    assert outlet.flush(PATIENCE_S), "there is room again"
    assert stream.text.endswith(b"later\n")


def test_a_full_disk_costs_what_it_did_not_take_and_tears_no_other_line(stream: Stream) -> None:
    outlet, losses = outlet_to(stream)
    told: Told = []
    tally = teller(told)
    with stream.held(outlet):
        for line in (b"whole\n", b"half\n", b"none\n"):
            outlet.write(line, tally)
        stream.at_most = [6, len(b"whole\nha")]
        stream.errors = [OSError(errno.ENOSPC, "full")]
    assert outlet.flush(PATIENCE_S)
    assert sorted(told, key=str) == [("failed", 2), (None, 1)]
    assert losses == []
    outlet.write(b"after\n", tally)
    assert outlet.flush(PATIENCE_S)
    assert stream.text == b"first\nwhole\nha\nafter\n"
    assert losses == [2]


def test_a_lack_of_memory_costs_the_lines_that_were_written_then(stream: Stream) -> None:
    outlet, losses = outlet_to(stream)
    told: Told = []
    stream.errors = [MemoryError()]
    outlet.write(b"one\n", teller(told))
    assert outlet.flush(PATIENCE_S)
    outlet.write(b"two\n", teller(told))
    assert outlet.flush(PATIENCE_S)
    assert (stream.text, told) == (b"two\n", [("failed", 1), (None, 1)])
    assert losses == [1]


def test_lines_wait_until_there_is_room_for_a_thread(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    outlet, _ = outlet_to(stream)
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", no_room)
        outlet.write(b"one\n")
        assert not outlet.flush(0), "it waits, and is not written"
    outlet.write(b"two\n")
    assert outlet.flush(PATIENCE_S)
    assert stream.text == b"one\ntwo\n"


def test_a_reader_that_is_gone_costs_every_line_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    losses: list[int] = []
    told: Told = []
    outlet = Outlet(losses.append)
    with os.fdopen(writer, "wb") as pipe:
        outlet.open(pipe)
        for _ in range(3):
            outlet.write(b"x\n", teller(told))
        assert outlet.flush(PATIENCE_S)
    outlet.write(b"the stream is closed\n", teller(told))
    assert outlet.flush(PATIENCE_S)
    assert [lost for lost, _ in told] == ["failed"] * len(told)
    assert sum(lines for _, lines in told) == 4
    assert losses == []


def test_a_pipe_in_non_blocking_mode_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    outlet = Outlet(lambda _lost: None)
    line = b"x" * 500_000 + b"\n"
    with os.fdopen(writer, "wb") as pipe, os.fdopen(reader, "rb") as other:
        outlet.open(pipe)
        outlet.write(line)
        assert other.read(len(line)) == line
        assert outlet.flush(PATIENCE_S)


def test_a_line_from_the_middle_of_another() -> None:
    """As a finalizer does it that the garbage collector calls at a bad moment."""
    written = io.BytesIO()
    outlet = Outlet(lambda _lost: None)
    outlet.open(written)

    class Nosy(bytes):
        """Its length is looked at while the outlet holds its lock."""

        def __len__(self) -> int:
            outlet.write(b"inner\n")
            return super().__len__()

    thread = threading.Thread(target=outlet.write, args=(Nosy(b"outer\n"),), daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert outlet.flush(PATIENCE_S)
    assert b"inner\n" in written.getvalue()


def test_many_threads_lose_nothing() -> None:
    written = io.BytesIO()
    told: Told = []
    tally = teller(told)
    outlet = Outlet(lambda _lost: None)
    outlet.open(written)

    def write(name: int) -> None:
        for number in range(500):
            outlet.write(b"%d %d\n" % (name, number), tally)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outlet.flush(PATIENCE_S)
    lines = [tuple(map(int, line.split())) for line in written.getvalue().splitlines()]
    for name in range(4):
        assert [number for of, number in lines if of == name] == list(range(500))
    assert sum(lines for lost, lines in told if lost is None) == 2000
