"""Both shapes against the types of the openai package: what is mended has no field that GA does not know."""

from __future__ import annotations

import copy
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import realtime
from openai.types.beta import realtime as beta
from openai.types.beta.realtime import response_create_event_param, session_update_event_param
from openai.types.beta.realtime import transcription_session_update_param as transcription_param
from pydantic import BaseModel, TypeAdapter

from dataplane.dialects import openai_beta
from dataplane.dialects.openai_beta import Event, mended, renamed

GA_CLIENT: TypeAdapter[BaseModel] = TypeAdapter(realtime.RealtimeClientEvent)
GA_SERVER: TypeAdapter[BaseModel] = TypeAdapter(realtime.RealtimeServerEvent)
BETA_SERVER: TypeAdapter[BaseModel] = TypeAdapter(beta.RealtimeServerEvent)

VAD = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 200}
TOOL = {"type": "function", "name": "look_up", "description": "Looks up.", "parameters": {"type": "object"}}

SHARED: dict[str, list[object]] = {
    "max_response_output_tokens": [100, "inf"],
    "modalities": [["text"], ["audio"], ["text", "audio"], ["audio", "text"]],
    "output_audio_format": ["pcm16", "g711_ulaw", "g711_alaw"],
    "temperature": [0.8],
    "tool_choice": ["auto", "none", "required"],
    "tools": [[TOOL], [{"name": "look_up"}], []],
    "voice": ["alloy"],
    "instructions": ["Be brief."],
}
HEARING: dict[str, list[object]] = {
    "client_secret": [{"expires_after": {"anchor": "created_at", "seconds": 600}}],
    "input_audio_format": ["pcm16", "g711_ulaw", "g711_alaw"],
    "input_audio_noise_reduction": [{"type": "near_field"}, None],
    "input_audio_transcription": [{"model": "whisper-1", "language": "en", "prompt": "names"}, None],
    "turn_detection": [VAD, {"threshold": 0.5}, {"type": "semantic_vad", "eagerness": "low"}, None],
}
SESSION: dict[str, list[object]] = {
    **SHARED,
    **HEARING,
    "model": ["gpt-realtime"],
    "speed": [1.2],
    "tracing": ["auto", {"group_id": "g"}, None],
}
TRANSCRIPTION: dict[str, list[object]] = {
    **HEARING,
    "client_secret": [{"expires_at": {"anchor": "created_at", "seconds": 600}}],
    "include": [["item.input_audio_transcription.logprobs"]],
    "modalities": [["text"]],
    "turn_detection": [VAD, {"threshold": 0.5}, None],
}
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
ASSISTANT = {
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "object": "realtime.item",
    "content": [{"type": "text", "text": "Hello"}, {"type": "audio", "transcript": "Hello"}],
}
SYSTEM = {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}
HEARD = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AA==", "transcript": "Hi"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"}
ANSWER = {"type": "function_call_output", "call_id": "c1", "output": "42"}
ITEMS: list[object] = [USER, ASSISTANT, SYSTEM, HEARD, CALL, ANSWER]
RESPONSE: dict[str, list[object]] = {
    **SHARED,
    "conversation": ["auto", "none"],
    "metadata": [{"a": "b"}, None],
    "input": [[], ITEMS],
}

OTHERS: list[Event] = [
    {"type": "conversation.item.create", "previous_item_id": "root", "item": USER},
    {"type": "conversation.item.delete", "item_id": "i1"},
    {"type": "conversation.item.retrieve", "item_id": "i1"},
    {"type": "conversation.item.truncate", "item_id": "i1", "content_index": 0, "audio_end_ms": 100},
    {"type": "input_audio_buffer.append", "audio": "AA=="},
    {"type": "input_audio_buffer.clear"},
    {"type": "input_audio_buffer.commit"},
    {"type": "output_audio_buffer.clear"},
    {"type": "response.cancel", "response_id": "r1"},
    {"type": "response.create"},
    {"type": "response.create", "event_id": "mine", "response": {"output_modalities": ["text"]}},
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}},
    {"type": "session.update", "session": {"type": "transcription", "audio": {"input": {}}}},
]


def some_of(fields: dict[str, list[object]]) -> st.SearchStrategy[Event]:
    return st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in fields.items()})


