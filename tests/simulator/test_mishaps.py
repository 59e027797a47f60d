"""Where a turn breaks off, what is booked of it then, and what else a provider does that no client expects."""

from __future__ import annotations

import json

import pytest

from simulator import usage
from simulator.timeline import Close, Freeze, Garble, HangUp, Noise, Reset
from tests.simulator.dialogue import Dialogue, Event, only, types

TEXT = {"output_modalities": ["text"]}
MISHAPS = {
    "drop": Reset(),
    "hang-up": HangUp(),
    "close:1012": Close(1012, "simulated"),
    "close:1005": Close(1005, "simulated"),
    "garble": Garble(),
    "freeze:200": Freeze(0.2),
}


def turn(client: Dialogue, scenario: str, **response: object) -> list[Event]:
    return client.written("Tell me more", metadata={"scenario": scenario}, **response)


@pytest.mark.parametrize("mishap", MISHAPS)
@pytest.mark.parametrize(
    ("point", "last"),
    [
        ("at-created", "response.created"),
        ("", "response.output_text.delta"),
        ("at-done", "response.output_item.done"),
        ("after-done", "response.done"),
    ],
)
def test_a_mishap_strikes_at_its_point_and_nothing_follows(mishap: str, point: str, last: str) -> None:
    client = Dialogue()
    assert turn(client, f"{mishap},{point}", **TEXT)[-1]["type"] == last
    assert client.signals == [MISHAPS[mishap]]
    assert client.say("response.cancel") == client.wait() == []
    (booked,) = client.ledger.turns
    assert booked["reported"] is (last == "response.done")
    assert (booked["usage"] is not None) is booked["reported"]


def test_what_was_said_before_a_mishap_is_billed_and_not_reported() -> None:
    whole, broken, begun = Dialogue(), Dialogue(), Dialogue()
    turn(whole, "", **TEXT)
    turn(broken, "drop,at-done", **TEXT)
    turn(begun, "drop,at-created", **TEXT)
    sent, lost, nothing = (client.ledger.turns[0] for client in (whole, broken, begun))
    assert sent["usage"] == sent["billed"] == lost["billed"]
    assert (lost["status"], lost["usage"]) == ("dropped", None)
    assert nothing["billed"]["output_tokens"] == 0 < nothing["billed"]["input_tokens"]  # type: ignore[index]


def test_a_turn_of_which_nothing_was_said_is_not_booked() -> None:
    client = Dialogue()
    client.ask("Hello")
    client.conversation.receive('{"type":"response.create"}', client.now)
    client.conversation.end(0)
    assert client.ledger.turns == []


def test_a_mishap_before_the_end_of_a_cancelled_turn_leaves_it_unreported() -> None:
    client = Dialogue("slow:50")
    client.ask("Hello")
    client.say("response.create", response={"metadata": {"scenario": "drop,at-done"}})
    client.say("response.cancel")
    assert client.signals == [Reset()]
    assert [(t["status"], t["reported"]) for t in client.ledger.turns] == [("dropped", False)]


def test_a_failed_turn_is_free() -> None:
    client = Dialogue()
    turn(client, "fail")
    assert [(t["status"], t["usage"], t["billed"], t["reported"]) for t in client.ledger.turns] == [
        ("failed", None, None, True)
    ]


def test_cancel_that_is_not_heard() -> None:
    client = Dialogue()
    client.ask("Hello")
    client.say("response.create", response={"metadata": {"scenario": "slow:50,no-cancel"}})
    assert client.say("response.cancel") == []
    assert only(client.wait(), "response.done")["response"]["status"] == "completed"


def test_done_that_answers_the_close() -> None:
    client = Dialogue()
    client.ask("Hello")
    client.say("response.create", response={"metadata": {"scenario": "done-after-close"}})
    assert client.say("response.cancel") == client.wait() == []
    client.conversation.close()
    done = only(client.take(), "response.done")["response"]
    assert done["status"] == "cancelled"
    assert client.ledger.turns[0]["usage"] == done["usage"]


def test_done_that_is_said_twice_is_booked_once() -> None:
    client = Dialogue()
    events = turn(client, "done-twice")
    assert len([event for event in events if event["type"] == "response.done"]) == 2
    assert len(client.ledger.turns) == 1


def test_unknown_events_hold_no_usage_of_the_turn() -> None:
    client = Dialogue(check=False)
    events = turn(client, "unknown-events", **TEXT)
    assert {"response.thought.delta", "response.done.preview", "session.note", "session.padding"} <= set(types(events))
    assert all(event["event_id"] for event in events)
    assert client.ledger.turns[0]["usage"] == only(events, "response.done")["response"]["usage"]


def test_a_message_that_is_no_event() -> None:
    client = Dialogue()
    turn(client, "not-json", **TEXT)
    (noise,) = client.signals
    assert isinstance(noise, Noise)
    assert client.events[-2]["type"] == "response.done"


def test_a_flood_has_no_end_but_the_cancel() -> None:
    client = Dialogue(check=False)
    client.ask("Hello")
    client.say("response.create", response={"metadata": {"scenario": "flood,delta-bytes:48"}})
    for _ in range(50):
        assert len(client.take(client.now + 0.001)) >= 16
    assert client.say("response.cancel")[-1]["type"] == "response.done"
    assert client.wait()[-1]["type"] == "rate_limits.updated"


@pytest.mark.parametrize("scenario", ["empty-usage", "odd-usage"])
def test_usage_that_says_nothing_is_booked_as_it_is(scenario: str) -> None:
    client = Dialogue(check=False)
    sent = only(turn(client, scenario), "response.done")["response"]["usage"]
    (booked,) = client.ledger.turns
    assert booked["usage"] == sent
    assert booked["reported"] is True
    assert client.ledger.totals["total_tokens"] == 0


def heard(client: Dialogue, model: str = "gpt-4o-mini-transcribe") -> None:
    client.configure(audio={"input": {"transcription": {"model": model}, "turn_detection": None}})
    client.speak(300)
    client.say("input_audio_buffer.commit")


@pytest.mark.parametrize("scenario", ["transcript-never", "transcript-ms:200", "transcript-late"])
def test_a_transcript_that_never_comes_is_billed_and_not_reported(scenario: str) -> None:
    client = Dialogue(scenario)
    heard(client)
    client.take(client.now + 0.1)
    client.conversation.end(0)
    (booked,) = client.ledger.turns
    billed = usage.transcription("gpt-4o-mini-transcribe", 300, "Hello, can you hear me?")
    assert (booked["kind"], booked["status"], booked["usage"]) == ("transcription", "abandoned", None)
    assert (booked["reported"], booked["billed"]) == (False, billed)


def test_a_transcript_that_comes_late() -> None:
    client = Dialogue("transcript-ms:200")
    heard(client)
    assert client.take(client.now + 0.19) == []
    assert types(client.take(client.now + 0.02))[-1].endswith("transcription.completed")
    client.conversation.end(0)
    assert [t["reported"] for t in client.ledger.turns] == [True]


def test_every_event_can_be_sent() -> None:
    client = Dialogue(check=False)
    for scenario in ("unknown-events", "odd-usage", "done-twice"):
        json.dumps(turn(client, scenario))
