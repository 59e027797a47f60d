"""Streams of frames for tests of the gate: whole, cut in any way, and the gates that they go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import strategies as st

from dataplane.dialects.openai import AUDIO
from dataplane.realtime import frames
from dataplane.realtime.audio import HEAD, TAIL
from dataplane.realtime.gate import HOLD, SNIFF, Gate
from dataplane.realtime.steps import KEEP, Step, Verdict

MAX = 200_000
FRAGMENTS = 100_000
TEXT, BINARY, CONTINUATION = frames.TEXT, frames.BINARY, frames.CONTINUATION
PING, PONG, CLOSE = frames.PING, frames.PONG, frames.CLOSE
Cut = Callable[[bytes], Iterable[bytes]]
APPEND = b'{"type":"input_audio_buffer.append","audio":"'


@dataclass(frozen=True)
class Piece:
    """One frame of a stream."""

    opcode: int
    payload: bytes
    fin: bool = True
    key: bytes | None = None

    def __repr__(self) -> str:
        return f"Piece({self.opcode}, {self.payload[:40]!r} of {len(self.payload)}, {self.fin})"

    def wire(self) -> bytes:
        data = frames.frame(self.opcode, self.payload, self.key)
        return data if self.fin else bytes((data[0] & 0x7F,)) + data[1:]


@dataclass
class Judge:
    """Keeps what it was asked. The verdict hangs on the message alone."""

    asked: list[tuple[bytes, bool]] = field(default_factory=list)

    def __call__(self, payload: bytes, *, binary: bool) -> Verdict:
        self.asked.append((payload, binary))
        if b"drop" in payload:
            return ()
        return (b"instead", b"") if b"swap" in payload else KEEP


def wants(head: bytes, size: int) -> bool:
    assert len(head) <= min(size, SNIFF)
    return b"want" in head


def flows(data: bytes, start: int, end: int) -> bool:
    """Says of some that need not be read that they go on; of the others nothing."""
    return (end - start) % 3 != 0 and not wants(data[start : min(end, start + SNIFF)], end - start)


def client_gate(judge: Judge) -> Gate:
    return Gate(judge, masked=True, max_message=MAX, max_fragments=FRAGMENTS, audio=AUDIO)


def upstream_gate(judge: Judge) -> Gate:
    return Gate(judge, masked=False, max_message=MAX, max_fragments=FRAGMENTS, flows=flows, wants=wants)


KEY = {True: b"mask", False: None}


def flowing(*, masked: bool) -> Piece:
    """A message that goes on unread."""
    return Piece(TEXT, APPEND + b"A" * 200 + b'"}' if masked else b"." * 200, key=KEY[masked])


def taken(gate: Gate, data: bytes, cut: Cut) -> list[Step]:
    return joined(step for part in cut(data) for step in fed(gate, part))


def fed(gate: Gate, data: bytes) -> Iterator[Step]:
    """All steps that these bytes lead to."""
    flowing, rest = gate.flow(data)
    yield flowing
    yield from gate.feed(rest)
    while gate.behind:
        yield from gate.feed(b"")


def joined(steps: Iterable[Step]) -> list[Step]:
    """Steps with neighbouring bytes put together: where they are divided hangs on the cut."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, bytes) and found and isinstance(last := found[-1], bytes):
            found[-1] = last + step
        elif step != b"":
            found.append(step)
    return found


# -- streams -----------------------------------------------------------------------------------------------------

NEAR = [0, 1, 2, SNIFF - 1, SNIFF, SNIFF + 1, 125, 126, TAIL, HEAD, HEAD + 1, 5000, 65535, HOLD - 60, HOLD, HOLD + 1]
SIZES = st.sampled_from([*NEAR, HOLD + HEAD, HOLD + TAIL, MAX]) | st.integers(0, 300)
WORDS = st.sampled_from(
    [
        b"",
        b"want",
        b"want swap",
        b"drop want",
        b'"want"',
        b"wan",
        b"swap",
        b"drop",
        b'{"type":"a"}',
        b'{"want',
        b'{ "swap',
    ]
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """A message with words at its beginning and end, that count or do not."""
    first, last, size = draw(WORDS), draw(WORDS), draw(SIZES)
    return first + b"." * max(0, size - len(first) - len(last)) + last


@st.composite
def audio(draw: st.DrawFn) -> bytes:
    """Canonical audio of any size."""
    head = draw(st.sampled_from([b"{", b'{ "event_id": "one",']))
    tail = (
        b"}" if b"event_id" in head else draw(st.sampled_from([b"}", b', "event_id": "%s"}' % (b"e" * 512), b" } \n"]))
    )
    middle = draw(st.sampled_from([b"AA", b"\\/"])) * (min(draw(SIZES), MAX - 1000) // 2)
    return head + b'"type": "input_audio_buffer.append", "audio": "' + middle + b'"' + tail


@st.composite
def streams(draw: st.DrawFn, *, masked: bool) -> list[Piece]:
    """Whole and fragmented messages, control frames before, between and within them."""
    keys = st.binary(min_size=4, max_size=4) if masked else st.none()
    controls = st.lists(st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)), max_size=1)
    stream: list[Piece] = []
    for _ in range(draw(st.integers(1, 5))):
        payload = draw((texts() | audio()) if masked else texts())
        opcode = draw(st.sampled_from([TEXT, TEXT, TEXT, BINARY]))
        places = draw(st.lists(st.sampled_from([0, 1, SNIFF, HOLD + 5, len(payload) // 2, len(payload)]), max_size=3))
        places = sorted({min(place, len(payload)) for place in places})
        for at, (start, end) in enumerate(pairwise([0, *places, len(payload)])):
            stream += [Piece(kind, text, key=draw(keys)) for kind, text in draw(controls)]
            fin = at == len(places)
            stream.append(Piece(CONTINUATION if at else opcode, payload[start:end], fin, draw(keys)))
    if draw(st.booleans()):
        stream.append(Piece(CLOSE, b"\x03\xe8", key=draw(keys)))
    return stream


def whole(data: bytes) -> list[bytes]:
    return [data]


def by(size: int) -> Cut:
    return lambda data: [data[at : at + size] for at in range(0, len(data), size)]


def cut_at(*places: int) -> Cut:
    return lambda data: [data[start:end] for start, end in pairwise((0, *places, len(data)))]


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    sizes = draw(st.lists(st.integers(1, 50) | st.integers(1, HOLD * 2), min_size=1, max_size=20))

    def cut(data: bytes) -> Iterator[bytes]:
        at = turn = 0
        while at < len(data):
            size = sizes[turn % len(sizes)] if turn < 500 else HOLD
            yield data[at : at + size]
            at, turn = at + size, turn + 1

    return cut
