"""Sessions as dialogues: what the client says, what the server answers, in which order."""

from __future__ import annotations

import base64
import itertools
import json

import pytest

from simulator.timeline import Close, Ping, Reset
from tests.simulator.dialogue import Dialogue, error_of, only, types

TEXT = {"output_modalities": ["text"]}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}


def test_session_created_comes_first_with_the_model_and_an_expiry() -> None:
    (created,) = Dialogue().events
    assert created["type"] == "session.created"
    assert (created["session"]["model"], created["session"]["expires_at"]) == ("gpt-realtime", 1_800_000_000)
    assert created["session"]["audio"]["input"]["turn_detection"]["type"] == "server_vad"


def test_written_turn_in_the_order_of_the_vendor() -> None:
    client = Dialogue()
    client.configure(**TEXT)
    assert types(client.ask("Say hello to the audience.")) == ["conversation.item.added", "conversation.item.done"]
    turn = client.say("response.create")
    assert types(turn) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert types(client.wait()) == ["rate_limits.updated"]  # later, not with response.done
    said = "".join(event["delta"] for event in turn if event["type"] == "response.output_text.delta")
    assert said == only(turn, "response.output_text.done")["text"]
    done = only(turn, "response.done")["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_text", "text": said}]


def test_spoken_turn_has_audio_and_its_transcript() -> None:
    client = Dialogue("deltas:20,delta-bytes:2400")
    turn = client.written("Hello?")
    deltas = [event for event in turn if event["type"] == "response.output_audio.delta"]
    assert len(deltas) == 20
    assert types(turn)[-6:] == [
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    usage = only(turn, "response.done")["response"]["usage"]
    assert usage["output_token_details"]["audio_tokens"] == 20  # 20 deltas of 50 ms, 50 ms a token
    assert len(deltas[0]["delta"]) == 3200  # base64 of 2,400 bytes


def test_function_call_and_the_answer_to_its_output() -> None:
    client = Dialogue()
    client.configure(**TEXT, tools=[WEATHER])
    turn = client.written("What is the weather in Lisbon?")
    assert types(turn) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    done = only(turn, "response.function_call_arguments.done")
    assert (done["name"], json.loads(done["arguments"])) == ("get_weather", {"city": "Lisbon", "days": 1})
    output = {"type": "function_call_output", "call_id": done["call_id"], "output": "21 degrees and sun"}
    client.say("conversation.item.create", item=output)
    answer = client.say("response.create")
    assert "21 degrees and sun" in only(answer, "response.output_text.done")["text"]


def test_usage_counts_the_whole_conversation_again_and_caches_what_was_known() -> None:
    client = Dialogue()
    client.configure(**TEXT, instructions="Be brief.")  # 3 tokens
    first = only(client.written("12345678"), "response.done")["response"]["usage"]
    assert first["input_tokens"] == 3 + 2
    assert first["input_token_details"]["cached_tokens"] == 0
    second = only(client.written("1234"), "response.done")["response"]["usage"]
    assert second["input_tokens"] == first["total_tokens"] + 1
    assert second["input_token_details"]["cached_tokens"] == first["total_tokens"]
    assert second["input_token_details"]["cached_tokens_details"]["text_tokens"] == first["total_tokens"]


def test_images_count_as_image_tokens() -> None:
    client = Dialogue()
    content = [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]
    client.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    usage = only(client.say("response.create", response=TEXT), "response.done")["response"]["usage"]
    assert usage["input_token_details"]["image_tokens"] == 85


def test_server_vad_turn_begins_by_itself() -> None:
    client = Dialogue()
    assert client.speak(300) == []  # not acknowledged
    turn = client.speak(300)
    assert types(turn)[:6] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    assert only(turn, "input_audio_buffer.speech_stopped")["audio_end_ms"] == 600
    usage = only(turn, "response.done")["response"]["usage"]
    assert usage["input_token_details"]["audio_tokens"] == 6


@pytest.mark.parametrize("change", [{"create_response": False}, None])
def test_vad_turn_needs_leave_to_answer(change: dict[str, object] | None) -> None:
    client = Dialogue()
    vad = {"type": "server_vad", **change} if change else None
    client.configure(audio={"input": {"turn_detection": vad}})
    assert "response.created" not in types(client.speak(600))


@pytest.mark.parametrize(
    ("model", "usage"),
    [
        ("whisper-1", {"type": "duration", "seconds": 1.63}),
        (
            "gpt-4o-mini-transcribe",
            {
                "type": "tokens",
                "total_tokens": 22,
                "input_tokens": 16,
                "output_tokens": 6,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 16},
            },
        ),
    ],
)
def test_input_transcription_has_usage_of_its_own(model: str, usage: dict[str, object]) -> None:
    client = Dialogue()
    client.configure(audio={"input": {"transcription": {"model": model}}})
    turn = client.speak(1630)
    names = [event["type"] for event in turn]
    completed = "conversation.item.input_audio_transcription.completed"
    assert only(turn, completed)["usage"] == usage
    assert names.index(completed) < names.index("response.done")
    assert [entry["model"] for entry in client.ledger.turns] == [model, "gpt-realtime"]


