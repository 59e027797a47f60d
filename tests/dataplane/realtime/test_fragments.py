"""Frames that may not come, or not now: which breach they are, and that nothing comes behind it."""

from __future__ import annotations

import pytest

from dataplane.dialects.openai import AUDIO
from dataplane.realtime.gate import HOLD, SNIFF, Gate
from dataplane.realtime.steps import OPAQUE, Breach
from tests.dataplane.realtime.pieces import (
    BINARY,
    CONTINUATION,
    FRAGMENTS,
    KEY,
    MAX,
    PING,
    TEXT,
    Cut,
    Judge,
    Piece,
    by,
    client_gate,
    cut_at,
    flowing,
    joined,
    taken,
    upstream_gate,
    wants,
    whole,
)

BREACHES = {
    "not masked": (True, Piece(TEXT, b"").wire(), 1002),
    "masked": (False, Piece(TEXT, b"", key=b"mask").wire(), 1002),
    "RSV1": (False, b"\xc1\x00", 1002),
    "RSV2": (False, b"\xa1\x00", 1002),
    "RSV3 in a Ping": (False, b"\x99\x00", 1002),
    "opcode 3": (False, b"\x83\x00", 1002),
    "opcode 11": (False, b"\x8b\x00", 1002),
    "fragmented Ping": (False, b"\x09\x00", 1002),
    "long Ping": (False, b"\x89\x7e\x00\x7e", 1002),
    "continuation of nothing": (False, b"\x80\x00", 1002),
    "text within a message": (False, b"\x01\x00\x81\x00", 1002),
    "binary within a message that is passed": (False, b"\x02\x00\x82\x00", 1002),
    "one byte too many": (False, b"\x81\x7f" + (MAX + 1).to_bytes(8, "big"), 1009),
    "absurd length": (False, b"\x82\x7f" + b"\xff" * 8, 1009),
    "one byte too many in fragments": (False, b"\x01\x00" + b"\x80\x7f" + (MAX + 1).to_bytes(8, "big"), 1009),
}


@pytest.mark.parametrize(("masked", "data", "code"), BREACHES.values(), ids=BREACHES)
@pytest.mark.parametrize("cut", [whole, by(1)])
def test_a_breach_is_found_in_the_head_and_nothing_comes_behind_it(
    masked: bool, data: bytes, code: int, cut: Cut
) -> None:
    judge = Judge()
    gate = client_gate(judge) if masked else upstream_gate(judge)
    *_, last = taken(gate, data, cut)
    assert isinstance(last, Breach)
    assert last.code == code
    assert taken(gate, Piece(TEXT, b"want", key=b"mask" if masked else None).wire(), whole) == []
    assert judge.asked == []


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("first", [b"want", b"----", b"." * (SNIFF + 1)])
def test_what_would_flow_is_a_breach_in_the_middle_of_a_message(masked: bool, first: bytes) -> None:
    """Though it comes in a read of its own."""
    gate = client_gate(Judge()) if masked else upstream_gate(Judge())
    wires = [
        piece.wire()
        for piece in (flowing(masked=masked), Piece(TEXT, first, False, KEY[masked]), flowing(masked=masked))
    ]
    steps = taken(gate, b"".join(wires), cut_at(len(wires[0]), len(wires[0]) + len(wires[1])))
    assert isinstance(steps[-1], Breach)
    assert b"".join(step for step in steps if isinstance(step, bytes)) in (wires[0], wires[0] + wires[1])


def test_the_limit_counts_what_was_collected_and_what_was_passed() -> None:
    for first in (b"want", b"." * SNIFF):
        gate = Gate(Judge(), masked=False, max_message=SNIFF + 10, max_fragments=FRAGMENTS, wants=wants)
        steps = joined(gate.feed(Piece(TEXT, first, False).wire()))
        steps += joined(gate.feed(Piece(CONTINUATION, bytes(SNIFF + 11 - len(first)), False).wire()))
        assert steps[-1] == Breach("size", f"message over {SNIFF + 10} bytes")


@pytest.mark.parametrize("first", [b"want", b"." * SNIFF, b"x"], ids=["collected", "passed", "short"])
@pytest.mark.parametrize("masked", [True, False])
def test_the_limit_of_fragments_counts_what_was_collected_and_what_was_passed(masked: bool, first: bytes) -> None:
    key = b"mask" if masked else None
    for frames_, fits in ((5, True), (6, False)):
        judge = Judge()
        gate = Gate(
            judge,
            masked=masked,
            max_message=MAX,
            max_fragments=5,
            wants=None if masked else wants,
            audio=AUDIO if masked else None,
        )
        pieces = [
            Piece(CONTINUATION if at else TEXT, b"" if at else first, at == frames_ - 1, key) for at in range(frames_)
        ]
        for _ in range(2):  # it counts from nothing with every message
            steps = taken(gate, b"".join(piece.wire() for piece in pieces), by(3))
            breach = Breach("fragments", "message in more than 5 fragments")
            assert (breach in steps) == (not fits)
            if not fits:
                break


def test_pings_are_no_fragments() -> None:
    gate = Gate(Judge(), masked=False, max_message=MAX, max_fragments=2, wants=wants)
    ping = Piece(PING, b"").wire()
    data = Piece(TEXT, b"a", False).wire() + ping * 9 + Piece(CONTINUATION, b"b").wire()
    assert not any(isinstance(step, Breach) for step in taken(gate, data, whole))


@pytest.mark.parametrize("size", [5, 100, HOLD + 1])
def test_what_more_comes_of_a_message_that_goes_on_unread_is_said(size: int) -> None:
    told: list[tuple[bytes, int]] = []

    def passes(head: bytes, more: int) -> None:
        told.append((head, more))

    gate = Gate(Judge(), masked=False, max_message=MAX, max_fragments=9, wants=wants, passes=passes)
    first = b"." * (SNIFF + 1)
    stream = [Piece(TEXT, first, False), Piece(PING, b""), Piece(CONTINUATION, b"x" * size, False)]
    stream += [Piece(CONTINUATION, b"y"), Piece(TEXT, b"want", False), Piece(CONTINUATION, b"z")]
    stream += [Piece(BINARY, first, False), Piece(CONTINUATION, b"z"), Piece(TEXT, first), Piece(TEXT, b"short")]
    taken(gate, b"".join(piece.wire() for piece in stream), whole)
    assert told == [(first[:SNIFF], size), (first[:SNIFF], 1), (OPAQUE, 1)]
