"""What is sent when, what is tried again, and what is dropped: no record is lost or sent twice unless that is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataplane.metering.batches import Batch, Batches, Bounds, is_delivered, is_worth_retrying, retry_after

SMALL = Bounds(batch_records=3, batch_bytes=200, age=1.0, queue_records=8, queue_bytes=600, patience=60.0)


def body(name: str, size: int = 0) -> bytes:
    return json.dumps({"id": name, "pad": "x" * size}).encode()


def ids(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [record["id"] for record in json.loads(batch.body)["records"]]


def queued(*names: str, bounds: Bounds = SMALL, at: float = 0.0) -> Batches:
    batches = Batches(lambda: 0.0, bounds)
    for name in names:
        assert batches.add(name, body(name), at)
    return batches


# -- when


def test_nothing_is_due_where_nothing_waits() -> None:
    batches = queued()
    assert batches.due() is None
    assert batches.take(1e9) is None


def test_a_record_waits_for_others_up_to_its_age() -> None:
    batches = queued("a")
    assert batches.due() == 1.0
    assert batches.take(0.999) is None
    assert ids(batches.take(1.0)) == ["a"]


def test_the_oldest_one_counts() -> None:
    batches = queued("a")
    batches.add("b", body("b"), 0.9)
    assert ids(batches.take(1.0)) == ["a", "b"]


def test_a_full_batch_goes_at_once() -> None:
    batches = queued("a", "b", "c", "d")
    assert ids(batches.take(0.0)) == ["a", "b", "c"]


def test_so_does_one_that_is_full_of_bytes() -> None:
    batches = queued("a")
    batches.add("b", body("b", 160), 0.0)
    first = batches.take(0.0)
    assert ids(first) == ["a"]
    assert first is not None
    assert len(first.body) <= SMALL.batch_bytes
    assert batches.done() == 1
    assert ids(batches.take(1.0)) == ["b"]


def test_a_body_may_be_as_large_as_the_bound() -> None:
    exact = len(b'{"records":[,]}') + len(body("a")) + len(body("b", 100))
    batches = queued("a", bounds=replace(SMALL, batch_bytes=exact))
    batches.add("b", body("b", 100), 0.0)
    assert ids(batches.take(0.0)) == ["a", "b"]


def test_a_record_larger_than_a_batch_goes_alone() -> None:
    batches = queued("a")
    batches.add("large", body("large", 300), 0.0)
    batches.add("b", body("b"), 0.0)
    sent = []
    for _ in range(3):
        sent.append(ids(batches.take(5.0)))
        batches.done()
    assert sent == [["a"], ["large"], ["b"]]


def test_at_the_end_nothing_waits() -> None:
    batches = queued("a")
    batches.hurry(0.0)
    assert ids(batches.take(0.0)) == ["a"]
    batches.done()
    batches.add("b", body("b"), 0.25)
    assert ids(batches.take(0.25)) == ["b"]


# -- once more


def test_a_failed_batch_comes_again_as_it_was() -> None:
    batches = queued("a", "b")
    first = batches.take(1.0)
    batches.add("c", body("c"), 1.0)
    assert batches.failed(1.0) == 0
    assert batches.take(1.0) is None
    again = batches.take(1.25)
    assert again == first
    assert batches.done() == 2
    assert ids(batches.take(2.0)) == ["c"]


def test_the_key_is_of_one_batch_alone() -> None:
    keys = []
    for names in ("ab", "ba", "a", "abc"):
        batch = queued(*names).take(1.0)
        assert batch is not None
        keys.append(batch.key)
    assert len(set(keys)) == 4
    assert all(key.isalnum() for key in keys)


def waits(rand: float, tries: int, bounds: Bounds = SMALL) -> list[float]:
    """Seconds between the tries of a batch that always fails."""
    batches = Batches(lambda: rand, bounds)
    batches.add("a", body("a"), -bounds.age)
    now, found = 0.0, []
    for _ in range(tries):
        assert batches.take(now)
        batches.failed(now)
        due = batches.due()
        if due is None:
            break
        found.append(due - now)
        now = due
    return found


def test_the_tries_become_rarer_up_to_a_bound() -> None:
    assert waits(0.0, 5, replace(SMALL, patience=1e6)) == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert waits(1.0, 8, replace(SMALL, patience=1e6)) == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert len(waits(0.5, 2000, replace(SMALL, patience=1e9))) == 2000


def test_a_batch_is_given_up_after_a_time() -> None:
    assert sum(waits(1.0, 100)) <= SMALL.patience < sum(waits(1.0, 100)) + SMALL.longest_retry
    batches = queued("a", "b", bounds=replace(SMALL, patience=0.1))
    batches.take(1.0)
    batches.add("c", body("c"), 1.0)
    assert batches.failed(1.0) == 2
    assert ids(batches.take(2.0)) == ["c"], "the next one has its turn"
    assert batches.records == 1


def test_the_receiver_may_ask_for_more_time() -> None:
    batches = queued("a")
    batches.take(1.0)
    batches.failed(1.0, retry_after=20.0)
    assert batches.due() == 21.0
    batches.take(21.0)
    batches.failed(21.0, retry_after=0.001)
    assert batches.due() == 21.5, "not for less than the schedule says"


def test_but_not_for_ever() -> None:
    batches = queued("a", bounds=replace(SMALL, patience=1e6))
    batches.take(1.0)
    batches.failed(1.0, retry_after=86400.0)
    assert batches.due() == 1.0 + SMALL.longest_wait


def test_at_the_end_a_failed_batch_is_due_and_its_schedule_begins_anew() -> None:
    batches = queued("a")
    for now in (1.0, 10.0, 20.0, 30.0):
        batches.take(now)
        batches.failed(now, retry_after=9.0)
    batches.hurry(31.0)
    assert batches.take(31.0)
    batches.failed(31.0)
    assert batches.due() == 31.25


# -- what is dropped


def test_the_newest_one_is_dropped_where_there_is_no_room() -> None:
    batches = queued(*"abcdefgh")
    assert not batches.add("i", body("i"), 0.0)
    batches.take(0.0)
    assert not batches.add("i", body("i"), 0.0), "what is under way takes room, too"
    batches.done()
    assert batches.add("i", body("i"), 0.0)
    assert batches.records == 6


def test_bytes_are_bounded_as_well() -> None:
    batches = queued("a")
    assert not batches.add("b", body("b", 600), 0.0)
    assert batches.add("c", body("c", 500), 0.0)
    assert batches.size <= SMALL.queue_bytes


def test_a_batch_is_over_alone() -> None:
    batches = queued("a", "b", "c", "d")
    batches.take(0.0)
    assert batches.done() == 3
    assert ids(batches.take(1.0)) == ["d"]


def test_closing_drops_what_is_left() -> None:
    batches = queued("a", "b", "c", "d")
    batches.take(0.0)
    assert batches.close() == 4
    assert (batches.records, batches.size, batches.due()) == (0, 0, None)
    assert batches.done() == batches.failed(0.0) == 0


class Life(RuleBasedStateMachine):
    """Anything in any order: every record is queued, delivered in order, or dropped and said to be."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.batches = Batches(lambda: 0.5, SMALL)
        self.number = 0
        self.waiting: list[str] = []
        self.out: Batch | None = None
        self.before: Batch | None = None

    @rule(size=st.sampled_from([0, 1, 20, 90, 150, 250, 700]))
    def add(self, size: int) -> None:
        self.number += 1
        name = f"r{self.number}"
        record = body(name, size)
        has_room = len(self.waiting) < SMALL.queue_records and self.batches.size + len(record) < SMALL.queue_bytes
        assert self.batches.add(name, record, self.now) is has_room
        if has_room:
            self.waiting.append(name)

    @rule(seconds=st.sampled_from([0.0, 0.3, 1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.out is None)
    @rule()
    def take(self) -> None:
        due = self.batches.due()
        self.out = self.batches.take(self.now)
        assert (self.out is not None) is (due is not None and due <= self.now)
        if self.out:
            assert self.before in (None, self.out), "a batch comes again as it was"
            assert ids(self.out) == self.waiting[: self.out.records], "in the order in which they came"
            assert self.out.records <= SMALL.batch_records
            assert len(self.out.body) <= SMALL.batch_bytes or self.out.records == 1

    @precondition(lambda self: self.out is not None)
    @rule()
    def arrive(self) -> None:
        self._gone(self.batches.done())

    @precondition(lambda self: self.out is not None)
    @rule(retry_after=st.sampled_from([0.0, 5.0, 1e9]))
    def fail(self, retry_after: float) -> None:
        dropped = self.batches.failed(self.now, retry_after)
        if dropped:
            self._gone(dropped)
        else:
            self.before, self.out = self.out, None
            due = self.batches.due()
            assert due is not None
            assert due - self.now >= 0.25

    @precondition(lambda self: self.out is None)
    @rule()
    def hurry(self) -> None:
        self.batches.hurry(self.now)
        assert not self.waiting or self.batches.due() is not None

    def _gone(self, records: int) -> None:
        assert self.out is not None
        assert records == self.out.records
        del self.waiting[:records]
        self.out = self.before = None

    @invariant()
    def bounds_hold(self) -> None:
        assert self.batches.records == len(self.waiting) <= SMALL.queue_records
        assert self.batches.size <= SMALL.queue_bytes

    def teardown(self) -> None:
        assert self.batches.close() == len(self.waiting)


TestLife = Life.TestCase


# -- what an answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_delivered(status: int) -> None:
    assert is_delivered(status)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 529, 599])
def test_worth_retrying(status: int) -> None:
    assert is_worth_retrying(status)
    assert not is_delivered(status)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 413, 415, 422])
def test_neither(status: int) -> None:
    assert not is_delivered(status)
    assert not is_worth_retrying(status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("\u0667", 0.0),
        ("Wed, 21 Oct 10000 07:28:30 GMT", 0.0),
    ],
)
def test_retry_after(header: str, seconds: float) -> None:
    assert retry_after(header, now=1445412480.0) == seconds


@given(st.text(max_size=60) | st.text(st.sampled_from("0123456789,: GMTWedOct-+"), max_size=40))
def test_no_retry_after_makes_trouble(header: str) -> None:
    assert retry_after(header, now=0.0) >= 0.0
