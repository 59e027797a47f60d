"""What the loads promise of each other, and the order of a round."""

from __future__ import annotations

from bench.__main__ import turned
from bench.loads import FULL, QUICK, loads
from bench.peers import PEERS
from bench.quick import SHOWN
from bench.relays import DIRECT, RELAYS, TIDEGATE


def test_everybody_who_takes_a_load_can_be_started() -> None:
    for load in (*loads(FULL).values(), *loads(QUICK).values()):
        assert set(load.contenders) <= {DIRECT, *RELAYS, *PEERS}
        assert TIDEGATE in load.contenders
        assert len(set(load.contenders)) == len(load.contenders)


def test_what_is_beyond_the_direct_way_is_measured_with_it() -> None:
    for load in loads().values():
        assert DIRECT in load.contenders or not any(figure.added for figure in load.figures)


def test_what_is_shown_quickly_is_measured() -> None:
    for key, figure, others in SHOWN:
        load = loads(QUICK)[key]
        assert figure in load.figures
        assert set(others) <= set(load.contenders)


def test_another_relay_begins_each_round() -> None:
    assert [turned(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"],
    ]  # fmt: skip
    assert turned([], 3) == []
