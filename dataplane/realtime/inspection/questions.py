"""What webhooks and moderations are asked about texts of one session, until they have answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dataplane.guardrails.judge import Answer, Direction, Hit, Verdict, answered
from dataplane.realtime.effects import Ask, Effect, Found, Listen
from dataplane.table.guardrails import Guardrail

AT_A_TIME = 16
"""Questions of one session that are under way; others wait. All sessions share whoever judges, who is asked about so
much at once and no more (`judges.panel.AT_ONCE`)."""
CROWD = 256
"""Questions that wait."""


@dataclass(slots=True)
class _Question:
    """One text, and who has not answered yet."""

    text: str
    said: Direction
    place: str
    then: Callable[[Verdict], None]
    rest: list[Guardrail]
    """Who is asked after that."""
    shown: str = ""
    """The text as those before have left it: that is what the next one is asked about."""
    hits: list[Hit] = field(default_factory=list)


class Questions:
    """Puts among `effects` who is to be asked. Guardrails are asked one after the other, since a mask changes what the
    next one sees; several texts may be asked about at a time."""

    def __init__(self, effects: deque[Effect]) -> None:
        self._effects = effects
        self._open: dict[int, tuple[Guardrail, _Question]] = {}
        self._waiting: deque[_Question] = deque()
        self._late: dict[int, Callable[[], None]] = {}
        self._tickets = 0

    @property
    def pending(self) -> bool:
        return bool(self._open)

    @property
    def crowded(self) -> bool:
        """Do so many wait that none should be asked for whose answer nothing waits?"""
        return len(self._waiting) >= CROWD

    def ask(
        self,
        guardrails: Sequence[Guardrail],
        text: str,
        said: Direction,
        place: str,
        then: Callable[[Verdict], None],
    ) -> None:
        """Ask about a whole text; `then` is told what all together say of it, which may be at once."""
        self._next(_Question(text, said, place, then, list(guardrails), text))

    def answer(self, ticket: int, answer: Answer) -> None:
        """What was said; of a question that nobody waits for any more, nothing follows."""
        if (late := self._late.pop(ticket, None)) is not None:
            late()
            return
        if ticket not in self._open:
            return
        guardrail, question = self._open.pop(ticket)
        verdict = answered(guardrail, answer)
        if verdict.hits:
            self._effects.append(Found(verdict.hits, question.said, question.place))
            question.hits += verdict.hits
        if verdict.blocked is not None:
            question.then(Verdict(None, verdict.blocked, tuple(question.hits)))
        else:
            if verdict.text is not None:
                question.shown = verdict.text
            self._next(question)
        while self._waiting and len(self._open) < AT_A_TIME:
            self._next(self._waiting.popleft())

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        self._open.clear()
        self._waiting.clear()
        self._late.clear()

    def listen(self, seconds: float, late: Callable[[], None]) -> int:
        """Call `late` after so much time, unless the ticket is forgotten before."""
        self._tickets += 1
        self._late[self._tickets] = late
        self._effects.append(Listen(self._tickets, seconds))
        return self._tickets

    def forget(self, ticket: int) -> None:
        """What was listened for has come."""
        self._late.pop(ticket, None)

    def _next(self, question: _Question) -> None:
        if not question.rest:
            changed = question.shown if question.shown != question.text else None
            question.then(Verdict(changed, None, tuple(question.hits)))
            return
        if len(self._open) >= AT_A_TIME:
            self._waiting.append(question)
            return
        guardrail = question.rest.pop(0)
        self._tickets += 1
        self._open[self._tickets] = guardrail, question
        self._effects.append(Ask(self._tickets, guardrail, question.shown, question.said, question.place))
