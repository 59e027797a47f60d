"""In whatever order things happen, a session ends once, in good form, and every turn that began is counted."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from dataplane.realtime import endings, frames
from dataplane.realtime.actions import Action, DropClient, DropUpstream, Ended, ToClient, ToUpstream, Wait
from dataplane.realtime.effects import Metered
from dataplane.realtime.gate import HOLD
from dataplane.realtime.relay import Relay
from dataplane.realtime.session import Session
from tests.dataplane.realtime.play import (
    FRAGMENTS,
    KEY,
    MAX,
    TERMS,
    Close,
    Frame,
    Raw,
    wire,
)
from tests.dataplane.realtime.sayings import CREATE, CREATED, HALF, LONG_AUDIO, LONG_EVENT, SAYING, begun, done


class Peer:
    """A strict hearer of one side's wire."""

    def __init__(self, *, masked: bool, long: bytes) -> None:
        self.wire = bytearray()
        self.masked = masked
        self.long = long
        """The one frame that comes in parts."""
        self.closed = False
        self.dropped = False
        self.open = False
        """In a fragmented message?"""

    def hear(self, data: bytes) -> None:
        assert data
        assert not self.closed, "something was sent behind Close"
        assert not self.dropped, "something was sent to a dropped connection"
        self.wire += data
        while (head := frames.parse_head(self.wire, 0)) is not None:
            assert head.masked == self.masked
            assert head.opcode in (0, 1, 2, 8, 9, 10)
            assert not head.first & 0x70
            if len(self.wire) < head.size + head.length:
                assert self.long.startswith(self.wire), "something was put into a frame"
                return
            payload = bytes(self.wire[head.size : head.size + head.length])
            if head.masked:
                payload = frames.unmasked(payload, bytes(self.wire[head.size - 4 : head.size]))
            del self.wire[: head.size + head.length]
            self._frame(head, payload)

    def _frame(self, head: frames.Head, payload: bytes) -> None:
        if head.opcode == frames.CLOSE:
            frames.parse_close(payload)
            assert not self.wire
            self.closed = True
        elif head.opcode < frames.CLOSE:
            assert (head.opcode == frames.CONTINUATION) == self.open, "a message within a message"
            self.open = not head.fin


class Running:
    """A relay with its timer between two strict peers, and the book of its turns."""

    def __init__(self) -> None:
        self.session = Session(TERMS)
        self.relay = Relay(self.session, mask=lambda: KEY, max_message=MAX, max_fragments=FRAGMENTS)
        self.peers = {"client": Peer(masked=False, long=LONG_EVENT), "upstream": Peer(masked=True, long=LONG_AUDIO)}
        self.armed = False
        self.fired = 0
        self.ended = False
        self.metered: set[str] = set()
        self.begun: set[str] = set()
        self.rest = {"client": b"", "upstream": b""}
        """What is still to be said of a frame that has begun."""
        self.fragmented = {"client": False, "upstream": False}
        self.silent = {"client": False, "upstream": False}
        """Said Close, broke the protocol, or is gone: a peer says nothing more."""

        self.event("upstream", CREATED)

    def take(self, actions: list[Action]) -> None:
        for action in actions:
            assert not self.ended, "something came behind the end"
            match action:
                case ToClient(data=data):
                    self.peers["client"].hear(data)
                case ToUpstream(data=data):
                    self.peers["upstream"].hear(data)
                case DropClient():
                    self._drop("client")
                case DropUpstream():
                    self._drop("upstream")
                case Wait():
                    self.armed = True
                case Metered(usage=usage):
                    assert usage.response_id not in self.metered, "a turn was counted twice"
                    self.metered.add(usage.response_id)
                case Ended():
                    self.ended = True
        assert self.relay.ending is None or self.armed or self.ended, "nothing will ever end this session"

    def _drop(self, side: str) -> None:
        assert not self.peers[side].dropped
        self.peers[side].dropped = True

    def say(self, side: str, data: bytes) -> None:
        self.take(self.relay.from_client(data) if side == "client" else self.relay.from_upstream(data))

    def event(self, side: str, event: object) -> None:
        self.say(side, wire(event, masked=side == "client"))

    def free(self, side: str, *, message: bool = False) -> bool:
        """May this side begin a frame, or a message?"""
        return not self.silent[side] and not self.rest[side] and not (message and self.fragmented[side])

    def begin(self) -> None:
        name = f"r{len(self.begun)}"
        if not self.peers["upstream"].dropped:
            self.begun.add(name)
        self.event("upstream", begun(name))

    def long(self, side: str, size: int) -> None:
        """The first bytes of a long frame."""
        whole = self.peers["upstream" if side == "client" else "client"].long
        self.rest[side] = whole[size:]
        self.say(side, whole[:size])

    def go_on(self, side: str, size: int = HOLD * 3) -> None:
        part, self.rest[side] = self.rest[side][:size], self.rest[side][size:]
        self.say(side, part)

    def hide(self) -> None:
        """The rest of the client's long frame is not audio: by its mask it is not even ASCII."""
        size, self.rest["client"] = len(self.rest["client"]), b""
        self.say("client", bytes(size))

    def fragment(self, side: str, *, size: int = 0, fin: bool = False) -> None:
        opcode = frames.CONTINUATION if self.fragmented[side] else frames.TEXT
        payload = (b"" if self.fragmented[side] else SAYING) + b"A" * size + (b'"}' if fin else b"")
        self.fragmented[side] = not fin
        self.event(side, Frame(opcode, payload, fin))

    def last(self, side: str, what: object) -> None:
        """Say something behind which nothing more comes."""
        self.event(side, what)
        self.silent[side] = True

    def lose(self, side: str) -> None:
        self.silent[side], self.rest[side] = True, b""
        self.peers[side].dropped = True
        self.take(self.relay.client_lost() if side == "client" else self.relay.upstream_lost())

    def end(self) -> None:
        self.take(self.relay.end(endings.OPERATOR, "Bye."))

    def drain(self) -> None:
        self.take(self.relay.end_between_turns(endings.DRAINING, "Bye."))

    def ping(self) -> None:
        self.take(self.relay.ping_client())
        self.take(self.relay.ping_upstream())

    def fire(self) -> None:
        self.armed = False
        self.fired += 1
        self.take(self.relay.expired())

    def finish(self) -> None:
        """Nobody says anything more: the session ends by its timer, and well."""
        if self.relay.ending is None:
            self.end()
        while not self.ended:
            self.fire()
        assert self.fired <= 3
        assert self.metered >= self.begun, "a turn was not counted"
        assert all(peer.closed or peer.dropped for peer in self.peers.values())
        for act in (self.relay.client_lost, self.relay.upstream_lost, self.relay.expired):
            self.take(act())
        assert not self.session.unsettled


