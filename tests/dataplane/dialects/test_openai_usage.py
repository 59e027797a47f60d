"""Usage is read exactly where it is consistent, and never wrongly where it is not."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.dialects.openai_usage import MAX_COUNT, chat_usage, response_usage, says_something, transcription_usage
from dataplane.metering.usage import Tokens

READERS = (chat_usage, response_usage, transcription_usage)


def test_a_realtime_response_with_every_detail() -> None:
    usage = {
        "total_tokens": 1500,
        "input_tokens": 1000,
        "output_tokens": 500,
        "input_token_details": {
            "text_tokens": 150,
            "audio_tokens": 800,
            "image_tokens": 50,
            "cached_tokens": 300,
            "cached_tokens_details": {"text_tokens": 40, "audio_tokens": 250, "image_tokens": 10},
        },
        "output_token_details": {"text_tokens": 100, "audio_tokens": 400},
    }
    assert response_usage(usage) == Tokens(
        input_text=150,
        input_audio=800,
        input_image=50,
        cached_text=40,
        cached_audio=250,
        cached_image=10,
        output_text=100,
        output_audio=400,
    )


def test_a_chat_completion_with_every_detail() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 60,
        "total_tokens": 160,
        "prompt_tokens_details": {
            "cached_tokens": 30,
            "cache_write_tokens": 20,
            "audio_tokens": 10,
            "image_tokens": 5,
            "text_tokens": 85,
        },
        "completion_tokens_details": {
            "reasoning_tokens": 40,
            "audio_tokens": 8,
            "text_tokens": 52,
            "accepted_prediction_tokens": 3,
            "rejected_prediction_tokens": 1,
        },
    }
    assert chat_usage(usage) == Tokens(
        input_text=85,
        input_audio=10,
        input_image=5,
        cached_unknown=30,
        cache_write=20,
        output_text=52,
        output_audio=8,
        reasoning=40,
    )


def test_what_is_not_broken_down_is_unknown() -> None:
    assert chat_usage({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None}) == Tokens(
        input_unknown=10, output_unknown=5
    )
    some = {"input_tokens": 10, "input_token_details": {"audio_tokens": 4}, "output_tokens": 0}
    assert response_usage(some) == Tokens(input_audio=4, input_unknown=6)


def test_transcriptions_are_billed_by_token_or_by_second() -> None:
    by_token = {
        "type": "tokens",
        "input_tokens": 16,
        "output_tokens": 8,
        "total_tokens": 24,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 16},
    }
    assert transcription_usage(by_token) == Tokens(input_audio=16, output_unknown=8)
    assert transcription_usage({"type": "duration", "seconds": 1.63}) == Tokens(seconds=1.63)


@pytest.mark.parametrize("nothing", [None, {}, [], 7, "usage", True, {"input_tokens": None}, {"total_tokens": 3}])
def test_nothing_reported_is_not_zero(nothing: object) -> None:
    for read in READERS:
        assert read(nothing) is None


@pytest.mark.parametrize("nothing", [None, {}, [], "", {"input_tokens": None, "input_token_details": {}}])
def test_a_report_of_nothing_says_nothing(nothing: object) -> None:
    assert not says_something(nothing)


@pytest.mark.parametrize(
    "something", [{"total_tokens": 3}, {"input_tokens": "3"}, {"total_tokens": 0}, 7, "usage", [3]]
)
def test_a_report_that_cannot_be_read_says_something(something: object) -> None:
    assert says_something(something)


def test_zero_reported_is_zero() -> None:
    assert response_usage({"input_tokens": 0, "output_tokens": 0}) == Tokens()
    assert chat_usage({"prompt_tokens": 0, "completion_tokens": 0}) == Tokens()


@pytest.mark.parametrize("bad", [-1, True, "12", float("nan"), float("inf"), 1e300, 10**30, [3], {}, None, 1.5])
def test_what_is_no_count_is_as_if_absent(bad: object) -> None:
    assert response_usage({"input_tokens": bad, "output_tokens": 7}) == Tokens(output_unknown=7)
    details = {"text_tokens": bad, "audio_tokens": 2, "cached_tokens": bad}
    assert response_usage({"input_tokens": 5, "input_token_details": details}) == Tokens(input_audio=2, input_unknown=3)
    assert transcription_usage({"seconds": bad if bad != 1.5 else "1.5", "output_tokens": 1}) == Tokens(
        output_unknown=1
    )


def test_a_missing_total_is_the_sum_of_its_details() -> None:
    usage = {"input_token_details": {"text_tokens": 3, "audio_tokens": 4, "cached_tokens": 2}}
    assert response_usage(usage) == Tokens(input_text=3, input_audio=4, cached_unknown=2)


def test_the_total_rules_over_details_that_exceed_it() -> None:
    usage = {
        "input_tokens": 10,
        "input_token_details": {"text_tokens": 8, "audio_tokens": 8, "cached_tokens": 99},
        "output_tokens": 4,
        "output_token_details": {"text_tokens": 5},
    }
    assert response_usage(usage) == Tokens(input_unknown=10, cached_unknown=10, output_unknown=4)


def test_cached_tokens_of_a_modality_never_exceed_it() -> None:
    details = {
        "text_tokens": 6,
        "audio_tokens": 4,
        "cached_tokens": 8,
        "cached_tokens_details": {"text_tokens": 1, "audio_tokens": 7},
    }
    assert response_usage({"input_tokens": 10, "input_token_details": details}) == Tokens(
        input_text=6, input_audio=4, cached_text=1, cached_audio=4, cached_unknown=3
    )


counts = st.integers(0, 10**6)


@st.composite
def consistent(draw: st.DrawFn) -> tuple[dict[str, object], Tokens]:
    """A realtime usage whose details sum up, and what it says."""
    text, audio, image, output_text, output_audio = (draw(counts) for _ in range(5))
    cached = [draw(st.integers(0, part)) for part in (text, audio, image)]
    usage: dict[str, object] = {
        "input_tokens": text + audio + image,
        "output_tokens": output_text + output_audio,
        "input_token_details": {
            "text_tokens": text,
            "audio_tokens": audio,
            "image_tokens": image,
            "cached_tokens": sum(cached),
            "cached_tokens_details": dict(zip(("text_tokens", "audio_tokens", "image_tokens"), cached, strict=True)),
        },
        "output_token_details": {"text_tokens": output_text, "audio_tokens": output_audio},
    }
    said = Tokens(
        input_text=text,
        input_audio=audio,
        input_image=image,
        cached_text=cached[0],
        cached_audio=cached[1],
        cached_image=cached[2],
        output_text=output_text,
        output_audio=output_audio,
    )
    return usage, said


@settings(deadline=None)
@given(consistent())
def test_consistent_usage_is_read_to_the_token(case: tuple[dict[str, object], Tokens]) -> None:
    usage, said = case
    assert response_usage(usage) == said


def as_floats(usage: object) -> object:
    """The same numbers, as a server in JavaScript may write them."""
    if isinstance(usage, dict):
        return {name: as_floats(value) for name, value in usage.items()}
    return float(usage) if type(usage) is int else usage


KEYS = st.sampled_from(
    [
        "input_tokens",
        "output_tokens",
        "prompt_tokens",
        "completion_tokens",
        "text_tokens",
        "audio_tokens",
        "image_tokens",
        "cached_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "seconds",
        "input_token_details",
        "output_token_details",
        "prompt_tokens_details",
        "completion_tokens_details",
        "cached_tokens_details",
    ]
)
leaves = st.none() | st.booleans() | st.integers() | st.integers(0, 50) | st.floats() | st.text(max_size=3)
anything = st.recursive(leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner), max_leaves=30)


@settings(deadline=None)
@given(st.dictionaries(KEYS, anything) | anything)
def test_anything_is_read_without_harm(usage: object) -> None:
    for read in READERS:
        tokens = read(usage)
        if tokens is None:
            continue
        assert all(0 <= amount <= 3 * MAX_COUNT for amount in astuple(tokens))
        assert tokens.cached_text <= tokens.input_text
        assert tokens.cached_audio <= tokens.input_audio
        assert tokens.cached_image <= tokens.input_image
        assert tokens.cached + tokens.cache_write <= tokens.input
        assert tokens.reasoning <= tokens.output


COUNTED = st.recursive(st.integers(0, 50), lambda inner: st.dictionaries(KEYS, inner), max_leaves=30)


@settings(deadline=None)
@given(COUNTED)
def test_counts_are_read_alike_however_they_are_written(usage: object) -> None:
    for read in READERS:
        assert read(usage) == read(as_floats(usage))


@settings(deadline=None)
@given(counts, counts, st.dictionaries(KEYS, anything), st.dictionaries(KEYS, anything))
def test_the_provider_s_totals_are_kept_whatever_the_details_say(
    given_tokens: int, answered: int, input_details: object, output_details: object
) -> None:
    realtime = response_usage(
        {
            "input_tokens": given_tokens,
            "output_tokens": answered,
            "input_token_details": input_details,
            "output_token_details": output_details,
        }
    )
    chat = chat_usage(
        {
            "prompt_tokens": given_tokens,
            "completion_tokens": answered,
            "prompt_tokens_details": input_details,
            "completion_tokens_details": output_details,
        }
    )
    for tokens in (realtime, chat):
        assert tokens is not None
        assert (tokens.input, tokens.output) == (given_tokens, answered)
