from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.dialects.openai import AUDIO
from dataplane.realtime.audio import HEAD, MAX_EVENT_ID, TAIL, plain
from tests.dataplane.realtime.readers import readings

KIND = "input_audio_buffer.append"

HONEST = {
    "openai-python": b'{"type": "input_audio_buffer.append", "audio": "AA+/"}',
    "compact": b'{"type":"input_audio_buffer.append","audio":"AA=="}',
    "event_id first": b'{"event_id":"evt_1","type":"input_audio_buffer.append","audio":"AA=="}',
    "event_id second": b'{"type":"input_audio_buffer.append","event_id":"evt_1","audio":"AA=="}',
    "event_id last": b'{"type": "input_audio_buffer.append", "audio": "AA==", "event_id": "evt_1"}',
    "php": b'{"type":"input_audio_buffer.append","audio":"A\\/A\\/"}',
    "no audio": b'{"type":"input_audio_buffer.append","audio":""}',
    "white space": b' \r\n{\t"type" : "input_audio_buffer.append" ,\n "audio" :  "AA==" } \n',
    "longest id": b'{"event_id":"%s","type":"input_audio_buffer.append","audio":""}' % (b"x" * MAX_EVENT_ID),
}

HOSTILE = {
    "second type": b'{"type":"input_audio_buffer.append","audio":"AA","type":"session.update"}',
    "escaped quote": b'{"type":"input_audio_buffer.append","audio":"AA\\","type":"session.update"}',
    "escaped backslash": b'{"type":"input_audio_buffer.append","audio":"\\\\/"}',
    "unicode escape": b'{"type":"input_audio_buffer.append","audio":"\\u0022"}',
    "trailing escape": b'{"type":"input_audio_buffer.append","audio":"AA\\"}',
    "two ids": b'{"event_id":"a","type":"input_audio_buffer.append","event_id":"b","audio":"AA"}',
    "id at both ends": b'{"event_id":"a","type":"input_audio_buffer.append","audio":"AA","event_id":"b"}',
    "id in the middle and at the end": (
        b'{"type":"input_audio_buffer.append","event_id":"a","audio":"AA","event_id":"b"}'
    ),
    "escape in the id": b'{"event_id":"a\\"","type":"input_audio_buffer.append","audio":"AA"}',
    "id is an object": b'{"event_id":{},"type":"input_audio_buffer.append","audio":"AA"}',
    "id too long": b'{"event_id":"%s","type":"input_audio_buffer.append","audio":""}' % (b"x" * (MAX_EVENT_ID + 1)),
    "another field": b'{"type":"input_audio_buffer.append","audio":"AA","session":{"model":"x"}}',
    "another type": b'{"type":"session.update","audio":"AA"}',
    "type last": b'{"audio":"AA","type":"input_audio_buffer.append"}',
    "escaped name": b'{"\\u0074ype":"input_audio_buffer.append","audio":"AA"}',
    "not ASCII": '{"type":"input_audio_buffer.append","audio":"\u201d"}'.encode(),
    "byte order mark": b'\xef\xbb\xbf{"type":"input_audio_buffer.append","audio":"AA"}',
    "two values": b'{"type":"input_audio_buffer.append","audio":"AA"}{"type":"session.update"}',
    "not closed": b'{"type":"input_audio_buffer.append","audio":"AA"',
    "string not closed": b'{"type":"input_audio_buffer.append","audio":"AA',
    "vertical tab": b'{"type":"input_audio_buffer.append",\x0b"audio":"AA"}',
    "form feed at the end": b'{"type":"input_audio_buffer.append","audio":"AA"}\x0c',
    "tail too long": b'{"type":"input_audio_buffer.append","audio":"AA"%s}' % (b" " * TAIL),
    "nested": b'[{"type":"input_audio_buffer.append","audio":"AA"}]',
    "empty": b"",
}


@pytest.mark.parametrize("message", HONEST.values(), ids=HONEST)
def test_audio_as_real_clients_write_it_is_proven(message: bytes) -> None:
    assert AUDIO.measure(message) >= 0
    assert json.loads(message)["type"] == KIND


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_whatever_else_is_there_is_not_proven(message: bytes) -> None:
    assert AUDIO.measure(message) == -1


TOKENS = st.sampled_from(
    [b"{", b"}", b'"', b":", b",", b"\\", b"\\/", b'\\"', b" ", b"\n", b'"type"', b'"audio"', b'"event_id"', b"AA==",
     b"\x00", b"\xc0\xa2",
     b'"input_audio_buffer.append"', b'"session.update"', b'{"type":"input_audio_buffer.append"', b',"audio":"AA',
     b'"}', b',"event_id":"x"', "\u201d".encode(), b'{"model":"x"}', b'"session"', b"\\u0022"]
)  # fmt: skip


@given(st.lists(TOKENS, max_size=12))
def test_what_is_proven_is_audio_to_every_reader(tokens: list[bytes]) -> None:
    message = b"".join(tokens)
    head = b'{"type":"input_audio_buffer.append","audio":"'
    for each in (message, head + message, head + message + b'"}'):
        if AUDIO.measure(each) >= 0:
            for reading in readings(each):
                assert isinstance(reading, dict)
                assert reading["type"] == KIND
                assert reading.keys() <= {"type", "audio", "event_id"}


HEADS = st.sampled_from(
    [b'{"type":"input_audio_buffer.append","audio":"', b'{"type": "input_audio_buffer.append", "audio": "',
     b'{"event_id":"a","type":"input_audio_buffer.append","audio":"', b'{"type":"input_audio_buffer.append",',
     b'{"type":"input_audio_buffer.append","event_id":"a","audio":"', b'{"event_id": "a", "type": ', b""]
)  # fmt: skip


@given(HEADS, st.lists(TOKENS, max_size=6), st.sampled_from([b"", b'"}', b'"} ', b'","event_id":"b"}']))
def test_what_is_proven_at_a_glance_is_what_is_proven_part_by_part(
    head: bytes, tokens: list[bytes], end: bytes
) -> None:
    message = head + b"".join(tokens) + end
    found = AUDIO.start(message)
    assert (AUDIO.measure(message) >= 0) == (found is not None and AUDIO.ends(message, found[0], has_id=found[1]))


@given(st.binary(max_size=300), st.sampled_from(["", "first", "second", "last"]), st.sampled_from([(",", ":"), None]))
def test_any_audio_is_proven(sound: bytes, where: str, separators: tuple[str, str] | None) -> None:
    event = {"type": KIND, "audio": base64.b64encode(sound).decode()}
    identified = {
        "first": {"event_id": "e", **event},
        "second": {"type": KIND, "event_id": "e", **event},
        "last": {**event, "event_id": "e"},
    }
    message = json.dumps(identified.get(where, event), separators=separators).encode()
    assert AUDIO.measure(message) == len(event["audio"])


def test_heads_and_tails_fit_into_the_bytes_that_are_looked_at() -> None:
    longest = HONEST["longest id"]
    assert AUDIO.start(longest[:HEAD]) == (len(longest) - 2, True)
    assert len(b'", "event_id": ""}') + MAX_EVENT_ID < TAIL
    assert AUDIO.start(b'{"type":"input_audio_buffer.app') is None


@pytest.mark.parametrize(
    ("data", "harmless"),
    [
        (b"", True),
        (b"AZaz09+/=", True),
        (b"\\/\\/", True),
        (b"\\\\/", False),
        (b"\\", False),
        (b'"', False),
        (b"\x80", False),
    ],
)
def test_plain(data: bytes, harmless: bool) -> None:
    assert plain(data) is harmless
