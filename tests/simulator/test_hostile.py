"""Whatever a client sends, the session answers with an error and goes on."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.dialogue import Dialogue, types

WORDS = [
    *("type", "session", "response", "item", "audio", "input", "output", "format", "rate", "turn_detection"),
    *("transcription", "tools", "tool_choice", "parameters", "properties", "enum", "items", "name", "function"),
    *("message", "role", "content", "user", "assistant", "input_text", "input_audio", "text", "realtime", "id"),
    *("function_call_output", "call_id", "metadata", "scenario", "max_output_tokens", "conversation", "none"),
    *("instructions", "output_modalities", "item_reference", "server_vad", "previous_item_id", "item_id", "root"),
]
KINDS = [
    *("session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "conversation.item.create"),
    *("conversation.item.retrieve", "conversation.item.delete", "conversation.item.truncate"),
    *("response.create", "response.cancel", "input_audio_buffer.clear", "event_id"),
]
WORD = st.sampled_from(WORDS)
LEAF = WORD | st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=8)
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=4), max_leaves=12
)
FIELDS = st.dictionaries(WORD | st.sampled_from(["event_id", "audio_end_ms"]), VALUE, max_size=4)
EVENT = st.builds(lambda fields, kind: json.dumps({**fields, "type": kind}), FIELDS, st.sampled_from(KINDS))
NESTED = st.builds(
    lambda kind, field, value: json.dumps({"type": kind, field: value}),
    st.sampled_from(KINDS),
    st.sampled_from(["session", "response", "item"]),
    st.dictionaries(WORD, VALUE, max_size=5).map(lambda value: {"type": "realtime", **value}),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENT | NESTED | VALUE.map(json.dumps) | st.text() | st.binary(max_size=4), max_size=6))
def test_no_message_ends_a_session(messages: list[str | bytes]) -> None:
    client = Dialogue(check=False)
    for message in messages:
        client.say_raw(message)
        client.wait()
    assert "session.updated" in types(client.configure())
