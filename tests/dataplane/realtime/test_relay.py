"""However a session ends, it ends once, in good form, and everything that began is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from dataplane.metering.usage import Tokens
from dataplane.realtime import endings, frames, relay
from dataplane.realtime.endings import ENDINGS, Ending
from dataplane.realtime.gate import HOLD
from dataplane.realtime.relay import MAX_LATE, Relay
from dataplane.realtime.session import Logged, Metered, Session, Unmetered
from tests.dataplane.realtime.play import (
    KEY,
    MAX,
    TERMS,
    Close,
    Dialogue,
    Frame,
    Gone,
    Over,
    Raw,
    Timer,
    Turn,
    client,
    play,
    upstream,
    wire,
)

CREATED = {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}
CREATE = {"type": "response.create"}
LONG_AUDIO = wire(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * HOLD * 2}), masked=True)
LONG_EVENT = wire(json.dumps({"type": "response.output_audio.delta", "delta": "A" * HOLD * 2}), masked=False)
HALF = HOLD + 1000
SAID = {"type": "response.output_audio.delta", "delta": "A" * 200}


SAYING = json.dumps(SAID).encode()[:150]
"""The beginning of it, which tells that nobody has to read it."""


def begun(name: str) -> dict[str, object]:
    return {"type": "response.created", "response": {"id": name}}


def done(name: str, status: str = "completed") -> dict[str, object]:
    return {"type": "response.done", "response": {"id": name, "status": status, "usage": {"output_tokens": 1}}}


ONE = Tokens(output_unknown=1)


# -- every row of the table ----------------------------------------------------------------------------------------


def in_a_turn() -> Dialogue:
    return play() >> upstream(CREATED, begun("r1")) << client(CREATED, begun("r1"))


def told(dialogue: Dialogue, ending: Ending, *, cancelled: bool = True) -> Dialogue:
    """The client hears the ending's event and code, the turn is cancelled and counted; then both leave."""
    if ending.event is not None:
        kind, code = ending.event
        error = dialogue.heard["client"].popleft()
        assert isinstance(error, dict)
        assert (error["type"], error["error"]["type"], error["error"]["code"]) == ("error", kind, code)
        assert error["error"]["message"]
    close = dialogue.heard["client"].popleft()
    assert isinstance(close, Close)
    assert close.code == ending.code
    if cancelled:
        dialogue << upstream({"type": "response.cancel", "response_id": "r1"})
        dialogue >> upstream(done("r1", "cancelled")) << Turn("r1", "cancelled", ONE) << upstream(Close(1000))
        dialogue >> upstream(Close(1000)) << upstream(Gone())
    return dialogue >> client(Close(close.code)) << client(Gone())


def _client_closed() -> Dialogue:
    dialogue = in_a_turn() >> client(Close(3456, "enough")) << client(Close(3456, "enough"), Gone())
    dialogue << upstream({"type": "response.cancel"}) >> upstream(done("r1")) << Turn("r1", tokens=ONE)
    return dialogue << upstream(Close(3456, "enough")) >> upstream(Gone()) << Over(endings.CLIENT_CLOSED, 3456)


def _client_lost() -> Dialogue:
    dialogue = in_a_turn() >> client(Gone()) << upstream({"type": "response.cancel"}) >> upstream(done("r1"))
    dialogue << Turn("r1", tokens=ONE) << upstream(Close(1001, "client went away")) >> upstream(Close(1001))
    return dialogue << upstream(Gone()) << Over(endings.CLIENT_LOST, 1001)


def _upstream_closed() -> Dialogue:
    dialogue = in_a_turn() >> upstream(Close(1012, "restart")) << client(Close(1012, "restart"))
    dialogue << upstream(Close(1012, "restart"), Gone()) << Turn("r1", "lost") >> client(Close(1012))
    return dialogue << client(Gone()) << Over(endings.UPSTREAM_CLOSED, 1012)


def _upstream_lost() -> Dialogue:
    dialogue = in_a_turn() >> upstream(Gone()) << Turn("r1", "lost")
    return told(dialogue, endings.UPSTREAM_LOST, cancelled=False) << Over(endings.UPSTREAM_LOST, 1011)


def _upstream_invalid() -> Dialogue:
    dialogue = in_a_turn() >> upstream(Raw(b"\xff\x00")) << upstream(Close(1002), Gone()) << Turn("r1", "lost")
    return told(dialogue, endings.UPSTREAM_INVALID, cancelled=False) << Over(endings.UPSTREAM_INVALID, 1011)


def _told(ending: Ending, cause: Callable[[Dialogue], object]) -> Callable[[], Dialogue]:
    def dialogue() -> Dialogue:
        running = in_a_turn()
        cause(running)
        if running.relay.session.unsettled:
            return told(running, ending) << Over(ending, ending.code)
        return running

    return dialogue


