"""What guardrails in files say of a text, without a gateway: `tidegate guard`."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from controller.compile.judges import Judged, Place, judged
from controller.compile.objects import Identity, read
from dataplane.guardrails import texts
from dataplane.guardrails.judge import Answer, Direction, Guard, Hit, Judge, Verdict, answered, ready, why
from dataplane.guardrails.texts import Unclear
from dataplane.table import Guardrail
from tidegate.documents import Document, Documents
from tidegate.exits import Exit, Stop
from tidegate.validate import located

Ask = Callable[[Guardrail, str], Awaitable[Answer]]
"""Asks a webhook or a moderation about a whole text."""
TEXT = "text"
"""What the place is called."""
UNREADABLE = "unreadable"


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
            yield f"  {_named(hit.guardrail)}: {hit.rule}{times}: {hit.action}{_when(hit)}"
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
        self._direction = direction
        self._ask = ask
        held = [*[guard.rule for guard in self._judge.local], *self._judge.remote]
        self._enforcing = next((rule for rule in held if rule.enforces), None)

    @property
    def empty(self) -> bool:
        """Is there nothing to be tried?"""
        return not self._judge.local and not self._judge.remote

    async def of(self, text: str) -> Tried:
        """As in a gateway, what is in JSON is judged too, and somebody else is asked about what masks have left; but
        all are, whoever blocks."""
        trying = _Trying(text, self._direction)
        try:
            for place in trying.places():
                trying.note(place, self._judge.whole(place.text))
            for guardrail in self._judge.remote:
                await self._elsewhere(guardrail, trying)
        except Unclear as error:
            trying.unjudged["all"] = str(error)
            if self._enforcing is not None:
                trying.blocked = Hit(self._enforcing, UNREADABLE, "block", shadow=False)
        return trying.done()

    async def _elsewhere(self, guardrail: Guardrail, trying: _Trying) -> None:
        for place in trying.places():
            if place.text.strip():
                answer = await self._ask(guardrail, place.text)
                trying.note(place, answered(guardrail, answer))
                if answer.failed:
                    trying.unjudged[_named(guardrail)] = answer.failed


class _Trying:
    """One text, and what is said of it so far."""

    def __init__(self, text: str, direction: Direction) -> None:
        self._text = self._shown = text
        self._direction = direction
        self.blocked: Hit | None = None
        self.unjudged: dict[str, str] = {}
        self._hits: dict[tuple[str, str], Hit] = {}
        self._inside: Counter[tuple[str, str]] = Counter()
        """Findings in JSON, which may be seen in the text once more."""

    def places(self) -> Iterator[texts.Place]:
        """What is in it, if it is JSON, and then the text itself."""

        def put(text: str) -> None:
            self._shown = text

        return texts.within(self._shown, TEXT, put, self._direction)

    def note(self, place: texts.Place, verdict: Verdict) -> None:
        self.blocked = self.blocked or verdict.blocked
        for hit in verdict.hits:
            key = _named(hit.guardrail), hit.rule
            if place.name != TEXT:
                self._inside[key] += hit.findings
            self._hits[key] = hit._replace(findings=max(hit.findings, self._inside[key]))
        if verdict.text is not None:
            place.put(verdict.text)

    def done(self) -> Tried:
        shown = None if self._shown == self._text else self._shown
        return Tried(shown, self.blocked, list(self._hits.values()), self.unjudged)


def _when(hit: Hit) -> str:
    """Not always, and not for everybody."""
    shadow = ", in the shadow" if hit.shadow else ""
    some = ", for some callers" if hit.guardrail.subjects else ""
    return f"{shadow}{some}{', if asked for' if hit.guardrail.optional else ''}"


def _named(guardrail: Guardrail) -> str:
    return f"{guardrail.policy} {guardrail.name}"
