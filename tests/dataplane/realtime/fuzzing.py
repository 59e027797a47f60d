"""Drivers for fuzzers: any bytes in; an AssertionError, or any other exception, is a finding.

`fuzz_relay` takes the bytes as a script of what peers, the gateway and the timer do; it plays the script twice, the
second time with everything that is said cut into small pieces, and the outcomes must be the same; and a third time
with most of it judged late. `fuzz_session`
hands whole messages to a session. `fuzz_classifier` compares what is said about unread bytes with what JSON readers
make of them. They know nothing of any fuzzer; tests run them on random scripts, the nightly run on guided ones.
"""

from __future__ import annotations

import json
import random
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from unittest.mock import patch

from dataplane.dialects import openai
from dataplane.metering.usage import NO_TOKENS, Tokens, Usage
from dataplane.realtime import endings, events, frames, gate
from dataplane.realtime.account import SEEN
from dataplane.realtime.actions import Action, DropClient, DropUpstream, Ended, ToClient, ToUpstream, Wait
from dataplane.realtime.effects import Admit, Began, Effect, Interrupted, Metered, Released, Spoke
from dataplane.realtime.endings import ENDINGS
from dataplane.realtime.gate import HOLD, SNIFF
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from dataplane.realtime.steps import KEEP, Verdict
from dataplane.realtime.terms import Terms
from dataplane.table import Model, ModelAllow, Target
from tests.dataplane.realtime.play import KEY, TERMS, Close, Frame, wire
from tests.dataplane.realtime.readers import first_wins, readings
from tests.dataplane.realtime.sayings import CREATE, CREATED, LONG_AUDIO, LONG_EVENT, begun, done

MAX_MESSAGE = HOLD * 3
MAX_FRAGMENTS = 20
_FORMAT = {"type": "audio/pcmu"}
_HEARD = "conversation.item.input_audio_transcription"
_BUFFER = "input_audio_buffer"
_CONFIGURED = {
    "type": "session.updated",
    "session": {
        "model": "gpt-realtime",
        "instructions": "Be kind.",
        "audio": {
            "input": {"format": _FORMAT, "turn_detection": None, "transcription": {"model": "whisper-1"}},
            "output": {"format": _FORMAT},
        },
    },
}
_ALLOW = (ModelAllow(policy="ai/few", patterns=("gpt-realtime", "voice", "whisper-1", "hear")),)
_DECLARED = (Model(name="hear", targets=(Target(provider="openai", model="gpt-4o-transcribe"),)),)
_TRANSCRIBES = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
_VAD = {"audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": True}}}}

