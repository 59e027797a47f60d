"""How sessions end when a process dies, is ended, or a connection is cut: real processes, real signals."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Stack, start_stack
from processes import CLIENT_KEY, assert_quiet
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

BEARER = {"Authorization": f"Bearer {CLIENT_KEY}"}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close becomes a reset
LAST_CHUNK = b"0\r\n\r\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack for one test, which kills parts of it. What is left is ended by the test, or here."""
    stack = start_stack(tmp_path)
    yield stack
    for process in (stack.gateway, stack.simulator):
        if process.popen.poll() is None:
            process.kill()


async def start_turn(stack: Stack, scenario: str) -> ClientConnection:
    """A session in the middle of an answer."""
    connection = await connect(f"{stack.realtime}?model=gpt-realtime", additional_headers=BEARER)
    response = {"output_modalities": ["text"], "metadata": {"scenario": scenario}}
    await connection.send(json.dumps({"type": "response.create", "response": response}))
    async with asyncio.timeout(10):
        while json.loads(await connection.recv())["type"] != "response.output_text.delta":
            pass
    return connection


async def end_of(connection: ClientConnection) -> tuple[list[dict], int | None]:
    """What is still said, and the close code."""
    events = []
    try:
        async with asyncio.timeout(15):
            while True:
                events.append(json.loads(await connection.recv()))
    except ConnectionClosed:
        return events, connection.close_code


def no_sessions(stack: Stack) -> bool:
    return json.loads(stack.admin("/sessions"))["sessions"] == []


def counted(stack: Stack, metric: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    lines = [line for line in stack.metrics().splitlines() if line.startswith(metric)]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


async def test_the_provider_is_killed_in_mid_session(own: Stack) -> None:
    connection = await start_turn(own, "wait")
    own.simulator.kill()
    events, code = await end_of(connection)
    assert events[-1]["type"] == "error"
    assert events[-1]["event_id"]
    assert len(events[-1]["error"]["message"]) > 20
    assert code == 1011
    await asyncio.to_thread(own.gateway.wait_for, lambda: no_sessions(own))
    assert counted(own, "tidegate_turns_total", status="lost") == 1
    assert own.gateway.stop() == 0
    assert_quiet(own.gateway.text(), "the log of the gateway")


async def stream_chat(stack: Stack, scenario: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A chat completion in the middle of its stream."""
    messages = [{"role": "user", "content": "Tell me more, please."}]
    body = json.dumps({"model": "gpt-5", "stream": True, "messages": messages, "metadata": {"scenario": scenario}})
    reader, writer = await asyncio.open_connection(*stack.host.split(":"))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    await reader.readuntil(b"data: ")
    return reader, writer


async def test_the_provider_is_killed_in_mid_stream_of_a_chat(own: Stack) -> None:
    reader, writer = await stream_chat(own, "slow:400")
    own.simulator.kill()
    async with asyncio.timeout(15):
        rest = await reader.read()
    writer.close()
    assert not rest.endswith(LAST_CHUNK), "a stream that was cut must not look finished"
    assert own.gateway.stop() == 0
    assert_quiet(own.gateway.text(), "the log of the gateway")


async def test_the_client_is_cut_off_in_mid_turn(own: Stack) -> None:
    connection = await start_turn(own, "slow:50")
    raw = connection.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.transport.abort()
    await asyncio.to_thread(own.gateway.wait_for, lambda: no_sessions(own))
    # The answer was cancelled at the provider, which then said what it had cost: nothing is lost.
    turns = json.loads(own.ledger())["turns"]
    assert [turn["status"] for turn in turns] == ["cancelled"]
    own.close()


async def test_the_connection_to_the_provider_is_reset(own: Stack) -> None:
    async with connect(
        f"{own.realtime}?model=gpt-realtime&scenario=drop-after:4", additional_headers=BEARER
    ) as connection:
        await connection.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
        events, code = await end_of(connection)
    assert (events[-1]["type"], code) == ("error", 1011)
    own.close()


async def test_sigterm_ends_sessions_with_event_close_and_usage(own: Stack) -> None:
    idle = await connect(f"{own.realtime}?model=gpt-realtime", additional_headers=BEARER)
    assert json.loads(await idle.recv())["type"] == "session.created"
    busy = await start_turn(own, "wait")
    own.gateway.popen.terminate()
    for connection in (idle, busy):
        events, code = await end_of(connection)
        assert events[-1]["type"] == "error"
        assert code == 1001
    assert await asyncio.to_thread(own.gateway.ended) == 0
    assert [turn["status"] for turn in json.loads(own.ledger())["turns"]] == ["cancelled"]
    lines = [json.loads(line) for line in own.gateway.text().splitlines()]
    assert lines[-1]["event"] == "stopped"
    assert [line["status"] for line in lines if line["event"] == "turn"] == ["cancelled"]
    assert_quiet(own.gateway.text(), "the log of the gateway")


async def test_sigterm_does_not_wait_for_a_stream_that_never_ends(own: Stack) -> None:
    reader, writer = await stream_chat(own, "slow:1500")
    own.gateway.popen.terminate()
    assert await asyncio.to_thread(own.gateway.ended) == 0
    assert not (await reader.read()).endswith(LAST_CHUNK)
    writer.close()
    assert_quiet(own.gateway.text(), "the log of the gateway")
