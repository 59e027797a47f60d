"""However a session ends, what was used is counted: exactly where the provider said it, estimated where it did not."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.metering.usage import Tokens, Usage
from dataplane.realtime import endings, frames
from dataplane.realtime.actions import Action, DropUpstream, Ended, Wait
from dataplane.realtime.effects import Began, Interrupted, Metered, Prompted
from dataplane.realtime.gate import HOLD
from dataplane.realtime.relay import SETTLE, Relay
from dataplane.realtime.session import Session
from tests.dataplane.realtime.play import (
    FRAGMENTS,
    KEY,
    MAX,
    TERMS,
    Close,
    Dialogue,
    Frame,
    Gone,
    Over,
    Timer,
    Turn,
    client,
    play,
    upstream,
    wire,
)
from tests.dataplane.realtime.sayings import CREATE, CREATED, HALF, LONG_AUDIO, begun, done

ONE = Tokens(output_unknown=1)
CANCEL = {"type": "response.cancel", "response_id": "r1"}
AUDIO = {"type": "response.output_audio.delta", "response_id": "r1", "delta": "A" * 64_000}
SPOKEN = Tokens(output_audio=20)
HEARD = "conversation.item.input_audio_transcription.completed"
TRANSCRIBING = {
    "type": "session.updated",
    "session": {"audio": {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": None}}},
}
COMMITTED = {"type": "input_audio_buffer.committed", "item_id": "i1"}
TRANSCRIBED = {"type": HEARD, "item_id": "i1", "usage": {"type": "duration", "seconds": 1.5}}
TRANSCRIPT = Turn("i1", tokens=Tokens(seconds=1.5), operation="transcription", model="whisper-1")
LEFT = Close(1001, "client went away")


def speaking() -> Dialogue:
    """In the middle of a turn, of which a second was heard."""
    return play() >> upstream(CREATED, begun("r1"), AUDIO) << client(CREATED, begun("r1"), AUDIO)


# -- the client vanishes -------------------------------------------------------------------------------------------


def test_a_client_vanishes_and_the_usage_comes() -> None:
    dialogue = speaking() >> client(Gone()) << upstream(CANCEL) >> upstream(done("r1", "cancelled"))
    (dialogue << Turn("r1", "cancelled", ONE) << upstream(LEFT) >> upstream(Gone())).heard["ledger"].clear()
    dialogue.over()


def test_a_client_vanishes_and_the_usage_never_comes() -> None:
    dialogue = speaking() >> client(Gone()) << upstream(CANCEL) >> Timer() << upstream(LEFT) >> Timer()
    dialogue << upstream(Gone()) << Turn("r1", "lost", SPOKEN, estimated=True) << Over(endings.CLIENT_LOST, 1001)
    dialogue.over()


def test_a_client_vanishes_in_a_frame_of_its_own_and_the_upstream_still_finishes() -> None:
    """Nothing can be said to the upstream, not even that it may stop."""
    dialogue = speaking().feed("client", LONG_AUDIO[:HALF]) >> client(Gone())
    assert not dialogue.heard["upstream"]
    dialogue >> upstream(Frame(frames.PING, b"x"), AUDIO, done("r1")) << Turn("r1", tokens=ONE) << upstream(Gone())
    dialogue << Over(endings.CLIENT_LOST, 1001)
    dialogue.cut_off("upstream")
    dialogue.over()


def test_a_client_vanishes_in_a_frame_of_its_own_and_the_upstream_does_not_finish() -> None:
    dialogue = speaking().feed("client", LONG_AUDIO[:HALF]) >> client(Gone()) >> upstream(AUDIO) >> Timer()
    dialogue << upstream(Gone()) << Turn("r1", "lost", Tokens(output_audio=40), estimated=True)
    dialogue << Over(endings.CLIENT_LOST, 1001)
    dialogue.cut_off("upstream")
    dialogue.over()


def test_in_a_frame_of_its_own_a_client_with_nothing_outstanding_is_not_waited_for() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    dialogue.feed("client", LONG_AUDIO[:HALF]) >> client(Gone()) << upstream(Gone()) << Over(endings.CLIENT_LOST, 1001)
    dialogue.cut_off("upstream")
    dialogue.over()


def test_a_session_that_we_end_in_the_middle_of_a_clients_frame_waits_for_usage_too() -> None:
    dialogue = speaking().feed("client", LONG_AUDIO[:HALF])
    actions = dialogue.relay.end(endings.OPERATOR, "Bye.")
    assert Wait(SETTLE) in actions
    dialogue.take(actions).feed("client", LONG_AUDIO[HALF:])
    dialogue << client({"type": "error"}, Close(1001, "Bye.")) >> Timer() << upstream(Gone())
    dialogue << Turn("r1", "lost", SPOKEN, estimated=True) >> Timer() << client(Gone())
    dialogue << Over(endings.OPERATOR, 1001)
    dialogue.cut_off("upstream")
    dialogue.over()


# -- the upstream dies ---------------------------------------------------------------------------------------------


def test_an_upstream_dies_in_two_turns() -> None:
    dialogue = speaking() >> upstream(begun("r2"), Gone())
    dialogue << Turn("r1", "lost", SPOKEN, estimated=True) << Turn("r2", "lost")
    assert dialogue.relay.session.noted.estimated == SPOKEN
    assert dialogue.relay.session.noted.tokens == Tokens()


def test_an_upstream_says_close_in_a_turn() -> None:
    dialogue = speaking() >> upstream(Close(1001, "60 minutes"), done("r1")) << upstream(Close(1001, "60 minutes"))
    dialogue << upstream(Gone()) << Turn("r1", "lost", SPOKEN, estimated=True) << client(Close(1001, "60 minutes"))
    dialogue.over()


# -- cancelled and interrupted -------------------------------------------------------------------------------------


def test_a_turn_that_the_client_cancels_is_counted_as_the_provider_says() -> None:
    dialogue = speaking() >> client(CANCEL) << upstream(CANCEL)
    details = {"type": "cancelled", "reason": "client_cancelled"}
    response = {"id": "r1", "status": "cancelled", "status_details": details, "usage": {"output_tokens": 1}}
    end = {"type": "response.done", "response": response}
    dialogue >> upstream(end) << client(end) << Turn("r1", "cancelled", ONE)
    assert dialogue.progress[-1] == Interrupted("r1", "client")
    dialogue.over()


# -- after the close began -----------------------------------------------------------------------------------------


def test_usage_that_comes_after_the_client_said_close_counts() -> None:
    dialogue = speaking() >> client(Close(1000)) << client(Close(1000), Gone()) << upstream(CANCEL)
    dialogue >> upstream(done("r1", "cancelled")) << Turn("r1", "cancelled", ONE) << upstream(Close(1000))
    dialogue.over()


@pytest.mark.parametrize("leave", ["client", "operator"])
def test_usage_that_comes_after_we_said_close_to_the_upstream_counts(leave: str) -> None:
    dialogue = speaking()
    if leave == "client":
        dialogue >> client(Gone())
    else:
        dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye.")) << client({"type": "error"}, Close(1001, "Bye."))
    dialogue << upstream(CANCEL) >> Timer()
    assert isinstance(dialogue.heard["upstream"].popleft(), Close)
    dialogue >> upstream(done("r1", "cancelled")) << Turn("r1", "cancelled", ONE)
    dialogue >> upstream(Close(1000)) << upstream(Gone())
    dialogue.heard["ledger"].clear()
    dialogue.over()


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_both_sides_may_say_close_at_once(first: str) -> None:
    dialogue = speaking()
    for side in (first, "upstream" if first == "client" else "client"):
        dialogue.feed(side, wire(Close(4001 if side == "client" else 1000), masked=side == "client"))
    assert Close(4001 if first == "client" else 1000) in dialogue.heard["client"]
    assert dialogue.heard["client"].pop() == dialogue.heard["upstream"].pop() == Gone()
    closed = (endings.CLIENT_CLOSED, 4001) if first == "client" else (endings.UPSTREAM_CLOSED, 1000)
    dialogue << Turn("r1", "lost", SPOKEN, estimated=True) << Over(*closed)
    assert not dialogue.heard["ledger"]


def test_an_upstream_that_never_answers_close_is_left() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED) >> client(Close(1000)) << client(Close(1000), Gone())
    dialogue << upstream(Close(1000)) >> upstream(AUDIO, AUDIO) >> Timer() << upstream(Gone())
    (dialogue << Over(endings.CLIENT_CLOSED, 1000)).over()


# -- transcriptions ------------------------------------------------------------------------------------------------


def listening() -> Dialogue:
    dialogue = play() >> upstream(CREATED, TRANSCRIBING, COMMITTED, begun("r1"))
    dialogue.heard["client"].clear()
    return dialogue


@pytest.mark.parametrize("late", [False, True])
def test_a_transcription_counts_before_and_after_its_turn(late: bool) -> None:
    dialogue = listening()
    for event in (done("r1"), TRANSCRIBED) if late else (TRANSCRIBED, done("r1")):
        dialogue >> upstream(event)
        dialogue << (TRANSCRIPT if event is TRANSCRIBED else Turn("r1", tokens=ONE))
    assert not dialogue.heard["ledger"]
    assert dialogue.relay.session.noted.over == 1
    assert dialogue.relay.session.noted.tokens == ONE + Tokens(seconds=1.5)


@pytest.mark.parametrize("expired", [False, True])
def test_a_transcription_counts_that_comes_after_the_close_began(expired: bool) -> None:
    dialogue = listening() >> upstream(done("r1")) << Turn("r1", tokens=ONE) >> client(Close(1000))
    if expired:
        dialogue >> Timer()
    dialogue >> upstream(TRANSCRIBED, TRANSCRIBED) << TRANSCRIPT << upstream(Close(1000)) >> upstream(Gone())
    dialogue << Over(endings.CLIENT_CLOSED, 1000)
    assert not dialogue.heard["ledger"]


def test_a_transcription_that_never_comes_is_lost() -> None:
    dialogue = play() >> upstream(CREATED, TRANSCRIBING)
    append = {"type": "input_audio_buffer.append", "audio": "A" * 64_000}
    dialogue >> client(append, {"type": "input_audio_buffer.commit"}) >> upstream(COMMITTED) >> client(Gone())
    dialogue >> Timer() >> Timer()
    lost = Turn("i1", "lost", Tokens(seconds=1.0), "transcription", "whisper-1", estimated=True)
    dialogue << lost << Over(endings.CLIENT_LOST, 1001)
    assert not dialogue.heard["ledger"]


# -- concurrent, out of band, repeated, unheralded -----------------------------------------------------------------


def test_turns_that_overlap_count_once_each_whatever_ends_them() -> None:
    dialogue = speaking() >> upstream(begun("aside"), begun("third"), done("aside"), done("r1"), done("r1", "failed"))
    dialogue << Turn("aside", tokens=ONE) << Turn("r1", tokens=ONE) >> client(Gone())
    dialogue >> upstream(done("third", "cancelled"), done("third"), done("unheralded"), done("unheralded"))
    dialogue << Turn("third", "cancelled", ONE) << Turn("unheralded", tokens=ONE)
    assert not dialogue.heard["ledger"]
    assert dialogue.relay.session.noted.over == 4


# -- drained -------------------------------------------------------------------------------------------------------


def drained(dialogue: Dialogue, message: str = "Bye.") -> Dialogue:
    return dialogue.take(dialogue.relay.end_between_turns(endings.DRAINING, message))


def test_a_session_between_turns_is_drained_at_once() -> None:
    dialogue = drained(play() >> upstream(CREATED) << client(CREATED))
    (dialogue << client({"type": "error"}, Close(1001, "Bye.")) << upstream(Close(1000))).over()


@pytest.mark.parametrize("glued", [False, True])
@pytest.mark.parametrize("behind", [{"type": "input_audio_buffer.speech_started"}, begun("r2"), AUDIO, {"type": "x"}])
def test_a_session_in_a_turn_is_drained_behind_it(glued: bool, behind: object) -> None:
    """What comes behind the turn's end is the same read is behind the session's end too."""
    dialogue = drained(speaking())
    dialogue.over()
    parts = [wire(what, masked=False) for what in (AUDIO, done("r1"), behind)]
    for part in [b"".join(parts)] if glued else parts:
        dialogue.feed("upstream", part)
    dialogue << client(AUDIO, done("r1"), {"type": "error"}, Close(1001, "Bye.")) << Turn("r1", tokens=ONE)
    (dialogue << upstream(Close(1000))).over()


def test_a_turn_that_begins_before_the_last_one_ends_is_waited_for() -> None:
    dialogue = drained(speaking()) >> client(CREATE) << upstream(CREATE)
    dialogue >> upstream(done("r1")) << client(done("r1")) << Turn("r1", tokens=ONE)
    dialogue >> upstream(begun("r2")) << client(begun("r2"))
    dialogue.over()
    dialogue >> upstream(done("r2")) << client(done("r2"), {"type": "error"}, Close(1001, "Bye."))
    (dialogue << Turn("r2", tokens=ONE) << upstream(Close(1000))).over()


def test_a_user_who_is_talking_is_not_cut_off_nor_is_the_answer() -> None:
    dialogue = play() >> upstream(CREATED, {"type": "input_audio_buffer.speech_started"})
    drained(dialogue)
    for event in ({"type": "input_audio_buffer.speech_stopped"}, COMMITTED, begun("r1"), AUDIO):
        dialogue >> upstream(event)
        assert dialogue.relay.ending is None
    dialogue >> upstream(done("r1"))
    assert dialogue.relay.ending is endings.DRAINING
    assert dialogue.progress == [Prompted("voice"), Began("r1", "voice"), dialogue.progress[-1]]


def test_a_session_that_never_is_between_turns_is_ended_by_what_comes_first() -> None:
    dialogue = drained(drained(speaking()), "Later.")
    dialogue.take(dialogue.relay.end(endings.DURATION, "Enough."))
    dialogue << client({"type": "error"}, Close(1001, "Enough.")) << upstream(CANCEL)
    dialogue >> upstream(done("r1")) << Turn("r1", tokens=ONE) << upstream(Close(1000)) >> client(Gone())
    dialogue >> upstream(Gone()) << Over(endings.DURATION, 1001)
    drained(dialogue).over()


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_a_peer_that_leaves_overtakes_the_drain(side: str) -> None:
    dialogue = drained(speaking())
    dialogue >> (client(Gone()) if side == "client" else upstream(Gone()))
    assert dialogue.relay.ending is (endings.CLIENT_LOST if side == "client" else endings.UPSTREAM_LOST)
    assert drained(dialogue).relay.ending is not endings.DRAINING


# -- in fragments, with control frames between, beside events that nobody knows ------------------------------------


def test_a_turns_end_counts_in_fragments_with_pings_between() -> None:
    payload = json.dumps(done("r1")).encode()
    for at in range(1, len(payload)):
        dialogue = speaking() >> upstream(
            Frame(frames.TEXT, payload[:at], False),
            Frame(frames.PING, b"x"),
            Frame(frames.CONTINUATION, b"", False),
            Frame(frames.CONTINUATION, payload[at:]),
        )
        dialogue << upstream(Frame(frames.PONG, b"x")) << Turn("r1", tokens=ONE) << client(done("r1"))
        dialogue.over()


@pytest.mark.parametrize(
    "unknown",
    [{"type": "response.finished", "response": {"id": "r1"}}, {"type": 5}, {"no": "type"}, {"type": "response.done.x"},
     {"type": "response.created", "response": {"id": 7}}, {"response": {"type": "response.done", "id": "r1"}}],
)  # fmt: skip
def test_an_unknown_event_goes_on_and_counts_nothing(unknown: object) -> None:
    (speaking() >> upstream(unknown) << client(unknown)).over()


# -- any session against a simple book -----------------------------------------------------------------------------


class Booked:
    """A relay, and beside it what its session must count: the first usage that was said of each turn."""

    def __init__(self) -> None:
        self.session = Session(TERMS)
        self.relay = Relay(self.session, mask=lambda: KEY, max_message=MAX, max_fragments=FRAGMENTS)
        self.actions: list[Action] = self.relay.from_upstream(wire(CREATED, masked=False))
        self.begun: set[str] = set()
        self.said: dict[str, int | None] = {}
        """Output tokens; None: of this turn it said that it is over, and no usage."""

    @property
    def ended(self) -> bool:
        return any(isinstance(action, Ended) for action in self.actions)

    def say(self, event: Happened, noise: bytes, parts: int, size: int) -> None:
        """An event in so many fragments, with something behind it, in pieces of this size."""
        if not any(isinstance(action, DropUpstream) for action in self.actions) and not self.ended:
            self._note(event)
        data = fragmented({"type": event[0], "response": event[1]}, parts) + noise
        for at in range(0, len(data), size):
            self.actions += self.relay.from_upstream(data[at : at + size])

    def _note(self, event: Happened) -> None:
        kind, response = event
        name, usage = str(response["id"]), response.get("usage")
        self.begun.add(name)
        if kind == "response.done":
            self.said.setdefault(name, usage["output_tokens"] if isinstance(usage, dict) else None)

    def end(self, how: str) -> None:
        match how:
            case "client lost":
                self.actions += self.relay.client_lost()
            case "client closes":
                self.actions += self.relay.from_client(wire(Close(1000), masked=True))
            case "upstream lost":
                self.actions += [*self.relay.upstream_lost(), DropUpstream()]
            case "upstream closes":
                self.actions += self.relay.from_upstream(wire(Close(1000), masked=False))
            case "drained":
                self.actions += self.relay.end_between_turns(endings.DRAINING, "Bye.")
            case _:
                self.actions += self.relay.end(endings.OPERATOR, "Bye.")

    def finish(self) -> list[Usage]:
        """Nobody says anything more. The records, in order."""
        if self.relay.ending is None:  # drained, and never between turns
            self.end("operator")
        while not self.ended:
            self.actions += self.relay.expired()
        return [action.usage for action in self.actions if isinstance(action, Metered)]


Happened = tuple[str, dict[str, object]]
"""An event's type, and the response in it."""
NAMES = st.sampled_from([f"r{at}" for at in range(6)])
EVENTS = st.one_of(
    st.tuples(st.just("response.created"), st.fixed_dictionaries({"id": NAMES})),
    st.tuples(
        st.just("response.done"),
        st.fixed_dictionaries(
            {
                "id": NAMES,
                "status": st.sampled_from(["completed", "cancelled", "failed", "incomplete"]),
                "usage": st.none() | st.fixed_dictionaries({"output_tokens": st.integers(0, 1000)}),
            }
        ),
    ),
)
NOISE = st.sampled_from(
    [
        wire(AUDIO, masked=False),
        wire({"type": "x"}, masked=False),
        wire(Frame(frames.PING, b"x"), masked=False),
        wire({"type": "response.output_text.delta", "delta": "A" * HOLD * 2}, masked=False),
    ]
)
ENDS = st.sampled_from(["client lost", "client closes", "upstream lost", "upstream closes", "operator", "drained"])