UPSTREAM_EVENTS: Sequence[object] = (
    CREATED,
    _CONFIGURED,
    {"type": "session.updated", "session": _VAD},
    {"type": "session.created", "session": _VAD},
    *(begun(name) for name in ("r0", "r1", "r2")),
    *(done(name) for name in ("r0", "r1", "r2")),
    {"type": "response.done", "response": {"id": "r1", "status": "cancelled", "usage": None,
                                           "status_details": {"reason": "turn_detected"}}},
    {"type": "response.done", "response": {"id": "r2", "status": "cancelled", "usage": {"total_tokens": 5},
                                           "status_details": {"reason": "client_cancelled"}}},
    {"type": "response.created", "response": {"id": "r3", "conversation_id": None}},
    {"type": "response.done", "response": {"id": "r3", "status": "failed"}},
    *({"type": kind, "response_id": name, "item_id": "i0", "delta": "A" * size}
      for kind in ("response.output_audio.delta", "response.audio.delta", "response.output_text.delta")
      for name, size in (("r0", 20), ("r1", 400))),
    {"type": f"{_BUFFER}.speech_started", "audio_start_ms": 100, "item_id": "i0"},
    {"type": f"{_BUFFER}.speech_stopped", "audio_end_ms": 1730, "item_id": "i0"},
    {"type": f"{_BUFFER}.committed", "item_id": "i0"},
    {"type": f"{_BUFFER}.committed", "item_id": "i1"},
    {"type": f"{_BUFFER}.cleared"},
    {"type": f"{_BUFFER}.timeout_triggered", "audio_start_ms": 5, "audio_end_ms": 3, "item_id": "i1"},
    {"type": f"{_HEARD}.delta", "item_id": "i0", "delta": "Hel"},
    {"type": f"{_HEARD}.completed", "item_id": "i0", "usage": {"type": "duration", "seconds": 1.5}},
    {"type": f"{_HEARD}.failed", "item_id": "i1"},
    {"type": "error", "error": {"code": "conversation_already_has_active_response"}},
    {"type": "error", "error": {"code": f"{_BUFFER}_commit_empty"}},
    {"type": "error", "error": {"code": "insufficient_quota"}},
    {"type": "error", "error": {"code": None, "event_id": "mine"}},
    {"type": "response.done", "event_id": "e1", "response": {"usage": {"output_tokens": 1}}},
    {"type": "response.done"},
    {"type": "response.done", "response": {"id": "r0", "usage": {"total_tokens": 77}}},
    json.dumps(done("r2")).encode(),
    json.dumps(CREATED).encode(),
    b"{" + bytes(400),
    bytes(400),
    {"type": "rate_limits.updated"},
    {"type": "who.knows", "response": [], "session": 5},
    {"type": f"{_BUFFER}.speech_stopped", "audio_end_ms": 10**400, "x": "\ud83d"},
    {"type": f"{_HEARD}.completed", "item_id": "i1", "usage": {"seconds": 10**400}, "x": "\ud83d"},
    {"type": "session.updated", "session": _TRANSCRIBES},
)  # fmt: skip
CLIENT_EVENTS: Sequence[object] = (
    CREATE,
    {"type": "response.create", "response": {"conversation": "none", "modalities": ["text"]}},
    {"type": "response.cancel", "response_id": "r1"},
    {"type": f"{_BUFFER}.append", "audio": "A" * 40},
    {"type": f"{_BUFFER}.append", "audio": "A" * 400},
    {"audio": "A" * 40, "type": f"{_BUFFER}.append"},
    {"type": f"{_BUFFER}.commit"},
    {"type": f"{_BUFFER}.clear"},
    {"type": "session.update", "session": {"model": "voice"}},
    {"type": "session.update", "session": {"model": "gpt-secret"}},
    {"type": "session.update", "session": _VAD},
    {"type": "session.update", "session": {"turn_detection": {"create_response": False}}},
    {"type": "conversation.item.create", "item": {"content": [{"type": "input_text", "text": "Hello?"}]}},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": "x" * 50}},
    "nonsense",
    b"binary",
    Frame(frames.TEXT, b'{"type":"\xff"}'),
    *({"type": kind, "session": {"input_audio_transcription": {"model": name}}}
      for kind in ("session.update", "transcription_session.update") for name in ("hear", "gpt-secret")),
    {"type": "session.update", "session": _TRANSCRIBES},
    {"type": "session.update", "session": {"audio": {"Input": {"transcription": {}}}}},
)  # fmt: skip
_CONTROLS: Sequence[object] = (
    Frame(frames.PING, b"x"),
    Frame(frames.PONG),
    Close(),
    Close(1000),
    Close(4001, "bye"),
    Frame(frames.CLOSE, b"x"),
    Frame(frames.CLOSE, b"\x03\xee"),
    Frame(frames.CLOSE, b"\x03\xe8\xff"),
)


# -- scripts -------------------------------------------------------------------------------------------------------


