"""Dialogues with a relay: `play() >> client(…) << upstream(…)`.

`>>` feeds something to the relay, `<<` says what must come of it next. What came is kept in order for each hearer
apart (client, upstream, ledger), since two wires have no common clock; a dialogue ends with `.over()`, which says
that nothing else came.

    play() >> client({"type": "response.create"}) << upstream({"type": "response.create"})
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from dataplane.metering.usage import ANONYMOUS, Tokens
from dataplane.realtime import endings, frames, relay
from dataplane.realtime.actions import Action, DropClient, DropUpstream, Ended, ToClient, ToUpstream, Wait
from dataplane.realtime.effects import (
    Admit,
    Began,
    Interrupted,
    Logged,
    Metered,
    Progress,
    Prompted,
    Released,
    Spoke,
    Unmetered,
)
from dataplane.realtime.endings import Ending
from dataplane.realtime.session import Session
from dataplane.realtime.terms import Terms

KEY = b"\x01\x02\x03\x04"
MAX = 1024 * 1024
FRAGMENTS = 1000
TERMS = Terms(
    id="s1",
    route="ai/voice",
    backend="ai/voice",
    caller=ANONYMOUS,
    provider="openai",
    provider_kind="openai",
    public_model="gpt-realtime",
    upstream_model="gpt-realtime",
)


@dataclass(frozen=True)
class Said:
    """Something that one side says, or hears."""

    side: str
    what: object


def client(*events: object) -> Said:
    """JSON events (dict), text (str), bytes (a binary message), or Frame/Close/Gone."""
    return Said("client", events)


def upstream(*events: object) -> Said:
    return Said("upstream", events)


@dataclass(frozen=True)
class Frame:
    """One frame as it is, for what an event cannot say."""

    opcode: int
    payload: bytes = b""
    fin: bool = True


@dataclass(frozen=True)
class Close:
    code: int = 1005
    reason: str = ""


class Gone:
    """The connection ends without a Close frame (fed), or is dropped by the relay (heard)."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gone)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "Gone()"


class Raw(bytes):
    """Bytes of the wire, fed as they are."""


class Timer:
    """The relay's timer fires."""


@dataclass(frozen=True)
class Admitted:
    """Whoever was asked says that the turn may begin."""

    ticket: int


@dataclass(frozen=True)
class NotAdmitted:
    """Whoever was asked says that it may not; `ends`: nor may the session go on."""

    ticket: int
    ends: bool = False


@dataclass(frozen=True)
class Turn:
    """A metered turn, as far as a dialogue cares."""

    response_id: str
    status: str = "completed"
    tokens: Tokens | None = None
    operation: str = "realtime_inference"
    model: str = "gpt-realtime"
    estimated: bool = False


@dataclass(frozen=True)
class Over:
    ending: Ending
    code: int = 1005


def play(terms: Terms = TERMS, *, reads: bool = True) -> Dialogue:
    return Dialogue(
        relay.Relay(Session(terms), mask=lambda: KEY, max_message=MAX, max_fragments=FRAGMENTS, reads=reads)
    )