def _by_client(ending: Ending, what: object) -> Callable[[], Dialogue]:
    return _told(ending, lambda dialogue: dialogue >> client(what))


def _by_us(ending: Ending) -> Callable[[], Dialogue]:
    return _told(ending, lambda dialogue: dialogue.take(dialogue.relay.end(ending, ending.meaning)))


def _protocol_error() -> Dialogue:  # the gate reads nothing behind a breach, the client's Close neither
    dialogue = in_a_turn() >> client(Raw(b"\xff\x80....")) << client(Close(1002, RSV)) >> client(Close(1002))
    dialogue << upstream({"type": "response.cancel"}) >> upstream(done("r1")) << Turn("r1", tokens=ONE)
    return (
        dialogue
        << upstream(Close(1000))
        >> Timer()
        << client(Gone())
        << upstream(Gone())
        << Over(endings.PROTOCOL_ERROR, 1002)
    )


RSV = "reserved bits are set and no extension was negotiated"


def _too_big() -> Dialogue:
    dialogue = in_a_turn() >> client(Raw(b"\x81\xff" + (MAX + 1).to_bytes(8, "big") + b"...."))
    dialogue << client({"type": "error"}, Close(1009, f"message over {MAX} bytes"))
    dialogue << upstream({"type": "response.cancel"}) >> upstream(done("r1")) << Turn("r1", tokens=ONE)
    return (
        dialogue
        << upstream(Close(1000))
        >> Timer()
        << client(Gone())
        << upstream(Gone())
        << Over(endings.MESSAGE_TOO_BIG, 1009)
    )


def _ambiguous() -> Dialogue:
    text = '{"type":"input_audio_buffer.append","audio":"' + "A" * HOLD + '","type":"session.update"}'
    dialogue = in_a_turn() >> client(text) << client({"type": "error"})
    dialogue << client(Close(1008, "a long audio event holds more than audio"))
    (
        dialogue
        << upstream(Gone())
        << Turn("r1", "lost")
        >> Timer()
        << client(Gone())
        << Over(endings.AMBIGUOUS_AUDIO, 1008)
    )
    dialogue.cut_off("upstream")
    return dialogue


ROWS: dict[Ending, Callable[[], Dialogue]] = {
    endings.CLIENT_CLOSED: _client_closed,
    endings.CLIENT_LOST: _client_lost,
    endings.UPSTREAM_CLOSED: _upstream_closed,
    endings.UPSTREAM_LOST: _upstream_lost,
    endings.UPSTREAM_INVALID: _upstream_invalid,
    endings.PROTOCOL_ERROR: _protocol_error,
    endings.BAD_UTF8: _by_client(endings.BAD_UTF8, Frame(frames.TEXT, b'{"a":"\xff"}')),
    endings.MESSAGE_TOO_BIG: _too_big,
    endings.AMBIGUOUS_AUDIO: _ambiguous,
    endings.OPERATOR: _by_us(endings.OPERATOR),
    endings.SHUTDOWN: _by_us(endings.SHUTDOWN),
    endings.INTERNAL: _by_us(endings.INTERNAL),
}


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.label)
def test_every_ending_is_told_as_the_table_says(ending: Ending) -> None:
    ROWS[ending]().over()


def test_labels_are_unique_and_codes_may_be_sent() -> None:
    assert len({ending.label for ending in ENDINGS}) == len(ENDINGS)
    assert {ending.code for ending in ENDINGS} <= frames.LEGAL_CODES


# -- order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("glued", [False, True])
def test_what_comes_in_one_read_is_answered_as_if_it_came_apart(glued: bool) -> None:
    said = ["nonsense", Frame(frames.PING, b"1"), Frame(frames.TEXT, b"\xff"), CREATE, Raw(LONG_AUDIO), Close(1000)]
    parts = [wire(what, masked=True) for what in said]
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    for part in [b"".join(parts)] if glued else parts:
        dialogue.feed("client", part)
    heard = client({"type": "error"}, Frame(frames.PONG, b"1"), Close(1007, "A text message was not UTF-8."), Gone())
    (dialogue << heard << upstream(Close(1000))).over()


def test_nothing_behind_the_clients_close_is_listened_to() -> None:
    stream = wire(Close(1000), masked=True) + wire(CREATE, masked=True)
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    (dialogue.feed("client", stream) << client(Close(1000), Gone()) << upstream(Close(1000))).over()


