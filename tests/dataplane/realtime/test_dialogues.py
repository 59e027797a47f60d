"""What a session does, as dialogues."""

from __future__ import annotations

from dataclasses import replace

from dataplane.metering.usage import Tokens
from dataplane.realtime import endings, frames
from tests.dataplane.realtime.play import TERMS, Close, Frame, Gone, Over, Timer, Turn, client, play, upstream

CREATED = {"type": "session.created", "event_id": "e1", "session": {"id": "sess_1", "model": "gpt-realtime"}}
CREATE = {"type": "response.create"}
USAGE = {
    "input_tokens": 10,
    "output_tokens": 5,
    "total_tokens": 15,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 0},
    "output_token_details": {"text_tokens": 5, "audio_tokens": 0},
}
TOKENS = Tokens(input_text=10, output_text=5)


def begun(name: str) -> dict[str, object]:
    return {"type": "response.created", "response": {"id": name, "status": "in_progress"}}


def done(name: str, status: str = "completed", usage: object = USAGE) -> dict[str, object]:
    return {"type": "response.done", "response": {"id": name, "status": status, "usage": usage}}


def test_a_turn_is_relayed_and_metered_once() -> None:
    (
        play()
        >> upstream(CREATED)
        << client(CREATED)
        >> client(CREATE)
        << upstream(CREATE)
        >> upstream(begun("r1"), done("r1"), done("r1"))
        << client(begun("r1"), done("r1"), done("r1"))
        << Turn("r1", tokens=TOKENS)
    ).over()


def test_concurrent_turns_are_metered_each_by_its_own_end() -> None:
    (
        play()
        >> upstream(CREATED, begun("r1"), begun("r2"), done("r2", "cancelled"), done("r1", usage=None))
        << Turn("r2", "cancelled", TOKENS)
        << Turn("r1")
    )


def test_the_clients_close_is_relayed_with_its_code_and_reason() -> None:
    (
        play()
        >> upstream(CREATED)
        << client(CREATED)
        >> client(Close(4001, "bye"))
        << client(Close(4001, "bye"), Gone())
        << upstream(Close(4001, "bye"))
        >> upstream(Close(4001, "bye"))
        << upstream(Gone())
        << Over(endings.CLIENT_CLOSED, 4001)
    ).over()


def test_an_empty_close_stays_empty() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED) >> client(Close())
    (dialogue << client(Close(), Gone()) << upstream(Close())).over()


def test_the_upstreams_close_comes_behind_its_last_event() -> None:
    error = {"type": "error", "error": {"code": "session_expired"}}
    (
        play()
        >> upstream(CREATED, error, Close(1001, "60 minutes"))
        << client(CREATED, error, Close(1001, "60 minutes"))
        << upstream(Close(1001, "60 minutes"), Gone())
        >> client(Close(1001, "60 minutes"))
        << client(Gone())
        << Over(endings.UPSTREAM_CLOSED, 1001)
    ).over()


def test_a_lost_upstream_is_told_and_its_turn_counted_as_lost() -> None:
    (
        play()
        >> upstream(CREATED, begun("r1"), Gone())
        << client(CREATED, begun("r1"), {"type": "error"}, Close(1011, endings.UPSTREAM_LOST.meaning))
        << Turn("r1", "lost")
        >> Timer()
        << client(Gone())
        << Over(endings.UPSTREAM_LOST, 1011)
    ).over()


def test_a_client_that_vanishes_in_a_turn_has_it_cancelled_and_counted() -> None:
    (
        play()
        >> upstream(CREATED, begun("r1"))
        << client(CREATED, begun("r1"))
        >> client(Gone())
        << upstream({"type": "response.cancel", "response_id": "r1"})
        >> upstream(done("r1", "cancelled"))
        << Turn("r1", "cancelled", TOKENS)
        << upstream(Close(1001, "client went away"))
        >> upstream(Gone())
        << Over(endings.CLIENT_LOST, 1001)
    ).over()


def test_a_turn_that_was_asked_for_is_waited_for_even_if_it_has_not_begun() -> None:
    (
        play()
        >> upstream(CREATED)
        << client(CREATED)
        >> client(CREATE, Gone())
        << upstream(CREATE)
        >> upstream(begun("r1"))
        << upstream({"type": "response.cancel", "response_id": "r1"})
        >> upstream(done("r1", "cancelled"))
        << Turn("r1", "cancelled", TOKENS)
        << upstream(Close(1001, "client went away"))
    ).over()


def test_the_wait_for_late_usage_is_bounded() -> None:
    (
        play()
        >> upstream(CREATED, begun("r1"))
        << client(CREATED, begun("r1"))
        >> client(Gone())
        << upstream({"type": "response.cancel"})
        >> Timer()
        << upstream(Close(1001, "client went away"))
        >> Timer()
        << upstream(Gone())
        << Turn("r1", "lost")
        << Over(endings.CLIENT_LOST, 1001)
    ).over()