def fragmented(event: object, parts: int) -> bytes:
    payload = json.dumps(event).encode()
    places = [len(payload) * at // parts for at in range(parts + 1)]
    pieces = [payload[start:end] for start, end in pairwise(places)]
    ping = wire(Frame(frames.PING, b"between"), masked=False)
    return ping.join(
        wire(Frame(frames.CONTINUATION if at else frames.TEXT, piece, at == parts - 1), masked=False)
        for at, piece in enumerate(pieces)
    )


@settings(deadline=None, max_examples=200)
@given(
    before=st.lists(st.tuples(EVENTS, NOISE, st.integers(1, 4)), max_size=12),
    how=ENDS,
    after=st.lists(st.tuples(EVENTS, NOISE, st.integers(1, 4)), max_size=6),
    size=st.sampled_from([1000, 7000, 10**9]),
)
def test_whatever_happens_each_turn_counts_once_as_it_was_first_said(
    before: list[tuple[Happened, bytes, int]], how: str, after: list[tuple[Happened, bytes, int]], size: int
) -> None:
    booked = Booked()
    for event in before:
        booked.say(*event, size)
    booked.end(how)
    for event in after:
        booked.say(*event, size)
    usages = booked.finish()
    assert [usage.response_id for usage in usages if usage.status != "lost"] == list(booked.said)
    assert sorted(usage.response_id for usage in usages) == sorted(booked.begun)
    for usage in usages:
        reported = booked.said.get(usage.response_id)
        assert (usage.status == "lost") == (usage.response_id not in booked.said)
        assert usage.estimated == (reported is None and usage.tokens is not None)
        assert reported is None or usage.tokens == Tokens(output_unknown=reported)
    assert booked.session.noted.over == len(usages)
    assert booked.session.noted.tokens == Tokens(output_unknown=sum(tokens or 0 for tokens in booked.said.values()))
