"""What guardrails in files say of a text, without a gateway: `tidegate guard`."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from controller.compile.judges import Judged, Place, judged
from controller.compile.objects import Identity, read
from dataplane.guardrails.judge import Answer, Direction, Guard, Hit, Judge, answered, ready, why
from dataplane.table import Guardrail
from tidegate.documents import Document, Documents
from tidegate.exits import Exit, Stop
from tidegate.validate import located

Ask = Callable[[Guardrail, str], Awaitable[Answer]]
"""Asks a webhook or a moderation about a whole text."""


@dataclass(slots=True)
class Found:
    """The guardrails of some files."""

    guards: list[Guard] = field(default_factory=list)
    secrets: dict[str, SecretStr] = field(default_factory=dict, repr=False)
    """Those that they need, by id."""
    problems: list[str] = field(default_factory=list)
    """What is said of those that cannot be tried: Services, and Secrets that are not in the files."""
    untried: list[str] = field(default_factory=list)
    """Their names."""
    closed: bool = False
    """Would nothing pass without them?"""

    def add(self, guardrails: Sequence[Guardrail], known: Judged, places: Sequence[Document]) -> None:
        """A Policy's guardrails, what is known of them, and where it is written."""
        self.guards += map(ready, known.guardrails)
        self.secrets |= {each.id: each.value for each in known.credentials}
        self.problems += [line for _, message in known.problems for line in located(message, places)]
        tried = {each.name for each in known.guardrails}
        self.untried += [_named(each) for each in guardrails if each.name not in tried]
        self.closed = self.closed or bool(known.closed)


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one text."""

    shown: str | None
    """With masks, where there are some."""
    blocked: Hit | None
    hits: Sequence[Hit]
    unjudged: Mapping[str, str]
    """Why somebody did not judge, by the guardrail."""

    def lines(self) -> Iterator[str]:
        """For people, and for what reads the first line."""
        if self.blocked:
            yield f"blocked  {why(self.blocked)}"
        elif self.shown is not None:
            yield f"masked   {' '.join(self.shown.splitlines())}"
        else:
            yield "passes"
        for hit in self.hits:
            if _named(hit.guardrail) in self.unjudged:
                continue
            times = f" ({hit.findings} times)" if hit.findings > 1 else ""
            shadow = ", in the shadow" if hit.shadow else ""
            yield f"  {_named(hit.guardrail)}: {hit.rule}{times}: {hit.action}{shadow}"
        yield from (f"  {name}: not judged: {reason}" for name, reason in self.unjudged.items())


def load(paths: Iterable[Path], documents: Documents | None = None) -> Found:
    """The guardrails of all Policies in these files. Raises Stop where the files, or a Policy, cannot be used.

    A variable that is not set is empty: most Secrets are a provider's, and nothing here needs them."""
    unset = Unset(os.environ)
    loaded = (documents or Documents(unset)).load(paths)
    places: dict[Identity, list[Document]] = defaultdict(list)
    for document in loaded.documents:
        places[document.identity].append(document)
    objects = read(loaded.contents)
    policies = objects.policies.values()
    broken = [line for each in policies if each.value is None for line in located(each.error, places[each.identity])]
    if errors := [*loaded.errors, *broken]:
        raise Stop(Exit.FAILED, "\n  ".join(["these files cannot be used:", *errors]))
    found = Found()
    for policy in policies:
        if policy.value and policy.value.guardrails:
            written = policy.value.spec.guardrails or ()
            known = judged(policy.value.guardrails, written, Place(policy.identity, objects, None))
            found.add(policy.value.guardrails, known, places[policy.identity])
    if found.problems and unset.missed:
        found.problems.append(f"Not set, and taken for empty: {', '.join(sorted(unset.missed))}")
    return found


class Unset(dict[str, str]):
    """Variables, of which one that is not set is empty. It knows which were."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.missed: set[str] = set()

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name):
            self.missed.add(str(name))
        return True


class Trial:
    """All guardrails of one direction."""

    def __init__(self, guards: Sequence[Guard], direction: Direction, ask: Ask) -> None:
        self._judge = Judge(guards, direction)
        self._ask = ask

    @property
    def empty(self) -> bool:
        """Is there nothing to be tried?"""
        return not self._judge.local and not self._judge.remote

    async def of(self, text: str) -> Tried:
        """As in a gateway, somebody else is asked about what masks have left; but all are, whoever blocks."""
        verdict = self._judge.whole(text)
        shown, blocked, hits = verdict.text, verdict.blocked, list(verdict.hits)
        unjudged: dict[str, str] = {}
        for guardrail in self._judge.remote:
            answer = await self._ask(guardrail, text if shown is None else shown)
            verdict = answered(guardrail, answer)
            shown = shown if verdict.text is None else verdict.text
            blocked = blocked or verdict.blocked
            hits += verdict.hits
            if answer.failed:
                unjudged[_named(guardrail)] = answer.failed
        return Tried(shown, blocked, hits, unjudged)


def _named(guardrail: Guardrail) -> str:
    return f"{guardrail.policy} {guardrail.name}"