def test_a_turn_in_which_the_gateway_ends_the_session_is_cancelled_at_once() -> None:
    dialogue = in_a_turn() >> client(Frame(frames.TEXT, b"\xff"))
    dialogue << client(Close(1007, "A text message was not UTF-8."))
    (dialogue << upstream({"type": "response.cancel", "response_id": "r1"})).over()


def test_a_lost_upstream_does_not_leave_a_client_that_never_answers() -> None:
    dialogue = in_a_turn()
    dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye."))
    dialogue << client({"type": "error"}, Close(1001, "Bye.")) << upstream({"type": "response.cancel"})
    dialogue >> upstream(Gone()) << Turn("r1", "lost") >> Timer() << client(Gone())
    (dialogue << Over(endings.OPERATOR, 1001)).over()


def test_a_bad_close_is_answered_and_the_connection_ended() -> None:
    for payload, ending in ((b"\x03\xee", endings.PROTOCOL_ERROR), (b"\x03\xe8\xff", endings.BAD_UTF8)):
        dialogue = play() >> upstream(CREATED) << client(CREATED) >> client(Frame(frames.CLOSE, payload))
        close = dialogue.heard["client"].popleft()
        assert isinstance(close, Close)
        assert close.code == ending.code
        (dialogue << client(Gone()) << upstream(Close(1000)) >> upstream(Gone())).heard["ledger"].clear()
        dialogue.over()


@pytest.mark.parametrize(("payload", "code"), [(b"\x03\xee", 1002), (b"\x03\xe8\xff", 1007), (b"x", 1002)])
def test_an_upstreams_bad_close_is_answered_with_its_code(payload: bytes, code: int) -> None:
    dialogue = play() >> upstream(CREATED, Frame(frames.CLOSE, payload)) << upstream(Close(code), Gone())
    dialogue << client(CREATED, {"type": "error"})
    assert isinstance(close := dialogue.heard["client"].popleft(), Close)
    assert close.code == 1011


def test_a_client_that_has_gone_hears_nothing_and_says_nothing() -> None:
    dialogue = (
        play() >> upstream(CREATED) << client(CREATED) >> client(Gone()) << upstream(Close(1001, "client went away"))
    )
    (dialogue >> client(CREATE) >> upstream(SAID)).over()
    dialogue >> upstream(Gone()) << Over(endings.CLIENT_LOST, 1001)
    (dialogue >> upstream(SAID, Gone()) >> client(Gone()) >> Timer()).over()
    dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye.")).over()


def test_without_reading_messages_go_through_and_close_is_kept() -> None:
    dialogue = play(reads=False) >> upstream(CREATED, b"\x00") >> client("nonsense", b"\x01", Close(1000))
    (dialogue << client(CREATED, b"\x00", Close(1000), Gone()) << upstream("nonsense", b"\x01", Close(1000))).over()


# -- between frames and messages -----------------------------------------------------------------------------------


def test_the_close_waits_for_the_end_of_the_upstreams_frame() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    dialogue.feed("upstream", LONG_EVENT[:HALF]) >> client(Close(1000)) << upstream(Close(1000))
    assert not dialogue.heard["client"]
    dialogue.feed("upstream", LONG_EVENT[HALF:] + wire(SAID, masked=False))
    (dialogue << client({"type": "response.output_audio.delta"}, Close(1000), Gone())).over()


def test_a_frame_that_will_never_be_whole_ends_the_connection_without_close() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    (
        dialogue.feed("upstream", LONG_EVENT[:HALF])
        >> upstream(Gone())
        << client(Gone())
        << Over(endings.UPSTREAM_LOST, 1011)
    )
    dialogue.cut_off("client")
    dialogue.over()


def test_an_end_in_the_middle_of_both_frames_ends_both_connections() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    dialogue.feed("upstream", LONG_EVENT[:HALF]).feed("client", LONG_AUDIO[:HALF])
    dialogue.take(dialogue.relay.end(endings.SHUTDOWN, "Bye."))
    dialogue << upstream(Gone()) << client(Gone()) << Over(endings.SHUTDOWN, 1001)
    dialogue.cut_off("client")
    dialogue.cut_off("upstream")
    dialogue.over()


def test_an_event_of_ours_waits_for_the_end_of_a_fragmented_message() -> None:
    dialogue = (
        play()
        >> upstream(CREATED, Frame(frames.TEXT, SAYING, False))
        << client(CREATED)
        >> client("nonsense", Frame(frames.PING, b"1"))
    )
    (dialogue << client(Frame(frames.PONG, b"1"))).over()
    dialogue >> upstream(Frame(frames.CONTINUATION, b'"}')) << client({"type": SAID["type"]}, {"type": "error"})


