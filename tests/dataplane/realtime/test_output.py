"""What the model writes, under guardrails that judge it here."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.guardrails.judge import Answer, Guard
from dataplane.realtime import endings
from tests.dataplane.guardrails.guards import patterns, words
from tests.dataplane.realtime.guarded import (
    AUDIO,
    CANCEL,
    DELETE,
    EMPTY,
    REFUSED,
    Event,
    asking,
    blocking,
    guarded,
    masking,
    over,
    piece,
    rule,
    text_of,
    whole,
)
from tests.dataplane.realtime.play import Close, Over, Raw, Turn, client, upstream, wire
from tests.dataplane.realtime.sayings import ONE

TEXT = "How to make a bomb at home: take some"
WHY = "Guardrail blocked this request: no-words: keywords"


def cut(text: str, at: list[int]) -> list[str]:
    points = [0, *sorted(each % (len(text) + 1) for each in at), len(text)]
    return [text[start:end] for start, end in pairwise(points)]


CUTS = st.lists(st.integers(0, 100), max_size=12)


@given(CUTS)
def test_nothing_of_what_is_blocked_is_shown_however_it_is_cut(at: list[int]) -> None:
    dialogue = guarded(blocking()) >> upstream(*[piece(each) for each in cut(TEXT, at)], whole(TEXT), over(TEXT))
    shown = dialogue.shown
    assert "bom" not in json.dumps(shown[:-1])
    assert shown[-1]["error"] == REFUSED["error"]


@given(CUTS)
def test_what_is_masked_is_masked_everywhere(at: list[int]) -> None:
    dialogue = guarded(masking()) >> upstream(*[piece(each) for each in cut(TEXT, at)], whole(TEXT), over(TEXT))
    shown = dialogue.shown
    masked = TEXT.replace("bomb", "[no-words]")
    assert text_of(shown) == masked
    assert [each for each in shown if "delta" not in each] == [whole(masked), over(masked)]
    assert [each.hits[0].findings for each in dialogue.found] == [1]


def test_the_session_ends_where_text_is_blocked() -> None:
    dialogue = guarded(blocking()) >> upstream(piece("bomb at "))
    dialogue << client(REFUSED, Close(1011, WHY)) << upstream(CANCEL)
    dialogue >> upstream(over("a bomb", "cancelled")) << Turn("r1", "cancelled", ONE)
    assert dialogue.relay.ending is endings.GUARDRAIL


def test_what_comes_in_the_same_read_does_not_get_by() -> None:
    stream = [piece("bomb at "), piece("now"), AUDIO, whole("a bomb now"), over("a bomb now")]
    dialogue = guarded(blocking()) >> upstream(Raw(b"".join(wire(each, masked=False) for each in stream)))
    dialogue << client(REFUSED, Close(1011, WHY))
    assert not dialogue.heard["client"]


def test_a_turn_alone_is_refused() -> None:
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(piece("bomb at "), AUDIO, piece("now"))
    dialogue << client(REFUSED) << upstream(CANCEL)
    dialogue >> upstream(whole("a bomb now"), over("a bomb now", "cancelled"))
    dialogue << client(EMPTY) << upstream(DELETE)
    gone: Event = {"type": "conversation.item.deleted", "item_id": "i1"}
    dialogue >> upstream(gone) << client(gone)
    (dialogue << Turn("r1", "cancelled", ONE)).over()


def test_the_next_turn_goes_on() -> None:
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(piece("bomb at "), over("a bomb", "cancelled"))
    assert [each["type"] for each in dialogue.shown] == ["error", "response.done"]
    begun: Event = {"type": "response.created", "response": {"id": "r2"}}
    audio = AUDIO | {"response_id": "r2", "item_id": "i2"}
    text = piece("fine", response_id="r2", item_id="i2")
    dialogue >> upstream(begun, audio, audio, text)
    dialogue << client(begun, audio, audio)


def test_errors_about_what_the_gateway_did_are_its_own() -> None:
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(piece("bomb at "), over("a bomb", "cancelled"))
    own = [str(each["event_id"]) for each in dialogue.heard["upstream"] if isinstance(each, dict)]
    assert dialogue.shown
    assert len(own) == 2
    for name in own:
        dialogue >> upstream({"type": "error", "error": {"code": "x", "event_id": name}})
    assert not dialogue.heard["client"]
    other: Event = {"type": "error", "error": {"code": "x", "event_id": "mine"}}
    dialogue >> upstream(other) << client(other)


def quoting(text: str) -> Event:
    return {"type": "error", "event_id": "e1", "error": {"code": "x", "message": f"Not allowed: {text}"}}


def failing(text: str) -> Event:
    """A response that failed."""
    error = {"type": "server_error", "message": f"Not allowed: {text}"}
    details = {"type": "failed", "error": error}
    return {"type": "response.done", "response": {"id": "r1", "status": "failed", "status_details": details}}


@pytest.mark.parametrize("told", [quoting, failing])
def test_errors_that_quote_what_is_blocked_or_masked_do_not_show_it(told: Callable[[str], Event]) -> None:
    guarded(masking()) >> upstream(told("bomb")) << client(told("[no-words]"))
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(told("bomb"))
    assert dialogue.shown[0]["error"] == REFUSED["error"]
    dialogue = dialogue >> upstream({"type": "rate_limits.updated"}) << client({"type": "rate_limits.updated"})
    dialogue = guarded(blocking()) >> upstream(told("bomb")) << client(REFUSED, Close(1011, WHY))
    assert dialogue.relay.ending is endings.GUARDRAIL
    dialogue = guarded(blocking(action="flag")) >> upstream(told("bomb")) << client(told("bomb"))
    assert [each.place for each in dialogue.found] == ["error.message"]


def test_errors_wait_until_others_have_judged_them_and_nothing_waits_for_that() -> None:
    dialogue = guarded(asking()) >> upstream(quoting("bomb"), AUDIO) << client(AUDIO)
    assert [each.text for each in dialogue.asked] == ["Not allowed: bomb"]
    (dialogue.answer(Answer()) << client(quoting("bomb"))).over()


def test_arguments_of_tools_are_judged_whole() -> None:
    kind = "function_call_arguments"
    arguments = json.dumps({"city": "b\u006fmb"}).replace("o", "\\u006f")
    done = whole(arguments, kind, "arguments")
    dialogue = guarded(masking()) >> upstream(*[piece(each, kind) for each in arguments], done)
    shown = dialogue.shown
    assert [each["type"] for each in shown] == [f"response.{kind}.delta", f"response.{kind}.done"]
    assert json.loads(str(shown[0]["delta"])) == {"city": "[no-words]"}
    assert shown[1]["arguments"] == shown[0]["delta"]


@pytest.mark.parametrize("kind", ["response.text", "response.output_text"])
def test_both_spellings(kind: str) -> None:
    event = piece("bomb at ") | {"type": f"{kind}.delta"}
    (guarded(blocking()) >> upstream(event)) << client(REFUSED)


@pytest.mark.parametrize(
    "event",
    [
        whole("a bomb"),
        {"type": "response.content_part.done", "response_id": "r1", "part": {"type": "text", "text": "a bomb"}},
        {"type": "response.output_item.done", "response_id": "r1", "item": {"id": "i1", "name": "bomb"}},
        {"type": "conversation.item.done", "item": {"id": "i1", "content": [{"text": "a bomb"}]}},
        {"type": "conversation.item.retrieved", "item": {"id": "i9", "content": [{"transcript": "a bomb"}]}},
        {"type": "response.of_tomorrow", "response_id": "r1", "anything": {"new": "a bomb"}},
        {"type": "response.of_tomorrow.delta", "response_id": "r1", "delta": {"new": "a bomb"}},
        {"type": "of_tomorrow", "anything": "a bomb"},
        over("a bomb"),
        over("a bomb", kind="audio"),
    ],
)
def test_wherever_it_stands(event: Event) -> None:
    for refuses in (False, True):
        dialogue = guarded(blocking(refuse_turn=refuses)) >> upstream(event)
        shown = dialogue.shown
        assert "bomb" not in json.dumps(shown)
        assert shown[0]["type"] == "error"
        assert (dialogue.relay.ending is None) is refuses


@pytest.mark.parametrize("guard", [words("bomb", action="flag"), words("bomb", action="block", shadow=True)])
def test_who_only_looks_on_changes_no_byte(guard: Guard) -> None:
    dialogue = guarded(guard)
    stream = b"".join(wire(each, masked=False) for each in (piece("a bomb"), AUDIO, whole("a bomb"), over("a bomb")))
    dialogue >> upstream(Raw(stream)) << client(piece("a bomb"), AUDIO, whole("a bomb"), over("a bomb"))
    assert [each.hits[0].findings for each in dialogue.found] == [1]


def test_copies_go_where_text_is_masked() -> None:
    event = piece("bomb at ", logprobs=[{"token": "bomb"}])
    shown = (guarded(masking()) >> upstream(event, whole("bomb at "))).shown
    assert shown[0]["logprobs"] is None


@pytest.mark.parametrize("message", ["no event", b"no event", "[]", b"\x00\x01"])
def test_what_nobody_can_read_ends_the_session(message: object) -> None:
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(message)
    assert "unreadable" in str(dialogue.shown)
    assert dialogue.relay.ending is endings.GUARDRAIL
    flagged = guarded(words("bomb", action="flag")) >> upstream(message)
    assert flagged.relay.ending is None


def test_binary_events_are_judged() -> None:
    dialogue = guarded(blocking()) >> upstream(json.dumps(piece("bomb at ")).encode())
    assert dialogue.relay.ending is endings.GUARDRAIL


def test_a_response_is_judged_by_itself() -> None:
    other = piece("mb ", response_id="r2", item_id="i2")
    dialogue = guarded(blocking()) >> upstream(piece("a bo"), other, piece("at "), over("a boat"))
    assert dialogue.relay.ending is None
    assert text_of(each for each in dialogue.shown if each.get("response_id") == "r1") == "a boat "


def test_the_rest_is_shown_when_a_response_is_cut_off() -> None:
    dialogue = guarded(patterns("x+$", action="block")) >> upstream(piece("say"), over("say", "cancelled"))
    assert text_of(dialogue.shown) == "say"


def test_a_refusal_says_the_reason() -> None:
    dialogue = guarded(blocking(reason="No weapons.")) >> upstream(whole("bomb"))
    assert dialogue.shown[0]["error"] == {
        **REFUSED["error"],  # type: ignore[dict-item]
        "message": "Guardrail blocked this request: No weapons.",
    }


def test_guardrails_on_input_leave_output_alone() -> None:
    dialogue = guarded(rule(words("bomb", action="block"), output=False))
    dialogue >> upstream(piece("a bomb"), over("a bomb")) << client(piece("a bomb"), over("a bomb"))


def test_it_is_over_when_upstream_is_too() -> None:
    dialogue = guarded(blocking()) >> upstream(piece("bomb at "), over("", "cancelled"), Close(1000))
    dialogue >> client(Close(1011, WHY))
    assert dialogue.heard["ledger"].pop() == Over(endings.GUARDRAIL, 1011)


def test_what_nobody_knows_how_to_read_is_not_shown() -> None:
    twice = '{"to":"Ann","to":"Bob"}'
    for event in ({"anything": "bomb"}, whole(twice, "function_call_arguments", "arguments")):
        dialogue = guarded(blocking()) >> upstream(event)
        assert "unreadable" in str(dialogue.shown)
        flagged = guarded(words("bomb", action="flag")) >> upstream(event) << client(event)
        assert flagged.relay.ending is None


def test_a_text_that_is_too_long_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.realtime.inspection.judging.MAX_TEXT", 100)
    dialogue = guarded(blocking()) >> upstream(whole("x" * 101))
    assert "too_large" in str(dialogue.shown)


def test_too_much_text_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.realtime.inspection.withheld.MAX_HELD", 300)
    dialogue = guarded(asking()) >> upstream(*[piece("fine ")] * 100)
    assert "too_large" in str(dialogue.shown)
    waiting = guarded(asking()) >> upstream(whole("fine"), *[over("fine")] * 3)
    assert "too_large" in str(waiting.shown)


def test_what_is_remembered_is_bounded() -> None:
    """A session may be long, and its provider odd."""
    dialogue = guarded(blocking(), rule(words("x", action="flag"), output=False))
    for number in range(1100):
        name, item = f"a{number}", {"id": f"b{number}", "name": f"fine {number}"}
        dialogue >> upstream(
            {"type": "response.created", "response": {"id": name}},
            {"type": "response.output_item.done", "response_id": name, "item": item},
            {"type": "response.done", "response": {"id": name}},
            {"type": "conversation.item.retrieved", "item": {"id": f"c{number}", "name": "fine"}},
            {"type": "response.of_tomorrow", "response_id": "r1", "text": f"fine {number}"},
        )
    assert len(dialogue.shown) == 5500
    output = dialogue.relay.session.listening.output
    assert output is not None
    assert len(output._responses) < 200
    assert len(output._of_item) < 1100


@pytest.mark.parametrize(("guard", "ends"), [(blocking(), True), (words("bomb", action="flag"), False)])
def test_responses_that_never_end(guard: Guard, ends: bool) -> None:
    begun: list[Event] = [{"type": "response.created", "response": {"id": f"a{number}"}} for number in range(1100)]
    dialogue = guarded(guard) >> upstream(*begun)
    assert (dialogue.relay.ending is not None) is ends


def test_refusals_are_many() -> None:
    dialogue = guarded(blocking(refuse_turn=True))
    for number in range(600):
        name, item = f"a{number}", f"b{number}"
        dialogue >> upstream(
            {"type": "response.created", "response": {"id": name}},
            piece("bomb at ", response_id=name, item_id=item),
            {"type": "response.done", "response": {"id": name, "status": "cancelled"}},
        )
    kinds = [each["type"] for each in dialogue.shown]
    assert kinds == ["response.created", "error", "response.done"] * 600


def test_events_that_say_least() -> None:
    """Neither of which response they are, nor of which item."""
    text: Event = {"type": "response.output_text.delta", "delta": "bomb at home"}
    (guarded(blocking(refuse_turn=True)) >> upstream(text) << client(REFUSED) << upstream(CANCEL)).over()
    odd: Event = {"type": "of_tomorrow", "text": "bomb"}
    dialogue = guarded(blocking(refuse_turn=True)) >> upstream(odd, odd | {"text": "fine"})
    dialogue << client(REFUSED, odd | {"text": "fine"})


@pytest.mark.parametrize("item", [{"id": "i1", "role": "user"}, {"id": "i1", "type": "function_call_output"}])
def test_a_response_does_not_say_that_it_is_the_user(item: Event) -> None:
    hidden = {"type": "response.output_item.done", "response_id": "r1", "item": {**item, "content": [{"text": "bomb"}]}}
    assert "bomb" not in json.dumps((guarded(blocking()) >> upstream(hidden)).shown)
