"""The arithmetic of estimates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.metering.estimate import (
    MAX_CONTEXT,
    MAX_SPEECH,
    Conversation,
    Mark,
    answer,
    seconds_of,
    transcription,
)
from dataplane.metering.usage import Tokens


def test_audio_is_as_long_as_its_bytes_are_many() -> None:
    assert seconds_of(64_000, 48_000) == 1.0
    assert seconds_of(64_000, 8_000) == 6.0


def test_a_model_says_twenty_tokens_a_second_and_writes_one_a_delta() -> None:
    assert answer(1.63, 7) == Tokens(output_audio=33, output_text=7)
    assert answer(0.0, 0) == Tokens()


def test_whisper_is_billed_by_time_and_others_by_tokens() -> None:
    assert transcription("whisper-1", 1.6304, 5) == Tokens(seconds=1.63)
    assert transcription("gpt-4o-mini-transcribe", 1.63, 5) == Tokens(input_audio=16, output_text=5)
    assert transcription("gpt-realtime-whisper", 1e9, 0) == Tokens(seconds=MAX_SPEECH)


def test_a_turn_reads_what_was_said_since_the_last_one_and_what_that_one_read_and_said() -> None:
    conversation = Conversation()
    conversation.instruct(41)
    conversation.hear(1.63)
    conversation.read(10)
    first = conversation.mark
    assert conversation.input() == Tokens(input_text=11 + 3, input_audio=16)
    conversation.hear(1.0)  # while the turn is under way: it does not read that, the next one does
    turn = Tokens(input_text=20, input_audio=16, input_image=3, input_unknown=1, cached_text=9, output_text=5)
    conversation.settle(first, turn + Tokens(output_audio=30, output_image=1, output_unknown=2, seconds=9))
    assert conversation.input() == Tokens(input_text=25, input_audio=46 + 10, input_image=4, input_unknown=3)


def test_instructions_are_known_until_a_turn_has_said_what_it_read() -> None:
    conversation = Conversation()
    conversation.instruct(40)
    conversation.instruct(80)
    assert conversation.input() == Tokens(input_text=20)
    conversation.settle(Mark(), Tokens())
    conversation.instruct(400)
    assert conversation.input() == Tokens()


def test_a_turn_that_ends_late_takes_nothing_back() -> None:
    conversation = Conversation()
    early = conversation.mark
    conversation.hear(10.0)
    conversation.settle(conversation.mark, Tokens(input_audio=100))
    conversation.settle(early, Tokens(input_text=7))
    assert conversation.input() == Tokens(input_text=7)


@given(st.lists(st.floats(0, 1e300) | st.integers(0, 10**15)))
def test_whatever_is_said_to_have_been_said_an_estimate_is_bounded(said: list[float]) -> None:
    conversation = Conversation()
    conversation.settle(Mark(), Tokens(input_text=100))
    for much in said:
        if isinstance(much, int):
            conversation.read(much)
        else:
            conversation.hear(much)
    assert 100 <= conversation.input().input <= MAX_CONTEXT


def test_a_reported_conversation_may_be_longer_than_any_that_is_estimated() -> None:
    conversation = Conversation()
    conversation.settle(Mark(), Tokens(input_text=MAX_CONTEXT * 2))
    conversation.read(100)
    assert conversation.input() == Tokens(input_text=MAX_CONTEXT * 2)
