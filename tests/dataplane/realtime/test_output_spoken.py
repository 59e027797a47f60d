"""What the model says aloud, under guardrails that judge its transcript."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.realtime import endings
from dataplane.realtime.gate import HOLD
from tests.dataplane.guardrails.guards import words
from tests.dataplane.realtime.guarded import (
    AUDIO,
    BEGUN,
    CANCEL,
    DELETE,
    EMPTY,
    REFUSED,
    Event,
    blocking,
    guarded,
    masking,
    over,
    rule,
    said,
    said_all,
    text_of,
)
from tests.dataplane.realtime.play import Close, Gone, Raw, client, upstream, wire

HELD = {"audio": "hold"}
PASSED = {"audio": "pass"}
TEXT = "a bomb at home"
PART: Event = {"type": "response.content_part.added", "response_id": "r1", "item_id": "i1", "part": {"type": "audio"}}
SPOKEN = (PART, AUDIO, said("a boat "), AUDIO, said("at sea"), AUDIO, said_all("a boat at sea"))


def test_audio_flows_while_its_transcript_is_judged() -> None:
    dialogue = guarded(blocking()) >> upstream(PART, AUDIO)
    audio = wire(AUDIO, masked=False)
    compact = wire(json.dumps(AUDIO, separators=(",", ":")), masked=False)
    assert dialogue.relay.upstream_flow(compact) == (compact, b"")
    assert audio != compact


def test_what_was_said_cancels_the_response() -> None:
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(
        PART, AUDIO, said("bomb at "), AUDIO, said("home"), AUDIO
    )
    dialogue << client(PART, AUDIO, REFUSED) << upstream(CANCEL)
    dialogue >> upstream(said_all("bomb at home"), over("bomb at", "cancelled", "audio"))
    dialogue << client(EMPTY) << upstream(DELETE)
    assert not dialogue.heard["client"]


def test_no_audio_flows_behind_it_in_one_read() -> None:
    audio = json.dumps(AUDIO, separators=(",", ":"))
    stream = b"".join(wire(each, masked=False) for each in (PART, audio, audio, said("bomb at "), audio, audio))
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(Raw(stream)) << client(PART, AUDIO, AUDIO, REFUSED)
    assert not dialogue.heard["client"]
    compact = wire(audio, masked=False)
    assert dialogue.relay.upstream_flow(compact) == (b"", compact)


def test_another_response_speaks_on() -> None:
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(said("bomb at ")) << client(REFUSED)
    begun: Event = {"type": "response.created", "response": {"id": "r2"}}
    audio = AUDIO | {"response_id": "r2", "item_id": "i2"}
    dialogue >> upstream(begun, audio, AUDIO, audio) << client(begun, audio, audio)


def test_speech_cannot_be_masked_so_the_turn_is_refused() -> None:
    dialogue = guarded(masking()) >> upstream(PART, AUDIO, said("bomb at home, ")) << client(PART, AUDIO, REFUSED)
    assert dialogue.relay.ending is None


def test_held_until_it_was_judged() -> None:
    dialogue = guarded(blocking(**HELD)) >> upstream(*SPOKEN[:-1]) << client(PART)
    assert not dialogue.heard["client"]
    dialogue >> upstream(SPOKEN[-1], AUDIO, over("a boat at sea", kind="audio"))
    shown = dialogue.shown
    assert text_of(each for each in shown if "transcript" in str(each["type"])) == "a boat at sea"
    kinds = [str(each["type"]) for each in shown]
    assert kinds.count("response.output_audio.delta") == 4
    assert kinds[-3:] == ["response.output_audio_transcript.done", "response.output_audio.delta", "response.done"]


@given(st.lists(st.integers(0, len(TEXT)), max_size=5).map(sorted))
def test_nothing_held_is_heard_of_what_is_blocked(at: list[int]) -> None:
    points = [0, *at, len(TEXT)]
    pieces = [said(TEXT[start:end]) for start, end in pairwise(points)]
    dialogue = guarded(blocking(**HELD, refuse_turn=True))
    dialogue >> upstream(AUDIO, *[each for piece in pieces for each in (piece, AUDIO)], said_all(TEXT))
    dialogue << client(REFUSED) >> upstream(over(TEXT, "cancelled", "audio")) << client(EMPTY)
    assert not dialogue.heard["client"]


def test_held_and_masked_is_read_and_not_heard() -> None:
    dialogue = guarded(masking(**HELD)) >> upstream(
        AUDIO, said(TEXT), AUDIO, said_all(TEXT), AUDIO, over(TEXT, kind="audio")
    )
    shown = dialogue.shown
    assert not [each for each in shown if each["type"] == "response.output_audio.delta"]
    assert text_of(shown) == "a [no-words] at home"
    assert "bomb" not in json.dumps(shown)
    assert shown[-1]["type"] == "response.done"


def test_passed_is_heard_and_not_read() -> None:
    dialogue = guarded(blocking(**PASSED)) >> upstream(AUDIO, said("Oh, "), said(TEXT), AUDIO, said_all("Oh, " + TEXT))
    dialogue >> upstream(AUDIO, over("Oh, " + TEXT, kind="audio"))
    shown = dialogue.shown
    assert [each["type"] for each in shown].count("response.output_audio.delta") == 3
    assert "bomb" not in json.dumps(shown)
    assert text_of(each for each in shown if "transcript" in str(each["type"])) == shown[-3]["transcript"] == "Oh, a "
    assert dialogue.relay.ending is None


def test_passed_and_masked() -> None:
    dialogue = guarded(masking(**PASSED)) >> upstream(AUDIO, said(TEXT), said_all(TEXT), over(TEXT, kind="audio"))
    shown = dialogue.shown
    assert shown[0] == AUDIO
    assert "bomb" not in json.dumps(shown)


@pytest.mark.parametrize("fields", [{}, HELD])
def test_speech_that_nobody_writes_down_is_not_heard(fields: dict[str, object]) -> None:
    dialogue = guarded(blocking(**fields)) >> upstream(AUDIO, over("", kind="audio"))
    assert "unreadable" in str(dialogue.shown[-1])
    assert dialogue.relay.ending is endings.GUARDRAIL


def test_speech_that_nobody_writes_down_is_counted_where_it_was_to_be_judged() -> None:
    open_ = guarded(blocking(open=True)) >> upstream(AUDIO, over("", kind="audio"))
    assert [(each.guardrail.name, each.reason) for each in open_.missed] == [("no-words", "not_transcribed")]
    assert open_.relay.ending is None
    closed = guarded(blocking()) >> upstream(AUDIO, over("", kind="audio"))
    assert [each.reason for each in closed.missed] == ["not_transcribed"]
    for fields in (PASSED, {"action": "flag"}):
        assert not (guarded(blocking(**fields)) >> upstream(AUDIO, over("", kind="audio"))).missed


def test_speech_that_was_cut_off_is_not_heard_unless_it_was_judged() -> None:
    end = over("", "cancelled", "audio")
    held = guarded(blocking(**HELD)) >> upstream(AUDIO, end) << client(end)
    assert held.relay.ending is None
    dialogue = guarded(blocking()) >> upstream(AUDIO, end) << client(AUDIO, end)
    assert dialogue.relay.ending is None


def test_text_is_not_held() -> None:
    text: Event = {"type": "response.output_text.done", "response_id": "r1", "text": "fine"}
    guarded(blocking(**HELD)) >> upstream(text, over("fine")) << client(text, over("fine"))


def test_long_audio_is_held_too() -> None:
    long = AUDIO | {"delta": "A" * HOLD * 2}
    dialogue = guarded(blocking(**HELD)) >> upstream(long, said("a boat"))
    assert not dialogue.heard["client"]
    dialogue >> upstream(said_all("a boat")) << client(long)


def test_binary_audio_is_held_and_withheld() -> None:
    sound = b"\x00\x01" * 100
    held = guarded(blocking(**HELD), binary_audio=True) >> upstream(sound, said("a boat"))
    assert not held.heard["client"]
    held >> upstream(said_all("a boat")) << client(sound)
    refused = guarded(blocking(refuse_turn=True), binary_audio=True) >> upstream(sound, said("bomb at "), sound)
    refused << client(sound, REFUSED)
    assert not refused.heard["client"]


def test_too_much_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.realtime.inspection.withheld.MAX_HELD", 1000)
    dialogue = guarded(blocking(**HELD)) >> upstream(AUDIO, AUDIO, AUDIO, AUDIO)
    assert "too_large" in str(dialogue.shown)
    assert dialogue.relay.ending is endings.GUARDRAIL


def test_what_is_held_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [0]
    dialogue = guarded(blocking(**HELD))
    monkeypatch.setattr(dialogue.relay, "_hold", lambda more: held.append(held[-1] + more))
    dialogue >> upstream(said("a boat"), *[AUDIO] * 500)
    assert held[-1] > 100_000
    dialogue >> upstream(said_all("a boat"))
    assert held[-1] == 0


def test_what_others_hold() -> None:
    """Whoever judges what was asked holds the answer meanwhile."""
    dialogue = guarded(blocking())
    output = dialogue.relay.session.listening.output
    assert output is not None
    output.hold("r1")
    dialogue >> upstream(AUDIO, said("a boat"), said_all("a boat"), over("a boat", kind="audio"))
    assert not dialogue.heard["client"]
    output.release("r1")
    dialogue.take(dialogue.relay.end_between_turns(endings.OPERATOR, "Done."))
    shown = dialogue.shown
    assert [str(each["type"]) for each in shown][:1] == ["response.output_audio.delta"]
    assert shown[-2]["type"] == "response.done"


def test_what_others_refuse() -> None:
    for early in (True, False):
        dialogue = guarded(blocking())
        output = dialogue.relay.session.listening.output
        assert output is not None
        output.hold("r1")
        dialogue >> upstream(AUDIO, said("a boat"))
        if early:
            output.refuse("r1")
        dialogue >> upstream(over("a boat", "cancelled", kind="audio"))
        if not early:
            output.refuse("r1")
            dialogue.take(dialogue.relay.from_upstream(b""))
        dialogue << client(EMPTY)
        assert not dialogue.heard["client"]


def test_beta_clients_are_told_in_their_words() -> None:
    dialogue = guarded(blocking(refuse_turn=True))
    terms = replace(dialogue.relay.session.terms, beta=True)
    beta = type(dialogue)(
        type(dialogue.relay)(
            type(dialogue.relay.session)(terms), mask=lambda: b"1234", max_message=9999, max_fragments=9
        )
    )
    beta >> upstream(BEGUN, said("a boat "), said("is a bomb "), said("now"))
    kinds = [each["type"] for each in beta.shown]
    assert kinds == ["response.created", "response.audio_transcript.delta", "response.audio_transcript.delta", "error"]


def test_the_session_ends() -> None:
    dialogue = guarded(blocking()) >> upstream(AUDIO, said("bomb at "), AUDIO) << client(AUDIO, REFUSED)
    dialogue << client(Close(1011, "Guardrail blocked this request: no-words: keywords"))
    assert not dialogue.heard["client"]


def test_who_only_looks_on_has_nothing_held_but_what_others_hold() -> None:
    dialogue = guarded(words("bomb", action="flag"))
    output = dialogue.relay.session.listening.output
    assert output is not None
    output.hold("r1")
    dialogue >> upstream(AUDIO, said("a bomb"), said_all("a bomb"), over("a bomb", kind="audio"))
    assert not dialogue.heard["client"]
    output.refuse("r1")
    output.refuse("r1")
    output.release("unknown")
    dialogue.take(dialogue.relay.from_upstream(b"")) << client(EMPTY)
    assert [each.hits[0].rule for each in dialogue.found] == ["words[0]"]


def test_too_much_is_not_held_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.realtime.inspection.withheld.MAX_HELD", 1000)
    dialogue = guarded(words("bomb", action="flag"))
    output = dialogue.relay.session.listening.output
    assert output is not None
    output.hold("r1")
    dialogue >> upstream(AUDIO, AUDIO, AUDIO) << upstream(CANCEL)
    assert not dialogue.heard["client"]


def test_audio_flows_again_when_a_response_was_cut_off() -> None:
    dialogue = guarded(blocking()) >> upstream(
        AUDIO, over("", "cancelled", "audio"), BEGUN | {"response": {"id": "r2"}}
    )
    other = AUDIO | {"response_id": "r2"}
    compact = wire(json.dumps(other, separators=(",", ":")), masked=False)
    dialogue >> upstream(other)
    assert dialogue.relay.upstream_flow(compact) == (compact, b"")


def test_audio_that_does_not_say_of_which_response_it_is() -> None:
    nameless: Event = {"type": "response.output_audio.delta", "delta": "A" * 400}
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(nameless, said("bomb at "), nameless)
    dialogue << client(nameless, REFUSED)
    assert not dialogue.heard["client"]


def test_two_that_judge_speech_and_only_one_lets_it_pass() -> None:
    passes, cancels = blocking(audio="pass"), rule(words("knife", action="block"), refuse_turn=True)
    text = "a bomb and a knife at home"
    dialogue = guarded(passes, cancels) >> upstream(AUDIO, said(text), said_all(text))
    assert [each["type"] for each in dialogue.shown][-1] == "error"
    assert dialogue.relay.ending is None


def test_a_client_that_is_gone_leaves_nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [0]
    dialogue = guarded(blocking(**HELD))
    monkeypatch.setattr(dialogue.relay, "_hold", lambda more: held.append(held[-1] + more))
    dialogue >> upstream(said("a boat"), *[AUDIO] * 500) >> client(Gone())
    assert held[-1] == 0
    dialogue >> upstream(AUDIO, b"\x00", "no event", said_all("a boat"))
    assert held[-1] == 0
