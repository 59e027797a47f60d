"""One realtime session: what becomes of each message, and what follows from it.

No sockets, no clock: messages go in, verdicts come back, and effects are queued for the relay. What the session
learns it keeps in its turns, in the user's speech, and in the account of what was used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from dataplane.dialects import openai, openai_beta
from dataplane.guardrails.judge import Answer
from dataplane.metering.estimate import Conversation
from dataplane.metering.usage import Tokens, Usage
from dataplane.realtime import endings, events
from dataplane.realtime.account import Account
from dataplane.realtime.admission import Admission
from dataplane.realtime.audio import MAX_EVENT_ID, CanonicalAudio
from dataplane.realtime.effects import Direction, Effect, Finish, Forward, Logged, Show, Switched, Tell, Unmetered
from dataplane.realtime.inspection.ears import Ears, transcribers
from dataplane.realtime.inspection.input import Input
from dataplane.realtime.inspection.output import READ, Output
from dataplane.realtime.inspection.questions import Questions
from dataplane.realtime.inspection.spoken import Spoken
from dataplane.realtime.inspection.telling import Telling
from dataplane.realtime.names import HOLDERS, Misnamed, Names, check_case
from dataplane.realtime.speech import Speech
from dataplane.realtime.steps import KEEP, OPAQUE, Sent, Verdict
from dataplane.realtime.terms import Terms
from dataplane.realtime.turns import Turns

_INVALID = "invalid_request_error"


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream's first event was an error: the session never began."""

    code: str
    message: str
    close_reason: str = ""
    kind: str = ""
    """The error's `type`."""

    @property
    def clients(self) -> bool:
        """Does the upstream say that the request was wrong?"""
        return _INVALID in (self.kind, self.close_reason.partition(".")[0])


@dataclass(slots=True)
class _Audio:
    """What has passed that a provider may bill by its length, or by the piece, beside what turns and `Sent` count."""

    items: int = 0
    """Characters of base64 of audio in items of the client's."""
    received: int = 0
    """Bytes of binary messages."""
    billed: int = 0
    """Items of the client's that are not audio, and not the output of a function."""


