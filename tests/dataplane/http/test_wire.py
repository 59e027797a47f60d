"""Heads and chunks as bytes."""

from __future__ import annotations

import pytest

from dataplane.http import wire


def test_a_head_ends_with_an_empty_line() -> None:
    assert (
        wire.head("GET / HTTP/1.1", [("host", "a"), ("x", "é")]) == "GET / HTTP/1.1\r\nhost: a\r\nx: é\r\n\r\n".encode()
    )


@pytest.mark.parametrize("bad", ["a\r\nb: c", "a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("where", ["line", "name", "value"])
def test_nothing_can_begin_another_line(bad: str, where: str) -> None:
    parts = {"line": "GET / HTTP/1.1", "name": "x", "value": "y"} | {where: bad}
    with pytest.raises(ValueError, match="line end"):
        wire.head(parts["line"], [(parts["name"], parts["value"])])


def test_a_chunk_says_its_length_in_hexadecimal() -> None:
    assert wire.chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
