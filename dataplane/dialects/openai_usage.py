"""Token usage as OpenAI and its many imitators report it, read into `Tokens`.

Four shapes: `usage` of a chat completion, of a response, of a realtime response, and of an input transcription. Types
follow openai-python 3.52; imitators leave fields out, send null, or contradict themselves, so nothing here raises and
nothing comes out negative. The rules:

* The provider's total of a direction rules: its modalities always sum to it, the rest is `unknown`.
* A total that is missing or no count (bool, string, negative, NaN, over `MAX_COUNT`) is the sum of its details.
* Details that exceed the total contradict it, and are all put to `unknown`.
* Cached tokens are capped by the direction's total, and per modality by that modality; what has no modality,
  or too much of one, is `cached_unknown`. Cache writes and reasoning are capped in the same way.
* Where not a single count or duration was reported the answer is None, which is not the same as zero. A total of both
  directions alone is no count: they have different prices. `says_something` tells it from no report at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.metering.usage import Tokens

MAX_COUNT = 10**12
"""No turn has more tokens, or seconds; sums of such numbers stay exact in the floats of a metric."""

Json = Mapping[object, object]
NOTHING: Json = {}


Split = tuple[int, int, int, int]
"""A direction's tokens: text, audio, image, unknown."""
NO_TOKENS: Split = (0, 0, 0, 0)
_CHAT = ("prompt_tokens", "prompt_tokens_details", "completion_tokens", "completion_tokens_details")
_RESPONSES = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")
_REALTIME = ("input_tokens", "input_token_details", "output_tokens", "output_token_details")


def chat_usage(usage: object) -> Tokens | None:
    """`usage` of a chat completion, or of the last chunk of a streamed one.

    Source: https://platform.openai.com/docs/api-reference/chat/object"""
    return _read(usage, *_CHAT)


def responses_usage(usage: object) -> Tokens | None:
    """`usage` of a response of the Responses API.

    Source: https://platform.openai.com/docs/api-reference/responses/object"""
    return _read(usage, *_RESPONSES)


def response_usage(usage: object) -> Tokens | None:
    """`response.usage` of a realtime `response.done`.

    Source: https://platform.openai.com/docs/api-reference/realtime-server-events/response/done"""
    return _read(usage, *_REALTIME)


def transcription_usage(usage: object) -> Tokens | None:
    """`usage` of `conversation.item.input_audio_transcription.completed`: tokens, or seconds of audio.

    Source: https://platform.openai.com/docs/api-reference/realtime-server-events
    (conversation.item.input_audio_transcription.completed)"""
    seconds = _seconds(_object(usage).get("seconds"))
    tokens = response_usage(usage)
    if seconds is None:
        return tokens
    return Tokens(seconds=seconds) + (tokens or Tokens())


def says_something(usage: object) -> bool:
    """Was anything reported, though it may be nothing that can be read?"""
    if isinstance(usage, Mapping):
        return any(value is not None and value != {} for value in usage.values())
    return usage is not None and usage not in ([], "")


def _read(usage: object, input_name: str, input_more: str, output_name: str, output_more: str) -> Tokens | None:
    if not isinstance(usage, dict):
        return None
    input_details, output_details = _object(usage.get(input_more)), _object(usage.get(output_more))
    given = _split(usage.get(input_name), input_details)
    answered = _split(usage.get(output_name), output_details)
    if given is None and answered is None:
        return None
    given, answered = given or NO_TOKENS, answered or NO_TOKENS
    cached = _cached(given, input_details)
    written, reasoning = input_details.get("cache_write_tokens"), output_details.get("reasoning_tokens")
    return Tokens(
        *given,
        *cached,
        min(_count(written) or 0, sum(given) - sum(cached)) if written else 0,
        *answered,
        min(_count(reasoning) or 0, sum(answered)) if reasoning else 0,
    )


def _split(total: object, details: Json) -> Split | None:
    """None where neither the total nor a modality is a count. Most reports are counts that add up."""
    text, audio, image = details.get("text_tokens", 0), details.get("audio_tokens", 0), details.get("image_tokens", 0)
    if type(total) is int and type(text) is int and type(audio) is int and type(image) is int:
        unknown = total - text - audio - image
        if total <= MAX_COUNT and text >= 0 and audio >= 0 and image >= 0 and unknown >= 0:
            return text, audio, image, unknown
    return _mended(
        _count(total), [_count(details.get(name)) for name in ("text_tokens", "audio_tokens", "image_tokens")]
    )


def _mended(whole: int | None, parts: list[int | None]) -> Split | None:
    """The same of a report that does not add up."""
    if whole is None and parts == [None, None, None]:
        return None
    text, audio, image = (part or 0 for part in parts)
    broken_down = text + audio + image
    if whole is None:
        return text, audio, image, 0
    if broken_down > whole:
        return 0, 0, 0, whole
    return text, audio, image, whole - broken_down


def _cached(given: Split, details: Json) -> Split:
    """The cached part of `given`, never more of a modality than there is."""
    total, more = details.get("cached_tokens"), details.get("cached_tokens_details")
    reported = _split(total, _object(more)) if total or more else None
    if reported is None:
        return NO_TOKENS
    text, audio, image = min(reported[0], given[0]), min(reported[1], given[1]), min(reported[2], given[2])
    return text, audio, image, max(0, min(sum(reported), sum(given)) - text - audio - image)


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else NOTHING


def _count(value: object) -> int | None:
    """A number of tokens, or None for anything that is not one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MAX_COUNT else None
