"""Guardrails on a route, and who is asked about texts, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from dataplane.guardrails.judge import Answer, Direction, Hit
from dataplane.judges.about import About
from dataplane.server import Gateway, Limits
from dataplane.snapshot import Snapshot
from dataplane.table import Guardrail, Table
from dataplane.table.guardrails import Keywords, Pii, Webhook
from tests.dataplane.rig import REQUIRED, Rig, running

CARD = "4111 1111 1111 1111"


def guardrail(action: str = "block", *, name: str = "no-secrets", **changes: Any) -> Guardrail:
    """Finds the word `swordfish`, unless `changes` say what else."""
    if not changes.keys() & {"pii", "regex", "webhook"}:
        changes["keywords"] = Keywords(words=("swordfish",))
    return Guardrail.model_validate({"policy": "ai/guard", "name": name, "action": action, **changes})


def cards(action: str = "block", **changes: Any) -> Guardrail:
    return guardrail(action, name="no-cards", pii=Pii(kinds=("card",)), **changes)


def asked(action: str = "block", **changes: Any) -> Guardrail:
    """One that somebody else judges by."""
    return guardrail(action, name="elsewhere", webhook=Webhook(url="http://127.0.0.1:1/"), **changes)


def held(*guardrails: Guardrail) -> Any:
    """The Policies of a route with these."""
    return REQUIRED.model_copy(update={"guardrails": guardrails})


@dataclass
class Bench:
    """Who is asked, and told: answers what a test wants, and remembers."""

    says: Callable[[str], Answer] = lambda _: Answer()
    hits: list[tuple[str, str, Direction]] = field(default_factory=list)
    """Guardrail, rule and direction of each."""
    places: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """That were asked about."""
    abouts: list[About] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)
    """Guardrail and reason of each text that it never saw."""

    def found(self, hits: tuple[Hit, ...], about: About, said: Direction, place: str) -> None:
        self.hits += [(hit.guardrail.name, hit.rule, said) for hit in hits]
        self.places.append(place)
        self.abouts.append(about)

    def failed(self, guardrail: Guardrail, reason: str, message: str) -> None:
        self.missed.append((guardrail.name, reason))

    async def ask(
        self, guardrail: Guardrail, text: str, about: About, said: Direction, place: str, snapshot: Snapshot
    ) -> Answer:
        self.texts.append(text)
        self.abouts.append(about)
        return self.says(text)


@asynccontextmanager
async def guarded(
    served: Table,
    says: Callable[[str], Answer] = lambda _: Answer(),
    limits: Limits | None = None,
    secrets: dict[str, str] | None = None,
) -> AsyncIterator[tuple[Rig, Bench]]:
    """A gateway whose judges are of the test's making."""
    bench = Bench(says)
    async with running(served, limits, secrets) as rig:
        judged_by(rig.gateway, bench)
        yield rig, bench


def judged_by(gateway: Gateway, bench: Bench) -> None:
    running = gateway._running
    assert running is not None
    running.services = replace(running.services, judges=bench)
    if gateway._dialogues is not None:
        gateway._dialogues._services = running.services
