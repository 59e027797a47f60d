"""A frame that goes on before it is whole: as it comes, or while it proves to be audio."""

from __future__ import annotations

from dataplane.realtime import frames
from dataplane.realtime.audio import TAIL, CanonicalAudio, plain
from dataplane.realtime.steps import Breach, Step


class Proof:
    """Proves piece by piece that the payload of a client's frame is audio: all but its last bytes while it lasts, the
    tail at its end. `offset`: payload bytes that are proven already; `has_id`: they hold an event_id."""

    __slots__ = ("_audio", "_has_id", "_key", "_offset", "_tail")

    def __init__(self, audio: CanonicalAudio, key: bytes, offset: int, *, has_id: bool) -> None:
        self._audio = audio
        self._key = key
        self._offset = offset
        self._has_id = has_id
        self._tail = b""
        """Bytes (masked) that are not proven yet."""

    def take(self, piece: bytes, *, last: bool) -> bytes | None:
        """The bytes that are now proven, as they came; None where something is not audio."""
        masked = self._tail + piece
        turn = self._offset % 4
        clear = frames.unmasked(masked, self._key[turn:] + self._key[:turn])
        if last:
            proven, cut = self._audio.ends(clear, 0, has_id=self._has_id), len(clear)
        else:
            cut = max(0, len(clear) - TAIL)
            cut -= clear[cut - 1 : cut] == b"\\"  # an escape is judged together with what it escapes
            proven = plain(clear[:cut])
        if not proven:
            return None
        self._offset += cut
        self._tail = masked[cut:]
        return masked[:cut]


class LongFrame:
    """A frame of which so many bytes of payload are still to come. Where it must be audio, its direction ends with the
    first that is not."""

    __slots__ = ("_proof", "broken", "remaining")

    def __init__(self, remaining: int, proof: Proof | None = None) -> None:
        self.remaining = remaining
        self.broken = False
        """Did it hold more than audio? Then it will never be whole."""
        self._proof = proof

    def take(self, piece: bytes) -> list[Step]:
        """What of it goes on now."""
        self.remaining -= len(piece)
        if self._proof is not None:
            proven = self._proof.take(piece, last=self.remaining == 0)
            if proven is None:
                self.broken = True
                return [Breach("audio", "a long audio event holds more than audio")]
            piece = proven
        return [piece] if piece else []
