"""The gate of one direction: follows WebSocket frames and decides on each message before its bytes go on.

Bytes go in as they were read; steps come out in order: bytes to forward, control frames, a breach of the
protocol. A message that the judge wants to see is collected whole, handed over, and forwarded, replaced or
dropped as the verdict says. Everything else is forwarded as it came, mask included.

A frame of up to 64 KiB is forwarded when it is whole, so that something of our own (an error event, a Close) can
always be put behind it; longer ones stream. A long client frame streams only while it proves to be audio.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from dataplane.realtime import frames
from dataplane.realtime.audio import HEAD, CanonicalAudio
from dataplane.realtime.fragments import Fragments
from dataplane.realtime.kept import Kept
from dataplane.realtime.long import LongFrame, Proof
from dataplane.realtime.steps import KEEP, OPAQUE, Control, Keep, Read, Sent, Step

HOLD = 64 * 1024
"""Payload bytes up to which a frame is held until it is whole."""
SNIFF = 256
"""Payload bytes that the judge sees of an upstream message before deciding whether to read it."""
WORK = 32
"""What is done at a time, so that whoever sends much that must be decided does not keep all others waiting. A frame is
one, and one more for each PIECE bytes of it. What goes on unread in the usual way costs little, and does not count."""
PIECE = 512
_OBJECT = re.compile(rb'[ \t\r\n]*(\{[ \t\r\n]*(["}]|\Z)|\Z)')
"""How a binary message begins that may be a JSON object, as far as one can see."""
_PLAIN_16, _MASKED_16 = (bytes((frames.FIN | frames.TEXT, masked | 126)) for masked in (0, frames.MASKED))
"""How a whole text message begins that has a 16-bit length."""
_CLOSE = bytes((frames.FIN | frames.CLOSE,))


class Gate:
    """One direction of a session.

    `masked`: the peer must mask its frames (a client), or must not (an upstream).
    `read` gets the messages that are taken apart; without it none is, but control frames and limits hold.
    `flows` tells of a whole message, a slice of what was read, whether it goes on unread and leads to nothing else: a
    quick answer for most. Of the others `wants` tells by their first bytes, and the size of their first frame, whether
    they are read; `passes` is told how much more comes of one that is not. Of a binary one that is no JSON object
    `opaque` is told, and says whether it is read. Without `wants` all messages are read but those that `audio`
    proves to be audio.
    `hold` is told how much more, or less, is held of what was read, if that is over GRAIN."""

    __slots__ = (
        "_audio",
        "_begin",
        "_flows",
        "_fragments",
        "_halted",
        "_kept",
        "_lone",
        "_long",
        "_masked",
        "_max",
        "_opaque",
        "_payload_at",
        "_quick",
        "_read",
        "_sent",
        "_severed",
        "_stopped",
        "_wants",
        "messages",
        "stepwise",
    )

    def __init__(
        self,
        read: Read | None,
        *,
        masked: bool,
        max_message: int,
        max_fragments: int,
        flows: Callable[[bytes, int, int], bool] | None = None,
        wants: Callable[[bytes, int], bool] | None = None,
        passes: Callable[[bytes, int], None] | None = None,
        opaque: Callable[[int], bool] | None = None,
        audio: CanonicalAudio | None = None,
        sent: Sent | None = None,
        hold: Callable[[int], None] | None = None,
    ) -> None:
        self._read = read
        self._flows = flows if audio is None else self._is_audio
        self._wants = wants
        self._opaque = opaque
        self._masked = masked
        self._begin, self._payload_at = (_MASKED_16, 8) if masked else (_PLAIN_16, 4)
        """How a message begins that may flow, and where its payload does."""
        self._max = max_message
        self._fragments = Fragments(masked=masked, max_message=max_message, max_fragments=max_fragments, passes=passes)
        self.messages = 0
        """That were whole, or of whose last frame the head was there."""
        self._sent = sent or Sent()
        self.stepwise = False
        """What a message leads to is done before the next is read, even where it goes on as it came."""
        self._audio = audio
        self._kept = Kept(hold)
        self._long: LongFrame | None = None
        self._stopped = False
        self._halted = False
        """Is nothing decided for the time being?"""
        self._severed = False
        self._quick = self._flows
        """`flows`, while it is certain that nothing is open, held or behind."""
        self._lone: bytes | None = None
        """What `flow` found to be one message that does not flow."""

    @property
    def behind(self) -> bool:
        """Is there more to decide than is done at a time? Then `feed` is to be called again, with nothing."""
        return bool(self._kept.behind) and not self._halted

    @property
    def halted(self) -> bool:
        """Does all that comes wait?"""
        return self._halted

    @property
    def mid_frame(self) -> bool:
        """Is the other side in the middle of a frame? Then nothing may be put in between."""
        return self._long is not None or self._severed

    @property
    def mid_message(self) -> bool:
        """Is the other side in the middle of a message? Then only control frames may be put in between."""
        return self.mid_frame or (self._fragments.opcode != frames.CONTINUATION and self._kept.parts is None)

    def step(self) -> None:
        """Be stepwise from now on: nothing flows then."""
        self.stepwise, self._quick = True, None

    def halt(self, waits: int = 0) -> None:
        """Decide nothing more, from the next message on: all that comes is kept. Whoever says so reads no more, and
        holds so many bytes of what was decided until it says `go_on`."""
        self._halted, self._quick = True, None
        self._kept.wait(waits)

    def go_on(self) -> None:
        """Decide again. Where more is kept, the gate is behind."""
        self._halted = False
        self._kept.wait(0)
        self._be_quick()

    def mute(self) -> None:
        """Read no more messages; frames are still followed, for the Close among them. With the next call of `feed`,
        which may bring nothing, what is held of a long one is let go."""
        self._read = self._flows = self._quick = self._kept.parts = None
        self._kept.need = 0
        self._kept.wait(0)

    def flow(self, data: bytes) -> tuple[bytes, bytes]:
        """What goes on at once, as it came, and the bytes behind it, which are for `feed`. Ask this first: most traffic
        is whole messages that go on unread and lead to nothing else, of which `feed` would say the same at several
        times the cost."""
        quick = self._quick
        if quick is not None and data.startswith(self._begin):  # most of what is read is one message
            start, end = self._payload_at, len(data)
            if start < end and end - start == data[2] << 8 | data[3] and end - start <= self._max:
                if quick(data, start, end):
                    self.messages += 1
                    return data, b""
                self._lone = data
                return b"", data
        return self._flow_on(data)

    def _flow_on(self, data: bytes) -> tuple[bytes, bytes]:
        """The same of several messages, and of parts."""
        self._quick = None
        kept = self._kept
        if (
            self._flows is None
            or self._fragments.opcode
            or kept.behind
            or self._long is not None
            or self.stepwise
            or self._halted
        ):
            return b"", data
        if self._kept.held:
            data, _ = self._kept.with_rest(data)
        pos = self._usual(data, 0)
        rest = data[pos:]
        if rest and self._keep_usual(rest):
            rest = b""
        self._be_quick()
        return data[:pos], rest

    def _usual(self, data: bytes, pos: int) -> int:
        """The position behind what is usual: whole text messages of one frame, with a 16-bit length, that flow."""
        flows = self._flows
        if flows is None or self._fragments.opcode or self.stepwise:
            return pos
        end = len(data)
        begin, size = self._begin, self._payload_at
        while end - pos > size and data.startswith(begin, pos):
            start = pos + size
            after = start + (data[pos + 2] << 8 | data[pos + 3])
            if after > end or after - start > self._max or not flows(data, start, after):
                break
            self.messages += 1
            pos = after
        return pos

    def _keep_usual(self, data: bytes) -> bool:
        """Keep these bytes, if they are the beginning of a message that may be usual."""
        size = self._payload_at
        if len(data) <= size or not data.startswith(self._begin):
            return False
        length = data[2] << 8 | data[3]
        if len(data) >= size + length or length > self._max:
            return False
        self._kept.need = size + length
        self._kept.keep(data)
        return True

    def feed(self, data: bytes) -> Iterable[Step]:
        """The steps that these bytes lead to, to be taken one by one, and all of them: what follows from a message
        is done before the next is judged. Bytes of an unfinished frame are kept for the next call, and so are those
        behind WORK (see `behind`). Nothing comes behind a Close or a Breach."""
        lone, self._lone = self._lone, None
        return self._alone(data) if data is lone else self._steps(data)

    def _alone(self, data: bytes) -> Sequence[Step]:
        """The steps that such a message leads to: `_steps` would find the same at thrice the cost."""
        self.messages += 1
        start = self._payload_at
        payload = data[start:]
        if self._read is None or (self._wants is not None and not self._wants(payload[:SNIFF], len(payload))):
            return (data,)
        key = data[start - 4 : start] if self._masked else None
        instead = self._judged(frames.TEXT, payload if key is None else frames.unmasked(payload, key), key)
        return (data,) if instead is KEEP else instead or (b"",)

    def _steps(self, data: bytes) -> Iterator[Step]:
        if self._stopped:
            return
        self._quick = None
        pos = 0
        if self._kept.behind or self._kept.held:
            data, pos = self._kept.with_rest(data)
        if self._long is not None:
            pos = min(len(data), self._long.remaining)
            yield from self._continue(self._long, data[:pos])
        run, end, left = pos, len(data), WORK  # data[run:pos] goes on as it came
        while not (self._stopped or self._halted) and (pos := self._usual(data, pos)) < end:
            if left <= 0:
                self._kept.leave(data, pos)
                break
            head = frames.parse_head(data, pos)
            instead = self._decide(head, data, pos)
            if head is None or instead is None:
                break
            left -= 1 + head.length // PIECE
            after = min(end, pos + head.size + head.length)
            if instead is not KEEP:
                if run < pos:
                    yield data[run:pos]
                yield from instead or (b"",)
                run = after
            elif self.stepwise:
                yield data[run:after]
                run = after
            pos = after
        if run < pos:
            yield data[run:pos]
        if pos < end and not self._stopped:
            self._keep_rest(data, pos)
        self._be_quick()

    def _keep_rest(self, data: bytes, pos: int) -> None:
        """Keep what is not decided, unless it was left already."""
        if self._halted:
            self._kept.leave(data, pos)
        elif not self._kept.behind:
            self._kept.keep(data[pos:])

    def put_off(self, data: bytes) -> bool:
        """If these bytes begin with a Close, keep them for the next call of `feed`, which may bring nothing; whether
        that is so."""
        kept = self._kept
        if data[:1] != _CLOSE or kept.behind or kept.held or self._long is not None or self._stopped:
            return False
        self._quick = None
        kept.leave(data, 0)
        return True

    def _be_quick(self) -> None:
        """Let what comes next flow, unless something is open, held or behind."""
        kept = self._kept
        if not (
            kept.held
            or kept.behind
            or self._fragments.opcode
            or self._long is not None
            or self.stepwise
            or self._halted
        ):
            self._quick = self._flows

    def _is_audio(self, data: bytes, start: int, end: int) -> bool:
        """Does a client's payload prove to be audio? Then it is counted."""
        assert self._audio is not None, "nobody asks without"
        length = self._audio.measure(frames.unmasked(data[start:end], data[start - 4 : start]))
        if length < 0:
            return False
        self._sent.audio += length
        return True

    def _stop(self) -> None:
        self._stopped, self._flows = True, None
        if self._kept.parts is not None:  # nothing of it went on
            self._fragments.opcode, self._kept.parts = frames.CONTINUATION, None
            self._kept.tell()

    def _decide(self, head: frames.Head | None, data: bytes, pos: int) -> Keep | Sequence[Step] | None:
        """What becomes of the frame at `pos`: it goes on, or these steps do; None where more bytes are needed."""
        if head is None:
            self._kept.need = len(data) - pos + 1
            return None
        if (breach := self._fragments.breach(head)) is not None:
            self._stop()
            return [breach]
        if self._streams(head, data, pos):
            return self._start(head, data, pos)
        if pos + head.size + head.length > len(data):
            return None
        if head.opcode >= frames.CLOSE:
            if head.opcode == frames.CLOSE:  # what comes behind it counts for nothing (RFC 6455, section 5.5.1)
                self._stop()
            return [Control(head.opcode, self._payload(head, data, pos))]
        return self._frame(head, data, pos)

    def _payload(self, head: frames.Head, data: bytes, pos: int) -> bytes:
        start = pos + head.size
        payload = data[start : start + head.length]
        return frames.unmasked(payload, data[start - 4 : start]) if head.masked else payload

    # -- whole frames ----------------------------------------------------------------------------------------

    def _frame(self, head: frames.Head, data: bytes, pos: int) -> Keep | list[bytes]:
        """What becomes of a whole data frame: it goes on, or these frames do (none while a message is collected)."""
        self.messages += head.fin
        if not self._collects(head, data, pos):
            self._fragments.take(head)
            return KEEP
        start = pos + head.size
        payload = data[start : start + head.length]
        key = data[start - 4 : start] if head.masked else None
        if key is not None:
            payload = frames.unmasked(payload, key)
        if head.fin and head.opcode != frames.CONTINUATION:
            return self._judged(head.opcode, payload, key)
        opcode = self._fragments.take(head)
        self._kept.collect(payload)
        if not head.fin:
            return []
        message = self._kept.collected()
        instead = self._judged(opcode, message, key, whole=False)
        return [frames.frame(opcode, message, key)] if instead is KEEP else instead  # its fragments are gone

    def _judged(self, opcode: int, message: bytes, key: bytes | None, *, whole: bool = True) -> Keep | list[bytes]:
        """What becomes of a message: it goes on, or these frames do."""
        assert self._read is not None, "nothing is collected that nobody reads"
        if whole and self._audio is not None and opcode == frames.TEXT and (audio := self._audio.measure(message)) >= 0:
            self._sent.audio += audio
            return KEEP
        verdict = self._read(message, binary=opcode == frames.BINARY)
        return KEEP if verdict is KEEP else [frames.frame(opcode, each, key) for each in verdict]

    def _collects(self, head: frames.Head, data: bytes, pos: int) -> bool:
        """Must this frame's message be read? One whose first fragment is too short to tell by is, to be sure."""
        if self._read is None:
            return False
        if self._wants is None:
            return True
        if head.opcode == frames.CONTINUATION:
            return self._kept.parts is not None
        start = pos + head.size
        sniffed = data[start : start + min(SNIFF, head.length)]
        if head.opcode == frames.BINARY and _OBJECT.match(sniffed) is None:
            read = self._opaque is not None and self._opaque(head.length)
            self._fragments.began = b"" if head.fin or read else OPAQUE
            return read
        if not head.fin and head.length < SNIFF:
            return True
        wanted = self._wants(sniffed, head.length)
        self._fragments.began = b"" if wanted or head.fin else sniffed
        return wanted

    # -- frames over HOLD, forwarded before they are whole -----------------------------------------------------

    def _streams(self, head: frames.Head, data: bytes, pos: int) -> bool:
        """May this frame begin to go on before it is whole? Otherwise says in `need` how many bytes to wait for."""
        self._kept.need = head.size + head.length
        if head.length <= HOLD:
            return False
        if len(data) - pos < head.size + HEAD:
            self._kept.need = head.size + HEAD
            return False
        return not self._collects(head, data, pos) or self._audio_begins(head, data, pos) is not None

    def _audio_begins(self, head: frames.Head, data: bytes, pos: int) -> tuple[int, bool] | None:
        if self._audio is None or self._read is None or head.opcode != frames.TEXT or not head.fin:
            return None
        start = pos + head.size
        return self._audio.start(frames.unmasked(data[start : start + HEAD], data[start - 4 : start]))

    def _start(self, head: frames.Head, data: bytes, pos: int) -> list[Step]:
        """Forward the head of a long frame and what may go of its payload."""
        self.messages += head.fin
        start, end = pos + head.size, pos + head.size + head.length
        found = self._audio_begins(head, data, pos)
        if self._audio is not None and found is not None:
            offset, has_id = found
            self._sent.audio += head.length - offset
            proof = Proof(self._audio, data[start - 4 : start], offset, has_id=has_id)
            start += offset
            self._long = LongFrame(head.length - offset, proof)
        else:
            self._fragments.take(head)
            self._long = LongFrame(head.length)
        match self._continue(self._long, data[start:end]):
            case [bytes(piece)]:  # in one step, since the frame may end with it
                return [data[pos:start] + piece]
            case steps:
                return [data[pos:start], *steps]

    def _continue(self, long: LongFrame, piece: bytes) -> list[Step]:
        """Take more of a long frame."""
        steps = long.take(piece)
        if long.remaining == 0:
            self._long = None
        if long.broken:
            self._severed = True
            self._stop()
        return steps
