"""Whatever comes when, and whoever answers when: nothing of what is blocked is shown, and nothing else is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dataplane.guardrails.judge import Answer, Guard
from tests.dataplane.guardrails.guards import words
from tests.dataplane.realtime.guarded import AUDIO, Event, Guarded, asking, blocking, guarded, masking, rule, text_of
from tests.dataplane.realtime.play import Raw, upstream, wire

CLEAN = "A boat at sea. And so on it went."
DIRTY = "Take a boat. Then a bomb at home."
SPELLED = {"ensure_ascii": False, "separators": (",", ":")}


def response(name: str, text: str, *, spoken: bool, at: list[int]) -> list[Event]:
    """All of it, cut so."""
    kind, field = ("output_audio_transcript", "transcript") if spoken else ("output_text", "text")
    ids: Event = {"response_id": name, "item_id": f"item-{name}", "content_index": 0}
    points = [0, *sorted(each % len(text) for each in at), len(text)]
    events: list[Event] = [{"type": "response.created", "response": {"id": name}}]
    for start, end in pairwise(points):
        events.append({"type": f"response.{kind}.delta", **ids, "delta": text[start:end]})
        if spoken:
            events.append(AUDIO | ids)
    part: Event = {"type": "output_audio" if spoken else "output_text", field: text}
    item: Event = {"id": f"item-{name}", "role": "assistant", "content": [part]}
    return [
        *events,
        {"type": f"response.{kind}.done", **ids, field: text},
        {"type": "response.content_part.done", **ids, "part": part},
        {"type": "conversation.item.done", "item": item},
        {"type": "response.output_item.done", "response_id": name, "item": item},
        {"type": "response.done", "response": {"id": name, "status": "completed", "output": [item]}},
    ]


@st.composite
def streams(draw: st.DrawFn, *texts: str) -> list[Event]:
    """Responses of these texts, side by side."""
    cuts = st.lists(st.integers(0, 40), max_size=5)
    left = [
        response(f"r{number}", text, spoken=draw(st.booleans()), at=draw(cuts)) for number, text in enumerate(texts)
    ]
    mixed: list[Event] = []
    while left := [each for each in left if each]:
        mixed.append(left[draw(st.integers(0, len(left) - 1))].pop(0))
    return mixed


def run(dialogue: Guarded, events: list[Event], reads: Iterator[int], answers: Iterator[int]) -> list[Event]:
    """What the client hears, if so many messages come in each read, and so many answers behind each."""
    while events:
        size = next(reads, 3)
        now, events = events[:size], events[size:]
        dialogue >> upstream(Raw(b"".join(wire(json.dumps(each, **SPELLED), masked=False) for each in now)))  # type: ignore[arg-type]
        for _ in range(next(answers, 0)):
            answer(dialogue)
    while dialogue.asked:
        answer(dialogue)
    return dialogue.shown


def answer(dialogue: Guarded) -> None:
    if dialogue.asked:
        dialogue.answer(Answer(rule="arms") if "bomb" in dialogue.asked[0].text else Answer())


def about(events: list[Event], name: str) -> list[Event]:
    return [each for each in events if f'{name}"' in json.dumps(each)]


RULES = st.sampled_from(["cancel", "hold"])
COUNTS = st.lists(st.integers(1, 6), max_size=20)
ANSWERS = st.lists(st.integers(0, 2), max_size=20)
SOMETIMES = st.lists(
    st.sampled_from([blocking(), asking(), words("bomb", action="flag"), rule(words("sea"), audio="hold")]), max_size=2
)


@given(streams(DIRTY, CLEAN, DIRTY), COUNTS, ANSWERS, RULES, st.booleans(), st.booleans(), SOMETIMES)
def test_nothing_that_is_blocked_is_shown(
    events: list[Event],
    reads: list[int],
    answers: list[int],
    audio: str,
    refuses: bool,
    asks: bool,
    others: list[Guard],
) -> None:
    blocks = asking(audio=audio, refuse_turn=refuses) if asks else blocking(audio=audio, refuse_turn=refuses)
    shown = run(guarded(blocks, *others), events, iter(reads), iter(answers))
    assert "bomb" not in json.dumps(shown)
    for name in ("r0", "r2"):
        assert "bom" not in text_of(each for each in about(shown, name) if "audio.delta" not in str(each["type"]))
    if audio == "hold":
        assert not [each for each in shown if each["type"] == AUDIO["type"] and each["response_id"] != "r1"]


@given(streams(CLEAN, CLEAN), COUNTS, ANSWERS, RULES, st.lists(st.sampled_from([asking(), masking()]), max_size=2))
def test_nothing_else_is_lost_nor_in_another_order(
    events: list[Event], reads: list[int], answers: list[int], audio: str, others: list[Guard]
) -> None:
    dialogue = guarded(blocking(audio=audio), *others)
    shown = run(dialogue, list(events), iter(reads), iter(answers))
    for name in ("r0", "r1"):
        came, went = about(events, name), about(shown, name)
        assert [each for each in went if "delta" not in each] == [each for each in came if "delta" not in each]
        for kind in ("transcript.delta", "text.delta"):
            pieces = [[each for each in part if kind in str(each["type"])] for part in (came, went)]
            assert text_of(pieces[0]) == text_of(pieces[1])
        sounds = [[each["type"] for each in part].count(AUDIO["type"]) for part in (came, went)]
        assert sounds[0] == sounds[1]
    assert not dialogue.relay.session.listening.output.pending  # type: ignore[union-attr]