def test_late_transcription_usage_is_metered_at_its_own_model() -> None:
    transcribing = {
        "type": "session.updated",
        "session": {"model": "gpt-realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}},
    }
    heard = {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "i1",
        "content_index": 0,
        "transcript": "hello",
        "usage": {"type": "duration", "seconds": 1.5},
    }
    dialogue = play() >> upstream(CREATED, transcribing, {"type": "input_audio_buffer.committed", "item_id": "i1"})
    dialogue >> client(Gone())
    assert not dialogue.heard["upstream"], "the transcription is waited for"
    (
        dialogue
        >> upstream(heard)
        << Turn("i1", tokens=Tokens(seconds=1.5), operation="transcription", model="whisper-1")
        << upstream(Close(1001, "client went away"))
    )


def test_pings_are_answered_on_their_own_leg() -> None:
    (
        play()
        >> upstream(CREATED, Frame(frames.PING, b"u"))
        << client(CREATED)
        << upstream(Frame(frames.PONG, b"u"))
        >> client(Frame(frames.PING, b"c"), Frame(frames.PONG, b"late"))
        << client(Frame(frames.PONG, b"c"))
    ).over()


def test_a_fragmented_event_is_read_whole_with_control_frames_between() -> None:
    (
        play(replace(TERMS, public_model="voice"))
        >> upstream(CREATED)
        << client({"type": "session.created", "session": {"id": "sess_1", "model": "voice"}})
        >> client(
            Frame(frames.TEXT, b'{"type":"session.up', fin=False),
            Frame(frames.PING, b"x"),
            Frame(frames.CONTINUATION, b'date","session":{"mod', fin=False),
            Frame(frames.CONTINUATION, b'el":"voice"}}'),
        )
        << client(Frame(frames.PONG, b"x"))
        << upstream({"type": "session.update", "session": {"type": "realtime", "model": "gpt-realtime"}})
    ).over()


def test_another_model_is_refused_inside_the_session() -> None:
    dialogue = play() >> upstream(CREATED) << client(CREATED)
    dialogue >> client({"type": "session.update", "event_id": "mine", "session": {"model": "gpt-secret"}})
    refusal = dialogue.heard["client"].popleft()
    assert isinstance(refusal, dict)
    assert refusal["error"]["event_id"] == "mine"
    assert refusal["error"]["code"] == "model_not_allowed"
    dialogue.over()


def test_what_is_not_strict_json_is_answered_and_not_forwarded() -> None:
    for payload in ('{"type":"a","type":"b"}', "nonsense", "[1]", '\ufeff{"type":"a"}', '{"a":NaN}', b"\x00"):
        dialogue = play() >> upstream(CREATED) << client(CREATED) >> client(payload)
        (dialogue << client({"type": "error"})).over()


def test_text_that_is_not_utf8_ends_the_session() -> None:
    (
        play()
        >> upstream(CREATED)
        << client(CREATED)
        >> client(Frame(frames.TEXT, b"\xff"))
        << client(Close(1007, "A text message was not UTF-8."))
        << upstream(Close(1000))
    ).over()


def test_after_the_end_only_the_clients_close_is_listened_to() -> None:
    (
        play()
        >> upstream(CREATED)
        << client(CREATED)
        >> client(Frame(frames.TEXT, b"\xff"), CREATE, Close(1007))
        << client(Close(1007, "A text message was not UTF-8."), Gone())
        << upstream(Close(1000))
    ).over()


def test_a_provider_of_the_old_shape_gets_what_the_client_says() -> None:
    old = {"type": "response.create", "response": {"modalities": ["text"], "temperature": 0.8}}
    (
        play(replace(TERMS, mends=False))
        >> upstream(CREATED)
        << client({"type": "session.created"})
        >> client(old)
        << upstream(old)
    ).over()


def test_a_provider_that_cannot_be_kept_from_answering_is_not_told_to() -> None:
    created = {"type": "session.created", "session": {"turn_detection": {"type": "server_vad"}}}
    (play(replace(TERMS, mends=False, admits=True)) >> upstream(created) << client(created)).over()


def test_history_that_is_told_again_is_not_metered_again() -> None:
    said = {"role": "assistant", "content": [{"type": "output_audio", "transcript": "Hello"}]}
    history = {"type": "conversation.item.created", "item": {"id": "i1", **said}}
    terms = replace(TERMS, mends=False, bills_time=True)
    (play(terms) >> upstream(CREATED, history) << client({"type": "session.created"}, history)).over()


def test_a_beta_client_is_mended_and_told_the_old_names() -> None:
    (
        play(replace(TERMS, beta=True))
        >> upstream(CREATED)
        << client({"type": "session.created"})
        >> client({"type": "response.create", "response": {"modalities": ["text"], "temperature": 0.8}})
        << upstream({"type": "response.create", "response": {"output_modalities": ["text"]}})
        >> upstream({"type": "response.output_text.delta", "response_id": "r1", "delta": "Hi"})
        << client({"type": "response.text.delta", "response_id": "r1", "delta": "Hi"})
        >> upstream({"type": "conversation.item.done", "item": {}})
    ).over()
