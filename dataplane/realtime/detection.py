"""Who answers when the user falls silent: the server by itself, or the gateway, which asks for the turn in its place.

The server is kept from it (`create_response: false`), and the client sees the session as it set it up. What counts is
what the server has confirmed. It answers updates of the session in the order in which they were sent: by
`session.updated`, or by an error that names the update. So what one asks for holds from there on, and nothing of one
that was refused.

Source: https://platform.openai.com/docs/api-reference/realtime-client-events/session/update
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dataplane.dialects import openai
from dataplane.realtime.account import SEEN
from dataplane.realtime.effects import Effect, Tell
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.ears import Ears
from dataplane.realtime.names import check_case

_DETECTION = ("audio", "input", "turn_detection")
_ANSWERS = "create_response"


@dataclass(frozen=True, slots=True)
class Update:
    """What is remembered of a `session.update` until the server has answered it."""

    event_id: str
    own: bool = False
    """Is it the gateway's? The client knows nothing of it."""
    nameless: bool = False
    """Did the client give it no id? Then the gateway did, since nobody could tell what an error is about."""
    speaks: bool = True
    """Does it say how the server detects turns?"""
    wish: bool | None = None
    """Is the server to answer the user by itself, if the client has its way? None: it says nothing of that."""
    hears: bool | None = None
    """Is the server to transcribe what the user says, if the client has its way? The same."""

    @property
    def enables(self) -> bool:
        """Does it have the server transcribe?"""
        return bool(self.hears) or (self.own and not self.speaks)

    @property
    def silences(self) -> bool:
        """Does it tell the server not to?"""
        return (self.own and self.speaks) or self.wish is not None