@dataclass
class Dialogue:
    relay: relay.Relay
    heard: dict[str, deque[object]] = field(
        default_factory=lambda: {side: deque() for side in ("client", "upstream", "ledger", "limits")}
    )
    progress: list[Progress] = field(default_factory=list)
    """How turns went; a dialogue that cares looks into it."""
    _wires: dict[str, bytearray] = field(default_factory=lambda: {"client": bytearray(), "upstream": bytearray()})
    _parts: dict[str, bytearray] = field(default_factory=dict)
    _kinds: dict[str, int] = field(default_factory=dict)

    def __rshift__(self, said: Said | Timer | Admitted | NotAdmitted) -> Self:
        if isinstance(said, Timer):
            return self.take(self.relay.expired())
        if isinstance(said, Admitted):
            return self._judged_on(self.relay.admit(said.ticket))
        if isinstance(said, NotAdmitted):
            if said.ends:
                return self._judged_on(self.relay.refuse_and_end(said.ticket, endings.LIMIT, "Spent."))
            return self._judged_on(self.relay.refuse(said.ticket, "limit_exceeded", "Spent."))
        assert isinstance(said.what, Iterable)
        for what in said.what:
            if isinstance(what, Gone):
                self.take(self.relay.client_lost() if said.side == "client" else self.relay.upstream_lost())
            else:
                self.feed(said.side, wire(what, masked=said.side == "client"))
        return self

    def __lshift__(self, expected: Said | Turn | Over | Logged | Unmetered | Admit | Released) -> Self:
        if isinstance(expected, Admit | Released):
            assert self._next("limits") == expected
            return self
        if not isinstance(expected, Said):
            assert self._next("ledger") == expected
            return self
        assert isinstance(expected.what, Iterable)
        for what in expected.what:
            heard = self._next(expected.side)
            if isinstance(what, dict) and isinstance(heard, dict):  # only what the dialogue names is compared
                heard = {key: value for key, value in heard.items() if key in what}
            assert heard == what
        return self

    def feed(self, side: str, data: bytes) -> Self:
        """Bytes of the wire, as they are."""
        here, other = self.relay, "upstream" if side == "client" else "client"
        flowing, data = (here.client_flow if side == "client" else here.upstream_flow)(data)
        self._hear(other, flowing)
        return self._judged_on(here.from_client(data) if side == "client" else here.from_upstream(data))

    def _judged_on(self, actions: Iterable[Action]) -> Self:
        self.take(actions)
        while self.relay.client_behind:
            self.take(self.relay.from_client(b""))
        while self.relay.upstream_behind:
            self.take(self.relay.from_upstream(b""))
        return self

    def cut_off(self, side: str) -> None:
        """This side is in the middle of a frame, of which the dialogue tells no more."""
        assert self._wires[side], f"the {side} got whole frames only"
        self._wires[side].clear()

    def over(self) -> None:
        """Nothing else came."""
        assert {side: list(things) for side, things in self.heard.items() if things} == {}
        assert not any(self._wires.values()), "an unfinished frame was forwarded"

    def _next(self, side: str) -> object:
        assert self.heard[side], f"the {side} heard nothing more"
        return self.heard[side].popleft()

    def take(self, actions: Iterable[Action]) -> Self:
        for action in actions:
            match action:
                case ToClient(data=data):
                    self._hear("client", data)
                case ToUpstream(data=data):
                    self._hear("upstream", data)
                case DropClient():
                    self.heard["client"].append(Gone())
                case DropUpstream():
                    self.heard["upstream"].append(Gone())
                case Metered(usage=usage):
                    turn = Turn(usage.response_id, usage.status, usage.tokens, usage.operation, usage.request_model)
                    self.heard["ledger"].append(replace(turn, estimated=usage.estimated))
                case Ended(ending=ending, close=close):
                    self.heard["ledger"].append(Over(ending, close.code))
                case Logged() | Unmetered():
                    self.heard["ledger"].append(action)
                case Prompted() | Began() | Spoke() | Interrupted():
                    self.progress.append(action)
                case Admit() | Released():
                    self.heard["limits"].append(action)
                case Wait():
                    pass
        return self

    def _hear(self, side: str, data: bytes) -> None:
        """Take frames off the wire as a strict peer would."""
        buffer = self._wires[side]
        buffer += data
        while (head := frames.parse_head(buffer, 0)) is not None and len(buffer) >= head.size + head.length:
            assert head.masked == (side == "upstream"), f"{side} gets frames with the wrong masking"
            assert not head.first & 0x70
            payload = bytes(buffer[head.size : head.size + head.length])
            if head.masked:
                payload = frames.unmasked(payload, bytes(buffer[head.size - 4 : head.size]))
            del buffer[: head.size + head.length]
            self._frame(side, head, payload)

    def _frame(self, side: str, head: frames.Head, payload: bytes) -> None:
        if head.opcode == frames.CLOSE:
            close = frames.parse_close(payload)
            self.heard[side].append(Close(close.code, close.reason))
        elif head.opcode >= frames.CLOSE:
            self.heard[side].append(Frame(head.opcode, payload))
        else:
            if head.opcode:
                self._parts[side], self._kinds[side] = bytearray(), head.opcode
            parts = self._parts[side]
            parts += payload
            if head.fin:
                message = bytes(self._parts.pop(side))
                self.heard[side].append(_message(self._kinds[side], message))


def _message(opcode: int, payload: bytes) -> object:
    if opcode == frames.BINARY:
        return payload
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")


def wire(what: object, *, masked: bool) -> bytes:
    """What is said, as bytes of the wire."""
    key = KEY if masked else None
    match what:
        case Raw():
            return bytes(what)
        case Frame():
            data = frames.frame(what.opcode, what.payload, key)
            return data if what.fin else bytes((data[0] & 0x7F,)) + data[1:]
        case Close():
            return frames.frame(frames.CLOSE, frames.Close(what.code, what.reason).payload(), key)
        case bytes():
            return frames.frame(frames.BINARY, what, key)
        case str():
            return frames.frame(frames.TEXT, what.encode(), key)
    return frames.frame(frames.TEXT, json.dumps(what).encode(), key)
