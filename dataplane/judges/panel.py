"""All who judge, for all requests and sessions of the process."""

from __future__ import annotations

import structlog

from dataplane.guardrails.judge import Answer, Direction, Hit
from dataplane.judges.about import About
from dataplane.snapshot import Snapshot
from dataplane.table import Guardrail

log = structlog.get_logger("tidegate.guardrail")


class Panel:
    def found(self, hits: tuple[Hit, ...], about: About, said: Direction, place: str) -> None:
        """Count and log what was found at a place."""
        for hit in hits:
            log.info("guardrail", guardrail=hit.guardrail.name, rule=hit.rule, place=place, said=said, request=about.id)

    async def ask(
        self, _guardrail: Guardrail, _text: str, _about: About, _said: Direction, _place: str, _snapshot: Snapshot
    ) -> Answer:
        """What is said of the text."""
        return Answer(failed="unreachable")
