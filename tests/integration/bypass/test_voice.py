"""What users say by voice: no turn begins, and nothing of one is heard, before its transcript was judged."""

from __future__ import annotations

import json

import pytest

from dataplane.realtime import frames
from tests.dataplane.realtime.wires import MASK
from tests.integration.bypass.disguises import WORD, compact, whole
from tests.integration.bypass.sessions import (
    AFTER,
    BAD,
    BLOCKED,
    GOOD,
    LAST,
    Heard,
    Session,
    begun,
    guarded,
    guardrail,
    heard,
)
from tests.integration.bypass.shapes import CLIENT, Event, spoken

SPOKE = "item_user"


def listens(*, transcribes: bool = True, answers: bool = True) -> Event:
    """The session, as the server has it."""
    detection = {"type": "server_vad", "create_response": answers, "interrupt_response": True}
    heard_as = {"model": "gpt-4o-mini-transcribe"} if transcribes else None
    audio = {"input": {"turn_detection": detection, "transcription": heard_as}}
    return {
        "type": "session.created",
        "event_id": "c",
        "session": {"type": "realtime", "model": "gpt-realtime", "audio": audio},
    }


def updated(*, transcribes: bool = True, answers: bool = False) -> Event:
    return {**listens(transcribes=transcribes, answers=answers), "type": "session.updated", "event_id": "u"}


def utterance() -> list[Event]:
    return [
        {"type": "input_audio_buffer.speech_started", "event_id": "s1", "item_id": SPOKE, "audio_start_ms": 0},
        {"type": "input_audio_buffer.speech_stopped", "event_id": "s2", "item_id": SPOKE, "audio_end_ms": 900},
        {"type": "input_audio_buffer.committed", "event_id": "s3", "item_id": SPOKE, "previous_item_id": None},
        {
            "type": "conversation.item.added",
            "event_id": "s4",
            "item": {
                "id": SPOKE,
                "type": "message",
                "role": "user",
                "content": [{"type": "input_audio", "transcript": None}],
            },
        },
    ]


def transcript(text: str) -> list[Event]:
    about = {"item_id": SPOKE, "content_index": 0}
    kind = "conversation.item.input_audio_transcription"
    half = len(text) // 2
    return [
        {"type": f"{kind}.delta", "event_id": "t1", **about, "delta": text[:half]},
        {"type": f"{kind}.delta", "event_id": "t2", **about, "delta": text[half:]},
        {
            "type": f"{kind}.completed",
            "event_id": "t3",
            **about,
            "transcript": text,
            "usage": {"type": "duration", "seconds": 1},
        },
    ]


def next_turn() -> list[Event]:
    """What is said next, and answered."""
    written = json.dumps([*utterance(), transcript(GOOD)[-1], *spoken("Fine.", whole)])
    for name in ("resp_1", "item_9", SPOKE):
        written = written.replace(name, f"{name}_next")
    events: list[Event] = json.loads(written)
    return events


FAILED: Event = {
    "type": "conversation.item.input_audio_transcription.failed",
    "event_id": "t3",
    "item_id": SPOKE,
    "content_index": 0,
    "error": {"type": "transcription_error", "message": "Could not."},
}


def wires(*events: Event) -> list[bytes]:
    return [frames.frame(frames.TEXT, compact(event)) for event in events]


async def happens(session: Session, *events: Event) -> tuple[Heard, Heard]:
    """The upstream says this: what the client hears, and what the upstream is told."""
    session.answer(*wires(*events))
    client = await heard(session.client, AFTER)
    if client.close:
        return client, await heard(session.upstream, LAST)
    session.say()
    return client, await heard(session.upstream, LAST)


async def silenced(session: Session, created: Event) -> Heard:
    """The session begins, and the server does as it is told; what it was told."""
    _, told = await happens(session, created)
    for _ in told.of("session.update"):
        await happens(session, updated())
    return told


@pytest.mark.parametrize("transcribes", [True, False])
async def test_the_server_is_told_to_listen_and_not_to_answer(transcribes: bool) -> None:
    async with guarded(guardrail("block")) as it, begun(it) as session:
        told = await silenced(session, listens(transcribes=transcribes))
        updates = [event["session"]["audio"]["input"] for event in told.of("session.update")]  # type: ignore[index]
        assert any(update.get("turn_detection", {}).get("create_response") is False for update in updates)
        assert transcribes or any(update.get("transcription") for update in updates)


@pytest.mark.parametrize("refuse_turn", [True, False])
@pytest.mark.parametrize("transcribes", [True, False])
async def test_what_is_blocked_is_never_answered(transcribes: bool, refuse_turn: bool) -> None:
    async with guarded(guardrail("block", refuse_turn=refuse_turn)) as it, begun(it) as session:
        await silenced(session, listens(transcribes=transcribes))
        _, told = await happens(session, *utterance())
        assert told.of("response.create") == []
        client, told = await happens(session, *transcript(BAD))
        assert told.of("response.create") == []
        (error,) = client.of("error")
        assert error["error"]["message"] == BLOCKED  # type: ignore[index]
        if refuse_turn:
            assert client.close is None
            assert [event["item_id"] for event in told.of("conversation.item.delete")] == [SPOKE]
        else:
            assert client.close == (1011, BLOCKED)


