"""The `websockets` library: what other Python clients are built on."""

from __future__ import annotations

import asyncio
import json

import pytest
from conftest import Stack
from processes import CLIENT_KEY, WRONG_KEY, assert_quiet
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

BEARER = {"Authorization": f"Bearer {CLIENT_KEY}"}
KEY_PROTOCOL = f"openai-insecure-api-key.{CLIENT_KEY}"


async def until(connection: ClientConnection, kind: str) -> list[dict[str, object]]:
    """All events up to the first of this type."""
    seen = []
    async with asyncio.timeout(10):
        async for message in connection:
            seen.append(json.loads(message))
            if seen[-1]["type"] == kind:
                return seen
    raise AssertionError(f"closed before {kind}: {[event['type'] for event in seen]}")


async def say(connection: ClientConnection, **event: object) -> None:
    await connection.send(json.dumps(event))


@pytest.mark.parametrize(
    "how",
    [
        {"additional_headers": BEARER},
        {"additional_headers": {"api-key": CLIENT_KEY}},
        {"subprotocols": ["realtime", KEY_PROTOCOL]},
        {"subprotocols": ["realtime", KEY_PROTOCOL, "openai-beta.realtime-v1"]},
        {"query": f"&api-key={CLIENT_KEY}"},
    ],
    ids=["bearer", "api-key", "subprotocol", "beta subprotocol", "query"],
)
async def test_a_turn_wherever_the_key_is(stack: Stack, how: dict) -> None:
    query = how.pop("query", "")
    async with connect(f"{stack.realtime}?model=gpt-realtime{query}", **how) as connection:
        assert connection.subprotocol == ("realtime" if "subprotocols" in how else None)
        assert connection.protocol.extensions == []
        created = (await until(connection, "session.created"))[0]
        assert_quiet(json.dumps(created), "session.created")
        await say(connection, type="response.create", response={"output_modalities": ["text"]})
        done = (await until(connection, "response.done"))[-1]
        assert done["response"]["status"] == "completed"


async def test_two_different_keys_are_refused(stack: Stack) -> None:
    headers = BEARER | {"api-key": WRONG_KEY}
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{stack.realtime}?model=gpt-realtime", additional_headers=headers):
            pass
    assert refused.value.response.status_code == 401
    assert_quiet(refused.value.response.body.decode(), "the refusal")


async def test_ping_close_and_what_is_no_event(stack: Stack) -> None:
    async with connect(f"{stack.realtime}?model=gpt-realtime", additional_headers=BEARER) as connection:
        await until(connection, "session.created")
        async with asyncio.timeout(5):
            await (await connection.ping())
        await connection.send("not JSON")
        assert (await until(connection, "error"))[-1]["error"]["code"] == "invalid_json"
        await connection.send(b"bytes")
        assert (await until(connection, "error"))[-1]["error"]["code"] == "invalid_event"
        await say(connection, type="no.such.event")
        assert (await until(connection, "error"))[-1]["error"]["code"] == "invalid_value"
        await connection.close(4321, "enough")
    assert connection.close_code == 4321


async def test_usage_is_visible_while_the_session_is_open(stack: Stack) -> None:
    async with connect(f"{stack.realtime}?model=voice", additional_headers=BEARER) as connection:
        await until(connection, "session.created")
        await say(connection, type="response.create", response={"output_modalities": ["text"]})
        await until(connection, "response.done")
        live = json.loads(stack.admin("/sessions"))
        sessions = live["sessions"] if isinstance(live, dict) else live
        (shown,) = [session for session in sessions if session["turns"] == 1]
        assert shown["caller"] == {"namespace": "ai", "key": "helpdesk", "team": "support"}
        assert 'gen_ai_request_model="gpt-realtime-2"' in stack.metrics()
        assert "tidegate_realtime_sessions_active{" in stack.metrics()


async def test_a_minute_of_audio_in_one_event(stack: Stack) -> None:
    async with connect(f"{stack.realtime}?model=gpt-realtime", additional_headers=BEARER) as connection:
        await until(connection, "session.created")
        manual = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
        await say(connection, type="session.update", session=manual)
        await say(connection, type="input_audio_buffer.append", audio="AAAA" * 960_000)
        await say(connection, type="input_audio_buffer.commit")
        await until(connection, "input_audio_buffer.committed")
