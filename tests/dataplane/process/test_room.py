"""What all sessions together may hold, and who must let go where that is too much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.process.room import SHARE, Holder, Room


class Party:
    """Holders of one room, by name; `ended` are those who were told to let go, with what they held."""

    def __init__(self, size: int | None, names: str) -> None:
        self.room = Room(size)
        self.ended: list[tuple[str, int]] = []
        self.holders = {name: self._holder(name) for name in names}

    def _holder(self, name: str) -> Holder:
        return Holder(self.room, lambda held: self.ended.append((name, held)))

    def hold(self, **more: int) -> None:
        for name, by in more.items():
            self.holders[name].hold(by)


def test_the_one_that_holds_most_lets_go() -> None:
    party = Party(100, "abc")
    party.hold(a=60, b=20, c=20)
    assert party.ended == []
    party.hold(b=1)
    assert party.ended == [("a", 60)]
    assert party.room.held == 41


def test_it_may_be_the_one_that_asks() -> None:
    party = Party(100, "ab")
    party.hold(a=40, b=61)
    assert party.ended == [("b", 61)]
    party.hold(a=60)
    assert party.ended == [("b", 61)]


def test_who_was_told_counts_no_more() -> None:
    party = Party(100, "ab")
    party.hold(a=101)
    party.hold(a=500, b=100)
    party.hold(a=-601)
    assert (party.ended, party.room.held) == ([("a", 101)], 100)


def test_what_is_let_go_is_free_again() -> None:
    party = Party(100, "ab")
    for _ in range(10):
        party.hold(a=90)
        party.hold(a=-90, b=90)
        party.hold(b=-90)
    assert (party.ended, party.room.held) == ([], 0)


def test_who_leaves_takes_nothing_with_it() -> None:
    party = Party(100, "ab")
    party.hold(a=90)
    party.holders["a"].leave()
    party.holders["a"].leave()
    party.hold(b=100)
    assert (party.ended, party.room.held) == ([], 100)


@pytest.mark.parametrize(("memory", "size"), [(400, 100), (None, None)])
def test_it_is_a_share_of_the_memory(memory: int | None, size: int | None) -> None:
    room = Room(1)
    room.fit(memory)
    assert room.size == size
    assert SHARE == 0.25


def test_without_a_size_all_may_stay() -> None:
    party = Party(None, "a")
    party.hold(a=10**12)
    assert party.ended == []


def test_a_room_that_shrinks_is_cleared_with_the_next_byte() -> None:
    party = Party(100, "abc")
    party.hold(a=30, b=40, c=30)
    party.room.fit(4 * 35)
    party.hold(a=1)
    assert party.ended == [("b", 40), ("a", 31)]
    assert party.room.held == 30


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 60), st.booleans())))
def test_whatever_happens_no_more_is_held_than_there_is_room_for(steps: list[tuple[str, int, bool]]) -> None:
    party = Party(100, "abcd")
    for name, amount, leaves in steps:
        holder = party.holders[name]
        holder.hold(amount - holder.held)
        if leaves:
            holder.leave()
        assert party.room.held == sum(each.held for each in party.holders.values()) <= 100
    names = [name for name, _ in party.ended]
    assert len(names) == len(set(names))
