"""What a turn used whose usage never came, estimated from what was seen of it.

Audio is counted at the rates that OpenAI documents: a token for 100 ms that the user says, one for 50 ms that the
model says (https://platform.openai.com/docs/guides/realtime-costs). Of what the model writes (text, transcript,
arguments of a call) every delta is taken for one token, as providers stream them; of what it reads, four characters.
What a turn read is the conversation so far: what the last turn had as input and output, and what was said since.

An estimate knows nothing of caching (all input counts as uncached), of images and tools, of what the provider left
out of a long conversation, or of the input that a turn out of band was given instead of the conversation. It is
marked as one, and never mixed with what was reported.
"""

from __future__ import annotations

from typing import NamedTuple

from dataplane.metering.usage import Tokens

HEARD = 10
"""Tokens of a second that the user says."""
SPOKEN = 20
"""Tokens of a second that the model says."""
CHARACTERS = 4
"""Characters of one token of text that is read."""
MAX_CONTEXT = 128 * 1024
"""Tokens of a conversation up to which what was said since is added."""
MAX_SPEECH = 3600.0
"""Seconds that one utterance may have, whatever an upstream says of it."""


class Mark(NamedTuple):
    """How much the user had said at some moment: speech, and characters of text."""

    seconds: float = 0.0
    characters: int = 0


class Conversation:
    """What the next turn will read."""

    __slots__ = ("_base", "_said", "_settled", "_since")

    def __init__(self) -> None:
        self._base = (0, 0, 0, 0)
        """The conversation up to `_since`, as input: text, audio, image, unknown."""
        self._since = Mark()
        self._said = Mark()
        self._settled = False

    @property
    def mark(self) -> Mark:
        """How much the user has said so far."""
        return self._said

    def instruct(self, characters: int) -> None:
        """The session has instructions of this length."""
        if not self._settled:
            self._base = (_text(characters), 0, 0, 0)

    def hear(self, seconds: float) -> None:
        """The user has said something."""
        self._said = self._said._replace(seconds=self._said.seconds + min(seconds, MAX_SPEECH))

    def read(self, characters: int) -> None:
        """The user has written something."""
        self._said = self._said._replace(characters=self._said.characters + characters)

    def input(self) -> Tokens:
        """What a turn reads that begins now."""
        text, audio, image, unknown = self._base
        (heard, read), (heard_before, read_before) = self._said, self._since
        room = max(0, MAX_CONTEXT - text - audio - image - unknown)
        written = min(room, _text(read - read_before))
        spoken = min(room - written, round((heard - heard_before) * HEARD))
        return Tokens(text + written, audio + spoken, image, unknown)

    def settle(self, mark: Mark, turn: Tokens) -> None:
        """A turn that began at `mark` has read and said this: the next one reads it."""
        self._settled = True
        self._since = max(self._since, mark)
        self._base = (
            turn.input_text + turn.output_text,
            turn.input_audio + turn.output_audio,
            turn.input_image + turn.output_image,
            turn.input_unknown + turn.output_unknown,
        )


def seconds_of(characters: int, rate: float) -> float:
    """How long so many characters of base64 sound, at `rate` bytes per second."""
    return characters * 3 / 4 / rate


def answer(seconds: float, deltas: int) -> Tokens:
    """What a model has said and written."""
    return Tokens(output_audio=round(seconds * SPOKEN), output_text=deltas)


def transcription(model: str, seconds: float, deltas: int) -> Tokens:
    """What transcribing so much speech takes. The whisper models are billed by time, all others by tokens."""
    seconds = min(seconds, MAX_SPEECH)
    if "whisper" in model:
        return Tokens(seconds=round(seconds, 3))
    return Tokens(input_audio=round(seconds * HEARD), output_text=deltas)


def _text(characters: int) -> int:
    return -(-characters // CHARACTERS)
