"""The gate against a slow and simple one, however the stream is cut."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.dialects.openai import AUDIO
from dataplane.realtime import frames
from dataplane.realtime.audio import TAIL
from dataplane.realtime.gate import HOLD, PIECE, SNIFF, WORK, Gate
from dataplane.realtime.steps import KEEP, Breach, Control, Step
from tests.dataplane.realtime.pieces import (
    APPEND,
    BINARY,
    CLOSE,
    CONTINUATION,
    FRAGMENTS,
    KEY,
    PING,
    PONG,
    TEXT,
    Cut,
    Judge,
    Piece,
    by,
    client_gate,
    cut_at,
    cuts,
    fed,
    flowing,
    flows,
    joined,
    streams,
    taken,
    upstream_gate,
    wants,
    whole,
)

# -- the slow and simple one -------------------------------------------------------------------------------------


def expected(stream: list[Piece], *, masked: bool, judge: Judge) -> list[Step]:
    """What must come of a whole and correct stream."""
    steps: list[Step] = []
    message: list[Piece] = []
    for piece in stream:
        if piece.opcode >= CLOSE:
            steps.append(Control(piece.opcode, piece.payload))
            continue
        message.append(piece)
        read = is_read(message[0], masked=masked)
        if not read:
            steps.append(piece.wire())
        elif piece.fin:
            steps += verdict_on(message, judge)
        if piece.fin:
            message = []
    return joined(steps)


def is_read(first: Piece, *, masked: bool) -> bool:
    if masked:
        return not (first.fin and first.opcode == TEXT and AUDIO.measure(first.payload) >= 0)
    if first.opcode == BINARY and not may_be_json(first):
        return False
    return (not first.fin and len(first.payload) < SNIFF) or wants(first.payload[:SNIFF], len(first.payload))


def may_be_json(first: Piece) -> bool:
    """May it be an object, as far as one can see?"""
    seen = b"".join(first.payload[:SNIFF].split()[:2])
    return not seen or (seen.startswith(b"{") and seen[1:2] in (b"", b'"', b"}"))


def verdict_on(message: list[Piece], judge: Judge) -> Iterator[bytes]:
    payload = b"".join(piece.payload for piece in message)
    verdict = judge(payload, binary=message[0].opcode == BINARY)
    key = message[-1].key
    if verdict is not KEEP:
        yield from (frames.frame(message[0].opcode, text, key) for text in verdict)
    elif len(message) == 1:
        yield message[0].wire()
    else:
        yield frames.frame(message[0].opcode, payload, key)


# -- however it is cut -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(streams(masked=True), cuts() | st.just(whole))
def test_a_clients_stream_comes_out_the_same_however_it_is_cut(stream: list[Piece], cut: Cut) -> None:
    _compare(stream, cut, masked=True)


@settings(deadline=None, max_examples=150)
@given(streams(masked=False), cuts() | st.just(whole))
def test_an_upstreams_stream_comes_out_the_same_however_it_is_cut(stream: list[Piece], cut: Cut) -> None:
    _compare(stream, cut, masked=False)


def _compare(stream: list[Piece], cut: Cut, *, masked: bool) -> None:
    simple, judge = Judge(), Judge()
    gate = client_gate(judge) if masked else upstream_gate(judge)
    data = b"".join(piece.wire() for piece in stream)
    assert taken(gate, data, cut) == expected(stream, masked=masked, judge=simple)
    assert judge.asked == simple.asked
    assert not gate.mid_frame
    assert not gate.mid_message


SHORT = {
    True: [
        Piece(TEXT, b'{"type":"input_audio_buffer.append","audio":"AA"}', key=b"abcd"),
        Piece(TEXT, b"swap", False, key=b"efgh"),
        Piece(PING, b"x", key=b"ijkl"),
        Piece(CONTINUATION, b"", False, key=b"mnop"),
        Piece(CONTINUATION, b"!", key=b"qrst"),
        Piece(BINARY, b"", key=b"uvwx"),
        Piece(TEXT, b"drop", key=b"0123"),
        Piece(CLOSE, b"", key=b"4567"),
    ],
    False: [
        Piece(TEXT, b"other want" + b"." * 120),
        Piece(TEXT, b"." * SNIFF, False),
        Piece(PONG, b""),
        Piece(CONTINUATION, b"want drop"),
        Piece(TEXT, b"want swap", False),
        Piece(PING, b"x"),
        Piece(CONTINUATION, b""),
        Piece(BINARY, b"want"),
        Piece(TEXT, b"", True),
        Piece(CLOSE, b"\x03\xe8bye"),
    ],
}


@pytest.mark.parametrize("masked", [True, False])
def test_a_short_stream_comes_out_the_same_in_every_cut(masked: bool) -> None:
    stream = SHORT[masked]
    size = sum(len(piece.wire()) for piece in stream)
    _compare(stream, by(1), masked=masked)
    for first in range(size):
        _compare(stream, lambda data, at=first: [data[:at], data[at:]], masked=masked)  # type: ignore[misc]
        _compare(stream, lambda data, at=first: [data[:at], data[at : at + 3], data[at + 3 :]], masked=masked)  # type: ignore[misc]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("first", [b"want", b"----"])
@pytest.mark.parametrize("shape", ["whole", "fragment", "binary", "long", "control"])
def test_what_looks_like_a_message_within_another_is_none(masked: bool, first: bytes, shape: str) -> None:
    """Though it would flow, and comes in a read of its own."""
    key, usual = KEY[masked], flowing(masked=masked)
    inner = usual.wire() if shape != "control" else usual.wire()[:100]
    hidden = inner if key is None else frames.unmasked(inner, key)
    payload = first + b"." * (HOLD if shape == "long" else 0) + hidden + b"xx"
    stream = {
        "fragment": [Piece(TEXT, first, False, key), Piece(CONTINUATION, payload, key=key)],
        "binary": [Piece(BINARY, b"{" + first[1:] + hidden, key=key)],
        "control": [Piece(PING, payload, key=key)],
    }.get(shape, [Piece(TEXT, payload, key=key)])
    stream = [usual, *stream, Piece(TEXT, b"want", key=key)]
    before = len(usual.wire())
    start = b"".join(piece.wire() for piece in stream).index(inner, before)
    for places in ((start, start + len(inner)), (before, start, start + len(inner)), (start, start + len(inner) + 1)):
        _compare(stream, cut_at(*places), masked=masked)


@pytest.mark.parametrize("encoding", [126, 127])
def test_a_length_that_is_written_too_long_goes_on_as_it_came(encoding: int) -> None:
    data = bytes((0x81, encoding)) + (3).to_bytes(2 if encoding == 126 else 8, "big") + b"abc"
    for cut in (whole, by(1)):
        assert taken(upstream_gate(Judge()), data, cut) == [data]


# -- order -------------------------------------------------------------------------------------------------------


def test_what_follows_from_a_message_can_be_done_before_the_next_is_judged() -> None:
    judge = Judge()
    gate = client_gate(judge)
    stream = b"".join(Piece(TEXT, text, key=b"mask").wire() for text in (b"keep", b"drop", b"late"))
    steps = iter(gate.feed(stream))
    assert next(steps) == Piece(TEXT, b"keep", key=b"mask").wire()
    assert next(steps) == b""
    assert [payload for payload, _ in judge.asked] == [b"keep", b"drop"]
    gate.mute()
    assert list(steps) == [Piece(TEXT, b"late", key=b"mask").wire()]
    assert len(judge.asked) == 2


def test_a_muted_gate_reads_no_message_but_still_finds_the_close() -> None:
    judge = Judge()
    gate = client_gate(judge)
    assert joined(gate.feed(Piece(TEXT, b"begun", False, key=b"mask").wire())) == []
    gate.mute()
    rest = [
        Piece(CONTINUATION, b"", key=b"mask"),
        Piece(BINARY, b"x" * 70_000, key=b"mask"),
        Piece(CLOSE, b"", key=b"mask"),
    ]
    steps = taken(gate, b"".join(piece.wire() for piece in rest), by(1000))
    assert steps[-1] == Control(CLOSE, b"")
    assert judge.asked == []


@pytest.mark.parametrize("cut", [whole, by(1)])
def test_nothing_comes_behind_a_close(cut: Cut) -> None:
    judge = Judge()
    gate = upstream_gate(judge)
    data = Piece(CLOSE, b"").wire() + Piece(TEXT, b"want").wire()
    assert taken(gate, data, cut) == [Control(CLOSE, b"")]
    assert (taken(gate, data, cut), judge.asked) == ([], [])


def test_without_a_judge_frames_go_on_and_limits_hold() -> None:
    gate = Gate(None, masked=True, max_message=10, max_fragments=FRAGMENTS)
    begun = Piece(TEXT, b"12345", False, b"mask").wire()
    assert taken(gate, begun, whole) == [begun]
    assert (gate.mid_message, gate.mid_frame) == (True, False)
    assert taken(gate, Piece(CONTINUATION, b"123456", True, b"mask").wire(), whole) == [
        Breach("size", "message over 10 bytes")
    ]


def test_a_frame_is_known_to_be_under_way() -> None:
    gate = upstream_gate(Judge())
    data = Piece(BINARY, bytes(HOLD + 1)).wire()
    assert joined(gate.feed(data[:-1])) == [data[:-1]]
    assert gate.mid_frame
    assert gate.mid_message
    assert joined(gate.feed(data[-1:])) == [data[-1:]]
    assert not gate.mid_message


def test_a_frame_up_to_the_limit_is_held_until_it_is_whole() -> None:
    gate = upstream_gate(Judge())
    data = Piece(TEXT, bytes(HOLD)).wire()
    assert joined(gate.feed(data[:-1])) == []
    assert not gate.mid_frame
    assert joined(gate.feed(data[-1:])) == [data]


# -- counting ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(streams(masked=True), streams(masked=False), cuts() | st.just(whole))
def test_messages_and_audio_are_counted_however_they_are_cut(mine: list[Piece], theirs: list[Piece], cut: Cut) -> None:
    for stream, masked in ((mine, True), (theirs, False)):
        gate = client_gate(Judge()) if masked else upstream_gate(Judge())
        taken(gate, b"".join(piece.wire() for piece in stream), cut)
        data = [piece for piece in stream if piece.opcode < CLOSE]
        assert gate.messages == sum(piece.fin for piece in data)
        lone = [piece for piece in data if piece.fin and piece.opcode == TEXT]
        sizes = [AUDIO.measure(piece.payload) for piece in lone]
        exact = sum(size for size in sizes if size > 0)
        assert exact <= gate._sent.audio <= exact + TAIL * len(lone)
        assert masked or gate._sent.audio == 0


@pytest.mark.parametrize("cut", [whole, by(7)])
def test_long_audio_is_counted_by_its_frame(cut: Cut) -> None:
    gate = client_gate(Judge())
    taken(gate, Piece(TEXT, APPEND + b"A" * HOLD * 2 + b'"}', key=b"mask").wire() * 2, cut)
    assert (gate.messages, gate._sent.audio) == (2, 2 * (HOLD * 2 + 2))


def test_step_by_step_what_follows_from_a_message_is_done_before_the_next_is_read() -> None:
    judge = Judge()
    gate = upstream_gate(judge)
    gate.step()
    wires = [Piece(TEXT, text).wire() for text in (b"want 1", b"want 2", b"." * 200, b"want 3", b"." * 200)]
    seen = [(step, len(judge.asked)) for step in gate.feed(b"".join(wires))]
    assert seen == [(wires[0], 1), (wires[1], 2), (wires[2], 2), (wires[3], 3), (wires[4], 3)]


@pytest.mark.parametrize("change", [Gate.step, Gate.mute])
@pytest.mark.parametrize("masked", [True, False])
def test_nothing_flows_of_a_gate_that_is_stepwise_or_muted(masked: bool, change: Callable[[Gate], None]) -> None:
    gate = client_gate(Judge()) if masked else upstream_gate(Judge())
    usual = flowing(masked=masked).wire()
    assert gate.flow(usual) == (usual, b"")
    change(gate)
    for _ in range(2):
        assert gate.flow(usual) == (b"", usual)
        assert list(gate.feed(usual)) == [usual]


def test_what_is_over_the_limit_does_not_flow() -> None:
    usual = flowing(masked=False)
    gate = Gate(Judge(), masked=False, max_message=len(usual.payload) - 1, max_fragments=1, flows=flows, wants=wants)
    assert [type(step) for step in fed(gate, usual.wire()) if step] == [Breach]


# -- cost --------------------------------------------------------------------------------------------------------


@dataclass
class Work:
    """Bytes that were looked through, and calls made for them."""

    heads: int = 0
    copied: int = 0


def _work(monkeypatch: pytest.MonkeyPatch, gate: Gate, data: bytes, size: int) -> Work:
    work = Work()
    parse_head, unmasked = frames.parse_head, frames.unmasked

    def counted_head(seen: bytes | bytearray, pos: int) -> frames.Head | None:
        work.heads += 1
        work.copied += len(seen) if pos == 0 else 0  # a chunk is joined to what was held just before its first head
        return parse_head(seen, pos)

    def counted_mask(payload: bytes, key: bytes) -> bytes:
        work.copied += len(payload)
        return unmasked(payload, key)

    with monkeypatch.context() as patched:
        patched.setattr(frames, "parse_head", counted_head)
        patched.setattr(frames, "unmasked", counted_mask)
        for part in by(size)(data):
            for _ in fed(gate, part):
                pass
    return work


MESSAGES: dict[str, Callable[[int], bytes]] = {
    "held": lambda size: b"x" * size,
    "fragments": lambda size: b"",
    "audio": lambda size: APPEND + b"A" * size + b'"}',
    "escapes": lambda size: APPEND + b"\\" * size,
    "slashes": lambda size: APPEND + b"\\/" * (size // 2) + b'"}',
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_cost_of_bytes_that_come_one_by_one_grows_with_their_number_only(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = []
    for size in (70_000, 140_000):
        if kind == "fragments":
            pieces = [Piece(CONTINUATION if at else TEXT, b"x", False, b"mask") for at in range(size // 10)]
            data = b"".join(piece.wire() for piece in pieces)
        else:
            data = Piece(TEXT, MESSAGES[kind](size), key=b"mask").wire()
        works.append(_work(monkeypatch, client_gate(Judge()), data, 1))
    assert works[1].heads <= 2 * works[0].heads
    assert works[1].copied <= 2.1 * works[0].copied


def test_messages_are_as_cheap_in_one_read_as_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small frames inside of large reads are the bad case of a parser that copies what is left."""
    data = Piece(TEXT, json.dumps({"type": "x"}).encode()).wire() * 5000
    work = _work(monkeypatch, upstream_gate(Judge()), data, len(data))
    assert work.heads == 5000
    assert work.copied <= len(data)


