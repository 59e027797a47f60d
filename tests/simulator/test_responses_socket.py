"""The simulated Responses API over a WebSocket, as the vendor's client and its guide have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from simulator.server import Simulator

Json = dict[str, Any]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as started:
        yield started


@asynccontextmanager
async def opened(simulator: Simulator, query: str = "", key: str = "sk-simulator") -> AsyncIterator[ClientConnection]:
    url = simulator.url.replace("http", "ws", 1) + "/v1/responses" + query
    headers = {"Authorization": f"Bearer {key}"}
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        yield socket


async def say(socket: ClientConnection, **body: object) -> None:
    await socket.send(orjson.dumps({"type": "response.create", "model": "gpt-5", "input": "hello", **body}).decode())


async def until(socket: ClientConnection, *kinds: str) -> Json:
    async with asyncio.timeout(5):
        while True:
            event: Json = orjson.loads(await socket.recv())
            if event["type"] in kinds:
                return event


async def asked(socket: ClientConnection, **body: object) -> Json:
    await say(socket, **body)
    return await until(socket, "response.completed", "error")


async def test_the_vendors_client(simulator: Simulator) -> None:
    client = openai.AsyncOpenAI(api_key="sk-simulator", base_url=f"{simulator.url}/v1")
    async with client, client.responses.connect() as connection:
        await connection.response.create(model="gpt-5", input="hello")
        async for event in connection:
            if event.type == "response.completed":
                break
    [turn] = simulator.ledger.turns
    assert (turn["kind"], turn["status"], turn["reported"]) == ("responses", "completed", True)


async def test_what_is_not_stored_is_known_to_its_connection_alone(simulator: Simulator) -> None:
    async with opened(simulator) as socket, opened(simulator) as other:
        made = (await asked(socket, store=False))["response"]
        again = (await asked(other, previous_response_id=made["id"]))["error"]
        assert again["code"] == "previous_response_not_found"
        following = (await asked(socket, previous_response_id=made["id"]))["response"]
        assert following["usage"]["input_tokens_details"]["cached_tokens"] > 0
        forgotten = (await asked(socket, previous_response_id=made["id"]))["error"]
        assert forgotten["code"] == "previous_response_not_found"


async def test_a_prefix_that_is_only_prepared(simulator: Simulator) -> None:
    async with opened(simulator) as socket:
        made = (await asked(socket, generate=False))["response"]
    assert (made["output"], made["usage"]["output_tokens"]) == ([], 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"stream_id": "a b"}, 400, "invalid_stream_id"),
        ({"background": True}, 400, None),
        ({"model": "missing-x"}, 400, "model_not_found"),
        ({"previous_response_id": "resp_x"}, 400, "previous_response_not_found"),
        ({"type": "response.cancel"}, 400, "invalid_value"),
        ({"metadata": {"scenario": "status:429"}}, 429, "rate_limit_exceeded"),
        ({"metadata": {"scenario": "nonsense"}}, 400, "invalid_value"),
    ],
)
async def test_errors_leave_the_connection_open(
    simulator: Simulator, body: Json, status: int, code: str | None
) -> None:
    async with opened(simulator) as socket:
        event = await asked(socket, **body)
        assert (event["status"], event["error"]["code"]) == (status, code)
        assert (await asked(socket))["type"] == "response.completed"


@pytest.mark.parametrize("message", ["{", "[]"])
async def test_what_is_no_message(simulator: Simulator, message: str) -> None:
    async with opened(simulator) as socket:
        await socket.send(message)
        assert (await until(socket, "error"))["error"]["code"] == "invalid_json"


async def test_lanes_run_beside_each_other_each_in_its_order(simulator: Simulator) -> None:
    async with opened(simulator) as socket:
        await say(socket, metadata={"scenario": "slow:20"})
        await say(socket, stream_id="fast")
        await say(socket)
        ends = [await until(socket, "response.completed") for _ in range(3)]
        assert [each.get("stream_id") for each in ends] == ["fast", None, None]
        assert ends[1]["response"]["id"] < ends[2]["response"]["id"]


async def test_so_many_at_a_time(simulator: Simulator) -> None:
    async with opened(simulator) as socket:
        for lane in range(17):
            await say(socket, stream_id=f"l{lane}", metadata={"scenario": "stall"})
        event = await until(socket, "error")
        assert (event["error"]["code"], event["stream_id"]) == ("websocket_stream_limit_reached", "l16")


async def test_steering(simulator: Simulator) -> None:
    async with opened(simulator) as socket:
        await say(socket, metadata={"scenario": "slow:10"})
        first = (await until(socket, "response.created"))["response"]["id"]
        steer = {"type": "response.steer", "previous_response_id": first, "input": "shorter"}
        await socket.send(orjson.dumps(steer).decode())
        assert (await until(socket, "response.steer.accepted"))["steer"]["previous_response_id"] == first
        await until(socket, "response.completed")
        second = (await until(socket, "response.completed"))["response"]
        assert second["previous_response_id"] == first
        await socket.send(orjson.dumps(steer).decode())
        assert (await until(socket, "response.steer.failed"))["steer"]["input"] == "shorter"
    assert len(simulator.ledger.turns) == 2


@pytest.mark.parametrize(("scenario", "code"), [("drop", 1006), ("hang-up", 1006), ("close:1013", 1013)])
async def test_what_breaks_off_is_billed_and_never_reported(simulator: Simulator, scenario: str, code: int) -> None:
    async with opened(simulator) as socket:
        await say(socket, metadata={"scenario": scenario})
        await socket.wait_closed()
        assert socket.close_code == code
    [turn] = simulator.ledger.turns
    assert (turn["status"], turn["reported"]) == ("dropped", False)


async def test_a_client_that_leaves_is_billed(simulator: Simulator) -> None:
    async with opened(simulator) as socket:
        await say(socket, metadata={"scenario": "slow:50"})
        await until(socket, "response.created")
    async with asyncio.timeout(5):
        while simulator.sessions:
            await asyncio.sleep(0.01)
    [turn] = simulator.ledger.turns
    assert turn["status"] == "abandoned"


async def test_a_connection_lasts_so_long(simulator: Simulator) -> None:
    async with opened(simulator, "?scenario=expire:50") as socket:
        assert (await until(socket, "error"))["error"]["code"] == "websocket_connection_limit_reached"


@pytest.mark.parametrize(
    ("query", "key", "status"),
    [
        ("", "wrong", 401),
        ("?scenario=no-upgrade:503", "sk-simulator", 503),
        ("?scenario=nonsense", "sk-simulator", 400),
    ],
)
async def test_who_gets_no_101(simulator: Simulator, query: str, key: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(simulator, query, key):
            pass
    assert refused.value.response.status_code == status
