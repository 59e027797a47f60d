"""What peers say in dialogues: events, frames that come in parts, and how a turn begins."""

from __future__ import annotations

import json

from dataplane.metering.usage import Tokens
from dataplane.realtime.gate import HOLD, SNIFF
from tests.dataplane.realtime.play import Dialogue, client, play, upstream, wire

CREATED = {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}
CREATE = {"type": "response.create"}
LONG_AUDIO = wire(json.dumps({"type": "input_audio_buffer.append", "audio": "A" * HOLD * 2}), masked=True)
LONG_EVENT = wire(json.dumps({"type": "response.output_audio.delta", "delta": "A" * HOLD * 2}), masked=False)
HALF = HOLD + 1000
SAID = {"type": "response.output_audio.delta", "delta": "A" * 400}


SAYING = json.dumps(SAID).encode()[: SNIFF + 50]
"""The beginning of it, which tells that nobody has to read it."""


def begun(name: str) -> dict[str, object]:
    return {"type": "response.created", "response": {"id": name}}


def done(name: str, status: str = "completed") -> dict[str, object]:
    return {"type": "response.done", "response": {"id": name, "status": status, "usage": {"output_tokens": 1}}}


ONE = Tokens(output_unknown=1)
"""What a turn of these takes."""


def in_a_turn() -> Dialogue:
    return play() >> upstream(CREATED, begun("r1")) << client(CREATED, begun("r1"))
