"""`tidegate guard`: guardrails at a prompt, or at the end of a pipe.

What becomes of each text goes to stdout; what went wrong with whoever is asked, to stderr.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import structlog
import typer
from structlog.typing import EventDict, WrappedLogger

from dataplane.guardrails.judge import Answer, Direction
from dataplane.judges.about import About
from dataplane.judges.panel import Panel
from dataplane.metering.usage import ANONYMOUS
from dataplane.process.files import Files
from dataplane.snapshot import EMPTY
from dataplane.table import Guardrail
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.pool import Pool
from tidegate import serving
from tidegate.exits import Exit, Stop
from tidegate.terminal import Lines, prompt
from tidegate.trying import TEXT, Found, Trial, load

ABOUT = About(id="guard", route="", backend="", caller=ANONYMOUS, model="")
"""What whoever is asked is told: there is no request."""


def run(paths: Sequence[Path], texts: Sequence[str], direction: Direction, allow: Sequence[str]) -> Exit:
    """Try all texts. FAILED where one would be blocked. Raises Stop."""
    addresses = AddressPolicy(allow_loopback=True, allow=tuple(serving.networks(allow, "--upstreams-allow")))
    found = load(paths)
    for problem in found.problems:
        typer.secho(problem, err=True, dim=True)
    structlog.configure([_told], logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    return asyncio.run(_try(found, texts, direction, addresses))


async def _try(found: Found, texts: Sequence[str], direction: Direction, addresses: AddressPolicy) -> Exit:
    pool = Pool(addresses, files=Files(), tls=ssl.create_default_context(), rand=random.random)
    snapshot = replace(EMPTY, secrets=found.secrets)
    panel = Panel(pool, Uncounted(), lambda: snapshot, asyncio.get_running_loop().time)

    async def ask(guardrail: Guardrail, text: str) -> Answer:
        return await panel.ask(guardrail, text, ABOUT, direction, TEXT, snapshot)

    trial = Trial(found.guards, direction, ask)
    if trial.empty and not found.closed:
        raise Stop(Exit.FAILED, f"no guardrail in these files judges {direction}.")
    passed = not found.closed
    try:
        async for text in _said(texts):
            tried = await trial.of(text)
            typer.echo("\n".join([*tried.lines(), *(f"  {name}: not tried" for name in found.untried)]))
            passed = passed and tried.blocked is None
    finally:
        await pool.close()
    return Exit.OK if passed else Exit.FAILED


async def _said(texts: Sequence[str]) -> AsyncIterator[str]:
    for text in texts:
        yield text
    if texts:
        return
    lines = Lines()
    prompt("Type a line; Ctrl-D ends.\n")
    prompt("text> ")
    while (line := await lines.next()) is not None:
        yield line.rstrip("\r")
        prompt("text> ")
    prompt("\n")


def _told(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Why somebody did not judge, in a sentence: it is said once of each."""
    return f"{event.get('policy')} {event.get('guardrail')} could not judge: {event.get('error')}"


class Uncounted:
    """Nobody reads metrics here."""

    def guardrail_found(
        self, policy: str, guardrail: str, direction: str, action: str, mode: str, findings: int
    ) -> None: ...

    def guardrail_failed(self, policy: str, guardrail: str, reason: str, outcome: str) -> None: ...

    def guardrail_asked(self, policy: str, guardrail: str, kind: str, seconds: float) -> None: ...
