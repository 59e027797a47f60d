"""What the model says, under guardrails that somebody else is asked about."""

from __future__ import annotations

import json

import pytest

from dataplane.guardrails.judge import Answer
from dataplane.realtime import endings
from tests.dataplane.realtime.guarded import (
    AUDIO,
    BEGUN,
    CANCEL,
    DELETE,
    EMPTY,
    Event,
    asking,
    blocking,
    guarded,
    masking,
    over,
    piece,
    said,
    said_all,
    text_of,
    whole,
)
from tests.dataplane.realtime.play import Admitted, Close, Gone, Over, Raw, Timer, Turn, client, upstream, wire
from tests.dataplane.realtime.sayings import ONE

FINE, BAD = Answer(), Answer(rule="violence")
KEPT = Answer(rule="name", text="I am [NAME].")


def test_text_waits_until_it_was_judged() -> None:
    dialogue = guarded(asking()) >> upstream(piece("I am "), piece("Ann."), whole("I am Ann."), over("I am Ann."))
    assert not dialogue.heard["client"]
    assert [each.text for each in dialogue.asked] == ["I am Ann."]
    dialogue.answer(FINE) << client(piece("I am Ann."), whole("I am Ann."), over("I am Ann."))
    assert not dialogue.asked
    assert dialogue.relay.session.between_turns


ENDS: dict[str, tuple[object, tuple[object, ...]]] = {
    "says so": (Close(1000, "Bye"), (Close(1000, "Bye"),)),
    "is gone": (Gone(), ({"type": "error"}, Close(1011, endings.UPSTREAM_LOST.meaning))),
}
"""How an upstream ends the session, and what the client is told of that."""


