"""Many realtime sessions at once, each with a turn every other second, until stdin says that it is enough.

    many.py BASE_URL KEY COUNT

Prints JSON, line by line: {"open": COUNT} when all are open, and at last {"turns": …, "cut": […]}: how many turns were
had, and how each session ended that was not ended here.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress

from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

PAUSE_S = 2.0
ASK = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go on."}]}


class Calls:
    def __init__(self, count: int) -> None:
        self.turns = 0
        self.cut: list[str] = []
        self.enough = asyncio.Event()
        self._unopened = count
        self._at_once = asyncio.Semaphore(5)

    async def hold(self, client: AsyncOpenAI) -> None:
        try:
            async with self._at_once:
                session = await client.realtime.connect(model="gpt-realtime").enter()
            await self._talk(session)
            await session.close()
        except Exception as error:  # whatever it is, the session was cut
            self.cut.append(repr(error))

    async def _talk(self, session: AsyncRealtimeConnection) -> None:
        await session.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        self._opened()
        while not self.enough.is_set():
            await session.conversation.item.create(item=ASK)
            await session.response.create()
            async for event in session:
                if event.type == "error":
                    raise RuntimeError(event.error.message)
                if event.type == "response.done":
                    self.turns += 1
                    break
            else:
                raise RuntimeError("the session was closed")
            await self._pause()

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.enough.wait(), PAUSE_S)

    def _opened(self) -> None:
        self._unopened -= 1
        if not self._unopened:
            print(json.dumps({"open": True}), flush=True)


async def main(base: str, key: str, count: int) -> None:
    client = AsyncOpenAI(api_key=key, base_url=base, max_retries=0, timeout=60)
    calls = Calls(count)
    sessions = asyncio.gather(*(calls.hold(client) for _ in range(count)))
    await asyncio.to_thread(sys.stdin.readline)
    calls.enough.set()
    await sessions
    print(json.dumps({"turns": calls.turns, "cut": calls.cut}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
