"""Events of a stream, however it is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.http import sse

line_end = st.sampled_from([b"\n", b"\r\n", b"\r"])
line = st.one_of(
    st.text("ab: {}", max_size=6).map(lambda text: b"data: " + text.encode()),
    st.sampled_from([b": comment", b"event: x", b"data", b"id:1"]),
)


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Events, each in one style of line ends, so that where it ends is beyond doubt."""
    events = []
    for _ in range(draw(st.integers(0, 5))):
        end = draw(line_end)
        lines = draw(st.lists(line, min_size=1, max_size=4))
        events.append(end.join(lines) + end + end)
    return events


@given(streams(), st.randoms(use_true_random=False), st.booleans())
def test_any_cut_gives_the_same_bytes_and_data(events: list[bytes], chance: object, byte_by_byte: bool) -> None:
    stream = b"".join(events)
    cuts = sorted({chance.randint(0, len(stream)) for _ in range(4)})  # type: ignore[attr-defined]
    places = list(range(len(stream) + 1)) if byte_by_byte else [0, *cuts, len(stream)]
    scanner = sse.Scanner(1000)
    found = []
    for start, end in pairwise(places):
        found += scanner.feed(stream[start:end])
    found += scanner.end()
    assert b"".join(found) == stream
    wanted = [sse.data(event) for event in events if sse.data(event)]
    assert [sse.data(event) for event in found if sse.data(event)] == wanted


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\r\ndata: b\r\n\r\n", b"a\nb"),
        (b": c\nevent: x\ndata:  a\n\n", b" a"),
        (b"data\n\n", b""),
        (b"\ndata: a\n\n", b"a"),
        (b"datax: a\n\n", b""),
        (b"data: a", b"a"),
    ],
)
def test_data(event: bytes, data: bytes) -> None:
    assert sse.data(event) == data


def test_events_come_out_as_soon_as_they_are_whole() -> None:
    scanner = sse.Scanner(1000)
    assert scanner.feed(b"data: a\n") == []
    assert scanner.feed(b"\ndata: b\n\ndata: c") == [b"data: a\n\n", b"data: b\n\n"]
    assert scanner.end() == [b"data: c"]
    assert scanner.end() == []


def test_what_is_held_is_bounded() -> None:
    scanner = sse.Scanner(10)
    assert scanner.feed(b"data: 1234") == []
    assert scanner.feed(b"5") == [b"data: 12345"]
    assert scanner.feed(b"6\n\n") == [b"6\n\n"]


@given(st.lists(st.sampled_from([b"\n", b"\r", b"data: a", b"data: a\n\n"]), max_size=6))
def test_what_is_plainly_whole_leaves_nothing_behind(pieces: list[bytes]) -> None:
    scanner = sse.Scanner(1000)
    for piece in pieces:
        whole = scanner.whole(piece)
        found = scanner.feed(piece)
        assert not whole or (b"".join(found) == piece and all(each.endswith(b"\n\n") for each in found))
