"""Token usage as OpenAI and its many imitators report it, read into `Tokens`.

Three shapes: `usage` of a chat completion, of a realtime response, and of an input transcription. Types follow
openai-python 3.52; imitators leave fields out, send null, or contradict themselves, so nothing here raises and
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
from typing import NamedTuple

from dataplane.metering.usage import Tokens

MAX_COUNT = 10**12
"""No turn has more tokens, or seconds; sums of such numbers stay exact in the floats of a metric."""

Json = Mapping[object, object]
NOTHING: Json = {}


class Split(NamedTuple):
    """A direction's tokens by modality."""

    text: int = 0
    audio: int = 0
    image: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        return sum(self)


def chat_usage(usage: object) -> Tokens | None:
    """`usage` of a chat completion, or of the last chunk of a streamed one.

    Source: https://platform.openai.com/docs/api-reference/chat/object"""
    return _read(usage, "prompt_tokens", "completion_tokens", details="_tokens_details")


def response_usage(usage: object) -> Tokens | None:
    """`response.usage` of a realtime `response.done`.

    Source: https://platform.openai.com/docs/api-reference/realtime-server-events/response/done"""
    return _read(usage, "input_tokens", "output_tokens", details="_token_details")


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


def _read(usage: object, input_name: str, output_name: str, *, details: str) -> Tokens | None:
    fields = _object(usage)
    input_details = _object(fields.get(input_name.removesuffix("_tokens") + details))
    output_details = _object(fields.get(output_name.removesuffix("_tokens") + details))
    given = _split(fields.get(input_name), input_details)
    answered = _split(fields.get(output_name), output_details)
    if given is None and answered is None:
        return None
    given, answered = given or Split(), answered or Split()
    cached = _cached(given, input_details)
    return Tokens(
        input_text=given.text,
        input_audio=given.audio,
        input_image=given.image,
        input_unknown=given.unknown,
        cached_text=cached.text,
        cached_audio=cached.audio,
        cached_image=cached.image,
        cached_unknown=cached.unknown,
        cache_write=min(_count(input_details.get("cache_write_tokens")) or 0, given.total - cached.total),
        output_text=answered.text,
        output_audio=answered.audio,
        output_image=answered.image,
        output_unknown=answered.unknown,
        reasoning=min(_count(output_details.get("reasoning_tokens")) or 0, answered.total),
    )


def _split(total: object, details: Json) -> Split | None:
    """None where neither the total nor a modality is a count."""
    parts = [_count(details.get(name)) for name in ("text_tokens", "audio_tokens", "image_tokens")]
    whole = _count(total)
    if whole is None and all(part is None for part in parts):
        return None
    text, audio, image = (part or 0 for part in parts)
    broken_down = text + audio + image
    if whole is None:
        return Split(text, audio, image)
    if broken_down > whole:
        return Split(unknown=whole)
    return Split(text, audio, image, whole - broken_down)


def _cached(given: Split, details: Json) -> Split:
    """The cached part of `given`, never more of a modality than there is."""
    reported = _split(details.get("cached_tokens"), _object(details.get("cached_tokens_details"))) or Split()
    total = min(reported.total, given.total)
    text = min(reported.text, given.text)
    audio = min(reported.audio, given.audio)
    image = min(reported.image, given.image)
    return Split(text, audio, image, max(0, total - text - audio - image))


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else NOTHING


def _count(value: object) -> int | None:
    """A number of tokens, or None for anything that is not one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= MAX_COUNT else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MAX_COUNT else None