@dataclass
class Script:
    """Reads choices off the bytes; where they are at their end, it is zeros."""

    data: bytes
    at: int = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def take(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def choose(self, among: Sequence[object]) -> object:
        return among[self.byte() % len(among)]

    def terms(self) -> Terms:
        flags = self.byte()
        nameless = flags & 0xC0 == 0x40
        return replace(
            TERMS,
            public_model="" if nameless else "voice" if flags & 1 else TERMS.public_model,
            upstream_model="" if nameless else TERMS.upstream_model,
            any_model=bool(flags & 2),
            beta=bool(flags & 4),
            log_events=frozenset({"*"} if flags & 8 else ()),
            allow=_ALLOW if flags & 16 else (),
            models=_DECLARED if flags & 32 else (),
            admits=bool(flags & 64),
        )


@dataclass(frozen=True)
class Say:
    side: str
    data: bytes


Do = Callable[[Relay], list[Action]]


class Answer(Enum):
    """To the oldest question whether a turn may begin, if there is one."""

    YES = "yes"
    NO = "no"
    NO_MORE = "nor may the session go on"

    def to(self, ticket: int) -> Do:
        match self:
            case Answer.YES:
                return lambda relay: relay.admit(ticket)
            case Answer.NO:
                return lambda relay: relay.refuse(ticket, "limit_exceeded", "Spent.")
            case Answer.NO_MORE:
                return lambda relay: relay.refuse_and_end(ticket, endings.LIMIT, "Spent.")


Step = Say | Do | Answer


def steps(script: Script) -> Iterator[Step]:
    """What the script says that happens."""
    rest = {"client": b"", "upstream": b""}
    """Of a long frame that has begun."""
    unsent = {"client": b"", "upstream": b""}
    """Comes together with what is said next."""
    while script:
        op = script.byte()
        side = "upstream" if op & 1 else "client"
        if (op >> 1) % 8 == 7:
            act = script.byte()
            yield tuple(Answer)[act % len(Answer)] if act & 0x80 else _ACTS[act % len(_ACTS)]
            continue
        unsent[side] += _said(script, op, side, rest)
        if op < 0xA0:
            yield Say(side, unsent[side])
            unsent[side] = b""
    for side, data in unsent.items():
        yield Say(side, data)


def _said(script: Script, op: int, side: str, rest: dict[str, bytes]) -> bytes:
    match (op >> 1) % 8:
        case 0:
            return script.take(script.byte())
        case 1:
            first, size = script.byte(), script.byte()
            return _frame(side, first, script.take(size))
        case 5:
            return wire(script.choose(_CONTROLS), masked=side == "client")
        case 6:
            rest[side] = rest[side] or (LONG_EVENT if side == "upstream" else LONG_AUDIO)
            size = len(rest[side]) * (1 + script.byte() % 4) // 4
            said, rest[side] = rest[side][:size], rest[side][size:]
            return said
    among = UPSTREAM_EVENTS if side == "upstream" else CLIENT_EVENTS
    return _in_parts(side, script.choose(among), script.byte())


_ACTS: Sequence[Do] = (
    Relay.expired,
    Relay.ping_client,
    Relay.ping_upstream,
    lambda it: it.end_between_turns(endings.DRAINING, "Bye."),
    lambda it: it.end(endings.OPERATOR, "Bye."),
    Relay.client_lost,
    Relay.upstream_lost,
    lambda it: it.client_lost(endings.CLIENT_SILENT),
    lambda it: it.upstream_lost(endings.UPSTREAM_STALLED),
)


def _frame(side: str, first: int, payload: bytes) -> bytes:
    """A frame with any first byte."""
    return bytes((first,)) + frames.frame(0, payload, KEY if side == "client" else None)[1:]


def _in_parts(side: str, what: object, places: int) -> bytes:
    """A message as one frame, or in fragments, perhaps with a Ping between."""
    if not isinstance(what, dict) or places < 0x80:
        return wire(what, masked=side == "client")
    payload = json.dumps(what, separators=(",", ":") if places & 0x40 else None).encode()
    size = max(1, len(payload) // (1 + places % 0x20))
    parts = [payload[at : at + size] for at in range(0, len(payload), size)]
    data = b""
    for at, part in enumerate(parts):
        opcode = frames.CONTINUATION if at else frames.TEXT
        data += wire(Frame(opcode, part, at == len(parts) - 1), masked=side == "client")
        if places & 0x20 and not at:
            data += wire(Frame(frames.PING, b"between"), masked=side == "client")
    return data


# -- the relay -----------------------------------------------------------------------------------------------------


class Hearer:
    """A strict peer: whole frames in good order, and nothing behind Close. `masked`: it is the upstream."""

    def __init__(self, *, masked: bool) -> None:
        self.heard = bytearray()
        self.gone = False
        self._masked = masked
        self._wire = bytearray()
        self._open = False
        self._closed = False

    @property
    def whole(self) -> bytes:
        """What was heard, without a frame that was never finished."""
        return bytes(self.heard[: len(self.heard) - len(self._wire)])

    def hear(self, data: bytes, said: bytearray) -> None:
        """Take what is sent; `said` is all that the other peer has said: parts of frames must stand there as such."""
        assert data, "nothing was sent"
        assert not self._closed, "something was sent behind Close"
        assert not self.gone, "something was sent to a dropped connection"
        self.heard += data
        partial = bool(self._wire)
        self._wire += data
        while (head := frames.parse_head(self._wire, 0)) is not None:
            end = head.size + head.length
            if partial or len(self._wire) < end:
                assert head.length > HOLD, "a short frame was sent in parts"
                assert self._wire[:end] in said, "something was put into a frame"
            if len(self._wire) < end:
                return
            self._take(head, bytes(self._wire[:end]))
            del self._wire[:end]
            partial = False
        assert not self._wire, "the head of a frame was sent in parts"

    def _take(self, head: frames.Head, data: bytes) -> None:
        assert head.masked == self._masked
        assert head.opcode in (0, 1, 2, 8, 9, 10)
        assert not head.first & 0x70
        if head.opcode == frames.CLOSE:
            payload = data[head.size :]
            frames.parse_close(frames.unmasked(payload, data[head.size - 4 : head.size]) if head.masked else payload)
            self._closed = True
        elif head.opcode < frames.CLOSE:
            assert (head.opcode == frames.CONTINUATION) == self._open, "a message within a message"
            self._open = not head.fin
        else:
            assert head.fin
            assert head.length <= frames.MAX_CONTROL


class Book:
    """The effects of a session, in the order that they must have."""

    def __init__(self) -> None:
        self.usages: list[Usage] = []
        self.admitted = 0
        self.released = 0
        self._begun: set[str] = set()
        self._spoke: set[str] = set()
        self._interrupted: dict[str, str] = {}

    def note(self, effect: object) -> None:
        match effect:
            case Released(count=count):
                self.released += count
                assert self.released <= self.admitted, "more was let go than was admitted"
            case Began(response_id=name):
                assert name not in self._begun, "a turn began twice"
                self._begun.add(name)
            case Spoke(response_id=name):
                assert name in self._begun, "a turn spoke before it began"
                assert name not in self._spoke, "a turn spoke for the first time twice"
                assert name not in self._turns(), "a turn spoke after its end"
                self._spoke.add(name)
            case Interrupted(response_id=name, by=by):
                assert name not in self._interrupted, "a turn was interrupted twice"
                assert name not in self._turns(), "a turn was interrupted after its end"
                self._interrupted[name] = by
            case Metered(usage=usage):
                assert usage.id not in {each.id for each in self.usages}
                if usage.operation == "realtime_inference":
                    assert usage.response_id not in self._turns(), "a turn was counted twice"
                assert usage.tokens is not None or not usage.estimated
                self.usages.append(usage)

    def balanced(self, session: Session) -> None:
        """Is all counted that began, and is the session's sum that of its records?"""
        assert self._turns().keys() >= self._begun, "a turn was not counted"
        assert session.noted.over == len(self._turns())
        assert self.released == self.admitted, "not all that was admitted was let go"
        assert session.noted.tokens == self._sum(estimated=False)
        assert session.noted.estimated == self._sum(estimated=True)
        for name in self._interrupted:
            assert self._turns()[name].status == "cancelled"

    def _turns(self) -> dict[str, Usage]:
        return {usage.response_id: usage for usage in self.usages if usage.operation == "realtime_inference"}

    def _sum(self, *, estimated: bool) -> Tokens:
        return sum((usage.tokens or NO_TOKENS for usage in self.usages if usage.estimated is estimated), NO_TOKENS)


@dataclass
class Run:
    """A relay between two strict peers."""

    terms: Terms
    reads: bool = True
    late: bool = False
    """Is what one read brings judged no further than at once?"""
    quick: bool = False
    """Does what flows go past the relay, and wait a Close, as with the legs of a live session?"""
    relay: Relay = field(init=False)
    others: list[object] = field(default_factory=list)
    """All actions but bytes."""

    def __post_init__(self) -> None:
        self.session = Session(self.terms)
        self.relay = Relay(
            self.session,
            mask=lambda: KEY,
            max_message=MAX_MESSAGE,
            max_fragments=MAX_FRAGMENTS,
            reads=self.reads,
        )
        self.peers = {"client": Hearer(masked=False), "upstream": Hearer(masked=True)}
        self.said = {"client": bytearray(), "upstream": bytearray()}
        self.book = Book()
        self.questions: deque[int] = deque()
        self.ended = False
        self.armed = False

    def do(self, step: Step, pieces: Iterable[bytes]) -> None:
        if isinstance(step, Say):
            for piece in pieces:
                self.feed(step.side, piece)
        elif isinstance(step, Answer):
            if self.questions and not self.ended:
                self.book.admitted += step is Answer.YES
                self.act(step.to(self.questions.popleft()))
        else:
            self.act(step)

    def feed(self, side: str, data: bytes) -> None:
        self.said[side] += data
        self._take(side, data)
        self._judge_on()

    def _judge_on(self) -> None:
        """What one side says may let the other go on."""
        while not self.late and (self.relay.client_behind or self.relay.upstream_behind):
            self._take("client" if self.relay.client_behind else "upstream", b"")

    def _take(self, side: str, data: bytes) -> None:
        relay = self.relay
        by_client = side == "client"
        if self.quick and data:
            flowing, data = relay.client_flow(data) if by_client else relay.upstream_flow(data)
            if flowing:
                assert not self.ended, "something came behind the end"
                self.peers["upstream" if by_client else "client"].hear(flowing, self.said[side])
            if not data or (relay.put_off_client(data) if by_client else relay.put_off_upstream(data)):
                return
        self.take(relay.from_client(data) if by_client else relay.from_upstream(data))

    def act(self, act: Do) -> None:
        if act is Relay.expired:
            if not self.armed:
                return
            self.armed = False
        self.take(act(self.relay))
        self._judge_on()

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.ended, "something came behind the end"
            match action:
                case ToClient(data=data):
                    self.peers["client"].hear(data, self.said["upstream"])
                    continue
                case ToUpstream(data=data):
                    self.peers["upstream"].hear(data, self.said["client"])
                    continue
                case DropClient():
                    self._drop("client")
                case DropUpstream():
                    self._drop("upstream")
                case Wait():
                    self.armed = True
                case Admit(ticket=ticket):
                    self.questions.append(ticket)
                case Ended(ending=ending):
                    assert ending in ENDINGS
                    self.ended = True
            self.others.append(action)
            self.book.note(action)
        assert self.relay.ending is None or self.armed or self.ended, "nothing will ever end this session"

    def _drop(self, side: str) -> None:
        assert not self.peers[side].gone, "dropped twice"
        self.peers[side].gone = True

    def finish(self) -> None:
        """Nobody says anything more: the session ends by its timer."""
        if self.relay.ending is None:
            self.take(self.relay.end(endings.OPERATOR, "Bye."))
        for _ in range(4):
            if not self.ended:
                self.take(self.relay.expired())
        assert self.ended, "the session does not end"
        assert not self.session.unsettled
        assert self.relay.ending in ENDINGS
        self.book.balanced(self.session)
        for act in (Relay.client_lost, Relay.upstream_lost, Relay.expired, Relay.ping_client, Relay.ping_upstream):
            self.take(act(self.relay))

    def outcome(self) -> tuple[object, ...]:
        """All that came of it. How much of an audio frame has gone before it proves to be none is a matter of how it
        came: the upstream is cut off in the middle of it."""
        heard = {side: bytes(peer.heard) for side, peer in self.peers.items()}
        if self.relay.ending is endings.AMBIGUOUS_AUDIO:
            heard["upstream"] = self.peers["upstream"].whole
        return heard, self.others


def cut(data: bytes, rand: random.Random) -> Iterator[bytes]:
    """The bytes in pieces, small ones at the beginning and the end."""
    at = 0
    while at < len(data):
        near = at < 200 or len(data) - at < 200
        size = rand.choice((1, 1, 2, 3, 7, 60)) if near else rand.choice((1, 500, 5000, HOLD))
        yield data[at : at + size]
        at += size


def fuzz_relay(data: bytes) -> None:
    """A script for both peers, the gateway and the timer. Whole and in pieces, and whether or not the usual takes the
    quick path, it must come to the same. Where what a peer says is judged late, if ever, it comes to an end as well."""
    script = Script(data)
    terms, reads, at_once = script.terms(), bool(script.byte() % 8), 1 + script.byte() % 3
    todo, rand = list(steps(script)), random.Random(zlib.crc32(data))
    whole, pieces = Run(terms, reads), Run(terms, reads)
    quick, quick_pieces, late = (
        Run(terms, reads, quick=True),
        Run(terms, reads, quick=True),
        Run(terms, reads, late=True),
    )
    for step in todo:
        for run in (whole, quick):
            run.do(step, [step.data] if isinstance(step, Say) else [])
    with patch.object(gate, "WORK", at_once):
        for step in todo:
            for run in (pieces, quick_pieces):
                run.do(step, cut(step.data, rand) if isinstance(step, Say) else [])
            late.do(step, [step.data] if isinstance(step, Say) else [])
        late.finish()
    for run in (whole, pieces, quick, quick_pieces):
        run.finish()
    assert whole.outcome() == pieces.outcome(), "it makes a difference how the bytes were cut"
    assert whole.outcome() == quick.outcome(), "the quick path makes a difference"
    assert whole.outcome() == quick_pieces.outcome(), "it makes a difference how the bytes of the quick path were cut"


# -- the session ---------------------------------------------------------------------------------------------------


def fuzz_session(data: bytes) -> None:
    """Whole messages: known ones, known ones with something wrong in them, and any bytes."""
    script = Script(data)
    session, book = Session(script.terms()), Book()
    questions: deque[int] = deque()
    while script:
        op = script.byte()
        from_client, binary = bool(op & 1), op & 6 == 6
        payload = _message(script, op >> 3, CLIENT_EVENTS if from_client else UPSTREAM_EVENTS)
        if from_client:
            verdict = session.read_client(payload, binary=binary)
            _valid(verdict)
            _allowed(session.terms, payload, verdict)
        elif binary or session.listening.wants(payload[:SNIFF], len(payload)):
            _valid(session.read_upstream(payload, binary=binary))
        if op >> 3 == 31:
            session.leave()
        if op >> 3 == 30 and questions:
            if op & 1:
                book.admitted += 1
                session.admit(questions.popleft())
            else:
                session.refuse(questions.popleft(), "limit_exceeded", "Spent.")
        questions += _note(session, book)
        assert session.between_turns <= (not session.unsettled)
    session.abandon()
    _note(session, book)
    assert not session.unsettled
    book.balanced(session)


def _message(script: Script, how: int, among: Sequence[object]) -> bytes:
    if how % 4 == 0:
        return script.take(script.byte())
    what = script.choose(among)
    payload = (
        what.payload if isinstance(what, Frame) else what if isinstance(what, bytes) else json.dumps(what).encode()
    )
    if how % 4 == 1:  # a part of it is something else
        at = script.byte() * len(payload) // 256
        size = script.byte() % 16
        return payload[:at] + script.take(size) + payload[at + script.byte() % 16 :]
    return payload


def _valid(verdict: Verdict) -> None:
    assert verdict is KEEP or (isinstance(verdict, tuple) and all(json.loads(each) for each in verdict))


def _allowed(terms: Terms, payload: bytes, verdict: Verdict) -> None:
    """Does what goes upstream name only models that the caller may use?"""
    for sent in ((payload,) if verdict is KEEP else verdict) if terms.allow else ():
        allowed = {"gpt-realtime", "gpt-4o-transcribe" if terms.models else "hear", "whisper-1"}
        allowed |= {"voice"} if terms.public_model != "voice" else set()
        assert set(models_named(json.loads(sent))) <= allowed


def models_named(event: object) -> Iterator[object]:
    """The models of a client's event, wherever one may stand; None for one that the upstream is to choose."""
    for holder in (openai.part(event, "session"), openai.part(event, "response"), event):
        if isinstance(holder, dict) and "model" in holder and holder is not event:
            yield str(holder["model"])
        for place in (("audio", "input", "transcription"), ("input_audio_transcription",)):
            found = openai.part(holder, *place)
            if found is not None:
                yield openai.part(found, "model")


def _note(session: Session, book: Book) -> list[int]:
    """The tickets of what is asked."""
    found: list[Effect] = list(session.effects())
    assert len(found) <= SEEN + 10
    for effect in found:
        book.note(effect)
    return [effect.ticket for effect in found if isinstance(effect, Admit)]


# -- what is said about bytes that nobody reads --------------------------------------------------------------------


def fuzz_classifier(data: bytes) -> None:
    """What goes on unread is what it was taken for, whoever reads it."""
    if openai.AUDIO.measure(data) >= 0:
        for reading in readings(data):
            assert isinstance(reading, dict)
            assert reading["type"] == openai.AUDIO_TYPE
            assert reading.keys() <= {"type", "audio", "event_id"}
            assert isinstance(reading["audio"], str)
    kind = openai.head_type(data)
    if kind is not None:
        try:
            first = first_wins(data)
        except (ValueError, RecursionError):
            first = None
        assert first is None or (isinstance(first, dict) and first["type"] == kind)
    events.read(data)
    try:
        event = events.parse(data)
        again = events.dump(event)
    except (events.BadEvent, UnicodeDecodeError):
        return
    assert events.parse(again) == event
