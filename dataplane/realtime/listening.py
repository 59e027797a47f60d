"""Which of the upstream's messages are read: those that say something, where somebody asks. The rest goes on unread.

What is asked of every message, most of which are pieces of audio, is short here; what it says without being read, that
it came and how long it is, is noted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import dataclass
from functools import cache
from typing import Literal

from dataplane.dialects import openai, openai_beta
from dataplane.realtime.effects import Effect, Unmetered
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.output import READ, Output
from dataplane.realtime.noting import Noted
from dataplane.realtime.steps import OPAQUE
from dataplane.realtime.terms import Terms

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


class Listening:
    """To one session's upstream. Puts among `effects` what nobody could read and may have cost something."""

    def __init__(self, terms: Terms, effects: deque[Effect], noted: Noted) -> None:
        self.opened: Literal[True] | Refused | None = None
        """None until the upstream's first message."""
        self.output: Output | None = None
        """Who judges what the model says, and may have its audio read."""
        self._terms, self._effects, self._noted = terms, effects, noted
        self._turns, self._speech = noted.turns, noted.speech
        self._metered: Container[str] = READ if terms.guards else openai.METERED
        """Types of events that are read, whoever asks for what."""
        self.flow(True)
        self.flows = self._turns.flows
        """Does an upstream's message, a slice of what was read, go on unread, with nothing that follows from it?"""
        self._noticed = False
        """Has a binary message that is no event been counted?"""

    def wants(self, head: bytes, size: int) -> bool:
        """Must the upstream's message of `size` bytes that begins so be read? One that need not be is noted here:
        ask once of each that goes on."""
        kind = openai.head_type(head)
        if self.opened is None or kind is None or self._reads(kind):
            return True
        if kind in openai.AUDIO_DELTAS:
            if self.output is not None and self.output.hears(head):
                return True
            self._turns.sounds(head, size)
        elif kind in openai.TEXT_DELTAS:
            self._turns.writes(head)
        elif kind == openai.TRANSCRIPT_DELTA:
            self._speech.wrote(openai.item_id(head))
        return False

    def _reads(self, kind: str) -> bool:
        if self._terms.bills_time and kind in openai.AUDIO_DELTAS:
            return True  # to the byte: its length is billed
        return kind in self._metered or self._terms.logs(kind) or (self._terms.beta and kind in openai_beta.RENAMED)

    def flow(self, flows: bool) -> None:
        """Audio may go on unread, or not."""
        audio = self._heads(openai.AUDIO_DELTAS) if flows else ()
        self._turns.unread(audio, self._heads(openai.TEXT_DELTAS))

    def _heads(self, kinds: frozenset[str]) -> tuple[bytes, ...]:
        """How the events of these types begin, if they need not be read, in compact JSON, as vendors write it."""
        return _begun(frozenset(kind for kind in kinds if not self._reads(kind)))

    def passes(self, head: bytes, size: int) -> None:
        """So many bytes more, in another frame, of the unread message that begins so."""
        if head == OPAQUE:
            self.opaque(size)
        elif openai.head_type(head) in openai.AUDIO_DELTAS:
            self._turns.sounds_on(head, size)

    def opaque(self, size: int) -> bool:
        """The upstream has sent a binary message that is no event, or so many bytes of one: must it be read? If not, it
        is noted."""
        if self.output is not None and self.output.reads_binary(audio=self._terms.binary_audio):
            return True
        self._binary(size)
        return False

    # -- messages that were read -------------------------------------------------------------------------------

    def begin(self, kind: str, event: Event) -> None:
        """The first event says whether the session begins."""
        self.opened = _refused(event) if kind == "error" else True

    def misread(self, size: int, *, binary: bool) -> None:
        """A message of so many bytes that is no event."""
        if binary:
            self._binary(size)
        else:
            self.opened = self.opened or True
            self._effects.append(Unmetered("undecodable"))

    def _binary(self, size: int) -> None:
        """It may be audio, of which there is much: where that is not usual, that it comes is counted, not how often."""
        self.opened = self.opened or True
        if self._terms.binary_audio:
            self._noted.received += size
        elif not self._noticed:
            self._noticed = True
            self._effects.append(Unmetered("binary"))


def _refused(event: Event) -> Refused:
    said = openai.part(event, "error")
    return Refused(openai.text(said, "code"), openai.text(said, "message"), kind=openai.name(said, "type"))


@cache
def _begun(kinds: frozenset[str]) -> tuple[bytes, ...]:
    """One for all sessions, since they are compared with every message: so they stay in the processor's cache."""
    return tuple(b'{"type":"%b"' % kind.encode() for kind in sorted(kinds))
