"""Guardrails of one request: its texts are judged, here and by those who are asked.

What is judged once is known: a text that is said again, as streams do at their ends, is neither judged, asked about nor
told again. Long texts are judged in threads, so that the loop goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from dataplane.errors import Refusal
from dataplane.exchange import Exchange
from dataplane.guardrails.judge import TOO_LARGE, Direction, Guard, Hit, Judge, Verdict, answered, why
from dataplane.guardrails.texts import Place, Unclear
from dataplane.http import paths
from dataplane.judges.about import About
from dataplane.routing import leads_around
from dataplane.services import Services
from dataplane.table import Guardrail

BLOCKED: Final = "guardrail_blocked"
"""The code of what a guardrail refuses."""
MOST: Final = 4 * 1024 * 1024
"""Characters that are judged of a request, and of its answer; one with more is too large for what enforces."""
_TEXTS: Final = 1000
"""Texts of a message that somebody else is asked about; one with more is too large."""
_AT_A_TIME: Final = 16
"""Questions about one message."""
_SLICE: Final = 8 * 1024
"""Characters that are judged on the loop before others have their turn; a text of more is judged in a thread. It is
some 20 ms of what is hardest to judge."""

T = TypeVar("T")
Places = Callable[[], Iterator[Place]]
"""Where the texts of a message are, from the first on each time that it is asked."""


class Blocked(Refusal):
    """What a guardrail does not let pass."""

    def __init__(self, hit: Hit, message: str = "") -> None:
        super().__init__(BLOCKED, message or why(hit))
        self.hit = hit


class Jury:
    """All guardrails that hold for a request."""

    def __init__(self, services: Services, exchange: Exchange, guards: Sequence[Guard], model: str) -> None:
        """`model`: the name that the client knows."""
        self.judges: dict[Direction, Judge] = {"input": Judge(guards, "input"), "output": Judge(guards, "output")}
        enforcing = [guard.rule for guard in guards if guard.enforces]
        self._enforcing: dict[Direction, Guardrail | None] = {
            "input": next((rule for rule in enforcing if rule.input), None),
            "output": next((rule for rule in enforcing if rule.output), None),
        }
        self._hearing: dict[Direction, list[Guardrail]] = {
            "input": [rule for rule in enforcing if rule.input and rule.action == "block"],
            "output": [rule for rule in enforcing if rule.output and rule.audio != "pass"],
        }
        """Whom speech concerns that nobody wrote down."""
        self.audio_waits = bool(self._hearing["output"])
        """Is nothing heard before what it says was judged?"""
        self._services, self._snapshot = services, exchange.snapshot
        self._about = About(exchange.id, exchange.route.name, exchange.backend.name, exchange.caller, model)
        self._shown: dict[tuple[Direction, str], str] = {}
        """What is left of texts that were judged here."""
        self._answers: dict[tuple[Direction, int, str], Verdict] = {}
        """Of those who were asked, by the guardrail's identity."""
        self._judged: dict[Direction, int] = {"input": 0, "output": 0}
        """Characters."""
        self._taken: dict[Direction, float] = {}
        """Seconds of judging here."""

    def enforces(self, said: Direction) -> bool:
        """Can anything be changed or stopped?"""
        return self._enforcing[said] is not None

    def watches(self, said: Direction) -> bool:
        """Is anything judged?"""
        judge = self.judges[said]
        return bool(judge.local or judge.remote)

    def found(self, hits: tuple[Hit, ...], said: Direction, place: str) -> None:
        """Have it counted and logged."""
        if hits:
            self._services.judges.found(hits, self._about, said, place)

    def unreadable(self, said: Direction, what: str, place: str, rule: str = "unreadable") -> Blocked:
        """Something cannot be judged, and something enforces."""
        guardrail = self._enforcing[said]
        assert guardrail is not None, "only what enforces blocks what cannot be judged"
        return self._unreadable(guardrail, said, what, place, rule)

    def _unreadable(self, guardrail: Guardrail, said: Direction, what: str, place: str, rule: str) -> Blocked:
        hit = Hit(guardrail, rule, "block", shadow=False)
        self.found((hit,), said, place)
        return Blocked(hit, f"Guardrail blocked this request: {guardrail.reason or f'{guardrail.name}: {what}'}")

    async def timed(self, said: Direction, size: int, judged: Callable[[], T]) -> T:
        """What it returns; of a `size` that takes long, from a thread."""
        now = asyncio.get_running_loop().time
        begun = now()
        try:
            return judged() if size <= _SLICE else await self._services.threads.run(judged)
        finally:
            self._taken[said] = self._taken.get(said, 0.0) + now() - begun

    def done(self, said: Direction) -> None:
        """All of a request, or of its answer, was judged: tell how long that took here."""
        seconds = self._taken.pop(said, None)
        if seconds is not None and self.judges[said].local:
            with self._services.guard:
                self._services.meter.guardrails_judged(self._about.route, self._about.backend, said, seconds)

    def beside(self, rules: Iterable[Guardrail], work: Coroutine[None, None, None]) -> None:
        """Have something done that changes nothing, and that nobody waits for. Where too much of that is under way, it
        is left undone, and counted as missed by these guardrails."""
        if not self._services.beside.do(work):
            for rule in rules:
                self._services.judges.failed(rule, "busy", "too many texts are judged beside the traffic already")

    def check_unheard(self, said: Direction) -> None:
        """Something is said aloud, and nobody wrote it down: so nobody judged it. Raises Blocked, unless all who would
        have fail open."""
        for rule in self._hearing[said]:
            if not rule.open:
                raise self._unreadable(rule, said, "nobody transcribed what is said aloud", "audio", "unreadable")
        for rule in self._hearing[said]:
            self._services.judges.failed(rule, "not_transcribed", "what was said aloud has no transcript")

    def know(self, said: Direction, text: str, shown: str) -> None:
        """A text was judged elsewhere, and that is left of it."""
        self._shown[said, text] = self._shown[said, shown] = shown

    def weigh(self, said: Direction, text: str, place: str) -> bool:
        """So much more is to be judged. False: it is too much, and nothing enforces. Raises Blocked where it does."""
        self._judged[said] += len(text)
        if self._judged[said] <= MOST:
            return True
        if self.enforces(said):
            raise self.unreadable(said, f"it is over {MOST} characters, the most that is judged", place, TOO_LARGE)
        return False

    async def asked(self, places: Places, *, speaks: bool) -> bool:
        """Judge a request, all of it; the same as `read`. `speaks`: is there speech in it?"""
        try:
            if speaks:
                self.check_unheard("input")
            return await self.read(places, "input")
        finally:
            self.done("input")

    async def read(self, places: Places, said: Direction) -> bool:
        """Judge a message, most of which was `said` so; masks are put where they belong. Was anything? Raises
        Blocked."""
        if not (self.watches("input") or self.watches("output")):
            return False
        try:
            changed = await self._here(places)
            for direction, judge in self.judges.items():
                for rule in judge.remote:
                    changed = await self._elsewhere(rule, direction, places) or changed
        except Unclear as error:
            if self.enforces(said):
                raise self.unreadable(said, str(error), "") from None
            return False
        return changed

    async def _here(self, places: Places) -> bool:
        changed, slice_ = False, 0
        for place in places():
            shown = self._shown.get((place.said, place.text))
            if shown is None:
                slice_ += len(place.text)
                if slice_ > _SLICE:
                    slice_ = 0
                    await asyncio.sleep(0)
                shown = await self._judge(place)
            if shown != place.text:
                place.put(shown)
                changed = True
        return changed

    async def _judge(self, place: Place) -> str:
        judge = self.judges[place.said]
        if not judge.local or not self.weigh(place.said, place.text, place.name):
            return place.text
        verdict = await self.timed(place.said, len(place.text), partial(judge.whole, place.text))
        self.found(verdict.hits, place.said, place.name)
        if verdict.blocked is not None:
            raise Blocked(verdict.blocked)
        shown = place.text if verdict.text is None else verdict.text
        self._shown[place.said, place.text] = shown
        return shown

    async def _elsewhere(self, rule: Guardrail, said: Direction, places: Places) -> bool:
        """Ask about all texts at once, then put what was answered."""
        asked = {
            place.text: place.name
            for place in places()
            if place.said == said and place.text.strip() and (said, id(rule), place.text) not in self._answers
        }
        if not rule.enforces:
            if len(asked) > _TEXTS:
                self._services.judges.failed(rule, TOO_LARGE, f"a message has over {_TEXTS} texts")
            for text, name in list(asked.items())[:_TEXTS]:
                self._answers[said, id(rule), text] = Verdict()
                self.beside([rule], self._ask(rule, said, text, name))
            return False
        if len(asked) > _TEXTS:
            raise self.unreadable(said, f"it has over {_TEXTS} texts, the most that are asked about", "", TOO_LARGE)
        waiting = iter(asked.items())
        while some := list(islice(waiting, _AT_A_TIME)):
            async with asyncio.TaskGroup() as group:
                for text, name in some:
                    group.create_task(self._ask(rule, said, text, name))
        return await self._put(rule, said, places)

    async def _put(self, rule: Guardrail, said: Direction, places: Places) -> bool:
        changed = False
        for place in places():
            if place.said != said or not place.text.strip():
                continue
            if (key := (said, id(rule), place.text)) not in self._answers:  # of what was put before
                await self._ask(rule, said, place.text, place.name)
            verdict = self._answers[key]
            if verdict.blocked is not None:
                raise Blocked(verdict.blocked)
            if verdict.text is not None and verdict.text != place.text:
                place.put(verdict.text)
                changed = True
        return changed

    async def _ask(self, rule: Guardrail, said: Direction, text: str, place: str) -> None:
        answer = await self._services.judges.ask(rule, text, self._about, said, place, self._snapshot)
        verdict = answered(rule, answer)
        self.found(verdict.hits, said, place)
        self._answers[said, id(rule), text] = verdict


def jury(services: Services, exchange: Exchange, model: str) -> Jury | None:
    """That of a request; None: everything may be said."""
    guards = exchange.guards()
    return Jury(services, exchange, guards, model) if guards else None


def check_unread(services: Services, exchange: Exchange) -> None:
    """Raises Refusal guardrail_blocked for a path that leads around guardrails which enforce, whatever the Backend says
    of it."""
    if not leads_around(exchange.backend, paths.normalised(exchange.path), exchange.type):
        return
    judges = Jury(services, exchange, exchange.guards(), "")
    for said in judges.judges:
        if judges.enforces(said):
            raise judges.unreadable(said, "by this path it could not judge what is said", "path")
