"""Whether anybody can transcribe what users say in realtime sessions, as far as that is known before they speak.

Which model transcribes is said inside the session, and names of models are open: only where a Policy allows none of
those that are known to do it, for OpenAI's own API, is it known that nobody will.
"""

from __future__ import annotations

from typing import Final

from dataplane import table
from dataplane.patterns import matched

KNOWN: Final = (
    "gpt-4o-mini-transcribe",
    "gpt-4o-transcribe",
    "gpt-4o-transcribe-diarize",
    "gpt-live-transcribe",
    "gpt-realtime-whisper",
    "gpt-transcribe",
    "whisper-1",
)
"""Models that transcribe in OpenAI's sessions (its SDK, 3.52.0)."""
_WORDS: Final = ("transcri", "whisper")
"""A name with one of these is taken for such a model, be it a new one."""


def may_transcribe(backend: table.Backend, allow: table.ModelAllow) -> bool:
    """Whether a model that transcribes may be among those that a Policy allows for sessions of the Backend."""
    if any(provider.kind != "openai" for provider in backend.providers):
        return True  # deployments of Azure have any name, and what others are called is not known here
    aliases = [model.name for model in backend.models if any(_transcribes(target.model) for target in model.targets)]
    allowed = any(matched(pattern, name) is not None for pattern in allow.patterns for name in (*KNOWN, *aliases))
    return allowed or any(map(_transcribes, allow.patterns))


def _transcribes(name: str) -> bool:
    return any(word in name for word in _WORDS)
