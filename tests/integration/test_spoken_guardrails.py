"""What users say aloud is judged before it is answered: Policies as people write them, with a provider that detects
voices and answers by itself."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.integration.calls import Call, Objects, Seen, standing
from tests.integration.rows import GUARD

SECOND = base64.b64encode(bytes(48_000)).decode()
HEARD = "hello"
"""A word of what the simulator hears, whatever is said; it does not say it."""


async def speak(socket: ClientConnection) -> str:
    """Say something aloud, until it is answered or refused; what came of it."""
    await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": SECOND}))
    kinds: list[str] = []
    try:
        async with asyncio.timeout(15):
            while not kinds or kinds[-1] not in ("response.done", "conversation.item.deleted"):
                kinds.append(json.loads(await socket.recv())["type"])
    except ConnectionClosed as closed:
        kinds.append(f"{closed.rcvd.code if closed.rcvd else None}")
    told = ("error", "response.created", "response.done", "conversation.item.deleted", "1011")
    return " ".join(kind for kind in kinds if kind in told or "transcription" in kind)


def guarded(word: str, **fields: object) -> Objects:
    rule: Mapping[str, object] = {"name": "careful", "keywords": {"words": [word]}, "action": "Block", **fields}
    return Objects(policies=(GUARD, {"guardrails": [rule]}))


async def spoken(objects: Objects, tmp_path: Path, scenario: str = "") -> Seen:
    async with standing(tmp_path, objects) as stand:
        return await stand.hold(Call(talk=speak, query=scenario and f"scenario={scenario}"))


async def test_what_may_be_said_is_answered_once(tmp_path: Path) -> None:
    seen = await spoken(guarded("candy"), tmp_path)
    assert seen.shown == "response.created response.done", "transcripts that nobody asked for are not shown"
    assert [each["kind"] for each in seen.ledger] == ["transcription", "realtime"]


async def test_what_may_not_be_said_is_not_answered(tmp_path: Path) -> None:
    seen = await spoken(guarded(HEARD, onBlock="RefuseTurn"), tmp_path)
    assert seen.shown == "error conversation.item.deleted"
    assert [each["kind"] for each in seen.ledger] == ["transcription"]


async def test_or_it_ends_the_session(tmp_path: Path) -> None:
    seen = await spoken(guarded(HEARD), tmp_path)
    assert seen.shown == "error 1011"
    assert [each["kind"] for each in seen.ledger] == ["transcription"]


@pytest.mark.parametrize(
    "fields", [{"action": "Flag"}, {"mode": "Shadow"}, {"action": "Mask"}, {"directions": ["Output"]}]
)
async def test_who_does_not_block_input_delays_nothing(fields: Mapping[str, object], tmp_path: Path) -> None:
    seen = await spoken(guarded(HEARD, **fields), tmp_path)
    assert seen.shown == "response.created response.done"
    assert [each["kind"] for each in seen.ledger] == ["realtime"], "nobody transcribes"


async def test_what_cannot_be_transcribed_is_refused(tmp_path: Path) -> None:
    seen = await spoken(guarded("candy", onBlock="RefuseTurn"), tmp_path, "transcript-fails")
    assert seen.shown == "error conversation.item.deleted"