@pytest.mark.parametrize("transcribes", [True, False])
async def test_what_is_not_blocked_is_answered_once_it_was_judged(transcribes: bool) -> None:
    async with guarded(guardrail("block")) as it, begun(it) as session:
        await silenced(session, listens(transcribes=transcribes))
        _, told = await happens(session, *utterance())
        assert told.of("response.create") == []
        client, told = await happens(session, *transcript(GOOD))
        assert len(told.of("response.create")) == 1
        assert client.of("error") == []
        client, _ = await happens(session, *spoken("Fine.", whole))
        assert len(client.of("response.done")) == 1


@pytest.mark.parametrize("open_", [True, False])
async def test_what_nobody_could_transcribe(open_: bool) -> None:
    async with guarded(guardrail("block", open=open_)) as it, begun(it) as session:
        await silenced(session, listens())
        await happens(session, *utterance())
        client, told = await happens(session, FAILED)
        assert len(told.of("response.create")) == int(open_)
        assert (client.close is None) is open_


@pytest.mark.parametrize("text", [BAD, GOOD])
async def test_a_server_that_answers_all_the_same(text: str) -> None:
    """Its transcript comes behind the end of its answer."""
    async with guarded(guardrail("block")) as it, begun(it) as session:
        await happens(session, listens())  # and it does not do as it is told
        client, _ = await happens(session, *utterance(), *spoken("Lovely.", whole))
        assert client.of("response.output_audio.delta") == []
        assert "Lovely" not in client.text
        client, _ = await happens(session, *transcript(text))
        if text == BAD:
            assert "Lovely" not in client.text
            assert client.close == (1011, BLOCKED)
        else:
            assert len(client.of("response.output_audio.delta")) == 1
            assert len(client.of("response.done")) == 1


@pytest.mark.parametrize("times", [1, 2])
async def test_an_answer_that_begins_once_its_question_was_refused(times: int) -> None:
    """The transcript was faster than the server that answers all the same; some say it twice, and more of it then."""
    async with guarded(guardrail("block", refuse_turn=True, output=False)) as it, begun(it) as session:
        await happens(session, listens())  # and it does not do as it is told
        said = [transcript(text)[-1] for text in (GOOD, BAD)[-times:]]
        client, _ = await happens(session, *utterance(), *said, *spoken("Lovely.", whole))
        assert [event["type"] for event in client.events if "response" in str(event["type"])] == ["response.done"]
        assert "Lovely" not in client.text
        client, _ = await happens(session, *next_turn())
        assert len(client.of("response.output_audio.delta")) == 1, "the next one is heard"


async def test_behind_a_refused_question_another_may_be_asked() -> None:
    async with guarded(guardrail("block", refuse_turn=True)) as it, begun(it) as session:
        await silenced(session, listens())
        await happens(session, *utterance(), *transcript(BAD))
        create: Event = {"type": "response.create", "event_id": "k2"}
        ask = CLIENT["a user's words"](GOOD)
        session.client.write(b"".join(frames.frame(frames.TEXT, compact(event), MASK) for event in (ask, create)))
        _, told = await happens(session)
        assert len(told.of("response.create")) == 1
        client, _ = await happens(session, *spoken("Fine.", whole))
        assert len(client.of("response.output_audio.delta")) == 1


@pytest.mark.parametrize("at", range(1, 12))
async def test_nothing_overtakes_what_was_withheld(at: int) -> None:
    """The transcript comes in the middle of an answer that should not have begun, all in one read."""
    answer = spoken("Lovely.", whole)
    async with guarded(guardrail("block", output=False)) as it, begun(it) as session:
        await happens(session, listens())  # and it does not do as it is told
        client, _ = await happens(session, *utterance(), *answer[:at], transcript(GOOD)[-1], *answer[at:])
    assert [event for event in client.events if event in answer] == answer


@pytest.mark.parametrize("text", [BAD, GOOD])
async def test_a_client_that_says_itself_when_its_turn_ends(text: str) -> None:
    async with guarded(guardrail("block")) as it, begun(it) as session:
        await silenced(session, listens())
        commit: Event = {"type": "input_audio_buffer.commit", "event_id": "k1"}
        create: Event = {"type": "response.create", "event_id": "k2"}
        session.client.write(b"".join(frames.frame(frames.TEXT, compact(event), MASK) for event in (commit, create)))
        client, told = await happens(session, *utterance()[2:], *transcript(text))
        assert len(told.of("response.create")) == int(text == GOOD)
        assert bool(client.close) is (text == BAD)


async def test_transcripts_are_masked_for_whoever_reads_them_and_turns_go_on() -> None:
    async with guarded(guardrail("mask")) as it, begun(it) as session:
        told = (await happens(session, listens()))[1]
        assert told.of("session.update") == []
        client, _ = await happens(session, *utterance(), *spoken("Fine.", whole), *transcript(BAD))
        assert WORD not in client.text
        assert "[no-travel]" in client.text
        assert len(client.of("response.done")) == 1


async def test_flagged_voices_go_on_untouched() -> None:
    events = [*utterance(), *spoken("Fine.", whole), *transcript(BAD)]
    async with guarded(guardrail("flag")) as it, begun(it) as session:
        told = (await happens(session, listens()))[1]
        assert told.of("session.update") == []
        client, _ = await happens(session, *events)
        assert client.events == events
