"""What webhooks and moderations are asked about texts of one session, until they have answered."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dataplane.guardrails.judge import Answer, Direction, Hit, Verdict, answered
from dataplane.realtime.effects import Ask, Effect, Found, Listen, Missed
from dataplane.table.guardrails import Guardrail

AT_A_TIME = 16
"""Questions of one lane that are under way; others wait. All sessions share whoever judges, who is asked about so much
at once and no more (`judges.room.AT_ONCE`)."""
ROOM = 32 * 1024 * 1024
"""Characters of what the client says that wait to be asked about. Events that wait are fewer, by far (`line`, and
`MOST_TEXTS` of each): nobody has what is said pass unjudged by saying much. So this bounds transcripts. What the model
says waits with its responses, which have a bound of their own (`withheld`)."""
ROOM_ASIDE = 256 * 1024
"""The same of texts for whose verdicts nothing waits."""
EACH = 256
"""Characters that a question is counted as, beside its text."""


class _Lane:
    """Questions of one kind, in order. No lane waits for another."""

    def __init__(self, room: float) -> None:
        self.room = room
        self.under_way = 0
        self.waiting: deque[_Question] = deque()


@dataclass(slots=True, eq=False)
class _Question:
    """One text, and who has not answered yet."""

    lane: _Lane
    text: str
    said: Direction
    place: str
    then: Callable[[Verdict], None]
    wanted: Callable[[], bool]
    rest: list[Guardrail]
    """Who is asked after that."""
    shown: str
    """The text as those before have left it: that is what the next one is asked about."""
    blocked: Hit | None = None
    hits: list[Hit] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.text) + EACH


class Questions:
    """Puts among `effects` who is to be asked, and who was not. Guardrails are asked one after the other, since a mask
    changes what the next one sees; several texts may be asked about at a time. What the client says, what the model
    says, and what nothing waits for have lanes of their own: none makes another slow."""

    def __init__(self, effects: deque[Effect]) -> None:
        self._effects = effects
        self._lanes: dict[Direction, _Lane] = {"input": _Lane(ROOM), "output": _Lane(math.inf)}
        self._aside = _Lane(ROOM_ASIDE)
        self._open: dict[int, tuple[Guardrail, _Question]] = {}
        self._late: dict[int, Callable[[], None]] = {}
        self._tickets = 0

    def asks(self, said: Direction) -> bool:
        """Is anybody asked about what this side said, whose answer is waited for?"""
        return self._lanes[said].under_way > 0

    def ask(
        self,
        guardrails: Sequence[Guardrail],
        text: str,
        said: Direction,
        place: str,
        then: Callable[[Verdict], None],
        *,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        """Ask about a whole text; `then` is told what all together say of it, which may be at once. Nothing more is
        asked or told of a text that is not `wanted` any more."""
        self._take(_Question(self._lanes[said], text, said, place, then, wanted, list(guardrails), text))

    def ask_aside(self, guardrails: Sequence[Guardrail], text: str, said: Direction, place: str) -> None:
        """Ask those for whose verdicts nothing waits."""
        if guardrails:
            ignored = _Question(self._aside, text, said, place, _ignore, lambda: True, list(guardrails), text)
            self._take(ignored)

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
        if verdict.text is not None:
            question.shown = verdict.text
        question.blocked = verdict.blocked
        self._next(question)
        self._go_on(question.lane)

    def close(self) -> None:
        """Nobody waits for an answer any more."""
        for lane in (*self._lanes.values(), self._aside):
            lane.waiting.clear()
        self._open.clear()
        self._late.clear()

    # -- what is listened for ----------------------------------------------------------------------------------

    def listen(self, seconds: float, late: Callable[[], None]) -> int:
        """Call `late` after so much time, unless the ticket is forgotten before."""
        self._tickets += 1
        self._late[self._tickets] = late
        self._effects.append(Listen(self._tickets, seconds))
        return self._tickets

    def forget(self, ticket: int) -> None:
        """What was listened for has come."""
        if self._late.pop(ticket, None) is not None:
            self._effects.append(Listen(ticket, None))

    # -- lanes -------------------------------------------------------------------------------------------------

    def _take(self, question: _Question) -> None:
        lane = question.lane
        if lane.room <= 0:
            self._miss(question)
            return
        lane.room -= question.size
        lane.waiting.append(question)
        self._go_on(lane)

    def _go_on(self, lane: _Lane) -> None:
        """Begin with those for whom there is a place."""
        while lane.waiting and lane.under_way < AT_A_TIME:
            question = lane.waiting.popleft()
            lane.room += question.size
            lane.under_way += 1
            self._next(question)

    def _next(self, question: _Question) -> None:
        """Ask the next one, or tell what all have said."""
        wanted = question.wanted()
        if wanted and question.rest and question.blocked is None:
            guardrail = question.rest.pop(0)
            self._tickets += 1
            self._open[self._tickets] = guardrail, question
            self._effects.append(Ask(self._tickets, guardrail, question.shown, question.said, question.place))
            return
        question.lane.under_way -= 1
        if wanted:
            changed = question.shown if question.shown != question.text and question.blocked is None else None
            question.then(Verdict(changed, question.blocked, tuple(question.hits)))

    def _miss(self, question: _Question) -> None:
        """Nobody is asked: so each of them has failed."""
        blocked = None
        for guardrail in question.rest:
            self._effects.append(Missed(guardrail, "busy"))
            blocked = blocked or answered(guardrail, Answer(failed="busy")).blocked
        question.then(Verdict(None, blocked))


def _ignore(_verdict: Verdict) -> None:
    """Nothing waited for it."""