class Session:
    """One session. `read_client` and `read_upstream` judge messages; `effects()` hands out what else follows."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.opened: Literal[True] | Refused | None = None
        """None until the upstream's first message."""
        self.sent = Sent()
        """What the client has sent; its gate counts it."""
        self.queue: deque[Effect] = deque()
        """Effects that are to be handed out."""
        self._names = Names(terms)
        self._account = Account(terms, self.queue, self._names)
        self._conversation = Conversation()
        self._turns = Turns(self._account, self._conversation, self.queue)
        self._questions = Questions(self.queue)
        self._metered: Container[str] = READ if terms.guards else openai.METERED
        """Types of the upstream's events that are read, whoever asks for what."""
        self._flow(True)
        self.flows = self._turns.flows
        """Does an upstream's message, a slice of what was read, go on unread, with nothing that follows from it?"""
        self._speech = Speech(self._account, self._conversation, self.sent)
        self._telling = Telling(self.queue, self._account.own_id)
        self._output = (
            Output(terms.guards, self.queue, self._turns, self._questions, self._account.own_id, self._flow)
            if terms.guards
            else None
        )
        self._input: Input | None = None
        self._spoken: Spoken | None = None
        ears = self._inspect(self._output) if self._output is not None else None
        self._admission = (
            Admission(
                self._turns,
                self.queue,
                self._account.own_id,
                silences=terms.mends,
                asks=terms.admits,
                heard=self._heard,
                ears=ears,
            )
            if terms.admits or ears
            else None
        )
        self._audio = _Audio()
        self._noticed = False
        """Has a binary message that is no event been counted?"""

    def _inspect(self, output: Output) -> Ears | None:
        """Judge what the client says, and, if what the user says must be judged before it is answered, with ears."""
        guards = [guard for guard in self.terms.guards if guard.rule.input]
        if not guards:
            return None
        blocks = any(guard.enforces and guard.rule.action == "block" for guard in guards)
        old = not self.terms.mends
        before_ga = old and self.terms.provider_kind == "azure"
        ears = Ears(transcribers(self.terms), always=old, beta=before_ga) if blocks else None
        judged = self._input = Input(
            guards,
            self._questions,
            self._telling,
            go_on=self._forward,
            heard=self._heard,
            stands=lambda: bool(self._admission and self._admission.holds),
        )
        self._spoken = Spoken(
            guards,
            self._questions,
            self._telling,
            self.queue,
            ears=ears,
            withholding=output,
            settled=self._settled,
            refused=judged.unanswerable,
            show=self._show,
        )
        return ears

    def _heard(self) -> bool:
        """Was everything that the user said judged?"""
        return self._spoken is None or self._spoken.clear

    def _settled(self, answerable: bool) -> None:
        """Something that the user said was judged."""
        if self._admission is not None:
            self._admission.heard(answerable=answerable)
        self._release()

    # -- what the relay asks -----------------------------------------------------------------------------------

    @property
    def turns(self) -> int:
        """Turns that are over."""
        return self._account.turns

    @property
    def tokens(self) -> Tokens:
        """What was used so far, as the provider reported it."""
        return self._account.tokens

    @property
    def estimated(self) -> Tokens:
        """What was used so far of which the provider reported nothing."""
        return self._account.estimated

    @property
    def manual(self) -> bool:
        """Does the client say when its turns end, and not the server?"""
        return self._speech.manual

    @property
    def audio_seconds(self) -> float:
        """How long the audio is that was sent and received so far; of an answer that is under way, not yet."""
        given = self._speech.sounds(self.sent.audio + self._audio.items)
        return given + self._turns.said + self._audio.received / self._turns.rate

    @property
    def items(self) -> int:
        """How many items the client has added that are billed by the piece."""
        return self._audio.billed

    def time(self, used: Tokens) -> Usage:
        """The record of time that is billed."""
        return self._account.time(used)

    @property
    def model(self) -> str:
        """The model that the upstream says it serves."""
        return self._account.model

    def effects(self) -> Iterator[Effect]:
        """What has become due, oldest first; handed out once. What becomes due meanwhile is among it."""
        while self.queue:
            yield self.queue.popleft()

    @property
    def may_end(self) -> bool:
        """May it end by what the upstream does? Then nothing of what comes behind that goes on."""
        return self._names.watches

    @property
    def unsettled(self) -> bool:
        """Is there usage that the upstream has yet to report?"""
        return self._turns.outstanding or self._speech.outstanding

    @property
    def asked(self) -> int:
        """How many of the turns that the client asked for are still to begin."""
        return self._turns.asked

    @property
    def between_turns(self) -> bool:
        """Is nobody in the middle of anything: no turn under way or to come, no transcription, no user talking?"""
        waits = (
            (self._input and self._input.pending)
            or (self._admission and self._admission.pending)
            or (self._output and self._output.pending)
        )
        return not (self.unsettled or self._speech.talking or waits)

    @property
    def holds(self) -> int:
        """How many bytes of the client's wait for a turn to be admitted, or to be judged? Then what comes behind them
        must wait, too."""
        admission, judged = self._admission, self._input
        return (admission.holds if admission is not None else 0) + (judged.holds if judged is not None else 0)

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
        self._questions.answer(ticket, answer)

    def close(self) -> None:
        """The session ends: no turn is admitted any more."""
        self._questions.close()
        if self._input is not None and self._spoken is not None:
            self._input.close()
            self._spoken.close()
        if self._output is not None:
            self._output.close()
        if self._admission is not None:
            self._admission.close()

    def leave(self) -> None:
        """The client is gone: cancel what it left running, so that its usage comes now."""
        self._turns.leave()

    def abandon(self) -> None:
        """The upstream is gone: what never ended is counted as lost."""
        self._turns.abandon()
        self._speech.abandon()
        if self._admission is not None:
            self._admission.close()
            self._admission.settle()

    @property
    def audio(self) -> CanonicalAudio | None:
        """The shape of the client events that go on unread; None where those are to be logged."""
        return None if self.terms.logs(openai.AUDIO_TYPE) else openai.AUDIO

    def wants(self, head: bytes, size: int) -> bool:
        """Must the upstream's message of `size` bytes that begins so be read? One that need not be is noted here:
        ask once of each that goes on."""
        kind = openai.head_type(head)
        if self.opened is None or kind is None or self._reads(kind):
            return True
        if kind in openai.AUDIO_DELTAS:
            if self._output is not None and self._output.hears(head):
                return True
            self._turns.sounds(head, size)
        elif kind in openai.TEXT_DELTAS:
            self._turns.writes(head)
        elif kind == openai.TRANSCRIPT_DELTA:
            self._speech.wrote(openai.item_id(head))
        return False

    def _reads(self, kind: str) -> bool:
        if self.terms.bills_time and kind in openai.AUDIO_DELTAS:
            return True  # to the byte: its length is billed
        return kind in self._metered or self.terms.logs(kind) or (self.terms.beta and kind in openai_beta.RENAMED)

    def _heads(self, kinds: frozenset[str]) -> tuple[bytes, ...]:
        """How the events of these types begin, if they need not be read, in compact JSON, as vendors write it."""
        return _begun(frozenset(kind for kind in kinds if not self._reads(kind)))

    def _flow(self, flows: bool) -> None:
        """Audio may go on unread, or not."""
        audio = self._heads(openai.AUDIO_DELTAS) if flows else ()
        self._turns.unread(audio, self._heads(openai.TEXT_DELTAS))

    def passes(self, head: bytes, size: int) -> None:
        """So many bytes more, in another frame, of the unread message that begins so."""
        if head == OPAQUE:
            self.opaque(size)
        elif openai.head_type(head) in openai.AUDIO_DELTAS:
            self._turns.sounds_on(head, size)

    def opaque(self, size: int) -> bool:
        """The upstream has sent a binary message that is no event, or so many bytes of one: must it be read? If not, it
        is noted."""
        if self._output is not None and self._output.reads_binary(audio=self.terms.binary_audio):
            return True
        self._note_opaque(size)
        return False

    def _note_opaque(self, size: int) -> None:
        """It may be audio, of which there is much: where that is not usual, that it comes is counted, not how often."""
        if self.opened is None:
            self._open(True)
        if self.terms.binary_audio:
            self._audio.received += size
        elif not self._noticed:
            self._noticed = True
            self.queue.append(Unmetered("binary"))

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
            named = self._names.upstream(event)
        except Misnamed as error:
            return self._decline(error.code, error.message, event_id=event.get("event_id"), param=error.param)
        if self.terms.mends:
            named = openai_beta.mended(named)
        if self._input is not None:
            judged = self._input.read(named, len(payload))
            if judged is None:
                return ()
            named = judged
        return self._pass_on(named, payload if named is event else None)

    def _forward(self, event: events.Event) -> None:
        """An event that waited goes on."""
        verdict = self._pass_on(event, None)
        self.queue.extend([Forward(each) for each in verdict] if verdict is not KEEP else [])

    def _release(self) -> None:
        """Have go on what waits for no one any more."""
        if self._input is not None:
            self._input.release()

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
        self._note_client(named)
        return KEEP if dumped is payload else (dumped,)

    def _note_client(self, event: events.Event) -> None:
        """Learn what the client's event, which goes on, says about the session."""
        match event.get("type"):
            case "response.create":
                self._turns.ask(openai.name(event, "event_id"))
            case openai.AUDIO_TYPE:
                self.sent.audio += len(openai.text(event, "audio"))
            case "input_audio_buffer.commit":
                self._speech.commit()
                if self._spoken is not None:
                    self._spoken.commit()
            case "conversation.item.create":
                item = event.get("item")
                self._conversation.read(openai.written(item))
                spoken = openai.spoken(item)
                self._speech.add(spoken)
                self._audio.items += spoken
                self._audio.billed += not spoken and openai.text(item, "type") != "function_call_output"

    def _decline(self, code: str, message: str, *, event_id: object = None, param: str = "") -> Verdict:
        if not isinstance(event_id, str) or len(event_id) > MAX_EVENT_ID:
            event_id = None
        self._tell("client", openai.error(self._account.own_id(), code, message, event_id=event_id, param=param))
        return ()

    # -- upstream → client -------------------------------------------------------------------------------------

    def read_upstream(self, payload: bytes, *, binary: bool) -> Verdict:
        """The verdict on an upstream's message that `wants` chose. It is relayed whatever it is."""
        event = events.read(payload)
        if not isinstance(event, dict):
            if binary:
                self._note_opaque(len(payload))
            else:
                if self.opened is None:
                    self._open(True)
                self.queue.append(Unmetered("undecodable"))
            return self._unless_judged(payload, binary=binary)
        kind = openai.text(event, "type")
        if self.opened is None:
            self._open(_refused(event) if kind == "error" else True)
        self._log("upstream", event, len(payload))
        if self._swallows(kind, event):
            return ()
        admission, shown = self._admission, event
        if admission is None:
            self._note(kind, event)
        else:
            shown = admission.detection.shown(event)
            self._note(kind, shown)
            self._note_admission(admission, kind, shown)
            shown = admission.detection.answered(shown)
        if self._spoken is None:
            return self._for_client(event, shown)
        verdict = self._each_for_client(event, payload, self._spoken.read(kind, shown))
        return (payload,) if verdict is KEEP and self.queue else verdict  # what it releases comes before what follows

    def _swallows(self, kind: str, event: events.Event) -> bool:
        """Is this the answer to something of the gateway's own?"""
        if self._spoken is not None and self._spoken.swallows(kind, event):
            return True
        if self._admission is None or not self._admission.swallows(kind, event):
            return False
        if self._spoken is not None and kind == "session.updated":
            self._speech.transcribe(openai.transcription_model(event.get("session")))
        self._admission.settle()
        return True

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

    def _unless_judged(self, payload: bytes, *, binary: bool) -> Verdict:
        """What is no event goes on, unless somebody must have read it."""
        if self._output is None:
            return KEEP
        judged = self._output.opaque(payload, binary=binary, audio=self.terms.binary_audio)
        return KEEP if judged is None else judged

    def _open(self, opened: Literal[True] | Refused) -> None:
        self.opened = opened

    def _note(self, kind: str, event: events.Event) -> None:
        """Learn what the event says about the session."""
        match kind:
            case "session.created" | "session.updated" | "transcription_session.updated":
                self._configure(event.get("session"))
            case "response.created":
                self._turns.begin(event.get("response"))
                self._end_unless_allowed(self._names.unasked_answer(self.model))
            case "response.done":
                self._turns.done(event)
            case "error":
                self._note_error(event)
            case _ if kind.startswith("input_audio_buffer."):
                self._note_buffer(kind, event)
            case _ if kind.startswith("conversation.item.input_audio_transcription."):
                self._note_transcription(kind, event)
            case _ if kind in openai.AUDIO_DELTAS or kind in openai.TEXT_DELTAS:
                self._turns.read(event, audio=kind in openai.AUDIO_DELTAS)

    def _note_admission(self, admission: Admission, kind: str, event: events.Event) -> None:
        """Learn what it says about turns that are to be admitted."""
        match kind:
            case "session.created":
                admission.detection.created(event.get("session"))
            case "response.created":
                name = openai.name(event, "response", "id")
                admission.begun(name)
                if self._spoken is not None:
                    self._spoken.begun(name)
            case "input_audio_buffer.committed":
                self._commit(admission, openai.name(event, "item_id"))
        admission.settle()

    def _commit(self, admission: Admission, item: str) -> None:
        """What the user said is an item of the conversation, which may be answered, once it was judged."""
        if self._spoken is not None:
            self._spoken.committed(item)
        admission.commit()
        if self._spoken is not None and not admission.detection.transcribes:
            self._spoken.unheard(item)

    def _configure(self, session: object) -> None:
        self._names.told(session)
        self._account.model = openai.name(session, "model") or self.model
        self._turns.rate = openai.audio_rate(session, "output") or self._turns.rate
        self._conversation.instruct(len(openai.text(session, "instructions")))
        before = self._speech.manual
        self._speech.configure(session)
        if self.terms.bills_time and self._speech.manual is not before:
            self.queue.append(Switched())

    def _note_buffer(self, kind: str, event: events.Event) -> None:
        match kind:
            case "input_audio_buffer.speech_started":
                self._speech.start(event)
            case "input_audio_buffer.speech_stopped":
                if self._speech.stop(event):
                    self._prompt(spoken=True)
            case "input_audio_buffer.committed":
                if self._speech.committed(openai.name(event, "item_id")):
                    self._prompt(spoken=True)
                self._end_unless_allowed(self._names.unasked_transcription())
            case "input_audio_buffer.timeout_triggered":
                if self._speech.time_out(event):
                    self._prompt(spoken=False)
            case "input_audio_buffer.cleared":
                self._speech.clear()

    def _prompt(self, *, spoken: bool) -> None:
        """The server answers, or would."""
        self._turns.prompt(spoken=spoken)
        if self._admission is not None:
            self._admission.prompt()

    def _note_transcription(self, kind: str, event: events.Event) -> None:
        match kind.rpartition(".")[2]:
            case "completed":
                self._speech.transcribed(event)
                self._end_unless_allowed(self._names.unasked_transcription())
            case "failed":
                self._speech.failed(openai.name(event, "item_id"))
            case "delta":
                self._speech.wrote(openai.name(event, "item_id"))

    def _note_error(self, event: events.Event) -> None:
        code, about = openai.text(event, "error", "code"), openai.name(event, "error", "event_id")
        if code == "input_audio_buffer_commit_empty":
            self._speech.refuse_commit()
            if self._spoken is not None:
                self._spoken.uncommitted()
        elif about:
            self._turns.refuse_named(about)
        else:
            self._turns.refuse(certain=openai.refuses_response(code, openai.text(event, "error", "param")))

    def _end_unless_allowed(self, why: str) -> None:
        if why:
            self.queue.append(Finish(endings.MODEL_NOT_ALLOWED, why))

    def _for_client(self, event: events.Event, shown: events.Event) -> Verdict:
        """The event as the client knows it: by its own names of models, and in the shape that it declared. `shown` is
        what it has become so far."""
        session = shown.get("session")
        if isinstance(session, dict) and (named := self._names.client(session)) is not session:
            shown = {**shown, "session": named}
        if self.terms.beta:
            old = openai_beta.renamed(shown)
            if old is None:
                return ()
            shown = old
        if self._output is not None and (judged := self._output.read(shown)) is not None:
            return judged
        try:
            return KEEP if shown is event else (events.dump(shown),)
        except events.BadEvent:
            return KEEP

    # -- small things ------------------------------------------------------------------------------------------

    def _tell(self, to: Direction, event: events.Event) -> None:
        self.queue.append(Tell(to, event))

    def _log(self, direction: Direction, event: events.Event, size: int) -> None:
        if not self.terms.log_events:
            return
        kind = openai.name(event, "type")
        if self.terms.logs(kind):
            response_id = openai.name(event, "response_id") or openai.name(event, "response", "id")
            self.queue.append(Logged(direction, kind, openai.name(event, "event_id"), response_id, size))


@cache
def _begun(kinds: frozenset[str]) -> tuple[bytes, ...]:
    """One for all sessions, since they are compared with every message: so they stay in the processor's cache."""
    return tuple(b'{"type":"%b"' % kind.encode() for kind in sorted(kinds))


def _check_case(event: events.Event) -> None:
    """Raises Misnamed where a field that is judged here stands there in another case."""
    check_case(event, _JUDGED)
    for holder in HOLDERS:
        if isinstance(inner := event.get(holder), dict):
            check_case(inner, _JUDGED_INSIDE)


_JUDGED = frozenset({"type", *HOLDERS})
_JUDGED_INSIDE = frozenset({"model"})


def _refused(event: events.Event) -> Refused:
    said = openai.part(event, "error")
    return Refused(openai.text(said, "code"), openai.text(said, "message"), kind=openai.name(said, "type"))
