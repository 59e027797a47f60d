"""One realtime session: what becomes of each message, and what follows from it.

No sockets, no clock: messages go in, verdicts come back, and effects are queued for the relay. A message is noted, as
what it says of the session (`noting`), judged, where guardrails hold (`inspection`), and changed into what the other
side knows; turns may have to wait (`admission`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from dataplane.dialects import openai, openai_beta
from dataplane.guardrails.judge import Answer
from dataplane.realtime import endings, events
from dataplane.realtime.admission import Admission
from dataplane.realtime.audio import MAX_EVENT_ID, CanonicalAudio
from dataplane.realtime.effects import Direction, Effect, Finish, Forward, Logged, Show, Tell
from dataplane.realtime.inspection.inspection import Inspection
from dataplane.realtime.listening import Listening
from dataplane.realtime.names import HOLDERS, Misnamed, check_case
from dataplane.realtime.noting import Noted
from dataplane.realtime.steps import KEEP, Sent, Verdict
from dataplane.realtime.terms import Terms


class Session:
    """One session. `read_client` and `read_upstream` judge messages; `effects()` hands out what else follows."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.sent = Sent()
        """What the client has sent; its gate counts it."""
        self.queue: deque[Effect] = deque()
        """Effects that are to be handed out."""
        self.noted = Noted(terms, self.queue, self.sent)
        """What is known of it, and was used."""
        self.listening = Listening(terms, self.queue, self.noted)
        """Which of the upstream's messages are read."""
        self._own_id = self.noted.account.own_id
        self._inspection = self._inspect() if terms.guards else None
        self._admission = self._admit()

    def _inspect(self) -> Inspection:
        """What is said is judged."""
        inspection = Inspection(
            self.terms,
            self.queue,
            self.noted.turns,
            self._own_id,
            flow=self.listening.flow,
            go_on=self._forward,
            show=self._show,
            stands=lambda: bool(self._admission and self._admission.holds),
            settled=self._settled,
        )
        self.listening.output = inspection.output
        return inspection

    def _admit(self) -> Admission | None:
        """Turns begin once somebody says so, or what the user said was judged."""
        inspection = self._inspection
        ears = inspection.ears if inspection is not None else None
        if not (self.terms.admits or ears):
            return None
        return Admission(
            self.noted.turns,
            self.queue,
            self._own_id,
            silences=self.terms.mends,
            asks=self.terms.admits,
            heard=self._heard,
            ears=ears,
        )

    def _heard(self) -> bool:
        """Was everything judged that the user said?"""
        return self._inspection is None or self._inspection.heard()

    # -- what the relay asks -----------------------------------------------------------------------------------

    def effects(self) -> Iterator[Effect]:
        """What has become due, oldest first; handed out once. What becomes due meanwhile is among it."""
        while self.queue:
            yield self.queue.popleft()

    @property
    def audio(self) -> CanonicalAudio | None:
        """The shape of the client events that go on unread; None where those are to be logged."""
        return None if self.terms.logs(openai.AUDIO_TYPE) else openai.AUDIO

    @property
    def may_end(self) -> bool:
        """May it end by what the upstream does? Then nothing of what comes behind that goes on."""
        return self.noted.names.watches

    @property
    def unsettled(self) -> bool:
        """Is there usage that the upstream has yet to report?"""
        return self.noted.unsettled

    @property
    def between_turns(self) -> bool:
        """Is nobody in the middle of anything: no turn under way or to come, no transcription, no user talking?"""
        waits = (self._inspection and self._inspection.pending) or (self._admission and self._admission.pending)
        return not (self.unsettled or self.noted.speech.talking or waits)

    @property
    def holds(self) -> int:
        """How many bytes of the client's wait for a turn to be admitted, or to be judged? Then what comes behind them
        must wait, too."""
        admission, inspection = self._admission, self._inspection
        waiting = admission.holds if admission is not None else 0
        return waiting + inspection.holds if inspection is not None else waiting

    def admit(self, ticket: int) -> None:
        """The turn that was asked about may begin."""
        assert self._admission is not None, "nobody asked"
        self._admission.admit(ticket)
        self._release()

    def refuse(self, ticket: int, code: str = "", message: str = "") -> None:
        """The turn that was asked about may not begin: the client is told, if there is a message."""
        assert self._admission is not None, "nobody asked"
        self._admission.refuse(ticket, code, message)
        self._release()

    def judged(self, ticket: int, answer: Answer) -> None:
        """What was said of a text that was asked about."""
        assert self._inspection is not None, "nobody asked"
        self._inspection.judged(ticket, answer)

    @property
    def judging(self) -> bool:
        """Is somebody asked about what the upstream said, so that it may be shown yet?"""
        return self._inspection is not None and self._inspection.judging

    def close(self, *, last: bool = False) -> None:
        """The session ends: nothing that waits goes on, and no turn is admitted any more. `last`: what the upstream has
        said may be shown yet."""
        if self._inspection is not None:
            self._inspection.close(last=last)
        if self._admission is not None:
            self._admission.close()

    def leave(self) -> None:
        """The client is gone: cancel what it left running, so that its usage comes now."""
        self.noted.turns.leave()

    def abandon(self) -> None:
        """The upstream is gone: what never ended is counted as lost."""
        self.noted.abandon()
        if self._admission is not None:
            self._admission.close()
            self._admission.settle()

    # -- client → upstream -------------------------------------------------------------------------------------

    def read_client(self, payload: bytes, *, binary: bool) -> Verdict:
        """The verdict on a client's message. What is not a strict JSON event is answered here: the upstream may
        read it differently from us."""
        if binary and self.terms.binary_audio and not events.may_be_object(payload):
            self.sent.audio += -(-len(payload) * 4 // 3)
            return KEEP
        if binary and not self.terms.binary_audio:
            return self._decline("invalid_event", "Binary messages are not supported. Send JSON as text.")
        try:
            event = events.parse(payload)
        except UnicodeDecodeError:
            self.queue.append(Finish(endings.BAD_UTF8, "A text message was not UTF-8."))
            return ()
        except events.BadEvent as error:
            return self._decline("invalid_json", f"The message could not be read: {error}. Send one JSON object.")
        self._log("client", event, len(payload))
        try:
            _check_case(event)
            named = self.noted.names.upstream(event)
        except Misnamed as error:
            return self._decline(error.code, error.message, event_id=event.get("event_id"), param=error.param)
        if self.terms.mends:
            named = openai_beta.mended(named)
        if self._inspection is not None:
            judged = self._inspection.read_client(named, len(payload))
            if judged is None:
                return ()
            named = judged
        return self._pass_on(named, payload if named is event else None)

    def _pass_on(self, event: events.Event, payload: bytes | None) -> Verdict:
        """The event goes on to the upstream, unless it waits for its admission. `payload`: it, if it was not changed
        so far."""
        event_id, admission, named, update = event.get("event_id"), self._admission, event, None
        try:
            if admission is not None and event.get("type") == "session.update":
                named, update = admission.detection.update(event)
        except Misnamed as error:
            return self._decline(error.code, error.message, event_id=event_id, param=error.param)
        try:
            dumped = payload if payload is not None and named is event else events.dump(named)
        except events.BadEvent as error:
            return self._decline("invalid_json", f"The message cannot be passed on: {error}.", event_id=event_id)
        if admission is not None and admission.asks and named.get("type") == "response.create":
            admission.hold(openai.name(event, "event_id"), dumped)
            return ()
        if admission is not None and update is not None:
            admission.detection.sent(update)
        self.noted.client(named)
        if self._inspection is not None:
            self._inspection.sent(named)
        return KEEP if dumped is payload else (dumped,)

    def _forward(self, event: events.Event) -> None:
        """An event that waited goes on."""
        verdict = self._pass_on(event, None)
        self.queue.extend([Forward(each) for each in verdict] if verdict is not KEEP else [])

    def _release(self) -> None:
        """Have go on what waits for no one any more."""
        if self._inspection is not None:
            self._inspection.release()

    def _settled(self, answerable: bool) -> None:
        """Something that the user said was judged; is there anything to answer?"""
        if self._admission is not None:
            self._admission.heard(answerable=answerable)
        self._release()

    def _decline(self, code: str, message: str, *, event_id: object = None, param: str = "") -> Verdict:
        if not isinstance(event_id, str) or len(event_id) > MAX_EVENT_ID:
            event_id = None
        self.queue.append(Tell("client", openai.error(self._own_id(), code, message, event_id=event_id, param=param)))
        return ()

    # -- upstream → client -------------------------------------------------------------------------------------

    def read_upstream(self, payload: bytes, *, binary: bool) -> Verdict:
        """The verdict on an upstream's message that `listening` wants. Without guardrails it is relayed whatever it
        is."""
        event = events.read(payload)
        if not isinstance(event, dict):
            self.listening.misread(len(payload), binary=binary)
            judged = self._inspection.opaque(payload, binary=binary) if self._inspection is not None else None
            return KEEP if judged is None else judged
        kind = openai.text(event, "type")
        if self.listening.opened is None:
            self.listening.begin(kind, event)
        self._log("upstream", event, len(payload))
        if self._swallows(kind, event):
            return ()
        shown = self._note(kind, event)
        if self._inspection is None:
            return self._for_client(event, shown)
        verdict = self._each_for_client(event, payload, self._inspection.read_upstream(kind, shown))
        return (payload,) if verdict is KEEP and self.queue else verdict  # what it releases comes before what follows

    def _swallows(self, kind: str, event: events.Event) -> bool:
        """Is this the answer to something of the gateway's own?"""
        if self._inspection is not None and self._inspection.swallows(kind, event):
            return True
        if self._admission is None or not self._admission.swallows(kind, event):
            return False
        if self._inspection is not None and self._inspection.hears and kind == "session.updated":
            self.noted.speech.transcribe(openai.transcription_model(event.get("session")))
        self._admission.settle()
        return True

    def _note(self, kind: str, event: events.Event) -> events.Event:
        """Learn what the event says; the session in it as the client set it up."""
        admission = self._admission
        shown = event if admission is None else admission.detection.shown(event)
        answers = self.noted.upstream(kind, shown)
        if kind == "error" and self._inspection is not None:
            self._inspection.refused(shown)
        if admission is None:
            return shown
        if answers:
            admission.prompt()
        self._note_admission(admission, kind, shown)
        return admission.detection.answered(shown)

    def _note_admission(self, admission: Admission, kind: str, event: events.Event) -> None:
        """Learn what it says about turns that are to be admitted."""
        match kind:
            case "session.created":
                admission.detection.created(event.get("session"))
            case "response.created":
                name = openai.name(event, "response", "id")
                admission.begun(name)
                if self._inspection is not None:
                    self._inspection.begun(name)
            case "input_audio_buffer.committed":
                self._commit(admission, openai.name(event, "item_id"))
        admission.settle()

    def _commit(self, admission: Admission, item: str) -> None:
        """What the user said is an item of the conversation, which may be answered, once it was judged."""
        if self._inspection is not None:
            self._inspection.committed(item)
        admission.commit()
        if self._inspection is not None and not admission.detection.transcribes:
            self._inspection.unheard(item)

    def _each_for_client(self, event: events.Event, payload: bytes, shown: Sequence[events.Event]) -> Verdict:
        """These events as the client knows them, in the place of one."""
        if len(shown) == 1 and shown[0] is event:
            return self._for_client(event, event)
        messages: list[bytes] = []
        for each in shown:
            verdict = self._for_client(event, each)
            messages += verdict if verdict is not KEEP else [payload] if each is event else []
        return tuple(messages)

    def _show(self, event: events.Event) -> None:
        """An event that was withheld."""
        verdict = self._for_client({}, event)
        self.queue.extend([Show(each) for each in verdict] if verdict is not KEEP else [])

    def _for_client(self, event: events.Event, shown: events.Event) -> Verdict:
        """The event as the client knows it: by its own names of models, and in the shape that it declared. `shown` is
        what it has become so far."""
        session = shown.get("session")
        if isinstance(session, dict) and (named := self.noted.names.client(session)) is not session:
            shown = {**shown, "session": named}
        if self.terms.beta:
            old = openai_beta.renamed(shown)
            if old is None:
                return ()
            shown = old
        if self._inspection is not None and (judged := self._inspection.shown(shown)) is not None:
            return judged
        try:
            return KEEP if shown is event else (events.dump(shown),)
        except events.BadEvent:
            return KEEP

    # -- small things ------------------------------------------------------------------------------------------

    def _log(self, direction: Direction, event: events.Event, size: int) -> None:
        if not self.terms.log_events:
            return
        kind = openai.name(event, "type")
        if self.terms.logs(kind):
            response_id = openai.name(event, "response_id") or openai.name(event, "response", "id")
            self.queue.append(Logged(direction, kind, openai.name(event, "event_id"), response_id, size))


def _check_case(event: events.Event) -> None:
    """Raises Misnamed where a field that is judged here stands there in another case."""
    check_case(event, _JUDGED)
    for holder in HOLDERS:
        if isinstance(inner := event.get(holder), dict):
            check_case(inner, _JUDGED_INSIDE)


_JUDGED = frozenset({"type", *HOLDERS})
_JUDGED_INSIDE = frozenset({"model"})
