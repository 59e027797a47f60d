"""Any bytes from anybody: a documented ending, no exception, and the same outcome however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.realtime import endings, frames
from dataplane.realtime.gate import HOLD
from tests.dataplane.realtime.fuzzing import (
    CLIENT_EVENTS,
    UPSTREAM_EVENTS,
    Run,
    Say,
    Script,
    fuzz_classifier,
    fuzz_relay,
    fuzz_session,
    steps,
)
from tests.dataplane.realtime.play import TERMS, Close, Frame, wire
from tests.dataplane.realtime.sayings import CREATED, LONG_AUDIO, LONG_EVENT

SCRIPTS = st.lists(st.binary(min_size=1, max_size=6), max_size=40).map(b"".join) | st.binary(max_size=200)
FOUND = [
    "040ab8d1efba8ae152b3802df7b70b62784ef2abfbed7178261c4ab3ba28f917b0f0222a289532e575e7a40f98d4bcb0e8a6",
    "d1954c912081efa8628a60e2df1ed04e8787196c2c47e0531da71501370c17c60f1a220562805cd20071284e5b3a7cd26d2a",
    "f91aa48637d8d71e5af5dc5316436daa0f08e7ca",
]
"""Scripts that once came to something else when they were cut."""


@settings(deadline=None, max_examples=600)
@given(SCRIPTS)
@example(b"")
def test_the_relay(data: bytes) -> None:
    fuzz_relay(data)


@pytest.mark.parametrize("script", FOUND)
def test_the_relay_where_it_was_wrong(script: str) -> None:
    fuzz_relay(bytes.fromhex(script))


@settings(deadline=None, max_examples=600)
@given(SCRIPTS)
@example(b"")
def test_the_session(data: bytes) -> None:
    fuzz_session(data)


WORDS = [
    *(
        b'"type"',
        b'"audio"',
        b'"event_id"',
        b'"AA=="',
        b'{"type":"',
        b'"input_audio_buffer.append"',
        b'"response.done"',
    ),
    *(b":", b",", b"{", b"}", b"[", b"]", b'"', b"\\", b" ", b"1e999", b"NaN", b"null", b"\xff", b"\\u0022"),
    *(b"response.audio.delta", b"error"),
]
JSONISH = st.lists(st.sampled_from(WORDS) | st.binary(max_size=5), max_size=20).map(b"".join)


@settings(deadline=None, max_examples=1000)
@given(JSONISH | st.binary(max_size=60))
@example(b'{"type":"input_audio_buffer.append","audio":"AA"}')
@example(b'{"type":"response.audio.deltaX')
@example(b"[" * 5000)
def test_the_classifier(data: bytes) -> None:
    fuzz_classifier(data)


def test_a_script_can_say_and_do_everything() -> None:
    """Or the drivers would find nothing."""
    said: dict[str, list[bytes]] = {"client": [], "upstream": []}
    done = set()
    for first in range(256):
        for second in range(len(UPSTREAM_EVENTS)):
            for step in steps(Script(bytes((first, second, 0)))):
                if isinstance(step, Say):
                    said[step.side].append(step.data)
                else:
                    done.add(step)
    assert len(done) == 9
    for side, events in (("client", CLIENT_EVENTS), ("upstream", UPSTREAM_EVENTS)):
        assert {wire(event, masked=side == "client") for event in events} <= set(said[side])


# -- one session, cut everywhere -----------------------------------------------------------------------------------

WHOLE = {
    "client": [
        wire({"type": "session.update", "session": {"model": "gpt-realtime"}}, masked=True),
        wire({"type": "input_audio_buffer.append", "audio": "A" * 200}, masked=True),
        wire(Frame(frames.TEXT, b'{"type":"respon', False), masked=True),
        wire(Frame(frames.PING, b"x"), masked=True),
        wire(Frame(frames.CONTINUATION, b'se.create"}'), masked=True),
        wire("nonsense", masked=True),
        LONG_AUDIO,
        wire(b"binary", masked=True),
        wire({"type": "response.create"}, masked=True),
        wire(Close(4001, "bye"), masked=True),
        b"garbage behind it",
    ],
    "upstream": [
        wire({"type": "response.created", "response": {"id": "r1"}}, masked=False),
        wire({"type": "response.output_audio.delta", "response_id": "r1", "delta": "A" * 300}, masked=False),
        LONG_EVENT,
        wire(Frame(frames.PING, b"x"), masked=False),
        wire(Frame(frames.TEXT, b'{"type":"response.output_text.delta","delta":"' + b"A" * 300, False), masked=False),
        wire(Frame(frames.PONG, b"x"), masked=False),
        wire(Frame(frames.CONTINUATION, b'"}'), masked=False),
        wire({"type": "response.done", "response": {"id": "r1", "usage": {"output_tokens": 5}}}, masked=False),
        wire({"type": "input_audio_buffer.speech_started"}, masked=False),
        b"\xff\xff garbage",
    ],
}


def outcome(side: str, pieces: list[bytes], *, drained: bool) -> object:
    run = Run(TERMS)
    run.feed("upstream", wire(CREATED, masked=False))
    run.feed("upstream", wire({"type": "response.created", "response": {"id": "r0"}}, masked=False))
    if drained:
        run.take(run.relay.end_between_turns(endings.DRAINING, "Bye."))
        run.feed("upstream", wire({"type": "response.created", "response": {"id": "r1"}}, masked=False))
        run.feed("upstream", wire({"type": "response.done", "response": {"id": "r0"}}, masked=False))
    for piece in pieces:
        run.feed(side, piece)
    run.finish()
    return run.outcome()


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize("side", WHOLE)
def test_a_session_comes_to_the_same_wherever_it_is_cut(side: str, drained: bool) -> None:
    parts = WHOLE[side]
    data = b"".join(parts)
    expected = outcome(side, [data], drained=drained)
    assert outcome(side, parts, drained=drained) == expected
    edges = [sum(map(len, parts[:at])) for at in range(len(parts) + 1)]
    places = {at for edge in edges for at in range(edge - 30, edge + 60)} | {edge + HOLD for edge in edges}
    for at in sorted(place for place in places if 0 < place < len(data)):
        assert outcome(side, [data[:at], data[at:]], drained=drained) == expected, at
