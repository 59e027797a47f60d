"""What the client says in events, under guardrails."""

from __future__ import annotations

import json

import pytest

from dataplane.guardrails.judge import Answer, Guard
from dataplane.realtime import endings
from dataplane.realtime.actions import ToUpstream
from dataplane.realtime.effects import Admit
from dataplane.realtime.events import Event
from dataplane.realtime.inspection.input import LARGEST, LEAST, MOST_TEXTS
from dataplane.realtime.inspection.line import MOST, MOST_BYTES
from dataplane.realtime.inspection.questions import AT_A_TIME, EACH, ROOM_ASIDE
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
    changed,
    error,
    item,
    opened,
)
from tests.dataplane.realtime.play import (
    Admitted,
    Close,
    Frame,
    Gone,
    client,
    upstream,
    wire,
)

CREATE = {"type": "response.create"}
AUDIO = {"type": "input_audio_buffer.append", "audio": "A" * 400}
COMMIT = {"type": "input_audio_buffer.commit"}
FOUND = Answer(rule="hate")
MODERATED = "Guardrail blocked this request: moderated: hate"


def ended(dialogue: Dialogue, message: str = BLOCKED) -> None:
    """The session ends by a guardrail."""
    (dialogue << client(error(message=message), Close(1011, message)) << upstream(Close(1000))).over()
    assert dialogue.relay.ending is endings.GUARDRAIL


SAYINGS = {
    "item": item("no candy here"),
    "system item": {"type": "conversation.item.create", "item": {"role": "system", "content": "candy"}},
    "tool result": {
        "type": "conversation.item.create",
        "item": {"type": "function_call_output", "output": json.dumps({"a": ["c\u0061ndy"]}).replace("a", "\\u0061")},
    },
    "instructions": {"type": "session.update", "session": {"type": "realtime", "instructions": "sell candy"}},
    "prompt": {"type": "session.update", "session": {"prompt": {"id": "p", "variables": {"a": "candy"}}}},
    "transcription prompt": {
        "type": "session.update",
        "session": {"audio": {"input": {"transcription": {"model": "whisper-1", "prompt": "candy"}}}},
    },
    "response": {"type": "response.create", "response": {"instructions": "candy"}},
    "response input": {
        "type": "response.create",
        "response": {
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "candy"}]}]
        },
    },
    "beta": {"type": "session.update", "session": {"modalities": ["text"], "instructions": "candy"}},
    "beside audio": {"type": "input_audio_buffer.append", "audio": "AAAA", "instructions": "candy"},
    "unknown": {"type": "item.made.up", "text": {"value": "candy"}},
}


@pytest.mark.parametrize("event", SAYINGS.values(), ids=SAYINGS)
def test_what_is_blocked_ends_the_session_and_nothing_of_it_goes_on(event: dict[str, object]) -> None:
    dialogue = opened(BLOCK) >> client(event, item("and this came behind"))
    ended(dialogue)
    assert dialogue.found[0][:2] == ("no-words", "words[0]")
    assert not dialogue.heard["upstream"]


@pytest.mark.parametrize("event", SAYINGS.values(), ids=SAYINGS)
def test_a_turn_alone_may_be_refused(event: dict[str, object]) -> None:
    dialogue = opened(REFUSE) >> client({**event, "event_id": "mine"}, item("and this goes on"))
    (dialogue << client(error("mine")) << upstream(item("and this goes on"))).over()


@pytest.mark.parametrize("event", SAYINGS.values(), ids=SAYINGS)
def test_masks_are_put_before_it_goes_on(event: dict[str, object]) -> None:
    dialogue = opened(MASK) >> client(event)
    sent = dialogue.heard["upstream"].popleft()
    dialogue.over()
    assert "candy" not in json.dumps(sent)
    assert "[no-words]" in json.dumps(sent)


@pytest.mark.parametrize("guard", [FLAG, SHADOW])
@pytest.mark.parametrize("event", SAYINGS.values(), ids=SAYINGS)
def test_who_only_looks_on_changes_nothing(event: dict[str, object], guard: Guard) -> None:
    dialogue = opened(guard) >> client(event)
    assert len(dialogue.heard["upstream"]) == 1
    assert dialogue.found


