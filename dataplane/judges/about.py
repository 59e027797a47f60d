"""What a text is part of that guardrails judge."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from dataplane.guardrails.judge import Answer, Direction, Hit
from dataplane.metering.usage import Caller
from dataplane.snapshot import Snapshot
from dataplane.table import Guardrail


class About(NamedTuple):
    """For logs, metrics, and whoever is asked; nothing of the text."""

    id: str
    """Of the request, or of the session."""
    route: str
    backend: str
    caller: Caller
    model: str
    """The name that the client knows."""
    realtime: bool = False


class Judges(Protocol):
    """All of this process; see `dataplane.judges.panel.Panel`."""

    def found(self, hits: tuple[Hit, ...], about: About, said: Direction, place: str) -> None:
        """Count and log what was found at a place."""

    def failed(self, guardrail: Guardrail, reason: str, message: str) -> None:
        """Count a text, or speech, that the guardrail was to judge and never saw, and log why, now and then. `reason`:
        see the metric `tidegate.guardrail.failures`."""

    async def ask(
        self, guardrail: Guardrail, text: str, about: About, said: Direction, place: str, snapshot: Snapshot
    ) -> Answer:
        """Ask the webhook or the moderation about a whole text. Raises nothing: a failure is an answer, and counted.
        `snapshot` has its credential and its addresses."""
        ...