def test_transcript_may_come_after_the_response() -> None:
    client = Dialogue("transcript-late")
    client.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
    assert types(client.speak(600))[-3:] == [
        "response.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
    ]


def test_failed_transcription_is_not_billed() -> None:
    client = Dialogue("transcript-fails")
    client.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
    assert "conversation.item.input_audio_transcription.failed" in types(client.speak(600))
    assert [entry["kind"] for entry in client.ledger.turns] == ["realtime"]


def test_cancel_closes_what_is_open_and_bills_what_was_said() -> None:
    client = Dialogue("wait")
    client.configure(**TEXT)
    client.ask("Tell me about the sea")
    begun = client.say("response.create")
    assert types(begun)[-1] == "response.output_text.delta"
    ended = client.say("response.cancel")
    assert types(ended) == [
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    response = only(ended, "response.done")["response"]
    assert response["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"]["output_tokens"] == 1  # “You”
    assert error_of(client.say("response.cancel"))["code"] == "response_cancel_not_active"


def test_barge_in_cancels_before_the_next_answer() -> None:
    client = Dialogue("slow:100")
    client.speak(600)
    client.take(0.15)
    second = client.speak(600)
    done = only(second, "response.done")["response"]
    assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    names = [event["type"] for event in second]
    assert names.index("input_audio_buffer.speech_started") < names.index("response.done")
    assert names.index("response.done") < names.index("response.created")
    assert [t["status"] for t in client.ledger.turns] == ["cancelled"]
    client.wait()
    assert [t["status"] for t in client.ledger.turns] == ["cancelled", "completed"]


@pytest.mark.parametrize(
    ("scenario", "status", "details"),
    [
        ("incomplete", "incomplete", {"type": "incomplete", "reason": "max_output_tokens"}),
        ("interrupted", "cancelled", {"type": "cancelled", "reason": "turn_detected"}),
    ],
)
def test_turn_that_ends_early(scenario: str, status: str, details: dict[str, str]) -> None:
    client = Dialogue()
    turn = client.written("Tell me about the sea", metadata={"scenario": scenario}, **TEXT)
    response = only(turn, "response.done")["response"]
    assert (response["status"], response["status_details"]) == (status, details)
    assert response["metadata"] == {"scenario": scenario}
    assert response["usage"]["output_tokens"] == 1


def test_failed_turn_has_an_error_and_no_usage() -> None:
    response = only(Dialogue("fail").written("Hello"), "response.done")["response"]
    assert (response["status"], response["usage"], response["output"]) == ("failed", None, [])
    assert response["status_details"]["error"]["code"] == "server_error"


def test_max_output_tokens_ends_the_turn_as_incomplete() -> None:
    turn = Dialogue().written("Tell me about the sea", max_output_tokens=4, **TEXT)
    response = only(turn, "response.done")["response"]
    assert response["status"] == "incomplete"
    assert response["usage"]["output_tokens"] == 4


def test_out_of_band_responses_run_beside_the_default_one() -> None:
    client = Dialogue("slow:100")
    client.configure(**TEXT)
    client.ask("First question here")
    client.say("response.create")
    assert error_of(client.say("response.create"))["code"] == "conversation_already_has_active_response"
    aside: dict[str, object] = {"conversation": "none", "input": [], "instructions": "Summarise the call."}
    client.say("response.create", response=aside)
    turns = client.wait()
    done = [event["response"] for event in turns if event["type"] == "response.done"]
    (aside_done,) = (response for response in done if response["conversation_id"] is None)
    assert len(done) == 2
    ids = [e["response_id"] for e in turns if e["type"] == "response.output_text.delta"]
    switches = sum(a != b for a, b in itertools.pairwise(ids))
    assert switches > 2  # interleaved, not one after the other
    assert aside_done["usage"]["input_tokens"] == 5  # its instructions, nothing of the conversation
    out_of_band = [e for e in client.events if e.get("item", {}).get("id") == aside_done["output"][0]["id"]]
    assert {e["type"] for e in out_of_band} == {"response.output_item.added", "response.output_item.done"}


def test_items_can_be_placed_referred_to_retrieved_truncated_and_deleted() -> None:
    client = Dialogue()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "12345678"}]}
    client.say("conversation.item.create", item={**item, "id": "mine"})
    front = client.say("conversation.item.create", item=item, previous_item_id="root")
    assert only(front, "conversation.item.added")["previous_item_id"] is None
    spoken = client.say("response.create", response={"input": [{"type": "item_reference", "id": "mine"}]})
    answer = only(spoken, "response.done")["response"]["output"][0]["id"]
    cut = client.say("conversation.item.truncate", item_id=answer, content_index=0, audio_end_ms=100)
    assert types(cut) == ["conversation.item.truncated"]
    kept = only(client.say("conversation.item.retrieve", item_id=answer), "conversation.item.retrieved")["item"]
    assert kept["content"][0]["transcript"] == ""
    assert types(client.say("conversation.item.delete", item_id=answer)) == ["conversation.item.deleted"]
    again = error_of(client.say("conversation.item.delete", item_id=answer))
    assert again["code"] == "item_delete_invalid_item_id"


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ('{"type":', "invalid_json", None),
        ("[1]", "invalid_json", None),
        (b"\x00", "invalid_event", None),
        ('{"event_id":"x"}', "missing_required_parameter", "type"),
        ('{"type":"response.make"}', "invalid_value", "type"),
        ('{"type":["response.create"]}', "invalid_value", "type"),
        ('{"type":"response.create","foo":1}', "unknown_parameter", "foo"),
        ('{"type":"response.create","response":{"modalities":["text"]}}', "unknown_parameter", "response.modalities"),
        ('{"type":"response.create","response":{"voice":"ash"}}', "unknown_parameter", "response.voice"),
        ('{"type":"response.create","response":{"output_modalities":["text","audio"]}}', "invalid_value", None),
        ('{"type":"response.create","response":{"metadata":{"scenario":"nope"}}}', "invalid_value", None),
        ('{"type":"session.update","session":{}}', "missing_required_parameter", "session.type"),
        ('{"type":"session.update","session":{"type":"realtime","model":"other"}}', "invalid_value", "session.model"),
        ('{"type":"input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
        ('{"type":"input_audio_buffer.append","audio":"%%%"}', "invalid_value", "audio"),
        ('{"type":"conversation.item.create","item":{"type":"poem"}}', "invalid_value", "item.type"),
        ('{"type":"conversation.item.create","item":{}}', "missing_required_parameter", "item.type"),
        ('{"type":"conversation.item.create","item":{"type":"message"}}', "missing_required_parameter", "item.role"),
        (
            '{"type":"conversation.item.create","item":{"type":"function_call_output","call_id":"c","output":{}}}',
            "invalid_type",
            "item.output",
        ),
        (
            '{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"text"}]}}',
            "invalid_value",
            "item.content[0].type",
        ),
        (
            (
                '{"type":"conversation.item.create","previous_item_id":"x",'
                '"item":{"type":"message","role":"user","content":[]}}'
            ),
            "item_create_invalid_item_id",
            "previous_item_id",
        ),
        ('{"type":"response.create","response":{"conversation":"mine"}}', "invalid_value", "response.conversation"),
        ('{"type":"response.create","response":{"max_output_tokens":0}}', "invalid_value", None),
        (
            json.dumps({"type": "response.create", "response": {"metadata": {str(n): "" for n in range(17)}}}),
            "invalid_value",
            "response.metadata",
        ),
        ('{"type":"response.cancel","response_id":"resp_x"}', "response_cancel_not_active", None),
        ('{"type":"conversation.item.truncate","item_id":"x"}', "item_truncate_invalid_item_id", "item_id"),
    ],
)
def test_wrong_events_are_refused_and_the_session_goes_on(message: str | bytes, code: str, param: str | None) -> None:
    client = Dialogue()
    error = error_of(client.say_raw(message))
    assert error["code"] == code
    assert param is None or error["param"] == param
    assert types(client.configure()) == ["session.updated"]