def unknown_fields(value: object, place: str = "") -> list[str]:
    """Fields that the types do not know, anywhere inside."""
    if isinstance(value, BaseModel):
        found = [f"{place}.{name}" for name in value.model_extra or {}]
        return found + [
            each
            for name in type(value).model_fields
            for each in unknown_fields(getattr(value, name), f"{place}.{name}")
        ]
    if isinstance(value, list):
        return [each for at, item in enumerate(value) for each in unknown_fields(item, f"{place}[{at}]")]
    return []


def accepted(event: Event) -> BaseModel:
    """GA takes it."""
    model = GA_CLIENT.validate_python(event)
    assert unknown_fields(model) == []
    return model


# -- client events -------------------------------------------------------------------------------------------------


def test_every_field_of_the_beta_types_is_tried() -> None:
    assert SESSION.keys() == session_update_event_param.Session.__annotations__.keys()
    assert RESPONSE.keys() == response_create_event_param.Response.__annotations__.keys()
    assert TRANSCRIPTION.keys() == transcription_param.Session.__annotations__.keys()


@given(some_of(SESSION))
def test_a_beta_session_is_mended_into_what_ga_accepts(session: Event) -> None:
    event: Event = {"type": "session.update", "event_id": "mine", "session": session}
    before = copy.deepcopy(event)
    model = accepted(mended(event))
    assert isinstance(model, realtime.SessionUpdateEvent)
    assert isinstance(model.session, realtime.RealtimeSessionCreateRequest)
    assert event == before, "the event itself is left alone"


@given(some_of(TRANSCRIPTION))
def test_a_beta_transcription_session_is_mended_into_what_ga_accepts(session: Event) -> None:
    event: Event = {"type": "transcription_session.update", "session": session}
    before = copy.deepcopy(event)
    model = accepted(mended(event))
    assert isinstance(model, realtime.SessionUpdateEvent)
    assert isinstance(model.session, realtime.RealtimeTranscriptionSessionCreateRequest)
    assert event == before


@given(some_of(RESPONSE))
def test_a_beta_response_is_mended_into_what_ga_accepts(response: Event) -> None:
    event: Event = {"type": "response.create", "response": response}
    before = copy.deepcopy(event)
    accepted(mended(event))
    assert event == before


@pytest.mark.parametrize("item", ITEMS)
def test_beta_items_are_mended_into_what_ga_accepts(item: object) -> None:
    accepted(mended({"type": "conversation.item.create", "item": item}))


def test_nothing_that_was_asked_for_is_lost() -> None:
    session = {name: values[0] for name, values in SESSION.items()}
    assert mended({"type": "session.update", "session": session}) == {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "model": "gpt-realtime",
            "instructions": "Be brief.",
            "output_modalities": ["text"],
            "max_output_tokens": 100,
            "tools": [TOOL],
            "tool_choice": "auto",
            "tracing": "auto",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "whisper-1", "language": "en", "prompt": "names"},
                    "noise_reduction": {"type": "near_field"},
                    "turn_detection": VAD,
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy", "speed": 1.2},
            },
        },
    }


def test_where_both_shapes_are_there_ga_rules() -> None:
    session: Event = {"voice": "old", "speed": 1.1, "audio": {"output": {"voice": "new"}}}
    found = mended({"type": "session.update", "session": session})["session"]
    assert found == {"type": "realtime", "audio": {"output": {"voice": "new", "speed": 1.1}}}
    assert session["audio"] == {"output": {"voice": "new"}}


@pytest.mark.parametrize("event", OTHERS, ids=lambda event: str(event["type"]))
def test_events_of_ga_clients_are_the_very_same_object(event: Event) -> None:
    accepted(event)
    assert mended(event) is event


STRANGE: st.SearchStrategy[object] = st.sampled_from(
    [None, 1, "x", [], [1], {}, {"type": []}, {"content": [1, {}, {"type": 1}], "role": "assistant"}]
)
KINDS = ["session.update", "transcription_session.update", "response.create", "conversation.item.create", "who.knows"]
HOLDERS = st.sampled_from(["session", "response", "item"])
NAMES = st.sampled_from([*SESSION, "audio", "input", "content"])


