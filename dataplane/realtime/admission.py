"""Turns that may begin only once they are admitted: a limit, or whoever else is asked, says whether.

Two things begin a turn. The client asks for one: its `response.create` waits here until the answer comes, and so does
everything that it sends behind it. Or the server begins one by itself when the user falls silent: then it is kept from
doing so (`detection`), and the gateway asks for the turn in its place, once it is admitted. A turn that begins all the
same is admitted afterwards, or cancelled.

Events are those of OpenAI's GA protocol: https://platform.openai.com/docs/api-reference/realtime-client-events
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dataplane.dialects import openai
from dataplane.realtime.detection import Detection
from dataplane.realtime.effects import Admit, Effect, Forward, Released, Tell
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.ears import Ears
from dataplane.realtime.turns import Turns


@dataclass(frozen=True, slots=True)
class _Asked:
    """A client's `response.create`, as it goes on."""

    payload: bytes
    event_id: str


@dataclass(frozen=True, slots=True)
class _Begun:
    """A turn that nobody asked for here."""

    response_id: str


class Admission:
    """Puts among `effects` who is to be asked, and what follows from the answers. `own_id` makes ids of ours.
    `silences`: can the server be kept from beginning turns by itself? `asks`: is anybody asked, or are turns only kept
    until `heard` says that all that the user said was judged? `ears`: see `Detection`."""

    def __init__(
        self,
        turns: Turns,
        effects: deque[Effect],
        own_id: Callable[[], str],
        *,
        silences: bool = True,
        asks: bool = True,
        heard: Callable[[], bool] = lambda: True,
        ears: Ears | None = None,
    ) -> None:
        self.detection = Detection(effects, own_id, silences=silences, ears=ears)
        """Who answers the user."""
        self.asks = asks
        self._heard = heard
        self._turns = turns
        self._effects = effects
        self._own_id = own_id
        self._waiting: dict[int, _Asked | _Begun | None] = {}
        """What each question is about, by its ticket; None: a turn of the user's voice."""
        self._tickets = 0
        self._admitted = 0
        """Turns that were admitted, and are not over."""
        self._voice: Literal["", "asked", "admitted"] = ""
        """What became of the turn that is due because of the user's voice, until the server is asked for it."""
        self._committed = False
        """Is what the user said an item of the conversation?"""
        self._more = False
        """Is there more of it, which is to become one?"""
        self._again = False
        """The user said more, while a turn kept it from being answered: it is, once that is over."""
        self._closed = False

    @property
    def holds(self) -> int:
        """How many bytes of the client's wait for an answer?"""
        return sum(len(each.payload) for each in self._waiting.values() if isinstance(each, _Asked))

    @property
    def pending(self) -> bool:
        """Does anything?"""
        return bool(self._waiting) or self._again

    # -- what makes turns begin --------------------------------------------------------------------------------

    def hold(self, event_id: str, payload: bytes) -> None:
        """The client asks for a turn."""
        self._ask(_Asked(payload, event_id))

    def prompt(self) -> None:
        """The server would begin a turn by itself, had the client its way."""
        if not self.detection.silenced:
            return
        self._more = True
        if self._closed or not self.detection.wished:
            self._turns.excuse()  # nobody asks for it
        elif not self._voice:
            self._committed = False
            self._ask(None)

    def commit(self) -> None:
        """What the user said is an item of the conversation."""
        self._committed, self._more = True, False
        self._answer()

    def heard(self, *, answerable: bool) -> None:
        """Something that the user said was judged; is there anything to answer, now or later?"""
        if self._voice and not answerable:
            self._committed = False
            if not self._more:
                self._become("")
                self._turns.excuse()
        self._answer()

    def begun(self, response_id: str) -> None:
        """A turn has begun."""
        if self._closed:
            return
        by_itself = bool(self._voice) and not self._turns.due
        if by_itself:
            self._become("")
        if not self.asks:
            return
        asked_about = sum(isinstance(each, _Begun) for each in self._waiting.values())
        if self._needed <= self._admitted + asked_about:
            return
        tickets = [ticket for ticket, about in self._waiting.items() if about is None] if by_itself else []
        if tickets:  # the question is about this turn now
            self._waiting[tickets[0]] = _Begun(response_id)
        else:
            self._ask(_Begun(response_id))

    @property
    def _needed(self) -> int:
        """How many turns must be admitted that are under way, or to come."""
        return self._turns.count - self._turns.due + (self._voice == "admitted")

    def _ask(self, about: _Asked | _Begun | None) -> None:
        self._tickets += 1
        self._waiting[self._tickets] = about
        if about is None:
            self._become("asked")
        if self.asks:
            self._effects.append(Admit(self._tickets))
        else:
            self.admit(self._tickets)

    # -- answers -----------------------------------------------------------------------------------------------

    def admit(self, ticket: int) -> None:
        """The turn may begin."""
        if ticket not in self._waiting:  # the session has ended
            self._effects.append(Released(1))
            return
        about = self._waiting.pop(ticket)
        self._admitted += self.asks
        if isinstance(about, _Asked):
            self._turns.ask(about.event_id)
            self._effects.append(Forward(about.payload))
        elif about is None and self._voice:
            self._become("admitted")
            self._answer()
        self.settle()

    def refuse(self, ticket: int, code: str, message: str) -> None:
        """It may not; the client is told, if there is a message."""
        if ticket not in self._waiting:
            return
        about = self._waiting.pop(ticket)
        event_id = None
        if isinstance(about, _Asked):
            event_id = about.event_id or None
        elif isinstance(about, _Begun):
            self._turns.cancel(about.response_id)
        elif self._voice:
            self._become("")
            self._turns.excuse()
        if message:
            refusal = openai.error(self._own_id(), code, message, kind="rate_limit_error", event_id=event_id)
            self._effects.append(Tell("client", refusal))
        self.settle()

    def _answer(self) -> None:
        """Ask for the turn that the server was kept from beginning, once there is something to answer."""
        if self._voice == "admitted" and self._committed and self._heard():
            self._become("")
            self._committed, own = False, self._own_id()
            self._turns.answer(own)
            self._effects.append(Tell("upstream", {"type": "response.create", "event_id": own}))

    def settle(self) -> None:
        """Let go of what was set aside for turns that are over, or never came; and see to what they have held up."""
        over = self._admitted - self._needed
        if over > 0:
            self._admitted -= over
            self._effects.append(Released(over))
        if self._again and not self._turns.count:
            self._again = False
            self._turns.prompt(spoken=True)
            self._committed = True
            self._ask(None)

    def close(self) -> None:
        """Nothing more is admitted: the session ends. What the user said last is never answered."""
        self._closed = True
        self._waiting.clear()
        self._again = False
        if self._voice:
            self._become("")
            self._turns.excuse()

    def _become(self, voice: Literal["", "asked", "admitted"]) -> None:
        self._voice = voice
        self._turns.waits = bool(voice)

    # -- what the client knows nothing of ----------------------------------------------------------------------

    def swallows(self, kind: str, event: Event) -> bool:
        """Is this the answer to something of the gateway's own?"""
        if self.detection.swallows(kind, event):
            return True
        about = openai.name(event, "error", "event_id")
        if kind != "error" or not self._turns.answers(about):
            return False
        self._turns.refuse_named(about)
        self._again = self._turns.count > 0
        return True
