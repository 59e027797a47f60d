"""A plain session, while the configuration changes around it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass

from tests.integration.lives.line import Event, Gone, Line

SAY = json.dumps({"type": "response.create", "response": {"output_modalities": ["text"], "conversation": "none"}})
"""Out of band: the simulated provider keeps nothing of it, so that memory is the gateway's."""


@dataclass
class Used:
    """A session."""

    line: Line

    @classmethod
    async def open(cls, port: int, request: bytes) -> Used:
        line = await Line.open(port, request)
        assert await line.answered() == 101
        used = cls(line)
        await used.event("session.created")
        return used

    @classmethod
    async def knock(cls, port: int, request: bytes) -> int:
        """The status that the request is answered with."""
        line = await Line.open(port, request)
        status = await line.answered()
        line.reset()
        return status

    @property
    def id(self) -> str:
        """The gateway's, of this session."""
        return self.line.field("x-tidegate-request-id")

    async def event(self, kind: str) -> Event:
        """Read to the next event of this type. Raises Gone."""
        while (event := json.loads(await self.line.recv()))["type"] != kind:
            pass
        assert isinstance(event, dict)
        return event

    async def turn(self) -> None:
        await self.line.send(SAY)
        await self.event("response.done")

    async def takes(self, size: int) -> bool:
        """Does a message of this size go through? Where it does not, the session is over."""
        session = {"type": "realtime", "instructions": "x" * size}
        await self.line.send(json.dumps({"type": "session.update", "session": session}))
        with suppress(Gone):
            await self.event("session.updated")
            return True
        assert self.line.close == 1009
        return False

    async def close(self) -> None:
        self.line.say_close((1000).to_bytes(2, "big"))
        assert await self.line.gone() == 1000
