"""Long frames of clients: audio streams while it arrives, and nothing else does."""

from __future__ import annotations

import pytest

from dataplane.realtime.audio import TAIL
from dataplane.realtime.gate import HOLD
from dataplane.realtime.steps import Breach
from tests.dataplane.realtime.pieces import APPEND, TEXT, Cut, Judge, Piece, by, client_gate, taken, whole

LATE = {
    "second type": b'A","type":"session.update","session":{"model":"x"}}',
    "second type far behind": b'A","type":"session.update","x":"' + b"A" * 5000 + b'"}',
    "escape": b'\\"A"}',
    "escaped escape": b"\\\\" * 400 + b'A"}',
    "not ASCII": "\u201d".encode() * 400 + b'A"}',
    "cut off": b"A",
    "tail too long": b'A"' + b" " * TAIL + b"}",
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
@pytest.mark.parametrize("cut", [whole, by(1), by(7), by(1000), by(HOLD)], ids=["whole", "1", "7", "1000", "HOLD"])
def test_a_long_audio_event_that_holds_more_is_never_finished(late: bytes, cut: Cut) -> None:
    judge = Judge()
    gate = client_gate(judge)
    event = APPEND + b"A" * HOLD + late
    data = Piece(TEXT, event, key=b"mask").wire()
    *forwarded, last = taken(gate, data, cut)
    assert last == Breach("audio", "a long audio event holds more than audio")
    assert last.code == 1008
    went = b"".join(step for step in forwarded if isinstance(step, bytes))
    assert data.startswith(went)
    assert len(went) < len(data)
    assert gate.mid_frame, "the upstream waits for the rest of the frame, which never comes"
    assert judge.asked == []
    assert taken(gate, Piece(TEXT, b"x", key=b"mask").wire(), whole) == []


@pytest.mark.parametrize("cut", [whole, by(1000)])
def test_a_long_message_that_is_not_audio_is_collected(cut: Cut) -> None:
    for payload in (b'{"audio":"' + b"A" * HOLD + b'","type":"input_audio_buffer.append"}', b"x" * (HOLD + 1)):
        judge = Judge()
        piece = Piece(TEXT, payload, key=b"mask")
        assert taken(client_gate(judge), piece.wire(), cut) == [piece.wire()]
        assert judge.asked == [(payload, False)]


def test_long_audio_streams_while_it_arrives() -> None:
    gate = client_gate(Judge())
    data = Piece(TEXT, APPEND + b"A" * HOLD * 2 + b'"}', key=b"mask").wire()
    went = 0
    for part in by(HOLD // 4)(data):
        went += sum(len(step) for step in gate.feed(part) if isinstance(step, bytes))
        assert gate.mid_frame == (went != len(data))
        if gate.mid_frame:
            assert went % (HOLD // 4) in (0, HOLD // 4 - TAIL)
    assert went == len(data)
