"""However a session ends, it ends once, in good form, and everything that began is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from dataplane.realtime import endings, frames
from dataplane.realtime.effects import Logged, Unmetered
from dataplane.realtime.endings import ENDINGS, Ending
from dataplane.realtime.gate import HOLD
from tests.dataplane.realtime.play import (
    FRAGMENTS,
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
from tests.dataplane.realtime.sayings import CREATE, CREATED, LONG_AUDIO, LONG_EVENT, ONE, SAID, done, in_a_turn

# -- every row of the table ----------------------------------------------------------------------------------------


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


GONE = Close(1001, "client went away")


def _client_closed() -> Dialogue:
    dialogue = in_a_turn() >> client(Close(3456, "enough")) << client(Close(3456, "enough"), Gone())
    dialogue << upstream({"type": "response.cancel"}) >> upstream(done("r1")) << Turn("r1", tokens=ONE)
    return dialogue << upstream(Close(3456, "enough")) >> upstream(Gone()) << Over(endings.CLIENT_CLOSED, 3456)


def _client_lost(ending: Ending) -> Callable[[], Dialogue]:
    def dialogue() -> Dialogue:
        lost = in_a_turn()
        lost.take(lost.relay.client_lost(ending)) << upstream({"type": "response.cancel"}) >> upstream(done("r1"))
        lost << Turn("r1", tokens=ONE) << upstream(GONE) >> upstream(Close(1001))
        return lost << upstream(Gone()) << Over(ending, ending.code)

    return dialogue


def _upstream_closed() -> Dialogue:
    dialogue = in_a_turn() >> upstream(Close(1012, "restart")) << client(Close(1012, "restart"))
    dialogue << upstream(Close(1012, "restart"), Gone()) << Turn("r1", "lost") >> client(Close(1012))
    return dialogue << client(Gone()) << Over(endings.UPSTREAM_CLOSED, 1012)


def _upstream_lost(ending: Ending) -> Callable[[], Dialogue]:
    def dialogue() -> Dialogue:
        lost = in_a_turn()
        lost.take(lost.relay.upstream_lost(ending)) << Turn("r1", "lost")
        return told(lost, ending, cancelled=False) << Over(ending, ending.code)

    return dialogue


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


def _over_a_limit(ending: Ending, message: bytes, why: str) -> Callable[[], Dialogue]:
    """The client is not read any more, its Close neither: it has until the timer fires."""

    def dialogue() -> Dialogue:
        over = in_a_turn() >> client(Raw(message))
        assert ending.event is not None
        kind, code = ending.event
        error = over.heard["client"].popleft()
        assert isinstance(error, dict)
        assert (error["error"]["type"], error["error"]["code"]) == (kind, code)
        over << client(Close(ending.code, why)) << upstream({"type": "response.cancel"}) >> upstream(done("r1"))
        over << Turn("r1", tokens=ONE) << upstream(Close(1000)) >> Timer() << client(Gone()) << upstream(Gone())
        return over << Over(ending, ending.code)

    return dialogue


def fragments(number: int, *, masked: bool) -> bytes:
    """A message in so many frames, and never finished."""
    begun = wire(Frame(frames.TEXT, b"{", False), masked=masked)
    return begun + wire(Frame(frames.CONTINUATION, b"", False), masked=masked) * (number - 1)


def _ambiguous() -> Dialogue:
    text = '{"type":"input_audio_buffer.append","audio":"' + "A" * HOLD + '","type":"session.update"}'
    dialogue = in_a_turn() >> client(text) << client({"type": "error"})
    dialogue << client(Close(1008, "a long audio event holds more than audio"))
    dialogue >> upstream(done("r1")) << Turn("r1", tokens=ONE) << upstream(Gone())
    dialogue >> Timer() << client(Gone()) << Over(endings.AMBIGUOUS_AUDIO, 1008)
    dialogue.cut_off("upstream")
    return dialogue


ROWS: dict[Ending, Callable[[], Dialogue]] = {
    endings.CLIENT_CLOSED: _client_closed,
    endings.UPSTREAM_CLOSED: _upstream_closed,
    endings.UPSTREAM_INVALID: _upstream_invalid,
    endings.PROTOCOL_ERROR: _protocol_error,
    endings.BAD_UTF8: _by_client(endings.BAD_UTF8, Frame(frames.TEXT, b'{"a":"\xff"}')),
    endings.MESSAGE_TOO_BIG: _over_a_limit(
        endings.MESSAGE_TOO_BIG,
        b"\x81\xff" + (MAX + 1).to_bytes(8, "big") + b"....",
        f"message over {MAX} bytes",
    ),
    endings.TOO_MANY_FRAGMENTS: _over_a_limit(
        endings.TOO_MANY_FRAGMENTS,
        fragments(FRAGMENTS + 1, masked=True),
        f"message in more than {FRAGMENTS} fragments",
    ),
    endings.AMBIGUOUS_AUDIO: _ambiguous,
    **{each: _client_lost(each) for each in (endings.CLIENT_LOST, endings.CLIENT_SILENT, endings.CLIENT_STALLED)},
    **{
        each: _upstream_lost(each)
        for each in (endings.UPSTREAM_LOST, endings.UPSTREAM_SILENT, endings.UPSTREAM_STALLED)
    },
    **{
        each: _by_us(each)
        for each in (
            endings.IDLE,
            endings.DURATION,
            endings.OPERATOR,
            endings.DRAINING,
            endings.MODEL_NOT_ALLOWED,
            endings.INTERNAL,
            endings.GUARDRAIL,
            endings.LIMIT,
            endings.REVOKED,
            endings.CREDENTIALS_NOT_CONFIGURED,
            endings.PROJECT_MISSING,
        )
    },
}


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.label)
def test_every_ending_is_told_as_the_table_says(ending: Ending) -> None:
    ROWS[ending]().over()


def test_labels_are_unique_and_codes_may_be_sent() -> None:
    assert len({ending.label for ending in ENDINGS}) == len(ENDINGS)
    assert all(ending.code in frames.LEGAL_CODES or 4000 <= ending.code < 5000 for ending in ENDINGS)
    assert ROWS.keys() == set(ENDINGS)


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


LEGAL = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
ILLEGAL = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]
BAD_CLOSES = [
    *((code.to_bytes(2, "big") + b"why", 1002) for code in ILLEGAL),
    (b"x", 1002),
    (b"\x03\xe8" + b"r" * 124, 1002),
    (b"\x03\xe8\xff", 1007),
]


@pytest.mark.parametrize("reason", ["", "why", "\u00e4" * 61, "r" * 123])
@pytest.mark.parametrize("code", LEGAL)
def test_a_legal_close_reaches_the_other_side_as_it_was(code: int, reason: str) -> None:
    close = Close(code, reason)
    (play() >> client(close) << client(close, Gone()) << upstream(close)).over()
    (play() >> upstream(close) << upstream(close, Gone()) << client(close)).over()


@pytest.mark.parametrize(("payload", "code"), BAD_CLOSES)
def test_a_clients_bad_close_is_answered_with_its_code(payload: bytes, code: int) -> None:
    dialogue = in_a_turn() >> client(Raw(wire(Frame(frames.CLOSE, payload), masked=True)))
    assert isinstance(close := dialogue.heard["client"].popleft(), Close)
    assert close.code == code
    dialogue << upstream({"type": "response.cancel"}) >> upstream(done("r1")) << Turn("r1", tokens=ONE)
    dialogue << upstream(Close(1000)) >> upstream(Gone()) >> Timer()
    assert dialogue.relay.ending in (endings.PROTOCOL_ERROR, endings.BAD_UTF8)
    assert dialogue.relay.ending.code == code


@pytest.mark.parametrize(("payload", "code"), BAD_CLOSES)
def test_an_upstreams_bad_close_is_answered_with_its_code(payload: bytes, code: int) -> None:
    dialogue = play() >> upstream(CREATED, Frame(frames.CLOSE, payload)) << upstream(Close(code), Gone())
    dialogue << client(CREATED, {"type": "error"})
    assert isinstance(close := dialogue.heard["client"].popleft(), Close)
    assert close.code == 1011


UPSTREAM_BREACHES = {
    "masked": (wire(CREATED, masked=True), 1002),
    "reserved bits": (b"\xc1\x00", 1002),
    "unknown opcode": (b"\x83\x00", 1002),
    "continuation of nothing": (b"\x80\x00", 1002),
    "long Ping": (b"\x89\x7e\x00\x7e", 1002),
    "too big": (b"\x81\x7f" + (MAX + 1).to_bytes(8, "big"), 1009),
    "too many fragments": (fragments(FRAGMENTS + 1, masked=False), 1009),
}


@pytest.mark.parametrize(("data", "code"), UPSTREAM_BREACHES.values(), ids=UPSTREAM_BREACHES)
def test_an_upstream_that_breaks_the_protocol_or_a_limit_is_told_and_left(data: bytes, code: int) -> None:
    dialogue = in_a_turn() >> upstream(Raw(data)) << upstream(Close(code), Gone()) << Turn("r1", "lost")
    told(dialogue, endings.UPSTREAM_INVALID, cancelled=False) << Over(endings.UPSTREAM_INVALID, 1011)
    dialogue.over()


def test_as_many_fragments_as_are_allowed_go_through() -> None:
    dialogue = in_a_turn()
    for side in ("client", "upstream"):
        data = fragments(FRAGMENTS - 1, masked=side == "client")
        dialogue.feed(side, data + wire(Frame(frames.CONTINUATION, b"}"), masked=side == "client"))
        dialogue.feed(side, wire("{}", masked=side == "client"))
    dialogue << upstream({}, {}) << client({}, {})
    dialogue.over()


def test_messages_are_counted_on_each_leg() -> None:
    dialogue = in_a_turn()
    audio = {"type": "input_audio_buffer.append", "audio": "A" * 400}
    parts = [Frame(frames.TEXT, b'{"type":', False), Frame(frames.PING), Frame(frames.CONTINUATION, b'"x"}')]
    dialogue >> client(audio, CREATE, b"binary", "nonsense", *parts) >> upstream(SAID, SAID, {"type": "x"})
    dialogue.feed("client", LONG_AUDIO).feed("upstream", LONG_EVENT)
    assert (dialogue.relay.client_messages, dialogue.relay.upstream_messages) == (6, 2 + 4)


def test_a_client_that_has_gone_hears_nothing_and_says_nothing() -> None:
    dialogue = (
        play() >> upstream(CREATED) << client(CREATED) >> client(Gone()) << upstream(Close(1001, "client went away"))
    )
    (dialogue >> client(CREATE) >> upstream(SAID, Frame(frames.PING))).over()
    dialogue >> upstream(Gone()) << Over(endings.CLIENT_LOST, 1001)
    (dialogue >> upstream(SAID, Gone()) >> client(Gone()) >> Timer()).over()
    dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye.")).over()


def test_without_reading_messages_go_through_and_close_is_kept() -> None:
    dialogue = play(reads=False) >> upstream(CREATED, b"\x00") >> client("nonsense", b"\x01", Close(1000))
    (dialogue << client(CREATED, b"\x00", Close(1000), Gone()) << upstream("nonsense", b"\x01", Close(1000))).over()


def test_events_that_are_logged_come_out() -> None:
    dialogue = play(replace(TERMS, log_events=frozenset({"*"}))) >> upstream(CREATED) << client(CREATED)
    dialogue << Logged("upstream", "session.created", "", "", len(json.dumps(CREATED)))
    audio = {"type": "input_audio_buffer.append", "event_id": "e1", "audio": ""}
    dialogue >> client(audio) << upstream(audio)
    dialogue << Logged("client", "input_audio_buffer.append", "e1", "", len(json.dumps(audio)))
    dialogue >> upstream("nonsense") << client("nonsense") << Unmetered("undecodable")
    dialogue.over()


DONE = json.dumps(done("r1")).encode()


@pytest.mark.parametrize("payload", [DONE, b" \n" + DONE, b"{ " + DONE[1:]])
@pytest.mark.parametrize("at", [None, 0, 1, 2, 40, len(DONE) - 1])
def test_an_upstream_may_send_its_events_in_binary_messages(payload: bytes, at: int | None) -> None:
    parts = [payload] if at is None else [payload[:at], payload[at:]]
    whole = [Frame(0 if n else frames.BINARY, part, n == len(parts) - 1) for n, part in enumerate(parts)]
    dialogue = in_a_turn() >> upstream(*whole) << Turn("r1", tokens=ONE) << client(payload)
    dialogue.over()


def test_an_event_in_a_binary_message_is_changed_in_one() -> None:
    dialogue = play(replace(TERMS, public_model="voice")) >> upstream(json.dumps(CREATED).encode())
    [message] = dialogue.heard["client"]
    assert isinstance(message, bytes)
    assert json.loads(message)["session"]["model"] == "voice"


def test_a_long_event_in_a_binary_message_is_read_too() -> None:
    event = {**done("r1"), "output": "x" * HOLD * 2}
    payload = json.dumps(event).encode()
    (in_a_turn() >> upstream(payload) << Turn("r1", tokens=ONE) << client(payload)).over()


@pytest.mark.parametrize("sound", [b"\x00\x01" * 100, b"\xff", b"{\x01" * 500, b"\x00" * (HOLD + 1)])
@pytest.mark.parametrize("fin", [True, False])
def test_what_else_an_upstream_sends_in_binary_goes_on_unread_and_is_said_once(sound: bytes, fin: bool) -> None:
    dialogue = in_a_turn()
    for _ in range(3):
        dialogue >> upstream(Frame(frames.BINARY, sound, fin))
        if not fin:
            dialogue >> upstream(Frame(frames.CONTINUATION, DONE))
        dialogue << client(sound if fin else sound + DONE)
    (dialogue << Unmetered("binary")).over()


def test_a_session_may_begin_with_a_binary_message() -> None:
    for first in (json.dumps(CREATED).encode(), b"\x00\x01"):
        assert (play() >> upstream(first)).relay.session.listening.opened is True


def test_an_upstream_that_answers_nothing_is_waited_for_twice_and_no_longer() -> None:
    dialogue = in_a_turn()
    dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye.")) << client({"type": "error"}, Close(1001, "Bye."))
    dialogue << upstream({"type": "response.cancel"}) >> Timer() << upstream(Close(1000))
    dialogue >> Timer() << client(Gone()) << upstream(Gone()) << Turn("r1", "lost") << Over(endings.OPERATOR, 1001)
    dialogue.over()