def test_what_is_not_found_goes_on_as_it_came() -> None:
    odd = wire('{ "type" : "conversation.item.create", "item": {"content": "sweet" } }', masked=True)
    actions = opened(BLOCK, MASK).relay.from_client(odd)
    assert actions == [ToUpstream(odd)]


def test_in_fragments_and_with_pings_between_it_is_the_same() -> None:
    whole = json.dumps(item("candy")).encode()
    parts = [Frame(1, whole[:40], fin=False), Frame(9, b"?"), Frame(0, whole[40:90], fin=False), Frame(0, whole[90:])]
    dialogue = opened(REFUSE) >> client(*parts)
    (dialogue << client(Frame(10, b"?"), error())).over()


def test_the_answer_to_a_refused_question_is_not_asked_for() -> None:
    dialogue = opened(REFUSE) >> client(item("candy"), {**CREATE, "event_id": "e2"}, CREATE)
    (dialogue << client(error(), error("e2")) << upstream(CREATE)).over()


def test_but_for_another_question_it_is() -> None:
    (
        opened(REFUSE)
        >> client(item("candy"), item("cake"), CREATE)
        << client(error())
        << upstream(item("cake"), CREATE)
    ).over()
    own = {**CREATE, "response": {"input": []}}
    (opened(REFUSE) >> client(item("candy"), own) << client(error()) << upstream(own)).over()


