"""How turns go: what prompts them, when they begin and speak, who interrupts them, and when nobody is in one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataplane.metering.usage import Tokens
from dataplane.realtime.account import SEEN
from dataplane.realtime.effects import Began, Effect, Interrupted, Metered, Prompted, Spoke, Trigger, Unmetered
from tests.dataplane.realtime.line import TOKENS, USAGE, WHISPER, Line
from tests.dataplane.realtime.play import TERMS

VAD = {"type": "server_vad", "create_response": True}
BUFFER = "input_audio_buffer"
DELTAS = ("response.output_audio.delta", "response.audio.delta")
CLIENT, VOICE = Prompted("client"), Prompted("voice")


def line(detection: object = VAD, *, kind: str = "realtime", transcribed: bool = False) -> Line:
    """A session that listens so."""
    found = Line()
    found.upstream("session.created", session={"type": kind, "audio": {"input": {"turn_detection": detection}}})
    if transcribed:
        found.upstream("session.updated", session={"type": kind, **WHISPER})
    return found


def bare() -> Line:
    """A session whose upstream does not say how it listens."""
    found = Line()
    found.upstream("session.created")
    return found


def between(found: Line) -> bool:
    return found.session.between_turns


def asked(found: Line, event_id: str = "") -> Line:
    found.client({"type": "response.create", **({"event_id": event_id} if event_id else {})})
    return found


def spoken(found: Line) -> Line:
    found.upstream(f"{BUFFER}.speech_started", audio_start_ms=0, item_id="i1")
    found.upstream(f"{BUFFER}.speech_stopped", audio_end_ms=1000, item_id="i1")
    found.upstream(f"{BUFFER}.committed", item_id="i1")
    return found


# -- prompted and begun --------------------------------------------------------------------------------------------


def test_a_turn_that_the_client_asked_for() -> None:
    assert asked(line()).begun("r1").progress == [CLIENT, Began("r1", "client")]


def test_a_turn_that_the_voice_asked_for() -> None:
    assert spoken(line()).begun("r1").progress == [VOICE, Began("r1", "voice")]


def test_a_turn_that_nobody_was_seen_to_ask_for_is_the_servers() -> None:
    assert line().begun("r1").progress == [Began("r1", "voice")]


def test_an_upstream_that_does_not_say_how_it_listens_is_taken_to_answer_when_it_hears_the_end_of_speech() -> None:
    assert spoken(bare()).begun("r1").progress == [VOICE, Began("r1", "voice")]


@pytest.mark.parametrize("detection", [None, {**VAD, "create_response": False}])
def test_who_does_not_answer_speech_is_not_waited_for(detection: object) -> None:
    found = spoken(line(detection))
    assert found.progress == []
    assert between(found)
    assert asked(found).begun("r1").progress == [CLIENT, Began("r1", "client")]


def test_nobody_answers_in_a_transcription_session() -> None:
    found = spoken(line(kind="transcription"))
    assert (found.progress, between(found)) == ([], True)


def test_a_flat_session_object_is_read_too() -> None:
    found = Line()
    found.upstream("session.created", session={"turn_detection": None})
    assert spoken(found).progress == []


def test_what_a_session_object_does_not_say_stays_as_it_was() -> None:
    found = line(None)
    found.upstream("session.updated", session={"audio": {"output": {}}})
    assert spoken(found).progress == []


def test_a_commit_by_voice_detection_prompts_where_the_end_of_speech_was_not_said() -> None:
    found = line()
    found.upstream(f"{BUFFER}.committed", item_id="i1")
    assert found.begun("r1").progress == [VOICE, Began("r1", "voice")]


def test_a_commit_by_the_client_prompts_nothing() -> None:
    found = line()
    found.client({"type": f"{BUFFER}.commit"})
    found.upstream(f"{BUFFER}.committed", item_id="i1")
    assert (found.progress, between(found)) == ([], True)


def test_a_commit_that_was_refused_is_no_clients_commit_any_more() -> None:
    found = line()
    found.client({"type": f"{BUFFER}.commit"})
    for _ in range(2):
        found.upstream("error", error={"code": f"{BUFFER}_commit_empty"})
    found.upstream(f"{BUFFER}.committed", item_id="i1")
    assert found.progress == [VOICE]


def test_a_user_who_says_nothing_is_answered_without_having_prompted() -> None:
    found = line()
    found.upstream(f"{BUFFER}.timeout_triggered", audio_start_ms=0, audio_end_ms=5000, item_id="i1")
    found.upstream(f"{BUFFER}.committed", item_id="i1")
    assert not between(found)
    assert found.begun("r1").progress == [Began("r1", "voice")]


@pytest.mark.parametrize(
    ("prompts", "begun"),
    [
        (("client", "voice"), ["client", "voice"]),
        (("voice", "client"), ["voice", "client"]),
        (("client", "client", "voice", "client"), ["client", "client", "voice", "client"]),
        (("voice", "voice", "client"), ["voice", "client"]),
    ],
)
def test_turns_begin_in_the_order_of_what_prompted_them(prompts: tuple[Trigger, ...], begun: list[Trigger]) -> None:
    found = line()
    for prompt in prompts:
        asked(found) if prompt == "client" else spoken(found)
    found.effects.clear()
    names = [f"r{at}" for at in range(len(begun))]
    assert found.begun(*names).progress == [Began(name, by) for name, by in zip(names, begun, strict=True)]
    assert found.done(names[0]).done(names[-1]).session.unsettled == (len(begun) > 2)


REFUSALS = [
    {"code": "conversation_already_has_active_response"},
    {"code": "x", "param": "response.modalities"},
    {"code": "rate_limit_exceeded", "event_id": "mine"},
]


@pytest.mark.parametrize("error", REFUSALS)
def test_a_turn_that_was_refused_does_not_give_its_name_to_the_next(error: object) -> None:
    found = spoken(asked(line(), "mine"))
    found.upstream("error", error=error)
    assert found.begun("r1").progress == [CLIENT, VOICE, Began("r1", "voice")]
    found.done("r1").upstream("error", error=error)
    assert between(found)


def test_an_error_about_another_event_refuses_nothing() -> None:
    found = asked(asked(line(), "mine"), "yours")
    found.upstream("error", error={"code": "x", "event_id": "theirs"})
    found.upstream("error", error={"code": "x", "event_id": "yours"})
    assert found.session.noted.turns.asked == 1


def test_a_turn_that_was_refused_behind_a_voice_turn_leaves_its_place() -> None:
    found = asked(spoken(line()), "late")
    found.upstream("error", error={"code": "x", "event_id": "late"})
    assert found.begun("r1", "r2").progress == [VOICE, CLIENT, Began("r1", "voice"), Began("r2", "voice")]


def test_a_turn_that_was_refused_before_a_voice_turn_leaves_its_place() -> None:
    found = asked(spoken(asked(line(), "early")), "late")
    found.upstream("error", error={"code": "x", "event_id": "early"})
    found.effects.clear()
    assert found.begun("r1", "r2").progress == [Began("r1", "voice"), Began("r2", "client")]


UNEXPLAINED: list[object] = [{"code": "insufficient_quota"}, {"code": "rate_limit_exceeded", "param": None}, {}, None]
FOREIGN = [
    {"code": "response_cancel_not_active"},
    {"code": "response_cancel_not_active", "param": "response_id"},
    {"code": f"{BUFFER}_commit_empty"},
    {"code": "item_truncate_invalid_item_id"},
    {"code": "cannot_update_voice", "param": "session.audio.output.voice"},
    {"code": "insufficient_quota", "event_id": "theirs"},
    {"code": "conversation_already_has_active_response", "event_id": "theirs"},
]


@pytest.mark.parametrize("error", UNEXPLAINED)
def test_an_error_that_nothing_explains_refuses_the_oldest_turn_that_was_asked_for(error: object) -> None:
    found = asked(asked(line(), "one"), "two")
    found.upstream("error", error=error)
    assert found.session.noted.turns.asked == 1
    found.upstream("error", error=error)
    assert between(found)
    found.upstream("error", error=error)
    assert spoken(found).begun("r1").done("r1").progress == [CLIENT, CLIENT, VOICE, Began("r1", "voice")]
    assert between(found)


@pytest.mark.parametrize("error", UNEXPLAINED)
def test_in_a_turn_an_error_that_nothing_explains_refuses_no_other(error: object) -> None:
    found = asked(line().begun("r1"))
    found.upstream("error", error=error)
    assert found.session.noted.turns.asked == 1


@pytest.mark.parametrize("error", FOREIGN)
def test_an_error_about_something_else_refuses_no_turn(error: object) -> None:
    found = asked(spoken(line()))
    found.upstream("error", error=error)
    assert found.begun("r1", "r2").progress == [VOICE, CLIENT, Began("r1", "voice"), Began("r2", "client")]


def test_a_turn_by_voice_may_be_refused_too() -> None:
    found = spoken(line().begun("r1"))
    found.upstream("error", error={"code": "conversation_already_has_active_response"})
    assert between(found.done("r1"))


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_a_turn_that_has_heard_the_user_has_answered(status: str) -> None:
    """Whoever asked for it; but not where it was cut off, since then another comes."""
    found = spoken(asked(line())).begun("r1").done("r1", status)
    assert between(found) == (status == "completed")
    found = spoken(asked(line()).begun("r1")).done("r1")
    assert not between(found), "it began before the user fell silent"


def test_a_client_cannot_fill_the_memory() -> None:
    found = line()
    for _ in range(SEEN + 10):
        asked(found)
        found.client({"type": f"{BUFFER}.commit"})
        found.effects.clear()
    assert found.session.noted.turns.asked == SEEN
    for at in range(SEEN):
        found.begun(f"r{at}").done(f"r{at}")
        found.upstream(f"{BUFFER}.committed", item_id=f"i{at}")
    found.session.abandon()
    assert between(found)


def test_what_was_asked_for_and_never_began_is_in_no_record_and_said_so() -> None:
    found = asked(asked(asked(line()))).begun("r1").done("r1")
    found.effects.clear()
    found.session.abandon()
    effects = list(found.session.effects())
    assert [each for each in effects if isinstance(each, Unmetered)] == [Unmetered("unanswered")] * 2
    assert not any(isinstance(each, Metered) for each in effects)


def test_an_answer_to_the_user_s_voice_that_never_began_is_said_too() -> None:
    found = spoken(line())
    found.effects.clear()
    found.session.abandon()
    assert [each for each in found.session.effects() if isinstance(each, Unmetered)] == [Unmetered("unanswered")]


def test_a_turn_begins_once() -> None:
    assert line().begun("r1", "r1").done("r1").begun("r1", "").progress == [Began("r1", "voice")]


# -- first audio ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DELTAS)
def test_the_first_audio_of_a_turn_is_said_once_though_nobody_reads_it(kind: str) -> None:
    found = line().begun("r1")
    found.effects.clear()
    for _ in range(3):
        found.passes(kind, response_id="r1", delta="AAAA")
    assert found.progress == [Spoke("r1")]
    found.done("r1").begun("r2").effects.clear()
    found.passes(kind, response_id="r2", delta="AAAA")
    assert found.progress == [Spoke("r2")]


@pytest.mark.parametrize("kind", DELTAS)
@pytest.mark.parametrize("terms", [replace(TERMS, beta=True), replace(TERMS, log_events=frozenset({"*"}))])
def test_the_first_audio_of_a_turn_is_said_once_where_it_is_read(kind: str, terms: object) -> None:
    found = Line(terms)  # type: ignore[arg-type]
    found.upstream("session.created")
    found.begun("r1").effects.clear()
    for _ in range(2):
        found.upstream(kind, response_id="r1", delta="AAAA")
    assert found.progress == [Spoke("r1")]


def test_only_audio_is_speech() -> None:
    found = line().begun("r1")
    found.effects.clear()
    for kind in ("response.output_text.delta", "response.output_audio_transcript.delta", "response.audio.done"):
        found.passes(kind, response_id="r1", delta="Hello")
    assert found.progress == []


@pytest.mark.parametrize("kind", DELTAS)
def test_of_concurrent_turns_the_one_speaks_that_is_named(kind: str) -> None:
    found = line().begun("r1", "r2")
    found.effects.clear()
    found.passes(kind, event_id="e" * 40, response_id="r1", item_id="i", delta="AAAA")
    found.passes(kind, event_id="e" * 40, response_id="unknown", item_id="i", delta="AAAA")
    found.passes(kind, delta="AAAA")
    assert found.progress == [Spoke("r1"), Spoke("r2")]


def test_audio_of_no_turn_is_nobodys() -> None:
    found = line().begun("r1").done("r1")
    found.effects.clear()
    found.passes(DELTAS[0], response_id="r1", delta="AAAA")
    found.passes(DELTAS[0], delta="AAAA")
    assert found.effects == []


# -- interrupted ---------------------------------------------------------------------------------------------------


def ended(found: Line, status: str, reason: object) -> list[Effect]:
    found.effects.clear()
    response = {"id": "r1", "status": status, "status_details": {"type": status, "reason": reason}, "usage": USAGE}
    found.upstream("response.done", response=response)
    assert found.turns in ([], [("r1", status, TOKENS)])
    return found.progress


@pytest.mark.parametrize(("reason", "by"), [("turn_detected", "voice"), ("client_cancelled", "client")])
def test_a_turn_is_interrupted_once(reason: str, by: Trigger) -> None:
    found = line().begun("r1")
    assert ended(found, "cancelled", reason) == [Interrupted("r1", by)]
    assert ended(found, "cancelled", reason) == []


@pytest.mark.parametrize(
    ("status", "reason"),
    [("cancelled", None), ("cancelled", "who.knows"), ("cancelled", []), ("completed", "turn_detected"),
     ("incomplete", "max_output_tokens"), ("failed", "client_cancelled")],
)  # fmt: skip
def test_what_ends_otherwise_was_not_interrupted(status: str, reason: object) -> None:
    assert ended(line().begun("r1"), status, reason) == []


def test_what_we_cancel_for_a_client_that_left_was_not_interrupted() -> None:
    found = line().begun("r1")
    found.session.leave()
    assert ended(found, "cancelled", "client_cancelled") == []


# -- between turns -------------------------------------------------------------------------------------------------


def test_a_session_is_between_turns_when_nobody_is_in_the_middle_of_anything() -> None:
    found = line(transcribed=True)
    steps: list[tuple[str, dict[str, object], bool]] = [
        (f"{BUFFER}.speech_started", {"audio_start_ms": 0}, False),
        (f"{BUFFER}.speech_stopped", {"audio_end_ms": 9}, False),
        (f"{BUFFER}.committed", {"item_id": "i1"}, False),
        ("response.created", {"response": {"id": "r1"}}, False),
        ("response.done", {"response": {"id": "r1"}}, False),
        ("conversation.item.input_audio_transcription.completed", {"item_id": "i1"}, True),
        (f"{BUFFER}.speech_started", {"audio_start_ms": 10}, False),
        (f"{BUFFER}.cleared", {}, True),
        (f"{BUFFER}.speech_started", {}, False),
        (f"{BUFFER}.timeout_triggered", {}, False),
        ("response.done", {"response": {"id": "r2"}}, True),
    ]
    assert between(found)
    for kind, fields, expected in steps:
        found.upstream(kind, **fields)
        assert between(found) is expected, kind


@pytest.mark.parametrize("end", ["completed", "failed"])
@pytest.mark.parametrize(("committed", "ended"), [("i1", ""), ("", "i1"), ("", "")])
def test_a_transcription_whose_item_is_not_said_is_not_waited_for_for_ever(
    end: str, committed: str, ended: str
) -> None:
    found = line(None, transcribed=True)
    found.upstream(f"{BUFFER}.committed", **({"item_id": committed} if committed else {}))
    assert not between(found)
    kind = f"conversation.item.input_audio_transcription.{end}"
    found.upstream(kind, usage={"seconds": 1}, **({"item_id": ended} if ended else {}))
    assert between(found)


def test_a_transcription_of_another_item_settles_nothing() -> None:
    found = line(None, transcribed=True)
    found.upstream(f"{BUFFER}.committed", item_id="i1")
    found.upstream("conversation.item.input_audio_transcription.completed", item_id="i2")
    assert not between(found)


def test_who_no_longer_listens_for_speech_hears_no_end_of_it() -> None:
    found = line()
    found.upstream(f"{BUFFER}.speech_started", audio_start_ms=0)
    found.upstream("session.updated", session={"turn_detection": None})
    assert between(found)


def test_a_turn_that_was_asked_for_is_not_between_turns() -> None:
    found = asked(line())
    assert not between(found)
    assert between(found.begun("r1").done("r1"))


def test_with_push_to_talk_audio_that_is_not_committed_is_somebody_talking() -> None:
    found = line(None)
    found.session.sent.audio += 1000
    assert not between(found)
    found.client({"type": f"{BUFFER}.commit"})
    assert not between(found)
    found.upstream(f"{BUFFER}.committed", item_id="i1")
    assert between(found)
    found.session.sent.audio += 1000
    found.upstream(f"{BUFFER}.cleared")
    assert between(found)
    found.session.sent.audio += 1000
    found.upstream("session.updated", session={"turn_detection": VAD})
    assert between(found), "silence is sent all the time where the server listens for speech"


def test_an_abandoned_session_waits_for_nothing() -> None:
    found = asked(spoken(line(transcribed=True))).begun("r1")
    found.upstream(f"{BUFFER}.speech_started")
    found.session.abandon()
    assert (found.session.unsettled, between(found)) == (False, True)


def test_a_turn_by_voice_that_was_to_come_is_cancelled_when_it_comes() -> None:
    found = spoken(line())
    found.session.leave()
    assert not between(found)
    found.begun("r1").done("r1", "cancelled")
    assert [event["type"] for _, event in found.told] == ["response.cancel"]
    assert not found.session.unsettled
    assert found.metered[0].tokens == Tokens(input_text=10, output_unknown=5)