BROKEN = Raw(b"\xf3\x80....")
PING = Frame(frames.PING, b"x")
TALKING = {"type": "input_audio_buffer.speech_started"}
SILENT = {"type": "input_audio_buffer.speech_stopped"}


def situation(it: Running, name: str) -> None:
    match name:
        case "in a turn":
            it.begin()
        case "in two turns":
            it.begin()
            it.begin()
        case "before a turn":
            it.event("client", CREATE)
        case "while the user talks":
            it.event("upstream", TALKING)
        case "in the client's long frame":
            it.begin()
            it.long("client", HALF)
        case "in the upstream's long frame":
            it.begin()
            it.long("upstream", HALF)
        case "in both long frames":
            it.long("client", HALF)
            it.long("upstream", HALF)
        case "in the client's fragments":
            it.begin()
            it.fragment("client")
        case "in the upstream's fragments":
            it.begin()
            it.fragment("upstream")
            it.event("client", "nonsense")


SITUATIONS = [
    "idle", "in a turn", "in two turns", "before a turn", "while the user talks",
    "in the client's long frame", "in the upstream's long frame", "in both long frames",
    "in the client's fragments", "in the upstream's fragments",
]  # fmt: skip

Act = tuple[Callable[[Running], object], Callable[[Running], None]]
ACTS: dict[str, Act] = {
    "client closes": (lambda it: it.free("client"), lambda it: it.last("client", Close(4001))),
    "client closes badly": (lambda it: it.free("client"), lambda it: it.last("client", Frame(frames.CLOSE, b"x"))),
    "client breaks": (lambda it: it.free("client"), lambda it: it.last("client", BROKEN)),
    "client hides": (lambda it: it.rest["client"], Running.hide),
    "client goes on": (lambda it: it.rest["client"], lambda it: it.go_on("client")),
    "client pings": (lambda it: it.free("client"), lambda it: it.event("client", PING)),
    "client begins": (lambda it: it.free("client", message=True), lambda it: it.long("client", HALF)),
    "client lost": (lambda it: True, lambda it: it.lose("client")),
    "upstream closes": (lambda it: it.free("upstream"), lambda it: it.last("upstream", Close())),
    "upstream breaks": (lambda it: it.free("upstream"), lambda it: it.last("upstream", BROKEN)),
    "upstream goes on": (lambda it: it.rest["upstream"], lambda it: it.go_on("upstream")),
    "upstream pings": (lambda it: it.free("upstream"), lambda it: it.event("upstream", PING)),
    "turn done": (lambda it: it.free("upstream", message=True), lambda it: it.event("upstream", done("r0"))),
    "upstream lost": (lambda it: True, lambda it: it.lose("upstream")),
    "operator": (lambda it: True, Running.end),
    "drained": (lambda it: True, Running.drain),
    "pinged": (lambda it: True, Running.ping),
    "timer": (lambda it: it.armed, Running.fire),
}
"""What can happen: when it can, and how."""


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_order_of_three_things_ends_well(name: str) -> None:
    for order in permutations(ACTS, 3):
        it = Running()
        situation(it, name)
        try:
            for can, act in map(ACTS.__getitem__, order):
                if can(it):
                    act(it)
            it.finish()
        except AssertionError as error:
            error.add_note(f"{name}: {order}")
            raise


