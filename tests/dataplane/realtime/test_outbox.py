"""What the gateway says itself gets to a peer whole, and never between the parts of what the other one says."""

from __future__ import annotations

from collections import Counter

from dataplane.realtime import endings, frames
from dataplane.realtime.gate import HOLD
from dataplane.realtime.outbox import MAX_LATE
from tests.dataplane.realtime.play import Close, Frame, Gone, Over, Turn, client, play, upstream, wire
from tests.dataplane.realtime.sayings import CREATED, HALF, LONG_AUDIO, LONG_EVENT, ONE, SAID, SAYING, done, in_a_turn

# -- pings of ours -------------------------------------------------------------------------------------------------


def test_either_side_is_pinged_where_a_ping_fits() -> None:
    dialogue = in_a_turn() >> upstream(Frame(frames.TEXT, SAYING, False))
    dialogue.take(dialogue.relay.ping_client()).take(dialogue.relay.ping_upstream())
    (dialogue << client(Frame(frames.PING)) << upstream(Frame(frames.PING))).over()


def test_nobody_is_pinged_in_the_middle_of_a_frame() -> None:
    dialogue = in_a_turn().feed("client", LONG_AUDIO[:HALF]).feed("upstream", LONG_EVENT[:HALF])
    assert dialogue.relay.ping_client() == dialogue.relay.ping_upstream() == []
    dialogue.feed("client", LONG_AUDIO[HALF:]).feed("upstream", LONG_EVENT[HALF:])
    dialogue.take(dialogue.relay.ping_client()).take(dialogue.relay.ping_upstream())
    dialogue << client({"type": SAID["type"]}, Frame(frames.PING))
    (dialogue << upstream({"type": "input_audio_buffer.append"}, Frame(frames.PING))).over()


def test_nobody_is_pinged_behind_close_or_when_gone() -> None:
    dialogue = in_a_turn()
    dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye."))
    assert dialogue.relay.ping_client() == []
    dialogue >> upstream(done("r1"))
    assert dialogue.relay.ping_upstream() == []
    dialogue >> client(Gone()) >> upstream(Gone())
    assert dialogue.relay.ping_client() == dialogue.relay.ping_upstream() == []


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
    dialogue.take(dialogue.relay.end(endings.DRAINING, "Bye."))
    dialogue << upstream(Gone()) << client(Gone()) << Over(endings.DRAINING, 1001)
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
    dialogue.take(dialogue.relay.end(endings.DRAINING, "Bye."))
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


def test_nothing_is_begun_behind_a_close_that_waits() -> None:
    dialogue = in_a_turn()
    dialogue.feed("upstream", LONG_EVENT[:HALF])
    dialogue.take(dialogue.relay.end(endings.OPERATOR, "Bye.")) << upstream({"type": "response.cancel"})
    dialogue >> client(Frame(frames.PING, b"late"))
    dialogue.feed("upstream", LONG_EVENT[HALF:])
    (dialogue << client({"type": SAID["type"]}, {"type": "error"}, Close(1001, "Bye."))).over()