@pytest.mark.parametrize(
    "beta",
    [
        "modalities",
        "voice",
        "input_audio_format",
        "output_audio_format",
        "input_audio_transcription",
        "turn_detection",
        "temperature",
        "max_response_output_tokens",
    ],
)
def test_beta_fields_discard_the_whole_update(beta: str) -> None:
    client = Dialogue()
    error = error_of(client.configure(instructions="Lost", **{beta: "x"}))
    assert (error["code"], error["param"]) == ("unknown_parameter", f"session.{beta}")
    session = only(client.configure(), "session.updated")["session"]
    assert session["instructions"] != "Lost"


def test_error_names_the_event_of_the_client() -> None:
    client = Dialogue()
    assert error_of(client.say("no.such.type", event_id="mine-1"))["event_id"] == "mine-1"
    assert error_of(client.say("no.such.type"))["event_id"] is None
    assert "'session.update'" in error_of(client.say("no.such.type"))["message"]


def test_items_are_made_once_and_only_spoken_answers_can_be_truncated() -> None:
    client = Dialogue()
    item = {"id": "mine", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}
    client.say("conversation.item.create", item=item)
    assert error_of(client.say("conversation.item.create", item=item))["param"] == "item.id"
    cut = client.say("conversation.item.truncate", item_id="mine", content_index=0, audio_end_ms=0)
    assert error_of(cut)["code"] == "item_truncate_invalid_item_id"


