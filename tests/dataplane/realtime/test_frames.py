from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.realtime import frames
from dataplane.realtime.frames import BadClose, Close, Head

KEY = b"\x0a\x0b\x0c\x0d"
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70000]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", [None, KEY])
def test_a_frame_is_read_as_it_was_written(size: int, key: bytes | None) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    data = frames.frame(frames.BINARY, payload, key)
    head = frames.parse_head(b"??" + data, 2)
    assert head == Head(0x82, key is not None, len(data) - size, size)
    assert (head.opcode, head.fin) == (frames.BINARY, True)
    body = data[head.size :]
    assert (frames.unmasked(body, KEY) if key else body) == payload


@pytest.mark.parametrize("size", SIZES)
def test_a_head_is_not_guessed_before_it_is_whole(size: int) -> None:
    data = frames.frame(frames.TEXT, bytes(size))
    whole = len(data) - size
    assert [frames.parse_head(data[:cut], 0) for cut in range(whole)] == [None] * whole
    assert frames.parse_head(data[:whole], 0) is not None


def test_a_fragment_is_not_final() -> None:
    head = frames.parse_head(b"\x01\x00", 0)
    assert head is not None
    assert not head.fin


@given(st.binary(max_size=200), st.binary(min_size=4, max_size=4))
def test_a_mask_is_taken_off_as_it_was_put_on(payload: bytes, key: bytes) -> None:
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    assert frames.unmasked(payload, key) == masked
    assert frames.unmasked(masked, key) == payload


def test_frames_are_masked_without_the_c_extension_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.speedups", None)
    assert frames.__spec__ is not None
    plain: ModuleType = importlib.util.module_from_spec(frames.__spec__)
    monkeypatch.setitem(sys.modules, plain.__name__, plain)  # dataclasses look their module up
    assert frames.__spec__.loader is not None
    frames.__spec__.loader.exec_module(plain)
    assert plain.frame(frames.TEXT, b"hello", KEY) == frames.frame(frames.TEXT, b"hello", KEY)
    assert plain.__dict__["_apply_mask"] is not frames.__dict__["_apply_mask"]


@pytest.mark.parametrize("code", [*sorted(frames.LEGAL_CODES), 3000, 3999, 4000, 4999])
def test_legal_close_codes_are_read(code: int) -> None:
    assert frames.parse_close(code.to_bytes(2, "big") + b"why") == Close(code, "why")


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535])
def test_close_codes_that_must_not_be_sent_are_refused(code: int) -> None:
    with pytest.raises(BadClose, match=str(code)) as caught:
        frames.parse_close(code.to_bytes(2, "big"))
    assert caught.value.code == 1002


def test_an_empty_close_is_read_and_written_empty() -> None:
    assert frames.parse_close(b"") == Close(1005, "")
    assert Close().payload() == b""


def test_a_close_of_one_byte_is_refused() -> None:
    with pytest.raises(BadClose) as caught:
        frames.parse_close(b"\x03")
    assert caught.value.code == 1002


def test_a_close_reason_must_be_utf8() -> None:
    with pytest.raises(BadClose) as caught:
        frames.parse_close(b"\x03\xe8\xff")
    assert caught.value.code == 1007


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_close_reason_is_cut_between_characters(reason: str) -> None:
    payload = Close(1000, reason).payload()
    assert len(payload) <= frames.MAX_CONTROL
    told = frames.parse_close(payload).reason
    assert reason.startswith(told)
    assert told == reason or told.endswith(".") or len(reason[: len(told) + 1].encode()) > frames.MAX_REASON


@pytest.mark.parametrize("more", ["It begins anew at", "x" * 23, "x" * 24, "é. And on"])
def test_a_long_close_reason_ends_with_a_whole_sentence(more: str) -> None:
    sentence = "The " + "first " * 15 + "part."
    payload = Close(1008, f"{sentence} {more} {'and so on ' * 20}").payload()
    told = frames.parse_close(payload).reason
    assert told == (f"{sentence} é." if more.startswith("é") else sentence)


def test_a_close_reason_whose_sentence_just_fits_keeps_it() -> None:
    sentence = "x" * (frames.MAX_REASON - 1) + "."
    assert frames.parse_close(Close(1008, f"{sentence} More.").payload()).reason == sentence
