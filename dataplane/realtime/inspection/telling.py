"""What is said of a block inside a session, and what ends by it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from dataplane.dialects import openai
from dataplane.guardrails.judge import Direction, Guard, Hit, why
from dataplane.realtime import endings
from dataplane.realtime.account import SEEN
from dataplane.realtime.audio import MAX_EVENT_ID
from dataplane.realtime.effects import Effect, Finish, Found, Missed, Tell
from dataplane.table.guardrails import Guardrail

UNREADABLE = "unreadable"
"""The rule of a hit that says that a text, or audio, is there that nobody can judge."""
_CODE = "guardrail_blocked"


class Telling:
    """Puts among `effects` what guardrails found, what the client is told, and what the upstream is to forget. `own_id`
    makes ids of ours."""

    def __init__(self, effects: deque[Effect], own_id: Callable[[], str]) -> None:
        self.over = False
        """Does the session end by a block?"""
        self.own_id = own_id
        self._effects = effects
        self._own: dict[str, None] = {}
        """Ids of what was sent to the upstream, whose errors are nobody else's."""

    def found(self, hits: tuple[Hit, ...], said: Direction, place: str) -> None:
        if hits:
            self._effects.append(Found(hits, said, place))

    def unheard(self, guardrails: Iterable[Guardrail]) -> None:
        """These did not judge what was said aloud, since nobody has written it down."""
        self._effects.extend([Missed(each, "not_transcribed") for each in guardrails])

    def block(self, hit: Hit, event_id: object = None) -> bool:
        """What was said does not go on: the client is told, or the session ends; does it go on?"""
        if self.over:
            return False
        if hit.guardrail.refuse_turn:
            self.refuse(hit, event_id)
        else:
            self.end(hit)
        return not self.over

    def refuse(self, hit: Hit, event_id: object = None) -> None:
        """The client is told that what was said does not go on; the session does."""
        name = event_id if isinstance(event_id, str) and len(event_id) <= MAX_EVENT_ID else None
        refusal = openai.error(self.own_id(), _CODE, why(hit), kind="guardrail_error", event_id=name)
        self._effects.append(Tell("client", refusal))

    def end(self, hit: Hit) -> None:
        """The session ends."""
        self.over = True
        self._effects.append(Finish(endings.GUARDRAIL, why(hit)))

    # -- what the upstream is told -----------------------------------------------------------------------------

    def delete(self, item: str) -> None:
        """The conversation goes on without this item."""
        own = self.own_id()
        self.remember(own)
        self._effects.append(Tell("upstream", {"type": "conversation.item.delete", "event_id": own, "item_id": item}))

    def remember(self, own_id: str) -> None:
        """An event of ours with this id was sent to the upstream."""
        self._own[own_id] = None
        if len(self._own) > SEEN:
            del self._own[next(iter(self._own))]

    def owns(self, event_id: str) -> bool:
        """Is this the id of one of those?"""
        return event_id in self._own


def unread(guards: Iterable[Guard], rule: str) -> Hit | None:
    """What it amounts to that something is there that nobody can read: a block of one of those that enforce. How they
    fail (`onFailure`) is not asked: that is said of judges that are away, and whoever writes the text chooses this."""
    guilty = strictest(guard.rule for guard in guards if guard.enforces)
    return Hit(guilty, rule, "block", shadow=False) if guilty is not None else None


def unheard(guards: Iterable[Guard]) -> Hit | None:
    """The same of speech that is not transcribed, or not in time, which is not the user's doing: a block, but of one
    that does not fail open."""
    return unread((guard for guard in guards if not guard.rule.open), UNREADABLE)


def strictest(rules: Iterable[Guardrail]) -> Guardrail | None:
    """One that ends the session, before one that refuses the turn."""
    return min(rules, key=lambda rule: rule.refuse_turn, default=None)