@given(st.sampled_from(KINDS), HOLDERS, NAMES, STRANGE, STRANGE)
def test_events_of_no_shape_are_mended_without_fail(
    kind: str, holder: str, name: str, value: object, whole: object
) -> None:
    for inner in ({name: value}, {name: value, "voice": "x", "audio": value}, whole):
        event = mended({"type": kind, holder: inner})
        assert event["type"] in (kind, "session.update")
        renamed({"type": kind, holder: inner})
        renamed({"type": "response.done", holder: inner})


@pytest.mark.parametrize("kind", [None, 1, [], {}])
def test_a_type_that_is_no_text_is_left_alone(kind: object) -> None:
    event: Event = {"type": kind}
    assert mended(event) is event
    assert renamed(event) is event


# -- server events -------------------------------------------------------------------------------------------------

GA_SESSION = {
    "type": "realtime",
    "object": "realtime.session",
    "id": "sess_1",
    "model": "gpt-realtime",
    "expires_at": 1790000000,
    "output_modalities": ["audio"],
    "instructions": "Be brief.",
    "max_output_tokens": "inf",
    "tools": [],
    "tool_choice": "auto",
    "truncation": "auto",
    "tracing": None,
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "noise_reduction": None,
            "transcription": {"model": "whisper-1"},
            "turn_detection": VAD,
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0},
    },
}
SPOKEN = {
    "type": "message",
    "id": "i2",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hello"}, {"type": "output_audio", "transcript": "Hello"}],
}
GA_RESPONSE = {
    "id": "r1",
    "object": "realtime.response",
    "status": "completed",
    "status_details": None,
    "conversation_id": "conv_1",
    "output_modalities": ["audio"],
    "max_output_tokens": "inf",
    "audio": {"output": {"format": {"type": "audio/pcma"}, "voice": "marin"}},
    "metadata": None,
    "output": [SPOKEN, {**CALL, "id": "i3"}],
    "usage": {"total_tokens": 1, "input_tokens": 1, "output_tokens": 0, "input_token_details": {"image_tokens": 0}},
}
AT = {"response_id": "r1", "item_id": "i2", "output_index": 0, "content_index": 0}
TURNED: dict[str, tuple[Event, str]] = {
    "session.created": ({"session": GA_SESSION}, "session.created"),
    "session.updated": ({"session": GA_SESSION}, "session.updated"),
    "conversation.item.added": ({"item": SPOKEN, "previous_item_id": None}, "conversation.item.created"),
    "conversation.item.retrieved": ({"item": SPOKEN}, "conversation.item.retrieved"),
    "response.created": ({"response": {**GA_RESPONSE, "status": "in_progress"}}, "response.created"),
    "response.done": ({"response": GA_RESPONSE}, "response.done"),
    "response.output_item.added": ({**AT, "item": SPOKEN}, "response.output_item.added"),
    "response.output_item.done": ({**AT, "item": SPOKEN}, "response.output_item.done"),
    "response.output_text.delta": ({**AT, "delta": "Hi"}, "response.text.delta"),
    "response.output_text.done": ({**AT, "text": "Hi"}, "response.text.done"),
    "response.output_audio.delta": ({**AT, "delta": "AA=="}, "response.audio.delta"),
    "response.output_audio.done": (AT, "response.audio.done"),
    "response.output_audio_transcript.delta": ({**AT, "delta": "Hi"}, "response.audio_transcript.delta"),
    "response.output_audio_transcript.done": ({**AT, "transcript": "Hi"}, "response.audio_transcript.done"),
}
SAME: dict[str, Event] = {
    "error": {"error": {"type": "invalid_request_error", "message": "No."}},
    "conversation.created": {"conversation": {"id": "c1", "object": "realtime.conversation"}},
    "conversation.item.deleted": {"item_id": "i1"},
    "conversation.item.truncated": {"item_id": "i1", "content_index": 0, "audio_end_ms": 1},
    "conversation.item.input_audio_transcription.completed": {
        "item_id": "i1", "content_index": 0, "transcript": "Hi", "usage": {"type": "duration", "seconds": 1.0},
    },
    "conversation.item.input_audio_transcription.delta": {"item_id": "i1", "content_index": 0, "delta": "Hi"},
    "conversation.item.input_audio_transcription.failed": {"item_id": "i1", "content_index": 0, "error": {"code": "x"}},
    "input_audio_buffer.cleared": {},
    "input_audio_buffer.committed": {"item_id": "i1", "previous_item_id": None},
    "input_audio_buffer.speech_started": {"item_id": "i1", "audio_start_ms": 1},
    "input_audio_buffer.speech_stopped": {"item_id": "i1", "audio_end_ms": 1},
    "output_audio_buffer.started": {"response_id": "r1"},
    "rate_limits.updated": {"rate_limits": [{"name": "tokens", "limit": 1, "remaining": 1, "reset_seconds": 0.1}]},
    "response.content_part.added": {**AT, "part": {"type": "audio", "transcript": ""}},
    "response.content_part.done": {**AT, "part": {"type": "text", "text": "Hi"}},
    "response.function_call_arguments.delta": {**AT, "call_id": "c1", "delta": "{"},
    "response.function_call_arguments.done": {**AT, "call_id": "c1", "name": "look_up", "arguments": "{}"},
}  # fmt: skip


