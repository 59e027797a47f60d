from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.realtime import events
from dataplane.realtime.events import BadEvent

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
EVENTS = st.dictionaries(st.text(), JSON, max_size=4)


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b'{"type":"a","type":"b"}', "appears twice"),
        (b'{"type":"a","\\u0074ype":"b"}', "appears twice"),
        (b'{"a":[{"b":{"x":1,"x":1}}]}', "appears twice"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":-Infinity}', "Infinity"),
        (b'{"a":1e999}', "too large"),
        (b'{"a":-1e999}', "too large"),
        (b'{"a":' + b"9" * 5000 + b"}", "too long"),
        (b'\xef\xbb\xbf{"a":1}', "character 0"),
        (b'{"a":1}{"b":2}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":1}\x00', "not JSON"),
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(payload: bytes, why: str) -> None:
    with pytest.raises(BadEvent, match=why):
        events.parse(payload)


@pytest.mark.parametrize(
    "payload", [b'{"a":"\xff"}', b'{"a":"\xc0\xa2"}', b'{"a":"\xed\xa0\x80"}', '{"a":1}'.encode("utf-16")]
)
def test_what_is_not_utf8_is_told_apart(payload: bytes) -> None:  # fmt: skip
    with pytest.raises(UnicodeDecodeError):
        events.parse(payload)


@given(EVENTS)
def test_what_is_parsed_and_written_again_means_the_same(event: events.Event) -> None:
    written = json.dumps(event).encode()
    assert events.parse(written) == event
    assert events.parse(events.dump(event)) == event
    assert events.read(events.dump(event)) == event or _has_long_integers(event)


def _has_long_integers(value: object) -> bool:
    """orjson reads these as floats."""
    match value:
        case dict():
            return any(map(_has_long_integers, value.values()))
        case list():
            return any(map(_has_long_integers, value))
        case int():
            return not -(1 << 63) <= value < 1 << 64
    return False


@pytest.mark.parametrize("payload", [b'{"a":"\\ud800"}', b'{"\\udfff":1}', b'{"a":123456789012345678901234567890}'])
def test_lone_surrogates_and_long_integers_stay_as_they_came(payload: bytes) -> None:
    assert events.dump(events.parse(payload)) == payload


def test_an_upstreams_lone_surrogate_is_read() -> None:
    assert events.read(b'{"a":"\\ud83d"}') == {"a": "\ud83d"}


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":"\xff"}'])
def test_what_nobody_can_read_is_none(payload: bytes) -> None:
    assert events.read(payload) is None


def test_whatever_depth_is_parsed_is_written_or_refused() -> None:
    why = set()
    for depth in range(800, 1100):
        try:
            event = events.parse(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
            events.dump({**event, "b": event})
        except BadEvent as error:
            why.add(str(error))
    assert why == {"nested too deeply"}


@pytest.mark.parametrize(
    ("part", "counts"), [(b"1,", 1), (b"{},", 2), (b"[],", 2)], ids=["numbers", "objects", "lists"]
)
def test_an_event_of_very_many_parts_is_not_parsed(part: bytes, counts: int) -> None:
    """Its size alone says little: a long string is as large, and costs nothing."""
    many = b'{"x":[' + part * (events.MAX_PARTS // counts - 2) + b"1]}"
    assert len(events.parse(many)) == 1
    with pytest.raises(events.BadEvent, match="commas and brackets"):
        events.parse(many.replace(b"[", b"[" + part * 3, 1))
    assert len(events.parse(b'{"x":"' + b"A" * len(many) + b'"}')) == 1