def test_small_frames_are_decided_some_at_a_time() -> None:
    """Between two times others have their turn. What comes meanwhile is judged in its order."""
    judge, payloads = Judge(), [b'{"n":%d}' % n for n in range(2 * WORK + 3)]
    gate, wires = client_gate(judge), [Piece(TEXT, payload, key=b"mask").wire() for payload in payloads]
    sizes = []
    for data in (b"".join(wires[:-1]), wires[-1], b""):
        list(gate.feed(data))
        sizes.append((len(judge.asked), gate.behind))
    assert sizes == [(WORK, True), (2 * WORK, True), (2 * WORK + 3, False)]
    assert [payload for payload, _ in judge.asked] == payloads


def test_nothing_flows_past_what_is_still_to_be_decided() -> None:
    gate, usual = upstream_gate(Judge()), flowing(masked=False).wire()
    assert gate.flow(usual) == (usual, b"")
    list(gate.feed(Piece(TEXT, b"want").wire() * (WORK + 1)))
    assert gate.behind
    assert gate.flow(usual) == (b"", usual)
    list(gate.feed(usual))
    assert gate.flow(usual) == (usual, b"")


def test_nothing_flows_past_a_close_that_is_put_off() -> None:
    gate, usual, close = upstream_gate(Judge()), flowing(masked=False).wire(), Piece(CLOSE, b"").wire()
    assert gate.flow(usual) == (usual, b"")
    assert not gate.put_off(usual)
    assert gate.flow(close) == (b"", close)
    assert gate.put_off(close)
    assert gate.behind
    assert gate.flow(usual) == (b"", usual)
    assert list(gate.feed(usual)) == [Control(CLOSE, b"")]


def test_large_frames_count_for_more() -> None:
    """What it costs to judge them grows with their size."""
    judge, size = Judge(), PIECE * WORK // 4
    gate, wires = client_gate(judge), [Piece(TEXT, b"[" * size, key=b"mask").wire()] * 10
    judged = []
    for data in (b"".join(wires), b"", b""):
        list(gate.feed(data))
        judged.append(len(judge.asked))
    assert judged == [4, 8, 10]
    assert not gate.behind
