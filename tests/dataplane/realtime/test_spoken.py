"""What the user says aloud, under guardrails: not answered before it was judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.guardrails.judge import Answer, Guard
from dataplane.realtime import endings
from dataplane.realtime.account import SEEN
from dataplane.realtime.effects import Admit, Released
from dataplane.realtime.inspection.ears import transcribers
from dataplane.realtime.inspection.questions import AT_A_TIME
from dataplane.table import ModelAllow
from tests.dataplane.realtime.heeded import (
    ASK,
    ASK_FLAG,
    ASK_MASK,
    ASK_REFUSE,
    BLOCK,
    BLOCKED,
    FLAG,
    MASK,
    REFUSE,
    SHADOW,
    Asked,
    Dialogue,
    Judged,
    Late,
    changed,
    committed,
    deleted,
    error,
    heeding,
    item,
    listening,
    opened,
    piece,
    said,
    transcript,
    under,
)
from tests.dataplane.realtime.limited import OWN_CREATE, vad
from tests.dataplane.realtime.play import (
    TERMS,
    Admitted,
    Close,
    NotAdmitted,
    client,
    upstream,
)
from tests.dataplane.realtime.sayings import begun, done

COMMIT = {"type": "input_audio_buffer.commit"}
CREATE = {"type": "response.create"}
UPDATE = {"type": "session.update"}
UNREADABLE = "Guardrail blocked this request: no-words: unreadable"
HELLO, CANDY = transcript("i1", "hello"), transcript("i1", "buy candy")


def voiced(*guards: Guard, admits: bool = False) -> Dialogue:
    """A session whose server would answer the user by itself, and was told not to."""
    on = listening(detection=vad(answers=True))
    return (
        under(*guards, admits=admits)
        >> upstream(on)
        << client(on)
        << upstream(UPDATE)
        >> upstream(listening(detection=vad(answers=False), kind="updated"))
    )


def ended(dialogue: Dialogue, message: str = BLOCKED) -> None:
    (dialogue << client(error(message=message), Close(1011, message))).heard["upstream"].clear()
    dialogue.over()
    assert dialogue.relay.ending is endings.GUARDRAIL


# -- turns of the user's voice -------------------------------------------------------------------------------------


def test_the_user_is_answered_once_what_was_said_was_judged() -> None:
    dialogue = voiced(BLOCK) >> upstream(*said("i1")) << client(*said("i1"))
    dialogue.over()
    dialogue = dialogue >> upstream(HELLO) << client(HELLO) << upstream(OWN_CREATE)
    (dialogue >> upstream(begun("r1"), done("r1")) << client(begun("r1"), done("r1"))).over()


def test_a_transcript_may_come_before_its_item() -> None:
    start, stop, commit = said("i1")
    dialogue = voiced(BLOCK) >> upstream(start, stop, commit, HELLO)
    (dialogue << client(start, stop, commit, HELLO) << upstream(OWN_CREATE)).over()


def test_what_may_not_be_said_ends_the_session_and_is_shown_to_nobody() -> None:
    ended(voiced(BLOCK) >> upstream(*said("i1"), CANDY, item("more")) << client(*said("i1")))


def test_or_it_is_deleted_and_not_answered() -> None:
    dialogue = voiced(REFUSE) >> upstream(*said("i1"), CANDY) << client(*said("i1"), error()) << upstream(deleted("i1"))
    gone = {"type": "conversation.item.deleted", "item_id": "i1"}
    (dialogue >> upstream(gone) << client(gone)).over()
    assert dialogue.relay.session.between_turns
    hello = transcript("i2", "hello")
    (dialogue >> upstream(*said("i2"), hello) << client(*said("i2"), hello) << upstream(OWN_CREATE)).over()


def test_an_error_about_our_deletion_is_nothing_to_the_client() -> None:
    dialogue = voiced(REFUSE) >> upstream(*said("i1"), CANDY) << client(*said("i1"), error())
    asked = dialogue.heard["upstream"].popleft()
    assert isinstance(asked, dict)
    (dialogue >> upstream({"type": "error", "error": {"code": "x", "event_id": asked["event_id"]}})).over()


def test_of_two_things_that_were_said_the_one_that_may_be_is_answered() -> None:
    second = transcript("i2", "hello")
    for order in ((CANDY, second), (second, CANDY)):
        dialogue = voiced(REFUSE) >> upstream(*said("i1"), *said("i2"), *order)
        assert [each for each in dialogue.heard["client"] if each == second]
        sent = [each["type"] for each in dialogue.heard["upstream"] if isinstance(each, dict)]
        assert sorted(sent) == ["conversation.item.delete", "response.create"]
        assert sent[-1] == "response.create"


def test_what_is_said_while_another_thing_is_judged_is_answered_too() -> None:
    start, stop, commit = said("i2")
    dialogue = voiced(REFUSE) >> upstream(*said("i1"), start, stop, CANDY, commit, transcript("i2", "hello"))
    dialogue = dialogue << upstream(deleted("i1"), OWN_CREATE)
    dialogue.heard["client"].clear()
    dialogue.over()


@pytest.mark.parametrize("guard", [MASK, FLAG, SHADOW])
def test_who_does_not_block_delays_nothing(guard: Guard) -> None:
    on = listening(None, vad(answers=True))
    dialogue = under(guard) >> upstream(on, *said("i1"), begun("r1")) << client(on, *said("i1"), begun("r1"))
    dialogue.over()


def test_limits_are_asked_beside() -> None:
    dialogue = voiced(BLOCK, admits=True) >> upstream(*said("i1")) << client(*said("i1")) << Admit(1) >> Admitted(1)
    dialogue.over()
    dialogue = dialogue >> upstream(HELLO) << client(HELLO) << upstream(OWN_CREATE)
    dialogue = dialogue >> upstream(begun("r1"), done("r1")) << client(begun("r1"), done("r1"))
    (dialogue << Released(1)).over()
    dialogue = voiced(REFUSE, admits=True) >> upstream(*said("i1"), CANDY) << Admit(1) >> Admitted(1) << Released(1)
    (dialogue << client(*said("i1"), error()) << upstream(deleted("i1"))).over()
    dialogue = voiced(BLOCK, admits=True) >> upstream(*said("i1")) << Admit(1) >> NotAdmitted(1) >> upstream(HELLO)
    assert not dialogue.heard["upstream"]


def test_a_turn_that_the_server_begins_all_the_same_is_cancelled_once_it_may_not_be() -> None:
    dialogue = voiced(REFUSE) >> upstream(*said("i1"), begun("r1"), CANDY) << upstream(deleted("i1"))
    (dialogue << upstream({"type": "response.cancel", "response_id": "r1"})).heard["client"].clear()
    dialogue.over()


def test_others_are_asked_before_it_is_answered() -> None:
    dialogue = voiced(ASK) >> upstream(*said("i1"), piece("i1", "hel"), HELLO) << client(*said("i1"))
    dialogue = dialogue << Asked(1 + 1, "hello")
    dialogue.over()
    (dialogue >> Judged(2) << client(HELLO) << upstream(OWN_CREATE)).over()
    dialogue = voiced(ASK_REFUSE) >> upstream(*said("i1"), HELLO) << client(*said("i1")) << Asked(2, "hello")
    dialogue = dialogue >> Judged(2, Answer("hate")) << upstream(deleted("i1"))
    (dialogue << client(error(message="Guardrail blocked this request: moderated: hate"))).over()


def test_more_transcripts_than_can_wait_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.realtime.inspection.questions.ROOM", 1)
    for guard in (ASK_REFUSE, changed(ASK_REFUSE, open=True)):
        dialogue = voiced(guard)
        for number in range(AT_A_TIME + 2):
            dialogue = dialogue >> upstream(*said(f"i{number}"), transcript(f"i{number}", "hello"))
        assert dialogue.missed == [("moderated", "busy")]
        assert bool(dialogue.heard["upstream"]) is not guard.rule.open, "one is deleted"
        shown = [each for each in dialogue.heard["client"] if isinstance(each, dict)]
        assert [each["type"] for each in shown].count("error") == (not guard.rule.open)


def test_a_transcript_that_was_refused_by_another_telling_is_not_shown() -> None:
    dialogue = voiced(ASK_REFUSE, REFUSE) >> upstream(*said("i1"), HELLO, CANDY) << client(*said("i1"), error())
    dialogue = dialogue << Asked(2, "hello") << upstream(deleted("i1")) >> Judged(2)
    dialogue.over()


# -- turns that the client asks for --------------------------------------------------------------------------------


def test_a_turn_waits_until_what_was_said_is_judged() -> None:
    dialogue = opened(BLOCK) >> client(COMMIT, CREATE) << upstream(COMMIT)
    dialogue.over()
    dialogue = dialogue >> upstream(committed("i1")) << client(committed("i1"))
    dialogue.over()
    (dialogue >> upstream(HELLO) << client(HELLO) << upstream(CREATE)).over()


def test_it_is_refused_with_what_was_said() -> None:
    dialogue = opened(REFUSE) >> client(COMMIT, {**CREATE, "event_id": "mine"}) >> upstream(committed("i1"), CANDY)
    dialogue = dialogue << client(committed("i1"), error(), error("mine")) << upstream(COMMIT, deleted("i1"))
    dialogue.over()


def test_where_nothing_was_committed_there_is_nothing_to_judge() -> None:
    refusal = {"type": "error", "error": {"code": "input_audio_buffer_commit_empty", "message": "Empty."}}
    dialogue = opened(BLOCK) >> client(COMMIT, CREATE) << upstream(COMMIT) >> upstream(refusal)
    (dialogue << client(refusal) << upstream(CREATE)).over()


def test_a_client_that_commits_again_and_again_is_listened_for_so_often() -> None:
    dialogue = opened(BLOCK)
    for _ in range(SEEN + 10):
        dialogue = dialogue >> client(COMMIT)
    assert len(dialogue.listens) == SEEN
    dialogue = dialogue >> upstream(committed("i1")) << client(committed("i1"))
    assert len(dialogue.listens) == SEEN, "one that was answered less, and one item more"
    dialogue = dialogue >> upstream(HELLO) << client(HELLO)
    assert len(dialogue.listens) == SEEN - 1


def test_of_more_items_than_can_be_waited_for_the_oldest_is_not_transcribed() -> None:
    dialogue = opened(REFUSE)
    for number in range(SEEN + 1):
        dialogue = dialogue >> upstream(committed(f"i{number}")) << client(committed(f"i{number}"))
    dialogue = dialogue << client(error(message=UNREADABLE)) << upstream(deleted("i0"))
    dialogue.over()
    assert len(dialogue.listens) == SEEN


# -- nobody transcribes --------------------------------------------------------------------------------------------


def test_what_nobody_transcribes_in_time_is_refused_unless_it_may_pass() -> None:
    dialogue = voiced(REFUSE) >> upstream(*said("i1")) << client(*said("i1")) >> Late()
    (dialogue << client(error(message=UNREADABLE)) << upstream(deleted("i1"))).over()
    dialogue = voiced(changed(BLOCK, open=True)) >> upstream(*said("i1")) << client(*said("i1")) >> Late()
    (dialogue << upstream(OWN_CREATE)).over()
    ended(voiced(BLOCK) >> upstream(*said("i1")) << client(*said("i1")) >> Late(), UNREADABLE)


def test_what_nobody_transcribes_is_counted_for_each_that_would_have_judged_it() -> None:
    open_, closed = changed(BLOCK, open=True), changed(REFUSE, name="other")
    for guards in ((open_,), (closed,), (open_, closed)):
        dialogue = voiced(*guards, MASK, FLAG) >> upstream(*said("i1")) >> Late()
        assert dialogue.missed == [(guard.rule.name, "not_transcribed") for guard in guards]
        assert [rule for _, rule, _ in dialogue.found] == ["unreadable"] * (closed in guards)


def test_what_is_transcribed_is_not_counted() -> None:
    dialogue = voiced(BLOCK) >> upstream(*said("i1"), HELLO) << client(*said("i1"), HELLO) << upstream(OWN_CREATE)
    dialogue.over()
    assert dialogue.missed == []


def test_a_transcription_that_fails_is_like_none() -> None:
    failed = {"type": "conversation.item.input_audio_transcription.failed", "item_id": "i1"}
    dialogue = voiced(REFUSE) >> upstream(*said("i1"), failed) << client(*said("i1"))
    (dialogue << client(failed, error(message=UNREADABLE)) << upstream(deleted("i1"))).over()


def test_a_server_that_takes_no_transcription_is_asked_once_for_each_model() -> None:
    off = listening(None, vad(answers=False))
    dialogue = under(REFUSE) >> upstream(off) << client(off)
    for model in transcribers(TERMS):
        asked = dialogue.heard["upstream"].popleft()
        assert isinstance(asked, dict)
        assert asked["session"] == {"type": "realtime", "audio": {"input": {"transcription": {"model": model}}}}
        dialogue = dialogue >> upstream({"type": "error", "error": {"code": "x", "event_id": asked["event_id"]}})
    dialogue.over()
    dialogue = dialogue >> upstream(*said("i1")) << client(*said("i1"), error(message=UNREADABLE))
    (dialogue << upstream(deleted("i1"))).over()


@pytest.mark.parametrize(
    ("pattern", "model"),
    [("whisper-*", "whisper-1"), ("gpt-4o-transcribe", "gpt-4o-transcribe"), ("gpt-realtime*", "gpt-realtime-whisper")],
)
def test_only_models_that_the_caller_may_use_transcribe(pattern: str, model: str) -> None:
    guards = (changed(REFUSE, output=False),)
    allow = (ModelAllow(policy="ai/few", patterns=("gpt-realtime", pattern)),)
    dialogue = heeding(replace(TERMS, guards=guards, allow=allow)) >> upstream(listening(None))
    sent = dialogue.heard["upstream"].popleft()
    assert isinstance(sent, dict)
    assert sent["session"] == {"type": "realtime", "audio": {"input": {"transcription": {"model": model}}}}


# -- the client sees the session as it set it up -------------------------------------------------------------------


def test_transcripts_that_the_client_did_not_ask_for_are_not_shown() -> None:
    off = listening(None)
    dialogue = under(REFUSE) >> upstream(off) << client(off) << upstream(UPDATE)
    dialogue = dialogue >> upstream(listening({"model": "gpt-4o-mini-transcribe"}, kind="updated"))
    dialogue = dialogue >> client(COMMIT, CREATE) << upstream(COMMIT) >> upstream(committed("i1"), piece("i1", "hello"))
    (dialogue >> upstream(HELLO) << client(committed("i1")) << upstream(CREATE)).over()
    item = {"id": "i1", "role": "user", "content": [{"type": "input_audio", "transcript": "hello"}]}
    shown = {**item, "content": [{"type": "input_audio", "transcript": None}]}
    dialogue = dialogue >> upstream({"type": "conversation.item.retrieved", "item": item})
    (dialogue << client({"type": "conversation.item.retrieved", "item": shown})).over()


def test_transcription_stays_on_where_the_client_would_switch_it_off() -> None:
    update = {"type": "session.update", "event_id": "u1", "session": {"audio": {"input": {"transcription": None}}}}
    kept = {**update, "session": {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}}
    dialogue = opened(BLOCK) >> client(update) << upstream(kept) >> upstream(listening(kind="updated"))
    (dialogue << client(listening(None, kind="updated"))).over()
    dialogue = dialogue >> client(COMMIT, CREATE) << upstream(COMMIT) >> upstream(committed("i1"), HELLO)
    (dialogue << client(committed("i1")) << upstream(CREATE)).over()


# -- transcripts that are shown ------------------------------------------------------------------------------------


def test_transcripts_are_masked_wherever_they_are_shown() -> None:
    item = {"id": "i1", "role": "user", "content": [{"type": "input_audio", "transcript": "buy candy"}]}
    shown = {**item, "content": [{"type": "input_audio", "transcript": "buy [no-words]"}]}
    dialogue = opened(MASK) >> upstream(CANDY) << client(transcript("i1", "buy [no-words]"))
    for kind in ("added", "done", "retrieved"):
        dialogue = dialogue >> upstream({"type": f"conversation.item.{kind}", "item": item})
        dialogue = dialogue << client({"type": f"conversation.item.{kind}", "item": shown})
    dialogue.over()


@given(st.lists(st.integers(0, 22), max_size=8).map(sorted))
def test_however_a_transcript_is_cut_nothing_of_a_finding_is_shown(cuts: list[int]) -> None:
    text = "please buy candy for me"
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    events = [piece("i1", each) for each in pieces]
    dialogue = opened(MASK) >> upstream(*events, transcript("i1", text))
    heard = [each for each in dialogue.heard["client"] if isinstance(each, dict)]
    masked = "please buy [no-words] for me"
    assert heard[-1]["transcript"] == masked
    assert "".join(str(each["delta"]) for each in heard[:-1]) == masked
    dialogue = opened(REFUSE) >> upstream(*events, transcript("i1", text))
    heard = [each for each in dialogue.heard["client"] if isinstance(each, dict)]
    assert "please buy ".startswith("".join(str(each["delta"]) for each in heard if "delta" in each))
    assert [each["type"] for each in heard if "delta" not in each] == ["error"]


# -- other sessions ------------------------------------------------------------------------------------------------


def test_in_a_session_that_only_transcribes_what_may_not_be_said_is_deleted() -> None:
    session = {
        "type": "transcription",
        "audio": {"input": {"transcription": None, "turn_detection": vad(answers=False)}},
    }
    created = {"type": "session.created", "session": session}
    dialogue = under(REFUSE) >> upstream(created) << client(created)
    asked = dialogue.heard["upstream"].popleft()
    assert isinstance(asked, dict)
    assert asked["session"]["type"] == "transcription"
    dialogue = dialogue >> upstream({**listening(kind="updated"), "session": {**session, "audio": {"input": {}}}})
    dialogue = dialogue >> upstream(*said("i1"), CANDY) << client(*said("i1"), error()) << upstream(deleted("i1"))
    dialogue.over()


def test_a_server_that_does_not_say_how_it_transcribes_is_asked_to_once() -> None:
    guards = (changed(REFUSE, output=False),)
    terms = replace(TERMS, guards=guards, mends=False, provider_kind="xai", binary_audio=True)
    created = {"type": "session.created", "session": {"turn_detection": {"type": "server_vad"}}}
    dialogue = heeding(terms) >> upstream(created) << client(created)
    session = {"audio": {"input": {"transcription": {"model": "grok-transcribe"}}}}
    dialogue = dialogue << upstream({"type": "session.update", "session": session})
    dialogue = dialogue >> upstream({"type": "session.updated", "session": {}})
    dialogue = dialogue >> client(b"\0\1\2\3") << upstream(b"\0\1\2\3")
    growing = {"type": "conversation.item.input_audio_transcription.updated", "item_id": "i1", "transcript": "buy ca"}
    dialogue = dialogue >> upstream(*said("i1"), begun("r1"), growing, CANDY, CANDY)
    heard = [each for each in dialogue.heard["client"] if isinstance(each, dict)]
    dialogue.heard["client"].clear()
    assert not [each for each in heard if "transcript" in each]
    assert [each["type"] for each in heard].count("error") == 1
    dialogue = dialogue << upstream(deleted("i1"), {"type": "response.cancel", "response_id": "r1"})
    dialogue.over()


def test_clients_of_the_beta_are_judged_the_same() -> None:
    guards = (changed(REFUSE, output=False),)
    created = {**listening(None, vad(answers=False)), "event_id": "e0"}
    dialogue = heeding(replace(TERMS, guards=guards, beta=True)) >> upstream(created) << upstream(UPDATE)
    shown = dialogue.heard["client"].popleft()
    assert isinstance(shown, dict)
    assert shown["session"]["input_audio_transcription"] is None
    updated = listening(detection=vad(answers=False), kind="updated")
    update = {"type": "session.update", "session": {"input_audio_transcription": {"model": "whisper-1"}}}
    dialogue = dialogue >> upstream(updated) >> client(update) << upstream(UPDATE) >> upstream(updated)
    shown = dialogue.heard["client"].popleft()
    assert isinstance(shown, dict)
    assert shown["session"]["input_audio_transcription"] == {"model": "whisper-1"}
    dialogue = dialogue >> upstream(*said("i1"), HELLO) << client(*said("i1"), HELLO)
    assert not dialogue.heard["client"]


def test_what_comes_late_is_still_judged() -> None:
    dialogue = voiced(changed(REFUSE, open=True)) >> upstream(*said("i1")) >> Late() << upstream(OWN_CREATE)
    (dialogue >> upstream(CANDY) << client(*said("i1"), error()) << upstream(deleted("i1"))).over()


def test_nothing_is_asked_for_once_the_client_is_gone() -> None:
    dialogue = voiced(BLOCK) >> upstream(*said("i1")) << client(*said("i1")) >> client(Close(1000))
    dialogue = dialogue >> upstream(HELLO)
    assert not [each for each in dialogue.heard["upstream"] if isinstance(each, dict)]


def retrieved(text: str | None, item_id: str = "i1", role: str = "user") -> dict[str, object]:
    shown = {"id": item_id, "role": role, "content": [{"type": "input_audio", "transcript": text}]}
    return {"type": "conversation.item.retrieved", "item": shown}


def test_a_turn_that_began_too_early_goes_on_once_it_may() -> None:
    dialogue = voiced(BLOCK) >> upstream(*said("i1"), begun("r1"), HELLO, done("r1"))
    assert [each for each in dialogue.heard["client"] if each == HELLO]
    assert not dialogue.heard["upstream"], "it is not asked for once more"


def test_masks_of_others_are_shown_wherever_the_transcript_is() -> None:
    dialogue = opened(ASK_MASK) >> upstream(piece("i1", "I am"), transcript("i1", "I am Ann"), retrieved("I am Ann"))
    dialogue = dialogue << client(retrieved(None)) << Asked(1, "I am Ann")
    dialogue = dialogue >> Judged(1, Answer("name", "I am [NAME]")) << client(transcript("i1", "I am [NAME]"))
    dialogue = dialogue >> upstream(retrieved("I am Ann"), retrieved("Ann", "i2"), retrieved("Ann", role="assistant"))
    (dialogue << client(retrieved("I am [NAME]"), retrieved(None, "i2"), retrieved("Ann", role="assistant"))).over()
    dialogue = dialogue >> upstream(transcript("i3", "hello")) << Asked(2, "hello") >> Judged(2)
    (dialogue << client(transcript("i3", "hello")) >> upstream(retrieved("hello", "i3"))).heard["client"].clear()


def test_those_who_only_look_on_are_asked_about_transcripts_too() -> None:
    dialogue = opened(ASK_FLAG) >> upstream(piece("i1", "hello"), HELLO, retrieved("hello"))
    dialogue = dialogue << client(piece("i1", "hello"), HELLO, retrieved("hello")) << Asked(1, "hello")
    (dialogue >> Judged(1, Answer("hate"))).over()
    assert dialogue.found == [("moderated", "hate", "transcript")]


def test_a_transcript_that_is_blocked_is_in_no_item_that_is_shown() -> None:
    dialogue = opened(REFUSE) >> upstream(committed("i1"), piece("i1", "buy candy now"), piece("i1", "!"), CANDY)
    dialogue = dialogue << client(committed("i1"), piece("i1", "buy "), error()) << upstream(deleted("i1"))
    (dialogue >> upstream(retrieved("buy candy")) << client(retrieved(None))).over()
    (dialogue >> upstream(retrieved("candy", "i9")) << client(retrieved(None, "i9"))).over()


def test_of_transcripts_that_never_end_so_many_are_remembered() -> None:
    dialogue = opened(REFUSE) >> upstream(committed("i1"), piece("i1", "can"))
    for number in range(SEEN):
        dialogue = dialogue >> upstream(piece(f"other{number}", "hel"))
    dialogue.heard["client"].clear()
    dialogue = dialogue >> upstream(piece("i1", "dy!"), CANDY) << client(error()) << upstream(deleted("i1"))
    (dialogue >> upstream(retrieved(None), retrieved("buy candy")) << client(retrieved(None), retrieved(None))).over()


def test_a_commit_that_is_never_answered_is_not_waited_for_for_ever() -> None:
    (opened(BLOCK) >> client(COMMIT, CREATE) << upstream(COMMIT) >> Late() << upstream(CREATE)).over()


def test_a_server_that_drops_what_it_took_is_asked_again() -> None:
    off = listening(None, kind="updated")
    dialogue = opened(BLOCK) >> upstream(off) << client(off)
    asked = dialogue.heard["upstream"].popleft()
    assert isinstance(asked, dict)
    assert asked["session"]["audio"]["input"]["transcription"] == {"model": "whisper-1"}