def as_beta(event: Event) -> BaseModel:
    """Parsed as the beta type of that very name."""
    model = BETA_SERVER.validate_python(event)
    assert event["type"] in get_args(type(model).model_fields["type"].annotation)
    return model


@pytest.mark.parametrize("kind", TURNED)
def test_a_server_event_gets_its_old_name_and_shape(kind: str) -> None:
    fields, old = TURNED[kind]
    event = {"type": kind, "event_id": "e1", **fields}
    GA_SERVER.validate_python(event)
    before = copy.deepcopy(event)
    found = renamed(event)
    assert found is not None
    assert found["type"] == old
    as_beta(found)
    assert kind in openai_beta.RENAMED
    assert event == before


def test_a_session_is_told_flat() -> None:
    model = as_beta(renamed({"type": "session.created", "event_id": "e1", "session": GA_SESSION}) or {})
    assert isinstance(model, beta.SessionCreatedEvent)
    session = model.session
    assert session.modalities == ["text", "audio"]
    assert (session.input_audio_format, session.output_audio_format) == ("pcm16", "g711_ulaw")
    assert (session.voice, session.speed, session.max_response_output_tokens) == ("marin", 1.0, "inf")
    assert session.turn_detection is not None
    assert session.turn_detection.type == "server_vad"
    assert session.input_audio_transcription is not None
    assert session.input_audio_transcription.model == "whisper-1"
    assert not {"audio", "type", "output_modalities", "max_output_tokens"} & (session.model_extra or {}).keys()


def test_a_response_is_told_flat() -> None:
    model = as_beta(renamed({"type": "response.done", "event_id": "e1", "response": GA_RESPONSE}) or {})
    assert isinstance(model, beta.ResponseDoneEvent)
    response = model.response
    assert (response.modalities, response.max_output_tokens) == (["text", "audio"], "inf")
    assert (response.voice, response.output_audio_format) == ("marin", "g711_alaw")
    assert response.output is not None
    assert [part.type for part in response.output[0].content or []] == ["text", "audio"]
    assert response.model_extra == {}


def test_an_updated_transcription_session_has_a_name_of_its_own() -> None:
    session = {"type": "transcription", "id": "s", "audio": {"input": {"format": {"type": "audio/pcm"}}}}
    found = renamed({"type": "session.updated", "event_id": "e1", "session": session})
    assert found is not None
    assert found["type"] == "transcription_session.updated"
    assert found["session"] == {"id": "s", "input_audio_format": "pcm16"}


@pytest.mark.parametrize("kind", SAME)
def test_events_that_beta_knew_as_they_are_stay_the_very_same_object(kind: str) -> None:
    event = {"type": kind, "event_id": "e1", **SAME[kind]}
    GA_SERVER.validate_python(event)
    assert renamed(event) is event
    as_beta(event)
    assert kind not in openai_beta.RENAMED


def test_an_event_that_beta_did_not_have_is_left_out() -> None:
    assert renamed({"type": "conversation.item.done", "item": SPOKEN}) is None


def test_unknown_formats_and_user_parts_are_told_as_they_are() -> None:
    session = {"audio": {"input": {"format": {"type": "audio/opus"}}, "output": {"format": "odd"}}}
    found = renamed({"type": "session.updated", "session": session})
    assert found == {
        "type": "session.updated",
        "session": {"input_audio_format": "audio/opus", "output_audio_format": "odd"},
    }
    event: Event = {"type": "conversation.item.retrieved", "item": USER}
    assert renamed(event) is event
