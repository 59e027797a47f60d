"""A connection that behaves badly, as a client sees it that nobody here wrote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from simulator.server import Simulator

KEY = {"Authorization": "Bearer sk-simulator"}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


def dial(simulator: Simulator, scenario: str, **options: int | None) -> connect:
    url = f"{simulator.url}/v1/realtime?model=m&scenario={scenario}".replace("http", "ws", 1)
    # Without a bound, what nobody reads any more does not hide the CLOSE behind it.
    return connect(url, additional_headers=KEY, proxy=None, max_queue=None, **options)  # type: ignore[arg-type]


async def create(socket: ClientConnection, scenario: str = "") -> None:
    response = {"metadata": {"scenario": scenario}, "output_modalities": ["text"]}
    await socket.send(json.dumps({"type": "response.create", "response": response}))


async def until_done(socket: ClientConnection) -> list[str]:
    """The types of the events up to `response.done`."""
    kinds = [""]
    async with asyncio.timeout(5):
        while kinds[-1] != "response.done":
            kinds.append(json.loads(await socket.recv())["type"])
    return kinds[1:]


@pytest.mark.parametrize("scenario", ["fragments:7", "drip:5", "fragments:3,drip:1", "unknown-events"])
async def test_messages_in_pieces_are_the_same_messages(simulator: Simulator, scenario: str) -> None:
    async with dial(simulator, scenario) as odd, dial(simulator, "") as plain:
        await create(odd)
        await create(plain)
        known = [kind for kind in await until_done(odd) if kind not in UNKNOWN]
        assert known == await until_done(plain)


UNKNOWN = {"response.thought.delta", "response.done.preview", "session.note", "session.padding"}


async def test_pings_between_fragments(simulator: Simulator) -> None:
    async with aiohttp.ClientSession(simulator.url, headers=KEY) as http:
        url = "/v1/realtime?model=m&scenario=fragments:100"
        async with http.ws_connect(url, autoping=False) as socket:
            kinds = [(await socket.receive()).type for _ in range(3)]
    assert kinds == [aiohttp.WSMsgType.PING] * 3


async def test_ping_that_is_never_answered(simulator: Simulator) -> None:
    async with dial(simulator, "no-pong", ping_interval=None) as socket:
        pong = asyncio.ensure_future(await socket.ping())
        await create(socket)
        await until_done(socket)  # the session goes on
        assert not pong.done()


@pytest.mark.parametrize(
    ("scenario", "code"), [("close:1012", 1012), ("close:4999", 4999), ("close:1005", None), ("close:999", None)]
)
async def test_close_codes_legal_and_not(simulator: Simulator, scenario: str, code: int | None) -> None:
    async with dial(simulator, "") as socket:
        await create(socket, scenario)
        with pytest.raises(ConnectionClosedError) as closed:
            await until_done(socket)
    assert (closed.value.rcvd.code if closed.value.rcvd else None) == code
    assert [turn["reported"] for turn in simulator.ledger.turns] == [False]


@pytest.mark.parametrize("scenario", ["hang-up", "drop", "garble", "freeze:50"])
async def test_connections_that_end_without_a_close(simulator: Simulator, scenario: str) -> None:
    async with dial(simulator, "", close_timeout=1) as socket:
        await create(socket, scenario)
        with pytest.raises(ConnectionClosedError) as closed:
            await until_done(socket)
    assert closed.value.rcvd is None
    assert (closed.value.sent is not None) is (scenario == "garble")  # only who broke the protocol is told


async def forever(socket: ClientConnection) -> None:
    while True:
        await socket.send(" " * 65536)


async def test_frozen_connection_takes_nothing(simulator: Simulator) -> None:
    async with dial(simulator, "", ping_interval=None, close_timeout=0, write_limit=1024) as socket:
        await create(socket, "freeze")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(socket), 0.3)
        socket.transport.abort()


async def test_done_answers_the_close(simulator: Simulator) -> None:
    response = {"metadata": {"scenario": "done-after-close"}}
    async with (
        aiohttp.ClientSession(simulator.url, headers=KEY) as http,
        http.ws_connect("/v1/realtime?model=m", autoclose=False) as socket,
    ):
        await socket.send_json({"type": "response.create", "response": response})
        while (await socket.receive_json())["type"] != "response.output_audio.delta":
            pass
        await socket._writer.close(1000)
        kinds = []
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            kinds.append(message.json()["type"])
    assert kinds[-1] == "response.done"
    assert message.type is aiohttp.WSMsgType.CLOSE
    assert [turn["reported"] for turn in simulator.ledger.turns] == [True]


async def test_a_flood_ends_with_its_client(simulator: Simulator) -> None:
    socket = await dial(simulator, "flood")
    await socket.send('{"type":"response.create"}')
    for _ in range(500):
        await socket.recv()
    await socket.close()
    async with asyncio.timeout(5):
        while simulator.sessions:
            await asyncio.sleep(0.01)
    assert [turn["reported"] for turn in simulator.ledger.turns] == [False]