def test_spoken_item_is_heard_and_its_audio_not_sent_back() -> None:
    client = Dialogue()
    audio = base64.b64encode(bytes(48 * 1000)).decode()
    content = [{"type": "input_audio", "audio": audio}]
    added = client.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    assert only(added, "conversation.item.added")["item"]["content"] == [{"type": "input_audio"}]
    usage = only(client.say("response.create"), "response.done")["response"]["usage"]
    assert usage["input_token_details"]["audio_tokens"] == 10


def test_push_to_talk_and_a_cleared_buffer() -> None:
    client = Dialogue()
    client.configure(audio={"input": {"turn_detection": None, "format": {"type": "audio/pcmu"}}})
    client.speak(600)  # as 8 kHz audio six times as long
    assert types(client.say("input_audio_buffer.clear")) == ["input_audio_buffer.cleared"]
    assert error_of(client.say("input_audio_buffer.commit"))["code"] == "input_audio_buffer_commit_empty"
    client.speak(100)
    committed = types(client.say("input_audio_buffer.commit"))
    assert committed == ["input_audio_buffer.committed", "conversation.item.added", "conversation.item.done"]
    usage = only(client.say("response.create"), "response.done")["response"]["usage"]
    assert usage["input_token_details"]["audio_tokens"] == 6


def test_one_of_several_responses_can_be_cancelled_by_its_id() -> None:
    client = Dialogue("stall")
    client.say("response.create")
    aside = only(client.say("response.create", response={"conversation": "none"}), "response.created")
    done = only(client.say("response.cancel", response_id=aside["response"]["id"]), "response.done")
    assert done["response"]["conversation_id"] is None
    assert only(client.say("response.cancel"), "response.done")["response"]["conversation_id"]


def test_formats_below_24_khz_and_late_changes_of_voice_are_refused() -> None:
    client = Dialogue()
    slow = {"input": {"format": {"type": "audio/pcm", "rate": 16_000}}}
    assert error_of(client.configure(audio=slow))["code"] == "integer_below_min_value"
    assert types(client.configure(audio={"output": {"voice": "ash"}})) == ["session.updated"]
    client.written("Hello")
    assert error_of(client.configure(audio={"output": {"voice": "sage"}}))["code"] == "cannot_update_voice"


