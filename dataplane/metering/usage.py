"""The numbers of one turn, and the record that they leave in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import Literal

Status = Literal["completed", "cancelled", "failed", "incomplete", "lost"]
"""How a turn ended; `lost` where the end never came (a peer vanished)."""

Operation = Literal["chat", "realtime_inference", "transcription", "realtime_session_time"]
"""`gen_ai.operation.name`. The realtime one follows open-telemetry/semantic-conventions-genai#394.
The last is ours: a part of a session that is billed by time."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the namespace that authenticated it, its key's name and its team. All empty: anonymous."""

    namespace: str = ""
    key: str = ""
    team: str = ""


ANONYMOUS = Caller()


@dataclass(slots=True, unsafe_hash=True)  # frozen ones take thrice as long to make; nobody changes one
class Tokens:
    """Tokens by direction and modality. Cached ones are a part of the input ones, reasoning of the output ones;
    `unknown` is what the provider reported without saying the modality, so that a direction always sums up to
    the provider's total. `seconds` of audio are billed by their length (whisper-1, xAI), `session_seconds` by
    the clock, `items` by the piece: what clients add to conversations."""

    input_text: int = 0
    input_audio: int = 0
    input_image: int = 0
    input_unknown: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    cached_image: int = 0
    cached_unknown: int = 0
    cache_write: int = 0
    output_text: int = 0
    output_audio: int = 0
    output_image: int = 0
    output_unknown: int = 0
    reasoning: int = 0
    seconds: float = 0.0
    session_seconds: float = 0.0
    items: int = 0

    @property
    def input(self) -> int:
        return self.input_text + self.input_audio + self.input_image + self.input_unknown

    @property
    def output(self) -> int:
        return self.output_text + self.output_audio + self.output_image + self.output_unknown

    @property
    def cached(self) -> int:
        return self.cached_text + self.cached_audio + self.cached_image + self.cached_unknown

    def nonzero(self) -> dict[str, float]:
        """By field name, without what is 0."""
        return {name: amount for name, amount in zip(_FIELDS, _amounts(self), strict=True) if amount}

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(*map(add, _amounts(self), _amounts(other)))


_FIELDS = tuple(part.name for part in fields(Tokens))
_amounts: Callable[[Tokens], tuple[int, ...]] = attrgetter(*_FIELDS)
parts: Callable[[Tokens], tuple[int, ...]] = attrgetter(*_FIELDS[:-3])
"""All that are tokens, in the order of their declaration."""
NO_TOKENS = Tokens()


@dataclass(slots=True, unsafe_hash=True)
class Usage:
    """One finished turn: a chat completion, a realtime response, or the transcription of what a user said."""

    id: str
    """Unique; a receiver that sees it twice may drop one."""
    operation: Operation
    status: Status
    tokens: Tokens | None
    """None: the provider reported nothing (which is not the same as zero)."""
    provider: str
    """Name of the Backend's provider entry."""
    provider_kind: str
    """`openai`, `custom`, …"""
    request_model: str
    """The name that was sent upstream."""
    response_model: str
    """The name that the upstream says it used; empty if it never said."""
    route: str
    backend: str
    caller: Caller = ANONYMOUS
    session: str = ""
    """Id of the realtime session; empty for a single request."""
    response_id: str = ""
    """The provider's id of the turn."""
    estimated: bool = False
    """The provider never said it: `tokens` were estimated from what was seen."""
    public_model: str = ""
    """The name that the client asked for; what `Model.price` is looked up by."""
    by_key: bool = False
    """Do metrics name the caller's key, and not only its team?"""