@pytest.mark.parametrize(("ends", "told"), ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("answer", [FINE, BAD])
def test_what_is_said_last_is_judged_before_the_client_is_told_of_the_end(
    answer: Answer, ends: object, told: tuple[object, ...]
) -> None:
    dialogue = guarded(asking()) >> upstream(piece("I am Ann."), whole("I am Ann."), over("I am Ann."), ends)
    assert not dialogue.heard["client"]
    shown = [] if answer is BAD else [piece("I am Ann."), whole("I am Ann."), over("I am Ann.")]
    dialogue.answer(answer) << client(*shown, *told)
    assert not dialogue.heard["client"]
    assert dialogue.relay.ending in (endings.UPSTREAM_CLOSED, endings.UPSTREAM_LOST)


@pytest.mark.parametrize(("ends", "told"), ENDS.values(), ids=ENDS)
def test_it_is_not_waited_for_long(ends: object, told: tuple[object, ...]) -> None:
    dialogue = guarded(asking()) >> upstream(piece("I am Ann."), whole("I am Ann."), ends)
    assert not dialogue.heard["client"]
    dialogue = dialogue >> Timer() << client(*told)
    dialogue.answer(FINE)
    assert not dialogue.heard["client"]


def test_a_client_that_goes_meanwhile_waits_for_nothing() -> None:
    ended = guarded(asking()) >> upstream(piece("I am Ann."), whole("I am Ann."), over(), Close(1000))
    ended >> client(Gone()) << upstream(Close(1000), Gone()) << Turn("r1", "completed", ONE)
    ended << Over(endings.UPSTREAM_CLOSED, 1000)
    assert not ended.heard["client"]


def test_what_nobody_is_asked_about_is_not_waited_for() -> None:
    half = guarded(asking()) >> upstream(piece("I am"), Close(1000)) << client(Close(1000))
    assert not half.asked
    held = guarded(blocking(audio="hold")) >> upstream(AUDIO, said("hello"), Close(1000)) << client(Close(1000))
    assert not held.heard["client"]


def test_a_mask_is_put_everywhere() -> None:
    dialogue = guarded(asking("mask")) >> upstream(piece("I am "), piece("Ann."), whole("I am Ann."), over("I am Ann."))
    dialogue.answer(KEPT) << client(piece("I am [NAME]."), whole("I am [NAME]."), over("I am [NAME]."))


def test_what_is_blocked_ends_the_session() -> None:
    dialogue = guarded(asking()) >> upstream(piece("I am Ann."), whole("I am Ann."))
    dialogue.answer(BAD)
    assert [each["type"] for each in dialogue.shown] == ["error"]
    assert dialogue.relay.ending is endings.GUARDRAIL


def test_a_turn_alone_is_refused() -> None:
    dialogue = guarded(asking(refuse_turn=True)) >> upstream(piece("I am Ann."), whole("I am Ann."), piece("x"))
    dialogue.answer(BAD) << upstream(CANCEL) >> upstream(over("I am Ann.", "cancelled")) << upstream(DELETE)
    assert [each["type"] for each in dialogue.shown] == ["error", "response.done"]


def test_a_turn_that_is_over_upstream_is_refused_too() -> None:
    dialogue = guarded(asking(refuse_turn=True)) >> upstream(piece("I am Ann."), whole("I am Ann."), over("I am Ann."))
    dialogue.answer(BAD)
    shown = dialogue.shown
    assert [each["type"] for each in shown] == ["error", "response.done"]
    assert shown[1] == EMPTY
    assert "Ann" not in json.dumps(shown)
    dialogue << upstream(DELETE)
    assert not dialogue.heard["upstream"]


@pytest.mark.parametrize("opens", [False, True])
def test_who_does_not_answer(opens: bool) -> None:
    dialogue = guarded(asking(open=opens)) >> upstream(piece("fine"), whole("fine"))
    dialogue.answer(Answer(failed="timeout"))
    assert (dialogue.relay.ending is None) is opens
    assert (text_of(dialogue.shown) == "fine") is opens


def test_other_responses_and_events_do_not_wait() -> None:
    started: Event = {"type": "input_audio_buffer.speech_started", "item_id": "u1"}
    heard: Event = {"type": "conversation.item.added", "item": {"id": "u1", "role": "user"}}
    other: Event = {"type": "response.created", "response": {"id": "r2"}}
    dialogue = guarded(asking()) >> upstream(piece("fine"), whole("fine"), started, heard, other, AUDIO)
    dialogue << client(started, heard, other, AUDIO)
    part: Event = {"type": "response.content_part.done", "response_id": "r1", "part": {"type": "text", "text": "fine"}}
    dialogue >> upstream(part)
    assert not dialogue.heard["client"]
    dialogue.answer(FINE) << client(piece("fine"), whole("fine"), part)


def test_speech_is_asked_about_while_it_is_spoken() -> None:
    dialogue = guarded(asking(refuse_turn=True)) >> upstream(AUDIO, said("Take a knife, and then "), AUDIO)
    assert not dialogue.asked
    dialogue >> upstream(said("go to them."), said(" Next, wait until they sleep."), AUDIO)
    assert [each.text for each in dialogue.asked] == ["Take a knife, and then go to them."]
    dialogue << client(AUDIO, AUDIO, AUDIO)
    dialogue.answer(BAD) << upstream(CANCEL) >> upstream(AUDIO)
    assert [each["type"] for each in dialogue.shown] == ["error"]


def test_speech_without_sentences_is_asked_about_too() -> None:
    dialogue = guarded(asking()) >> upstream(*[said("la ")] * 100)
    assert [len(each.text) for each in dialogue.asked] == [201]
    dialogue.answer(FINE) >> upstream(*[said("la ")] * 100, said_all("la " * 200))
    assert [len(each.text) for each in dialogue.asked] == [402, 600]


def test_held_speech_is_heard_once_it_was_judged() -> None:
    dialogue = guarded(asking(audio="hold")) >> upstream(
        AUDIO, said("a boat. And it sails."), AUDIO, said_all("a boat.")
    )
    assert [each.text for each in dialogue.asked] == ["a boat. And it sails."]
    dialogue.answer(FINE)
    assert not dialogue.heard["client"]
    dialogue.answer(FINE)
    assert [each["type"] for each in dialogue.shown].count("response.output_audio.delta") == 2


def test_speech_cannot_be_masked() -> None:
    dialogue = guarded(asking("mask")) >> upstream(AUDIO, said("I am Ann."), said_all("I am Ann."))
    dialogue.answer(KEPT) << upstream(CANCEL)
    assert [each["type"] for each in dialogue.shown] == ["response.output_audio.delta", "error"]
    assert dialogue.relay.ending is None


def test_speech_that_passes_is_not_read_where_it_is_blocked() -> None:
    dialogue = guarded(asking(audio="pass")) >> upstream(AUDIO, said("I am Ann."), said_all("I am Ann."))
    dialogue.answer(BAD) >> upstream(over("I am Ann.", kind="audio"))
    shown = dialogue.shown
    assert [each["type"] for each in shown][:1] == ["response.output_audio.delta"]
    assert "Ann" not in json.dumps(shown)
    assert dialogue.relay.ending is None


def test_those_here_judge_first() -> None:
    dialogue = guarded(asking(), masking()) >> upstream(piece("a bomb at home"), whole("a bomb at home"))
    assert [each.text for each in dialogue.asked] == ["a [no-words] at home"]
    dialogue.answer(FINE) << client(piece("a [no-words] at home"), whole("a [no-words] at home"))
    blocked = guarded(asking(), blocking()) >> upstream(piece("a bomb at home"))
    assert blocked.relay.ending is endings.GUARDRAIL


def test_arguments_are_asked_about_string_by_string() -> None:
    kind = "function_call_arguments"
    done = whole('{"to":"I am Ann."}', kind, "arguments")
    dialogue = guarded(asking("mask")) >> upstream(piece('{"to":', kind), piece('"I am Ann."}', kind), done)
    while dialogue.asked:
        dialogue.answer(KEPT if dialogue.asked[0].text == "I am Ann." else FINE)
    shown = dialogue.shown
    assert [each.get("delta", each.get("arguments")) for each in shown] == ['{"to":"I am [NAME]."}'] * 2


@pytest.mark.parametrize("guard", [asking("flag"), asking(shadow=True)])
def test_nothing_waits_for_who_only_looks_on(guard: object) -> None:
    dialogue = guarded(guard) >> upstream(piece("fine"), whole("fine"), over("fine"))  # type: ignore[arg-type]
    dialogue << client(piece("fine"), whole("fine"), over("fine"))
    assert [each.text for each in dialogue.asked] == ["fine"]
    dialogue.answer(BAD)
    assert not dialogue.heard["client"]
    assert [each.hits[0].rule for each in dialogue.found] == ["violence"]


def test_who_only_looks_on_is_asked_beside_who_does_not() -> None:
    dialogue = guarded(asking("flag"), blocking()) >> upstream(piece("fine "), whole("fine "), over("fine "))
    assert text_of(dialogue.shown) == "fine "
    assert [each.text for each in dialogue.asked] == ["fine "]


def test_answers_that_come_too_late() -> None:
    dialogue = guarded(asking()) >> upstream(piece("fine"), whole("fine")) >> client(Close(1000))
    dialogue.answer(FINE)
    assert [each for each in dialogue.heard["client"] if isinstance(each, dict)] == []


def test_the_next_turn_is_asked_about_anew() -> None:
    dialogue = guarded(asking()) >> upstream(whole("fine"), over("fine"))
    dialogue.answer(FINE) << client(whole("fine"), over("fine"))
    second = BEGUN | {"response": {"id": "r2"}}
    dialogue >> upstream(second, whole("fine") | {"response_id": "r2", "item_id": "i2"})
    assert len(dialogue.asked) == 1


def test_what_is_shown_late_waits_for_a_frame_under_way() -> None:
    long = wire(AUDIO | {"delta": "A" * 200_000}, masked=False)
    dialogue = guarded(asking()) >> upstream(said("fine"), said_all("fine"), Raw(long[:100_000]))
    dialogue.answer(FINE)
    dialogue >> upstream(Raw(long[100_000:]), over("fine", kind="audio"))
    kinds = [str(each["type"]).removeprefix("response.output_audio") for each in dialogue.shown]
    assert kinds == [".delta", "_transcript.delta", "_transcript.done", "response.done"]


def test_turns_that_wait_for_limits_too() -> None:
    dialogue = guarded(asking(), admits=True)
    dialogue >> Admitted(1) >> upstream(piece("fine"), whole("fine"))
    dialogue.answer(FINE) << client(piece("fine"), whole("fine"))


@pytest.mark.parametrize(
    "event",
    [
        "no event",
        b"no event",
        {"anything": "of tomorrow"},
        {"type": "response.of_tomorrow.delta", "response_id": "r1", "delta": {"new": "x"}},
        whole('{"to":"Ann","to":"Bob"}', "function_call_arguments", "arguments"),
        whole("x" * 101),
    ],
)
def test_what_nobody_can_read_does_not_go_on_however_it_fails(event: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.realtime.inspection.judging.MAX_TEXT", 100)
    dialogue = guarded(asking(open=True)) >> upstream(event)
    assert [each["type"] for each in dialogue.shown] == ["error"]
    assert dialogue.relay.ending is endings.GUARDRAIL


def test_speech_that_nobody_writes_down_goes_on_where_it_fails_open() -> None:
    end = over("", kind="audio")
    dialogue = guarded(asking(open=True)) >> upstream(AUDIO, end) << client(AUDIO, end)
    assert dialogue.relay.ending is None
    assert not dialogue.asked


def test_all_that_waited_is_shown_though_it_is_much_and_a_frame_is_under_way() -> None:
    parts = [{"type": "response.content_part.added", "response_id": "r1", "event_id": f"e{n}"} for n in range(200)]
    dialogue = guarded(asking()) >> upstream(whole("fine"), *parts)
    audio = wire({**AUDIO, "delta": "A" * 100_000}, masked=False)
    dialogue.feed("upstream", audio[:50_000]).answer(FINE).feed("upstream", audio[50_000:])
    assert [each["type"] for each in dialogue.shown] == [AUDIO["type"], whole("")["type"], *[parts[0]["type"]] * 200]
