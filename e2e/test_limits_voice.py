"""200 voice sessions on one nearly spent budget, at two gateways with a real Redis: turns that the user's voice begins
are held to it, by no more than was stated beforehand; sessions go on, and no record is lost."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from processes import CLIENT_KEY
from test_limits import CALLERS, Fleet, fleet
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["fleet"]  # a fixture
UTTERANCE = base64.b64encode(bytes(24_000 * 2 // 2)).decode()
"""Half a second of audio, which the simulator takes for something that somebody has said."""
VAD = {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": True}}}}


@dataclass
class Voices:
    """Users who talk, and what they hear."""

    fleet: Fleet
    answered: int = 0
    refused: list[str] = field(default_factory=list)
    """Codes of the errors."""
    largest: int = 0

    async def open(self, stack: AsyncExitStack) -> list[ClientConnection]:
        open_ = asyncio.Semaphore(20)

        async def one(number: int) -> ClientConnection:
            url = f"ws://{self.fleet.gateways[number % 2].ports['url']}/v1/realtime?model=gpt-realtime"
            headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
            async with open_:
                connection = await stack.enter_async_context(
                    connect(url, additional_headers=headers, proxy=None, open_timeout=30)
                )
            await connection.send(json.dumps({"type": "session.update", "session": VAD}))
            session = await self.heard(connection, "session.updated")
            assert session["session"]["audio"]["input"]["turn_detection"]["create_response"] is True
            return connection

        return await asyncio.gather(*map(one, range(CALLERS)))

    async def talk(self, connections: list[ClientConnection], times: int) -> None:
        """Each says something so often, and waits for the answer."""

        async def one(connection: ClientConnection) -> None:
            for _ in range(times):
                await connection.send(json.dumps({"type": "input_audio_buffer.append", "audio": UTTERANCE}))
                answer = await self.heard(connection, "response.done", "error")
                if answer["type"] == "error":
                    assert answer["error"]["type"] == "rate_limit_error", answer
                    self.refused.append(answer["error"]["code"])
                    continue
                used = answer["response"]["usage"]["total_tokens"]
                self.fleet.turns += 1
                self.fleet.tokens += used
                self.largest = max(self.largest, used)

        await asyncio.gather(*map(one, connections))

    async def heard(self, connection: ClientConnection, *kinds: str) -> dict:
        """The first event of one of these types."""
        async with asyncio.timeout(60):
            async for message in connection:
                event = json.loads(message)
                if event["type"] in kinds:
                    return event
        raise AssertionError(f"the session ended before {kinds}")

    def most(self, budget: int, reserve: int) -> int:
        """What may be used at most: each session has one turn under way, which may take more than is set aside."""
        return budget + min(CALLERS, budget // reserve) * max(0, self.largest - reserve)


async def test_voices_are_held_to_the_budget_while_it_is_edited(fleet: Fleet) -> None:
    most, reserve = 20_000, 60
    fleet.start(most, reserve)
    voices = Voices(fleet)
    async with AsyncExitStack() as stack:
        connections = await voices.open(stack)
        await voices.talk(connections, 3)
        assert set(voices.refused) == {"limit_exceeded"}
        assert most - reserve < fleet.tokens <= voices.most(most, reserve)

        going = asyncio.create_task(voices.talk(connections, 4))
        await asyncio.to_thread(fleet.edit, most, 2 * most)
        await going
        await voices.talk(connections, 2)
        assert 2 * most - reserve < fleet.tokens <= voices.most(2 * most, reserve)
        assert fleet.recorded() == (fleet.turns, fleet.tokens)
        assert fleet.billed() == fleet.tokens
        fleet.gateways[0].wait_for(lambda: fleet.stored() == (fleet.tokens, 0))


async def test_voices_are_refused_while_the_store_is_away_and_go_on_when_it_is_back(fleet: Fleet) -> None:
    most, reserve = 60_000, 2_000
    fleet.start(most, reserve, "Refuse")
    voices = Voices(fleet)
    async with AsyncExitStack() as stack:
        connections = await voices.open(stack)
        going = asyncio.create_task(voices.talk(connections, 6))
        await fleet.until(lambda: fleet.turns >= 30, going)
        fleet.redis.kill()
        await fleet.until(lambda: "limits_unavailable" in voices.refused, going)
        fleet.redis.start()
        await going
        for gateway in fleet.gateways:
            gateway.wait_for(lambda gateway=gateway: "the store of limits answers" in gateway.text())
        await voices.talk(connections, 2)
        assert voices.largest <= reserve
        assert fleet.tokens <= most
        assert fleet.recorded() == (fleet.turns, fleet.tokens)
        assert fleet.billed() == fleet.tokens
        fleet.gateways[0].wait_for(lambda: fleet.stored() == (fleet.tokens, 0))
        assert fleet.said("Traceback") == 0
