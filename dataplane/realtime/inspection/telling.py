"""What is said of a block inside a session, and what ends by it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from dataplane.dialects import openai
from dataplane.guardrails.judge import Direction, Guard, Hit, why
from dataplane.realtime import endings
from dataplane.realtime.audio import MAX_EVENT_ID
from dataplane.realtime.effects import Effect, Finish, Found, Tell

UNREADABLE = "unreadable"
"""The rule of a hit that says that a text, or audio, is there that nobody can judge."""
TOO_LARGE = "too_large"
_CODE = "guardrail_blocked"


class Telling:
    """Puts among `effects` what guardrails found, and what the client is told. `own_id` makes ids of ours."""

    def __init__(self, effects: deque[Effect], own_id: Callable[[], str]) -> None:
        self.over = False
        """Does the session end by a block?"""
        self._effects = effects
        self.own_id = own_id

    def found(self, hits: tuple[Hit, ...], said: Direction, place: str) -> None:
        if hits:
            self._effects.append(Found(hits, said, place))

    def block(self, hit: Hit, event_id: object = None) -> bool:
        """What was said does not go on: the client is told, or the session ends; does it go on?"""
        if self.over:
            return False
        if hit.guardrail.refuse_turn:
            name = event_id if isinstance(event_id, str) and len(event_id) <= MAX_EVENT_ID else None
            refusal = openai.error(self.own_id(), _CODE, why(hit), kind="guardrail_error", event_id=name)
            self._effects.append(Tell("client", refusal))
            return True
        self.over = True
        self._effects.append(Finish(endings.GUARDRAIL, why(hit)))
        return False


def unjudged(guards: Sequence[Guard], rule: str) -> Hit | None:
    """What it amounts to that a text cannot be judged: a block of whichever of these guardrails enforces and does not
    fail open, before all one that ends the session."""
    closed = [guard.rule for guard in guards if guard.enforces and not guard.rule.open]
    strictest = min(closed, key=lambda rule: rule.refuse_turn, default=None)
    return Hit(strictest, rule, "block", shadow=False) if strictest is not None else None
