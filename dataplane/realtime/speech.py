"""What the user says in one session: whether somebody is talking, how much was said, what is yet to be transcribed.

Most client audio goes on unread, so how long it is comes from the server's voice activity detection where that says
it, and else from the size of what was sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.dialects import openai
from dataplane.dialects.openai_usage import MAX_COUNT, transcription_usage
from dataplane.metering import estimate
from dataplane.metering.estimate import MAX_SPEECH, Conversation
from dataplane.metering.usage import Status, Tokens
from dataplane.realtime.account import SEEN, Account
from dataplane.realtime.events import Event
from dataplane.realtime.steps import Sent


@dataclass(slots=True)
class Utterance:
    """Audio of the user's whose transcription is to come."""

    model: str
    """That transcribes it."""
    seconds: float
    deltas: int = 0
    """Pieces of its transcript that have come."""


class Speech:
    """`sent` counts what the client sends; what transcriptions used goes to the account."""

    def __init__(self, account: Account, conversation: Conversation, sent: Sent) -> None:
        self._account = account
        self._conversation = conversation
        self._sent = sent
        self._model = ""
        """That transcribes; empty: none does."""
        self._rate = openai.PCM_RATE
        """Bytes of input audio per second."""
        self._detects: bool | None = None
        """Does the server detect speech? None: it has not said."""
        self._answers: bool | None = None
        """Does it then begin a turn by itself?"""
        self._talking = False
        self._began: float | None = None
        """Where in its audio the user began to talk, in milliseconds."""
        self._before = 0
        """Characters of audio that were sent before the user began to talk."""
        self._said: float | None = None
        """Seconds of what was said and is not an item yet."""
        self._commits: list[int] = []
        """Of the client's own, which nothing has answered: characters of audio that were sent before each."""
        self._untranscribed: dict[str, Utterance] = {}

    @property
    def talking(self) -> bool:
        """Is the user in the middle of saying something? Without voice detection: is there audio that was not
        committed?"""
        return self._talking or (self._detects is False and self._sent.audio > self._before)

    @property
    def manual(self) -> bool:
        """Does the client say when its turns end, and not the server?"""
        return self._detects is False

    def sounds(self, characters: int) -> float:
        """Seconds of so much audio of the client's."""
        return estimate.seconds_of(characters, self._rate)

    @property
    def outstanding(self) -> bool:
        """Is a transcription, and its usage, still to come?"""
        return bool(self._untranscribed)

    def configure(self, session: object) -> None:
        """The server says how it listens."""
        self._model = openai.transcription_model(session)
        self._rate = openai.audio_rate(session, "input") or self._rate
        detection = openai.turn_detection(session)
        if detection is not None:
            self._detects = detection is not False
            self._answers = self._detects and openai.part(detection, "create_response") is not False
            self._talking = self._talking and self._detects
        if openai.text(session, "type") == "transcription":
            self._answers = False

    def transcribe(self, model: str) -> None:
        """What the user says is transcribed by this model from now on (empty: by none)."""
        self._model = model

    # -- talking -----------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """The client makes an item of what it has sent."""
        if len(self._commits) < SEEN:
            self._commits.append(self._sent.audio)

    def refuse_commit(self) -> None:
        """Nothing comes of that."""
        if self._commits:
            del self._commits[0]

    def start(self, event: Event) -> None:
        """The user begins to talk."""
        self._talking, self._said = True, None
        self._began, self._before = _milliseconds(event, "audio_start_ms"), self._sent.audio

    def stop(self, event: Event) -> bool:
        """The user has fallen silent. Will the server answer?"""
        self._talking = False
        self._hear(self._began, _milliseconds(event, "audio_end_ms"))
        return self._answers is not False

    def add(self, characters: int) -> None:
        """The client adds an item with so much audio."""
        self._conversation.hear(estimate.seconds_of(characters, self._rate))

    def time_out(self, event: Event) -> bool:
        """The user has said nothing for so long that the server goes on. Will it answer?"""
        self._talking = False
        self._hear(_milliseconds(event, "audio_start_ms"), _milliseconds(event, "audio_end_ms"))
        return self._answers is not False

    def clear(self) -> None:
        """What was not committed is gone."""
        self._forget(self._sent.audio)

    def committed(self, item: str) -> bool:
        """What was said is an item now. Will the server answer, without having said that the user fell silent?"""
        detected, by_client, end = self._said is not None, False, self._sent.audio
        if self._said is None:
            if by_client := bool(self._commits):
                end = self._commits.pop(0)
            self._say(estimate.seconds_of(max(0, end - self._before), self._rate))
        self._expect(item, self._said or 0.0)
        self._forget(end)
        return self._answers is True and not detected and not by_client

    def _hear(self, began: float | None, ended: float | None) -> None:
        """Something was said between these milliseconds; where they are unknown, in all the audio since."""
        if began is not None and ended is not None:
            self._say(max(0.0, ended - began) / 1000)
        else:
            self._say(estimate.seconds_of(self._sent.audio - self._before, self._rate))

    def _say(self, seconds: float) -> None:
        self._said = min(seconds, MAX_SPEECH)
        self._conversation.hear(self._said)

    def _forget(self, before: int) -> None:
        """Begin anew behind so many characters of audio."""
        self._talking, self._said, self._began, self._before = False, None, None, before

    # -- transcriptions ----------------------------------------------------------------------------------------

    def _expect(self, item: str, seconds: float) -> None:
        if not self._model:
            return
        self._untranscribed[item] = Utterance(self._model, seconds)
        if len(self._untranscribed) > SEEN:
            self._lose(next(iter(self._untranscribed)))

    def wrote(self, item: str) -> None:
        """A piece of a transcript has come."""
        if (utterance := self._untranscribed.get(item)) is not None:
            utterance.deltas += 1

    def transcribed(self, event: Event) -> None:
        """A transcript is complete, with its usage."""
        item, index = openai.name(event, "item_id"), openai.part(event, "content_index")
        utterance = self._settle(item)
        item = item or openai.name(event, "event_id") or self._account.own_id()
        if self._account.once(_key(item, index if isinstance(index, int) else 0)):
            reported = self._account.reported(transcription_usage, event.get("usage"))
            self._count(item, utterance or Utterance(self._model, 0.0), reported, "completed")

    def failed(self, item: str) -> None:
        """A transcription failed: it costs nothing."""
        self._settle(item)

    def _settle(self, item: str) -> Utterance | None:
        """What this was the transcription of; where the item is not said, the oldest."""
        if not item:
            item = next(iter(self._untranscribed), "")
        return self._untranscribed.pop(item, None) or self._untranscribed.pop("", None)

    def abandon(self) -> None:
        """The upstream is gone: what was not transcribed is lost."""
        self._talking = False
        for item in list(self._untranscribed):
            self._lose(item)

    def _lose(self, item: str) -> None:
        utterance = self._untranscribed.pop(item)
        if self._account.once(_key(item, 0)):
            self._count(item, utterance, None, "lost")

    def _count(self, item: str, utterance: Utterance, reported: Tokens | None, status: Status) -> None:
        if reported is None and self._account.bills_time:
            return  # it costs nothing by itself
        tokens = reported
        if tokens is None and (utterance.seconds or utterance.deltas):
            tokens = estimate.transcription(utterance.model, utterance.seconds, utterance.deltas)
        estimated = reported is None and tokens is not None
        self._account.transcription(item, utterance.model, tokens, status, estimated=estimated)


def _key(item: str, index: int) -> str:
    return f"{item}#{index}"


def _milliseconds(event: Event, name: str) -> float | None:
    value = event.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= MAX_COUNT else None