def test_an_event_of_ours_does_not_get_between_a_frames_head_and_its_payload() -> None:
    dialogue = play() >> upstream(CREATED, Frame(frames.TEXT, SAYING, False)) << client(CREATED) >> client("nonsense")
    dialogue >> upstream(Frame(frames.CONTINUATION, b"A" * HALF + b'"}'))
    (dialogue << client({"type": SAID["type"]}, {"type": "error"})).over()


def test_a_close_does_not_wait_for_a_fragmented_message() -> None:
    dialogue = play() >> upstream(CREATED, Frame(frames.TEXT, SAYING, False)) << client(CREATED)
    dialogue.take(dialogue.relay.end(endings.SHUTDOWN, "Bye."))
    assert dialogue.heard["client"].popleft() == Close(1001, "Bye.")


def test_the_upstream_is_answered_behind_the_clients_long_frame_and_between_two() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    dialogue.feed("client", LONG_AUDIO[:HALF]) >> upstream(Frame(frames.PING, b"1"), Frame(frames.PING, b"2"))
    assert not dialogue.heard["upstream"]
    dialogue.feed("client", LONG_AUDIO[HALF:] + LONG_AUDIO[:HALF])
    dialogue << upstream({"type": "input_audio_buffer.append"}, Frame(frames.PONG, b"2"))
    dialogue.feed("client", LONG_AUDIO[HALF:]) << upstream({"type": "input_audio_buffer.append"})
    dialogue.over()


def test_a_muted_clients_long_frame_does_not_keep_close_from_the_upstream() -> None:
    dialogue = in_a_turn()
    dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye.")) << client({"type": "error"}, Close(1001, "Bye."))
    dialogue << upstream({"type": "response.cancel"})
    dialogue.feed("client", LONG_AUDIO[:HALF]) >> upstream(done("r1")) << Turn("r1", tokens=ONE)
    (dialogue << upstream(Close(1000))).over()


def test_what_waits_for_a_slow_upstream_is_bounded() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    dialogue.feed("upstream", LONG_EVENT[:HALF])
    for at in range(MAX_LATE * 3):
        dialogue >> client("nonsense", Frame(frames.PING, b"%d" % at))
    dialogue.feed("upstream", LONG_EVENT[HALF:])
    heard = dialogue.heard["client"]
    assert heard.popleft() == {"type": "response.output_audio.delta", "delta": "A" * HOLD * 2}
    assert Counter(type(what) for what in heard) == {dict: MAX_LATE - 1, Frame: 1}
    assert Frame(frames.PONG, b"%d" % (MAX_LATE * 3 - 1)) in heard


def test_events_that_are_logged_come_out() -> None:
    dialogue = play(replace(TERMS, log_events=frozenset({"*"}))) >> upstream(CREATED) << client(CREATED)
    dialogue << Logged("upstream", "session.created", "", "", len(json.dumps(CREATED)))
    audio = {"type": "input_audio_buffer.append", "event_id": "e1", "audio": ""}
    dialogue >> client(audio) << upstream(audio)
    dialogue << Logged("client", "input_audio_buffer.append", "e1", "", len(json.dumps(audio)))
    dialogue >> upstream("nonsense") << client("nonsense") << Unmetered("undecodable")
    dialogue.over()


# -- any order of things -------------------------------------------------------------------------------------------


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
        self.relay = Relay(self.session, mask=lambda: KEY, max_message=MAX)
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

    def take(self, actions: list[relay.Action]) -> None:
        for action in actions:
            assert not self.ended, "something came behind the end"
            match action:
                case relay.ToClient(data=data):
                    self.peers["client"].hear(data)
                case relay.ToUpstream(data=data):
                    self.peers["upstream"].hear(data)
                case relay.DropClient():
                    self._drop("client")
                case relay.DropUpstream():
                    self._drop("upstream")
                case relay.Wait():
                    self.armed = True
                case Metered(usage=usage):
                    assert usage.response_id not in self.metered, "a turn was counted twice"
                    self.metered.add(usage.response_id)
                case relay.Ended():
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


def situation(it: Running, name: str) -> None:
    match name:
        case "in a turn":
            it.begin()
        case "in two turns":
            it.begin()
            it.begin()
        case "before a turn":
            it.event("client", CREATE)
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
    "idle", "in a turn", "in two turns", "before a turn", "in the client's long frame", "in the upstream's long frame",
    "in both long frames", "in the client's fragments", "in the upstream's fragments",
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

    @precondition(lambda self: self.armed)
    @rule()
    def the_timer_fires(self) -> None:
        self.fire()

    def teardown(self) -> None:
        self.finish()


AnyOrder.TestCase.settings = settings(deadline=None, max_examples=300, stateful_step_count=25)
TestAnyOrder = AnyOrder.TestCase
