"""How many tokens something is, and how a provider reports it.

Deterministic, so that a test can count by hand: one token per four characters; audio as the vendor counts it,
one token per 100 ms heard and per 50 ms spoken.
"""

from dataclasses import dataclass

from simulator.scenarios import Options
from simulator.shapes import Json

_CHARACTERS_PER_TOKEN = 4
_MS_PER_TOKEN_HEARD = 100
_MS_PER_TOKEN_SPOKEN = 50


@dataclass(frozen=True)
class Tokens:
    """Tokens by modality."""

    text: int = 0
    audio: int = 0
    image: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.text + other.text, self.audio + other.audio, self.image + other.image)

    @property
    def total(self) -> int:
        """All of them."""
        return self.text + self.audio + self.image

    def details(self) -> Json:
        """As usage objects write them."""
        return {"text_tokens": self.text, "audio_tokens": self.audio, "image_tokens": self.image}


def of_text(text: str) -> Tokens:
    """One per four characters, at least one unless there is no text."""
    return Tokens(text=-(-len(text) // _CHARACTERS_PER_TOKEN))


def of_audio_heard(ms: float) -> Tokens:
    """Audio of the user, `ms` long; at least one."""
    return Tokens(audio=max(1, int(ms) // _MS_PER_TOKEN_HEARD))


def of_audio_spoken(ms: float) -> Tokens:
    """Audio of the model, `ms` long."""
    return Tokens(audio=-(-int(ms) // _MS_PER_TOKEN_SPOKEN))


def of_image(url: str) -> Tokens:
    """A base price, and a little for its size."""
    return Tokens(image=85 + len(url) // 1024)


def realtime(into: Tokens, cached: Tokens, out: Tokens) -> Json:
    """`response.done.response.usage`; `cached` is a part of `into`."""
    return {
        "total_tokens": into.total + out.total,
        "input_tokens": into.total,
        "output_tokens": out.total,
        "input_token_details": {
            **into.details(),
            "cached_tokens": cached.total,
            "cached_tokens_details": cached.details(),
        },
        "output_token_details": {"text_tokens": out.text, "audio_tokens": out.audio},
    }


def chat(into: Tokens, cached: int, written: int, out: int, reasoning: int) -> Json:
    """`usage` of a chat completion; `reasoning` is a part of `out`, `written` (to the cache) of `into`."""
    return {
        "prompt_tokens": into.total,
        "completion_tokens": out,
        "total_tokens": into.total + out,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, **into.details()},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "text_tokens": out,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def transcription(model: str, ms: float, transcript: str) -> Json:
    """Usage of an input transcription: whisper-1 is billed by time, its successors by tokens."""
    if model.startswith("whisper"):
        return {"type": "duration", "seconds": round(ms / 1000, 3)}
    heard, written = of_audio_heard(ms), of_text(transcript)
    return {
        "type": "tokens",
        "total_tokens": heard.total + written.total,
        "input_tokens": heard.total,
        "output_tokens": written.total,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard.audio},
    }


_ODD: Json = {
    "total_tokens": "12",
    "input_tokens": None,
    "output_tokens": "3",
    "input_token_details": [],
    "output_token_details": {"text_tokens": True, "audio_tokens": "0"},
    "prompt_tokens": "1.5",
    "completion_tokens": {},
}


def attach(target: Json, usage: Json, options: Options) -> Json | None:
    """Put usage into what will be sent, as the scenario has it, and return what was put (None: nothing)."""
    if "no-usage" in options:
        target.pop("usage", None)
        return None
    sent = _altered(usage, options)
    target["usage"] = sent
    return sent


def _altered(usage: Json, options: Options) -> Json | None:
    if "null-usage" in options:
        return None
    if "empty-usage" in options:
        return {}
    if "odd-usage" in options:
        return _ODD
    if "total-only" in options:
        return {"total_tokens": usage["total_tokens"]}
    if "no-details" in options:
        return {name: value for name, value in usage.items() if not name.endswith("_details")}
    return _zeroed(usage) if "zero-usage" in options else usage


def _zeroed(usage: Json) -> Json:
    return {name: _zeroed(value) if isinstance(value, dict) else 0 for name, value in usage.items()}
