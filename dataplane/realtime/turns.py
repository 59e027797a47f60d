"""The turns of one session: which are due and under way, why each began, and what was seen of each.

They are kept by `response_id`, since responses out of band run beside the default one. Each is counted when its
`response.done` comes: once, however often it is said. Where that brings no usage, or never comes, the turn is
estimated from what was seen of it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dataplane.dialects import openai
from dataplane.dialects.openai_usage import response_usage
from dataplane.metering import estimate
from dataplane.metering.estimate import Conversation, Mark
from dataplane.metering.usage import NO_TOKENS, Status, Tokens
from dataplane.realtime.account import SEEN, Account
from dataplane.realtime.effects import Began, Effect, Interrupted, Prompted, Spoke, Tell, Trigger, Unmetered
from dataplane.realtime.events import Event

_STATUSES: dict[str, Status] = {
    "completed": "completed",
    "cancelled": "cancelled",
    "failed": "failed",
    "incomplete": "incomplete",
}
_INTERRUPTERS: dict[str, Trigger] = {"turn_detected": "voice", "client_cancelled": "client"}


@dataclass(slots=True)
class Turn:
    """A response that has begun and not ended."""

    id: str
    mark: Mark
    """How much the user had said when it began."""
    input: Tokens
    """What it reads, as an estimate."""
    rate: float
    """Bytes of its audio per second."""
    aside: bool
    """Is it out of band? Then the conversation does not grow by it."""
    audio: int = 0
    """Characters of base64 that were seen of its audio."""
    deltas: int = 0
    """Pieces of text, transcript and arguments that were seen."""
    envelope: int = 0
    """Bytes of an audio event that are not audio."""
    spoke: bool = False
    deaf: bool = False
    """Has the user said more since it began?"""
    given_up: bool = False
    """We have cancelled it, because the client is gone or it may not be."""


class Turns:
    """Puts among `effects` how turns go; what they used goes to the account."""

    __slots__ = (
        "_account",
        "_ahead",
        "_asked",
        "_audio_heads",
        "_conversation",
        "_due",
        "_effects",
        "_leaving",
        "_only",
        "_open",
        "_spoken",
        "_text_heads",
        "rate",
        "said",
        "waits",
    )

    def __init__(self, account: Account, conversation: Conversation, effects: deque[Effect]) -> None:
        self.rate = openai.PCM_RATE
        """Bytes of output audio per second, unless a response says otherwise."""
        self.said = 0.0
        """Seconds of audio of those that are over."""
        self.waits = False
        """Is the answer that is due to be asked for, with `answer`? Then what begins before is another turn."""
        self._spoken: set[str] = set()
        """Event ids of those that were asked for so."""
        self._account = account
        self._conversation = conversation
        self._effects = effects
        self._open: dict[str, Turn] = {}
        self._only: Turn | None = None
        """The turn that is open, where there is one and no other."""
        self._audio_heads: tuple[bytes, ...] = ()
        """How messages begin that hold a piece of audio and that nobody reads."""
        self._text_heads: tuple[bytes, ...] = ()
        self._asked: list[str] = []
        """Event ids of the `response.create`s that nothing has answered; most clients give them none."""
        self._due = False
        """The user fell silent, and the server will answer."""
        self._ahead = 0
        """How many of those that were asked for come before that answer."""
        self._leaving = False

    @property
    def outstanding(self) -> bool:
        """Is a turn under way, or to come?"""
        return bool(self._open or self._asked or self._due)

    @property
    def asked(self) -> int:
        """How many of those that the client asked for are still to begin."""
        return len(self._asked) - len(self._spoken)

    @property
    def due(self) -> bool:
        """Will the server answer what the user said?"""
        return self._due

    @property
    def count(self) -> int:
        """Turns that are under way, or to come."""
        return len(self._open) + len(self._asked) + self._due

    # -- what makes turns begin --------------------------------------------------------------------------------

    def ask(self, event_id: str) -> None:
        """The client asks for a turn."""
        if len(self._asked) < SEEN:
            self._asked.append(event_id)
        self._effects.append(Prompted("client"))

    def prompt(self, *, spoken: bool) -> None:
        """The server will begin a turn by itself: because the user fell silent, or (not `spoken`) said nothing."""
        self._due, self._ahead = True, len(self._asked)
        for turn in self._open.values():
            turn.deaf = True
        if spoken:
            self._effects.append(Prompted("voice"))

    def answer(self, event_id: str) -> None:
        """The gateway asks for the turn that answers the user."""
        self._due = False
        self._asked.append(event_id)
        self._spoken.add(event_id)

    def answers(self, event_id: str) -> bool:
        """Was a turn asked for so, of which nothing has come?"""
        return event_id in self._spoken

    def refuse_named(self, event_id: str) -> None:
        """An error is about this event of the client's: if it asked for a turn, none will come of it."""
        if event_id in self._asked:
            self._withdraw(self._asked.index(event_id))

    def refuse(self, *, certain: bool | None) -> None:
        """An error says that no turn will come of what asked for one first; or (None) it does not say what it is
        about, which in the middle of a turn may be anything."""
        if certain is False or (certain is None and self._open):
            return
        if self._asked:
            self._withdraw(0)
        else:
            self._due = False

    def excuse(self) -> None:
        """What the user said gets no answer."""
        self._due = False

    def _withdraw(self, at: int) -> Trigger:
        """What made it due."""
        self._ahead -= at < self._ahead
        event_id = self._asked.pop(at)
        if event_id not in self._spoken:
            return "client"
        self._spoken.discard(event_id)
        return "voice"

    def begin(self, response: object) -> None:
        """A turn has begun."""
        trigger = self._answered()
        name = openai.name(response, "id")
        if not name or name in self._open or self._account.knows(name):
            return
        turn = self._open[name] = self._turn(name, response)
        self._effects.append(Began(name, trigger, self.asked))
        if len(self._open) > SEEN:
            self._finish(next(iter(self._open)), "lost", None)
        self._only = turn if len(self._open) == 1 else None
        if self._leaving:
            self._cancel(turn)

    def _turn(self, name: str, response: object) -> Turn:
        """A turn that begins now."""
        conversation = self._conversation
        rate = openai.audio_rate(response, "output") or self.rate
        aside = isinstance(response, dict) and response.get("conversation_id", "") is None
        return Turn(name, conversation.mark, conversation.input(), rate, aside)

    def _answered(self) -> Trigger:
        """What the next turn is the answer to."""
        if self._asked and (self.waits or not (self._due and self._ahead == 0)):
            return self._withdraw(0)
        self._due = False
        return "voice"

    # -- what is seen of them ----------------------------------------------------------------------------------

    def unread(self, audio: tuple[bytes, ...], text: tuple[bytes, ...]) -> None:
        """Nobody reads messages that begin so, and hold a piece of audio or of text."""
        self._audio_heads, self._text_heads = audio, text

    def flows(self, data: bytes, start: int, end: int) -> bool:
        """Is the message in this slice of `data` one more piece of the only turn that is open, and read by nobody? Then
        it is noted, and nothing follows from it. It costs what every message costs: keep it short."""
        turn = self._only
        if turn is None:
            return False
        if turn.spoke and data.startswith(self._audio_heads, start):
            turn.audio += end - start - turn.envelope
            return True
        if data.startswith(self._text_heads, start):
            turn.deltas += 1
            return True
        return False

    def sounds(self, head: bytes, size: int) -> None:
        """An audio event of `size` bytes goes by unread."""
        turn = self._only or self._turn_of(openai.response_id(head))
        if turn is None:
            return
        if not turn.spoke:
            turn.envelope = openai.envelope(head)
            self._speak(turn)
        turn.audio += size - turn.envelope

    def sounds_on(self, head: bytes, size: int) -> None:
        """So many bytes more of the audio event that began with `head`."""
        turn = self._only or self._turn_of(openai.response_id(head))
        if turn is not None:
            turn.audio += size

    def writes(self, head: bytes) -> None:
        """A piece of text goes by unread."""
        turn = self._only or self._turn_of(openai.response_id(head))
        if turn is not None:
            turn.deltas += 1

    def read(self, event: Event, *, audio: bool) -> None:
        """A piece of audio or text was read."""
        turn = self._turn_of(openai.name(event, "response_id"))
        if turn is None:
            return
        if not audio:
            turn.deltas += 1
            return
        if not turn.spoke:
            self._speak(turn)
        turn.audio += len(openai.text(event, "delta"))

    def _speak(self, turn: Turn) -> None:
        turn.spoke = True
        self._effects.append(Spoke(turn.id))

    def _turn_of(self, name: str) -> Turn | None:
        """The open turn of that name; nameless: the newest."""
        return self._open.get(name) if name else next(reversed(self._open.values()), None)

    # -- how they end ------------------------------------------------------------------------------------------

    def done(self, event: Event) -> None:
        """A turn is over."""
        name = openai.name(event, "response", "id") or self._nameless(openai.name(event, "event_id"))
        response = event.get("response")
        if name not in self._open and not self._account.knows(name):  # its beginning was never said
            self._answered()
        status = _STATUSES.get(openai.text(response, "status"), "completed")
        reason = openai.text(response, "status_details", "reason") if status == "cancelled" else ""
        usage = openai.part(response, "usage") or event.get("usage")  # xAI says it in either place
        self._finish(name, status, response, usage, by=_INTERRUPTERS.get(reason))

    def _nameless(self, event_id: str) -> str:
        """What a turn is called whose end does not say it: it is the newest, if any is open. An end that is said
        twice is the same end."""
        event_id = event_id or self._account.own_id()
        turn = self._turn_of("")
        return event_id if turn is None or not self._account.once(event_id) else turn.id

    def leave(self) -> None:
        """The client is gone: cancel what it left running, and what begins from now on."""
        self._leaving = True
        for turn in self._open.values():
            self._cancel(turn)

    def cancel(self, name: str) -> str:
        """End this turn, if it is still under way; the id of the event that says so."""
        turn = self._open.get(name)
        return "" if turn is None else self._cancel(turn)

    def abandon(self) -> None:
        """The upstream is gone: what never ended is lost. Of what was asked for and never began nobody knows whether
        it cost anything."""
        for name in list(self._open):
            self._finish(name, "lost", None)
        self._effects.extend(
            [Unmetered("unanswered", asked=True)] * len(self._asked) + [Unmetered("unanswered")] * self._due
        )
        self._asked.clear()
        self._spoken.clear()
        self._due = False

    def _cancel(self, turn: Turn) -> str:
        turn.given_up, own = True, self._account.own_id()
        self._effects.append(Tell("upstream", openai.cancel(own, turn.id)))
        return own

    def _finish(
        self, name: str, status: Status, response: object, usage: object = None, *, by: Trigger | None = None
    ) -> None:
        turn = self._open.pop(name, None)
        self._only = next(iter(self._open.values())) if len(self._open) == 1 else None
        if turn is not None:
            self.said += estimate.seconds_of(max(0, turn.audio), turn.rate)
        if not self._account.once(name):
            return
        if turn is not None and not turn.deaf and not turn.aside and status != "cancelled":
            self._due = False  # it has answered what the user said, whoever asked for it
        if by is not None and not (turn is not None and turn.given_up):
            self._effects.append(Interrupted(name, by))
        turn = turn or self._turn(name, response)
        reported = self._account.reported(response_usage, usage)
        tokens = reported if reported is not None else self._estimated(turn, status)
        if tokens is not None and not turn.aside:
            self._conversation.settle(turn.mark, tokens)
        self._account.turn(name, status, tokens, estimated=reported is None and tokens is not None)

    def _estimated(self, turn: Turn, status: Status) -> Tokens | None:
        """None where nothing was seen; or where a turn failed before it said anything, which costs nothing."""
        said = estimate.answer(estimate.seconds_of(max(0, turn.audio), turn.rate), turn.deltas)
        if status == "failed" and said == NO_TOKENS:
            return None
        tokens = turn.input + said
        return None if tokens == NO_TOKENS else tokens
