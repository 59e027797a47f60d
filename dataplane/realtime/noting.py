"""What is known of one session, by what either side's events say of it, and what it has used by that.

Here is which event says what; what follows from it each keeps by itself: the turns, the user's speech, the account of
what was used, and the models' names.
"""

from __future__ import annotations

from collections import deque

from dataplane.dialects import openai
from dataplane.metering.estimate import Conversation
from dataplane.metering.usage import Tokens, Usage
from dataplane.realtime import endings
from dataplane.realtime.account import Account
from dataplane.realtime.effects import Effect, Finish, Switched
from dataplane.realtime.events import Event
from dataplane.realtime.names import Names
from dataplane.realtime.speech import Speech
from dataplane.realtime.steps import Sent
from dataplane.realtime.terms import Terms
from dataplane.realtime.turns import Turns


class Noted:
    """Puts among `effects` what follows. `sent` counts what the client has sent."""

    def __init__(self, terms: Terms, effects: deque[Effect], sent: Sent) -> None:
        self.names = Names(terms)
        self.account = Account(terms, effects, self.names)
        self._conversation = Conversation()
        self.turns = Turns(self.account, self._conversation, effects)
        self.speech = Speech(self.account, self._conversation, sent)
        self.billed = 0
        """Items of the client's that are not audio, and not the output of a function: some providers bill each."""
        self.received = 0
        """Bytes of binary messages, which are audio."""
        self._in_items = 0
        """Characters of base64 of audio in items of the client's."""
        self._terms, self._effects, self._sent = terms, effects, sent

    # -- what was used -----------------------------------------------------------------------------------------

    @property
    def over(self) -> int:
        """Turns that are over."""
        return self.account.turns

    @property
    def tokens(self) -> Tokens:
        """What was used so far, as the provider reported it."""
        return self.account.tokens

    @property
    def estimated(self) -> Tokens:
        """What was used so far of which the provider reported nothing."""
        return self.account.estimated

    @property
    def model(self) -> str:
        """The model that the upstream says it serves."""
        return self.account.model

    @property
    def manual(self) -> bool:
        """Does the client say when its turns end, and not the server?"""
        return self.speech.manual

    @property
    def audio_seconds(self) -> float:
        """How long the audio is that was sent and received so far; of an answer that is under way, not yet."""
        given = self.speech.sounds(self._sent.audio + self._in_items)
        return given + self.turns.said + self.received / self.turns.rate

    def time(self, used: Tokens) -> Usage:
        """The record of time that is billed."""
        return self.account.time(used)

    @property
    def unsettled(self) -> bool:
        """Is there usage that the upstream has yet to report?"""
        return self.turns.outstanding or self.speech.outstanding

    def abandon(self) -> None:
        """The upstream is gone: what never ended is counted as lost."""
        self.turns.abandon()
        self.speech.abandon()

    # -- what either side says ---------------------------------------------------------------------------------

    def client(self, event: Event) -> None:
        """An event of the client's goes on to the upstream."""
        match event.get("type"):
            case "response.create":
                self.turns.ask(openai.name(event, "event_id"))
            case openai.AUDIO_TYPE:
                self._sent.audio += len(openai.text(event, "audio"))
            case "input_audio_buffer.commit":
                self.speech.commit()
            case "conversation.item.create":
                item = event.get("item")
                self._conversation.read(openai.written(item))
                spoken = openai.spoken(item)
                self.speech.add(spoken)
                self._in_items += spoken
                self.billed += not spoken and openai.text(item, "type") != "function_call_output"

    def upstream(self, kind: str, event: Event) -> bool:
        """An event of the upstream's has come: does it say that the server answers the user, or would?"""
        match kind:
            case "session.created" | "session.updated" | "transcription_session.updated":
                self._configure(event.get("session"))
            case "response.created":
                self.turns.begin(event.get("response"))
                self._end_unless_allowed(self.names.unasked_answer(self.model))
            case "response.done":
                self.turns.done(event)
            case "error":
                self._error(event)
            case _ if kind.startswith("input_audio_buffer."):
                return self._buffer(kind, event)
            case _ if kind.startswith("conversation.item.input_audio_transcription."):
                self._transcription(kind, event)
            case _ if kind in openai.AUDIO_DELTAS or kind in openai.TEXT_DELTAS:
                self.turns.read(event, audio=kind in openai.AUDIO_DELTAS)
        return False

    def _configure(self, session: object) -> None:
        self.names.told(session)
        self.account.model = openai.name(session, "model") or self.model
        self.turns.rate = openai.audio_rate(session, "output") or self.turns.rate
        self._conversation.instruct(len(openai.text(session, "instructions")))
        before = self.manual
        self.speech.configure(session)
        if self._terms.bills_time and self.manual is not before:
            self._effects.append(Switched())

    def _buffer(self, kind: str, event: Event) -> bool:
        """Does the server answer, or would?"""
        match kind:
            case "input_audio_buffer.speech_started":
                self.speech.start(event)
            case "input_audio_buffer.speech_stopped":
                return self.speech.stop(event) and self._prompt(spoken=True)
            case "input_audio_buffer.committed":
                answers = self.speech.committed(openai.name(event, "item_id")) and self._prompt(spoken=True)
                self._end_unless_allowed(self.names.unasked_transcription())
                return answers
            case "input_audio_buffer.timeout_triggered":
                return self.speech.time_out(event) and self._prompt(spoken=False)
            case "input_audio_buffer.cleared":
                self.speech.clear()
        return False

    def _prompt(self, *, spoken: bool) -> bool:
        self.turns.prompt(spoken=spoken)
        return True

    def _transcription(self, kind: str, event: Event) -> None:
        match kind.rpartition(".")[2]:
            case "completed":
                self.speech.transcribed(event)
                self._end_unless_allowed(self.names.unasked_transcription())
            case "failed":
                self.speech.failed(openai.name(event, "item_id"))
            case "delta":
                self.speech.wrote(openai.name(event, "item_id"))

    def _error(self, event: Event) -> None:
        code, about = openai.text(event, "error", "code"), openai.name(event, "error", "event_id")
        if code == openai.EMPTY_COMMIT:
            self.speech.refuse_commit()
        elif about:
            self.turns.refuse_named(about)
        else:
            self.turns.refuse(certain=openai.refuses_response(code, openai.text(event, "error", "param")))

    def _end_unless_allowed(self, why: str) -> None:
        if why:
            self._effects.append(Finish(endings.MODEL_NOT_ALLOWED, why))