def test_what_is_ambiguous_or_too_long_is_refused() -> None:
    output = {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": '{"a":1,"a":2}'}}
    message = "Guardrail blocked this request: no-words: "
    (opened(REFUSE) >> client(output) << client(error(message=message + "unreadable"))).over()
    (opened(REFUSE) >> client(item("a" * (LARGEST + 1))) << client(error(message=message + "too_large"))).over()
    (opened(FLAG) >> client(output) << upstream(output)).over()
    ended(opened(REFUSE, BLOCK) >> client(output), message + "unreadable")
    ended(opened(changed(BLOCK, open=True)) >> client(output), message + "unreadable")


def test_audio_in_items_is_refused_since_nobody_transcribes_it() -> None:
    spoken = {"role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]}
    message = "Guardrail blocked this request: no-words: unreadable"
    for event in (
        {"type": "conversation.item.create", "item": spoken},
        {"type": "response.create", "response": {"input": [spoken]}},
    ):
        (opened(REFUSE) >> client(event) << client(error(message=message))).over()
        (opened(MASK, FLAG) >> client(event) << upstream(event)).over()


# -- somebody else is asked ----------------------------------------------------------------------------------------


def test_an_event_waits_until_it_was_judged_and_audio_overtakes_it() -> None:
    dialogue = opened(ASK) >> client(item("hello"), CREATE, AUDIO)
    (dialogue << Asked(1, "hello") << upstream(AUDIO)).over()
    assert not dialogue.relay.client_waits
    (dialogue >> Judged(1) << upstream(item("hello"), CREATE)).over()


def test_events_are_asked_about_at_once_and_go_on_in_order() -> None:
    dialogue = opened(ASK) >> client(item("one"), item("two")) << Asked(1, "one") << Asked(2, "two") >> Judged(2)
    dialogue.over()
    (dialogue >> Judged(1) << upstream(item("one"), item("two"))).over()


def test_one_session_asks_about_so_much_at_a_time() -> None:
    """A client that says a thousand things at once would have all others fail: whoever judges is asked about so much
    at once, and what is not asked about passes, or is blocked, as `onFailure` has it."""
    many = {
        "type": "conversation.item.create",
        "item": {"role": "user", "content": [{"text": f"no {n}"} for n in range(40)]},
    }
    dialogue = opened(ASK) >> client(many)
    for asked in range(1, AT_A_TIME + 1):
        dialogue = dialogue << Asked(asked, f"no {asked - 1}")
    dialogue.over()
    for answered in range(1, 41):
        dialogue = dialogue >> Judged(answered)
        if answered + AT_A_TIME <= 40:
            dialogue = dialogue << Asked(answered + AT_A_TIME, f"no {answered + AT_A_TIME - 1}")
    (dialogue << upstream(many)).over()


def test_who_looks_on_is_not_asked_for_ever_and_what_they_miss_is_counted() -> None:
    dialogue, count = opened(ASK_FLAG), 0
    while not dialogue.missed:
        dialogue = dialogue >> client(item(f"no {count}")) << upstream(item(f"no {count}"))
        count += 1
    assert dialogue.missed == [("moderated", "busy")]
    assert ROOM_ASIDE // (EACH + 8) < count - AT_A_TIME < ROOM_ASIDE // EACH
    for number in range(count - 1):
        dialogue = dialogue << Asked(number + 1, f"no {number}") >> Judged(number + 1)
    dialogue = dialogue >> client(item("more")) << upstream(item("more")) << Asked(count, "more")
    dialogue.over()


def test_who_looks_on_delays_nobody_who_is_waited_for() -> None:
    dialogue = opened(ASK_FLAG, changed(ASK, name="waited"))
    for number in range(AT_A_TIME):
        dialogue = dialogue >> client(item(f"no {number}")) << Asked(2 * number + 1, f"no {number}")
        dialogue = dialogue << Asked(2 * number + 2, f"no {number}", "waited") >> Judged(2 * number + 2)
    dialogue.heard["upstream"].clear()
    dialogue = dialogue >> client(item("one")) << Asked(2 * AT_A_TIME + 1, "one", "waited")
    (dialogue >> Judged(2 * AT_A_TIME + 1) << upstream(item("one"))).over()


def test_what_others_find_blocks_or_refuses() -> None:
    ended(
        opened(ASK) >> client(item("one"), item("two")) << Asked(1, "one") << Asked(2, "two") >> Judged(1, FOUND),
        MODERATED,
    )
    dialogue = opened(ASK_REFUSE) >> client(item("one", event_id="e1"), CREATE, item("two"))
    dialogue = dialogue << Asked(1, "one") << Asked(2, "two") >> Judged(1, FOUND) << client(error("e1", MODERATED))
    (dialogue << client(error(None, MODERATED)) >> Judged(2) << upstream(item("two"))).over()


def test_who_does_not_answer_fails_open_or_closed() -> None:
    down = Answer(failed="timeout")
    message = "Guardrail blocked this request: moderated: not_judged"
    dialogue = opened(ASK_REFUSE) >> client(item("one")) << Asked(1, "one") >> Judged(1, down)
    (dialogue << client(error(message=message))).over()
    dialogue = opened(changed(ASK, open=True)) >> client(item("one")) << Asked(1, "one") >> Judged(1, down)
    (dialogue << upstream(item("one"))).over()


def test_masks_of_others_are_put() -> None:
    dialogue = opened(ASK_MASK) >> client(item("my name")) << Asked(1, "my name")
    (dialogue >> Judged(1, Answer("name", "my [NAME]")) << upstream(item("my [NAME]"))).over()


def test_masks_in_what_only_an_escape_spells_cannot_be_put() -> None:
    output = {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": '["\\u0061b"]'}}
    dialogue = opened(ASK_MASK) >> client(output) << Asked(1, '["\\u0061b"]\nab') >> Judged(1, Answer("x", "[]\n[X]"))
    ended(dialogue, "Guardrail blocked this request: moderated: x")


def test_those_who_only_look_on_are_asked_and_not_waited_for() -> None:
    dialogue = opened(ASK_FLAG) >> client(item("one")) << Asked(1, "one") << upstream(item("one")) >> Judged(1, FOUND)
    dialogue.over()
    assert dialogue.found == [("moderated", "hate", "item.content[0].text")]


def test_where_the_order_against_audio_matters_all_waits() -> None:
    for event in (COMMIT, {"type": "session.update", "session": {"type": "realtime"}}):
        dialogue = opened(ASK) >> client(item("one"), event, AUDIO) << Asked(1, "one")
        dialogue.over()
        assert dialogue.relay.client_waits
        (dialogue >> Judged(1) << upstream(item("one"), event, AUDIO)).over()
        assert not dialogue.relay.client_waits


def test_what_waits_is_bounded() -> None:
    dialogue = opened(ASK) >> client(item("one"), *[{"type": "response.cancel"}] * MOST) << Asked(1, "one")
    dialogue.over()
    assert dialogue.relay.client_waits
    long = item("a" * (LARGEST - 100))
    dialogue = opened(ASK) >> client(*[long] * (MOST_BYTES // LARGEST + 3))
    assert len(dialogue.asked) == -(-MOST_BYTES // LARGEST)
    assert dialogue.relay.client_waits


def of_parts(*parts: str) -> Event:
    content = [{"type": "input_text", "text": part} for part in parts]
    return {"type": "conversation.item.create", "item": {"role": "user", "content": content}}


def test_one_client_has_so_many_questions_under_way_and_no_more() -> None:
    event = of_parts(*[f"part {number}" for number in range(AT_A_TIME + 2)])
    dialogue = opened(ASK) >> client(event, item("one"))
    assert len(dialogue.asked) == AT_A_TIME
    for ticket in range(1, AT_A_TIME + 4):
        text = f"part {ticket - 1}" if ticket <= AT_A_TIME + 2 else "one"
        dialogue = dialogue << Asked(ticket, text) >> Judged(ticket)
    (dialogue << upstream(event, item("one"))).over()


def test_what_was_blocked_is_not_asked_about_any_further() -> None:
    dialogue = opened(ASK_REFUSE) >> client(of_parts(*"abcdefghijklmnopqrstuvwxyz"), item("one"))
    for ticket in range(1, AT_A_TIME + 1):
        dialogue = dialogue << Asked(ticket, "abcdefghijklmnopqrstuvwxyz"[ticket - 1])
    dialogue = dialogue >> Judged(1, FOUND) << Asked(AT_A_TIME + 1, "one") << client(error(message=MODERATED))
    (dialogue >> Judged(AT_A_TIME + 1) << upstream(item("one"))).over()


def test_an_event_of_as_many_texts_as_may_be_is_blocked_and_none_of_them_is_asked_about_any_more() -> None:
    dialogue = opened(ASK_REFUSE) >> client(of_parts(*["a"] * MOST_TEXTS), item("one"))
    dialogue.asked.clear()
    dialogue = dialogue >> Judged(1, FOUND) << client(error(message=MODERATED)) << Asked(AT_A_TIME + 1, "one")
    dialogue.over()


def test_as_much_as_may_wait_is_asked_about() -> None:
    """However a client writes it: what fails open would pass else."""
    asks, aside = changed(ASK, open=True), changed(ASK_FLAG, name="aside")
    short: Event = {"type": "conversation.item.create", "item": {"role": "user", "content": ["a"] * MOST_TEXTS}}
    dialogue = opened(asks, aside) >> client(*[short] * MOST * 3)
    assert dialogue.relay.client_waits
    assert set(dialogue.missed) == {("aside", "busy")}


def test_more_texts_than_anybody_is_asked_about_are_too_many() -> None:
    ended(
        opened(ASK) >> client(of_parts(*["a"] * (MOST_TEXTS + 1))),
        "Guardrail blocked this request: moderated: too_large",
    )
    event = of_parts(*["a"] * (MOST_TEXTS + 1))
    (opened(BLOCK) >> client(event) << upstream(event)).over()


def test_many_short_texts_are_as_large_as_few_long_ones() -> None:
    texts = json.dumps([""] * (LARGEST // LEAST))
    ended(opened(BLOCK) >> client(item(texts)), "Guardrail blocked this request: no-words: too_large")


def test_a_turn_is_admitted_after_it_was_judged_and_what_waits_behind_it_does_so_for_both() -> None:
    dialogue = opened(ASK, admits=True) >> client(item("one"), CREATE, item("two")) << Asked(1, "one")
    dialogue = dialogue << Asked(2, "two") >> Judged(2)
    dialogue.over()
    dialogue = dialogue >> Judged(1) << upstream(item("one")) << Admit(1)
    dialogue.over()
    (dialogue >> Admitted(1) << upstream(CREATE, item("two"))).over()


def test_an_answer_after_the_end_counts_for_nothing() -> None:
    dialogue = opened(ASK) >> client(item("one"), Close(1000)) << Asked(1, "one") << upstream(Close(1000)) >> Judged(1)
    dialogue = dialogue >> upstream(Close(1000)) << upstream(Gone()) << client(Close(1000), Gone())
    dialogue.over()