def test_transcription_session_transcribes_and_never_answers() -> None:
    client = Dialogue(model=None)
    assert client.events[0]["session"]["type"] == "transcription"
    turn = client.speak(600)
    assert types(turn)[-1] == "conversation.item.input_audio_transcription.completed"
    assert client.wait() == []  # no rate_limits.updated either
    assert [entry["kind"] for entry in client.ledger.turns] == ["transcription"]
    assert error_of(client.say("response.create"))["code"] == "invalid_value"


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("null-usage", None),
        ("total-only", {"total_tokens": 26}),
        ("no-details", {"total_tokens": 26, "input_tokens": 18, "output_tokens": 8}),
    ],
)
def test_usage_that_is_not_whole(scenario: str, expected: dict[str, int] | None) -> None:
    client = Dialogue()
    turn = client.written("Tell me more", metadata={"scenario": scenario}, max_output_tokens=8, **TEXT)
    assert only(turn, "response.done")["response"]["usage"] == expected
    assert client.ledger.turns[0]["usage"] == expected


def test_totals_of_the_ledger_are_the_sum_of_what_was_sent() -> None:
    client = Dialogue()
    client.configure(audio={"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}})
    for scenario in ("slow:10", "null-usage", "zero-usage", "incomplete", "fail", "interrupted", "no-usage"):
        client.written("Tell me about the sea", metadata={"scenario": scenario})
        client.speak(700)
        client.wait()
    sent = [e["response"].get("usage") for e in client.events if e["type"] == "response.done"]
    whole = [usage for usage in sent if usage]
    totals = client.ledger.totals
    assert totals["turns"] == len(sent) + 7
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert totals[name] == sum(usage[name] for usage in whole)
    for modality in ("text", "audio"):
        details = [u["input_token_details"] for u in whole]
        assert totals[f"input_{modality}_tokens"] == sum(d[f"{modality}_tokens"] for d in details)
        cached = sum(d["cached_tokens_details"][f"{modality}_tokens"] for d in details)
        assert totals[f"cached_{modality}_tokens"] == cached > 0
    heard = [e["usage"] for e in client.events if e["type"].endswith("transcription.completed")]
    assert totals["transcription_input_audio_tokens"] == sum(u["input_tokens"] for u in heard) == 7 * 7


def test_rules_of_a_file_hold_for_the_turns_that_they_match() -> None:
    rules = "[{match: {text: sea}, scenario: fail}, {match: {model: 'gpt-*'}, scenario: incomplete}]"
    client = Dialogue(rules=rules)
    statuses = [
        only(client.written(text, **TEXT), "response.done")["response"]["status"] for text in ("the sea", "a tree")
    ]
    assert statuses == ["failed", "incomplete"]


def test_expiry_is_an_error_and_a_close() -> None:
    client = Dialogue("expire:1000,stall")
    client.written("Hello")
    assert client.events[-1]["error"]["code"] == "session_expired"
    assert client.signals == [Close(1001, "Your session hit the maximum duration of 60 minutes.")]
    assert client.ledger.turns[0]["status"] == "dropped"
    assert client.conversation.next_due() is None


def test_connection_that_dies_after_some_events_or_in_mid_turn() -> None:
    client = Dialogue("drop-after:3")
    client.ask("Hello")
    assert (len(client.events), client.signals) == (3, [Reset()])
    client = Dialogue("drop")
    client.written("Hello", **TEXT)
    assert client.events[-1]["type"] == "response.output_text.delta"
    assert client.signals == [Reset()]
    assert [(t["status"], t["usage"]) for t in client.ledger.turns] == [("dropped", None)]


def test_client_that_leaves_in_mid_turn_is_booked_without_usage() -> None:
    client = Dialogue("wait")
    client.ask("Hello")
    client.say("response.create")
    client.conversation.end(0)
    assert [(t["status"], t["usage"]) for t in client.ledger.turns] == [("abandoned", None)]
    assert client.say("response.cancel") == []


def test_pings_and_silence() -> None:
    client = Dialogue("ping:1000")
    client.take(3.5)
    assert client.signals == [Ping(), Ping(), Ping()]
    silent = Dialogue("silent")
    assert silent.written("Hello") == silent.events == []


def test_same_inputs_give_the_same_events() -> None:
    def run() -> list[dict[str, object]]:
        client = Dialogue("slow:7")
        client.configure(audio={"input": {"transcription": {"model": "whisper-1"}}})
        client.speak(900)
        client.written("aside", conversation="none")
        return client.events

    assert run() == run()