class Detection:
    """Of one session whose turns must be admitted. Puts the gateway's own updates among `effects`; `own_id` makes ids
    of ours. `ears`: the server must transcribe."""

    def __init__(
        self, effects: deque[Effect], own_id: Callable[[], str], *, silences: bool = True, ears: Ears | None = None
    ) -> None:
        self._ears = ears
        self.wished = True
        """Would the server answer the user by itself, had the client its way?"""
        self.silenced = False
        """Does it not, by its own word?"""
        self._effects = effects
        self._own_id = own_id
        self._under_way: deque[Update] = deque(maxlen=SEEN)
        """In the order in which the server answers them."""
        self._listens: Event = {}
        """How it detects turns, by its own word; empty: it does not, or has not said."""
        self._tried = not silences
        """Was it told not to answer, and does so all the same, or has not said?"""

    # -- client → upstream -------------------------------------------------------------------------------------

    def update(self, event: Event) -> tuple[Event, Update]:
        """The client's `session.update` as it goes on, and what `sent` is to be told then. Raises Misnamed."""
        check_case(event, ("event_id",))
        speaks, wish = _wish(event)
        if wish is not None:
            event = _with_answers(event, answers=False)
        event, hears = self._ears.update(event) if self._ears is not None else (event, None)
        if name := openai.name(event, "event_id"):
            return event, Update(name, speaks=speaks, wish=wish, hears=hears)
        own = self._own_id()
        return {**event, "event_id": own}, Update(own, nameless=True, speaks=speaks, wish=wish, hears=hears)

    def sent(self, update: Update) -> None:
        """It goes on."""
        self._under_way.append(update)

    # -- upstream → client -------------------------------------------------------------------------------------

    def created(self, session: object) -> None:
        """The session begins."""
        self._heed(session)
        if self._listens:
            self.wished = not self.silenced
        if self._ears is not None:
            self._ears.created(session)
        self._insist()

    @property
    def transcribes(self) -> bool:
        """Does the server transcribe, or has yet to say that it will not?"""
        return self._ears is not None and (self._ears.on or any(each.enables for each in self._under_way))

    def swallows(self, kind: str, event: Event) -> bool:
        """Is this the answer to an update of the gateway's own?"""
        if kind == "error":
            update = self._refused(event)
            if update is not None and update.own:
                self._under_way.remove(update)
                if self._ears is not None and not update.speaks:
                    self._ears.refused()
                    self._insist()
                return True
        elif kind == "session.updated" and self._under_way and self._under_way[0].own:
            self._heed(event.get("session"), self._under_way.popleft())
            self._insist()
            return True
        return False

    def shown(self, event: Event) -> Event:
        """A server's event that holds the session, as the client set it up."""
        if event.get("type") != "session.updated":
            return event
        self._heed(event.get("session"), self._under_way.popleft() if self._under_way else None)
        self._insist()
        return _with_answers(event, answers=True) if self.wished else event

    def answered(self, event: Event) -> Event:
        """A server's event as it goes on: an error that refuses an update of the client's names it as the client
        did. To be asked last, since until then it is known what the error is about."""
        update = self._refused(event) if event.get("type") == "error" else None
        if update is None:
            return event
        self._under_way.remove(update)
        self._insist()
        error = event["error"]
        return {**event, "error": {**error, "event_id": None}} if update.nameless and isinstance(error, dict) else event

    def _refused(self, event: Event) -> Update | None:
        """What an error is about. Some servers name no event, but the field of the session that is wrong: that is about
        the oldest."""
        about = openai.name(event, "error", "event_id")
        if not about and openai.text(event, "error", "param").partition(".")[0] == "session":
            return next(iter(self._under_way), None)
        return next((each for each in self._under_way if each.event_id == about), None)

    # -- what the server does ----------------------------------------------------------------------------------

    def _heed(self, session: object, update: Update | None = None) -> None:
        """The server says how the session is; what it does not say is as the update, which it took, has it."""
        if update is not None and update.wish is not None:
            self.wished = update.wish
        if self._ears is not None:
            self._ears.heed(session, took=update is not None and (update.enables or update.hears is not None))
            if update is not None and update.hears is not None:
                self._ears.wished = update.hears
        detection = openai.turn_detection(session)
        if detection is None:
            self.silenced = self.silenced or (update is not None and update.silences)
            return
        turns = isinstance(detection, dict) and openai.text(session, "type") != "transcription"
        self._listens = detection if isinstance(detection, dict) and turns else {}
        self.silenced = self._listens.get(_ANSWERS) is False
        if self.silenced:
            self._tried = False
        elif self._listens:
            self.wished = True

    def _insist(self) -> None:
        """Ask the server for what it does not do by itself."""
        self._silence()
        if self._ears is None or any(each.hears is not None or each.enables for each in self._under_way):
            return
        if (session := self._ears.ask()) is not None:
            own = self._own_id()
            self._under_way.append(Update(own, own=True, speaks=False))
            self._effects.append(Tell("upstream", {"type": "session.update", "event_id": own, "session": session}))

    def _silence(self) -> None:
        """Tell the server not to answer by itself, if it would: but once, should it take no notice, and not beside an
        update that says how it listens, and so tells it already."""
        if not self._listens or self.silenced or self._tried or any(each.speaks for each in self._under_way):
            return
        self._tried, own = True, self._own_id()
        self._under_way.append(Update(own, own=True))
        detection = {**self._listens, _ANSWERS: False}
        changed = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
        self._effects.append(Tell("upstream", {"type": "session.update", "event_id": own, "session": changed}))


def _wish(event: Event) -> tuple[bool, bool | None]:
    """Does an update say how the server detects turns, and whether it then answers? Raises Misnamed."""
    holder: object = event.get("session")
    for name in _DETECTION:
        if not isinstance(holder, dict):
            return False, None
        check_case(holder, (name,))
        if name not in holder:
            return False, None
        holder = holder[name]
    if not isinstance(holder, dict):
        return True, None
    check_case(holder, (_ANSWERS,))
    return True, holder.get(_ANSWERS) is not False


def _with_answers(event: Event, *, answers: bool) -> Event:
    """The event with turn detection that says so; the same object where it detects no turns, or says so already."""
    session = event.get("session")
    detection = openai.part(session, *_DETECTION)
    if not isinstance(session, dict) or not isinstance(detection, dict) or detection.get(_ANSWERS, True) is answers:
        return event
    audio = session["audio"]
    changed = {**audio, "input": {**audio["input"], "turn_detection": {**detection, _ANSWERS: answers}}}
    return {**event, "session": {**session, "audio": changed}}
