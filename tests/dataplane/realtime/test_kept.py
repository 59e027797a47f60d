"""What a gate keeps of what was read, and who is told how much."""

from __future__ import annotations

import pytest

from dataplane.realtime import frames
from dataplane.realtime.gate import WORK, Gate
from dataplane.realtime.kept import GRAIN
from dataplane.realtime.steps import KEEP, Verdict

LARGE = b"x" * (GRAIN + 100)


def keep(payload: bytes, *, binary: bool) -> Verdict:
    return KEEP


def wire(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A frame, which may not be the message's last."""
    whole = bytearray(frames.frame(opcode, payload))
    whole[0] = opcode | (frames.FIN if fin else 0)
    return bytes(whole)


class Holder:
    """Adds up what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.gate = Gate(
            keep,
            masked=False,
            max_message=1 << 20,
            max_fragments=10_000,
            wants=lambda head, size: True,
            hold=self.told.append,
        )

    def feed(self, data: bytes) -> bytes:
        return b"".join(step for step in self.gate.feed(data) if isinstance(step, bytes))

    @property
    def held(self) -> int:
        return sum(self.told)


def test_a_frame_is_told_of_while_it_is_unfinished() -> None:
    it, one = Holder(), wire(frames.TEXT, LARGE)
    assert it.feed(one[:GRAIN]) == b""
    assert it.told == [], "frames are cut by networks, too"
    assert it.feed(one[GRAIN:-1]) == b""
    assert it.held == len(one) - 1
    assert it.feed(one[-1:]) == one
    assert it.held == 0


def test_a_message_is_told_of_while_its_parts_are_collected() -> None:
    it = Holder()
    parts = [
        wire(frames.TEXT, LARGE, fin=False),
        wire(frames.CONTINUATION, b"y" * 100, fin=False),
        wire(frames.CONTINUATION, b"z"),
    ]
    assert it.feed(parts[0]) == b""
    assert it.held == len(LARGE)
    assert it.feed(parts[1]) == b""
    assert it.held == len(LARGE) + 100
    assert it.feed(parts[2]).endswith(b"z")
    assert it.held == 0


@pytest.mark.parametrize("size", [1, 2000])
def test_what_is_left_for_the_next_time_is_told_of_if_it_is_much(size: int) -> None:
    it, one = Holder(), wire(frames.TEXT, b"x" * size)
    passed = it.feed(one * (WORK + 20))
    assert (it.held > GRAIN) == (size > 1)
    assert len(passed) < len(one) * (WORK + 20)
    while it.gate.behind:
        passed += it.feed(b"")
    assert passed == one * (WORK + 20)
    assert it.held == 0
