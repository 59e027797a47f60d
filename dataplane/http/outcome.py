"""What an answer said about itself. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dataplane.dialects.openai_usage import says_something
from dataplane.metering.usage import Status, Tokens


@dataclass(slots=True)
class Said:
    id: str = ""
    model: str = ""
    tokens: Tokens | None = None
    status: Status = "completed"
    unmetered: str = ""
    """Why usage could not be looked for, or read; empty if it could."""

    def take(self, said: Mapping[str, object], read: Callable[[object], Tokens | None]) -> None:
        """Take id, model, usage and error of an answer, or of a part of it. `read`: usage of its shape."""
        self.id = _text(said.get("id")) or self.id
        self.model = _text(said.get("model")) or self.model
        usage = said.get("usage")
        if (tokens := read(usage)) is not None:
            self.tokens, self.unmetered = tokens, ""
        elif self.tokens is None and says_something(usage):
            self.unmetered = "usage_unreadable"
        if said.get("error"):
            self.status = "failed"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