class AnyOrder(RuleBasedStateMachine, Running):
    """Both peers and the gateway do what they can at any moment."""

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        Running.__init__(self)

    def sides(self, draw: st.DataObject) -> str:
        return draw.draw(st.sampled_from([side for side in self.rest if self.free(side)]))

    @precondition(lambda self: self.free("client", message=True))
    @rule(what=st.sampled_from([CREATE, "nonsense", Frame(frames.TEXT, b"\xff")]), times=st.integers(1, 2))
    def the_client_talks(self, what: object, times: int) -> None:
        self.say("client", wire(what, masked=True) * times)

    @precondition(lambda self: self.free("upstream", message=True))
    @rule()
    def a_turn_begins(self) -> None:
        self.begin()

    @precondition(lambda self: self.free("upstream", message=True) and self.begun)
    @rule(data=st.data())
    def a_turn_is_over(self, data: st.DataObject) -> None:
        self.event("upstream", done(data.draw(st.sampled_from(sorted(self.begun)))))

    @precondition(lambda self: self.free("upstream", message=True))
    @rule(what=st.sampled_from([TALKING, SILENT]))
    def the_user_talks(self, what: object) -> None:
        self.event("upstream", what)

    @precondition(lambda self: self.free("client", message=True))
    @rule(size=st.sampled_from([HALF, HOLD * 2]))
    def the_client_begins_a_long_frame(self, size: int) -> None:
        self.long("client", size)

    @precondition(lambda self: self.free("upstream", message=True))
    @rule(size=st.sampled_from([HALF, HOLD * 2]))
    def the_upstream_begins_a_long_frame(self, size: int) -> None:
        self.long("upstream", size)

    @precondition(lambda self: any(self.rest.values()))
    @rule(data=st.data(), size=st.sampled_from([5000, HOLD * 3]))
    def the_frame_goes_on(self, data: st.DataObject, size: int) -> None:
        self.go_on(data.draw(st.sampled_from([side for side, rest in self.rest.items() if rest])), size)

    @precondition(lambda self: self.rest["client"])
    @rule()
    def it_holds_more_than_audio(self) -> None:
        self.hide()

    @precondition(lambda self: self.free("client") or self.free("upstream"))
    @rule(data=st.data(), size=st.sampled_from([0, HALF]), fin=st.booleans())
    def says_a_fragment(self, data: st.DataObject, size: int, fin: bool) -> None:
        self.fragment(self.sides(data), size=size, fin=fin)

    @precondition(lambda self: self.free("client") or self.free("upstream"))
    @rule(data=st.data())
    def pings(self, data: st.DataObject) -> None:
        self.event(self.sides(data), PING)

    @precondition(lambda self: self.free("client") or self.free("upstream"))
    @rule(data=st.data(), what=st.sampled_from([Close(), Close(4001), Frame(frames.CLOSE, b"x"), BROKEN]))
    def says_close_or_breaks_the_protocol(self, data: st.DataObject, what: object) -> None:
        self.last(self.sides(data), what)

    @rule(side=st.sampled_from(["client", "upstream"]))
    def is_lost(self, side: str) -> None:
        self.lose(side)

    @rule()
    def the_gateway_ends_it(self) -> None:
        self.end()

    @rule()
    def the_gateway_drains_it(self) -> None:
        self.drain()

    @rule()
    def the_gateway_pings(self) -> None:
        self.ping()

    @precondition(lambda self: self.armed)
    @rule()
    def the_timer_fires(self) -> None:
        self.fire()

    def teardown(self) -> None:
        self.finish()


AnyOrder.TestCase.settings = settings(deadline=None, max_examples=300, stateful_step_count=25)
TestAnyOrder = AnyOrder.TestCase
