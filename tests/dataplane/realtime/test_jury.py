"""What is listened for in a session, by the clock."""

from __future__ import annotations

import asyncio
from typing import cast

from dataplane.guardrails.judge import Answer
from dataplane.judges.about import Judges
from dataplane.realtime.effects import Listen
from dataplane.realtime.jury import Jury
from dataplane.realtime.live import LiveSession
from dataplane.snapshot import EMPTY
from tests.dataplane.judges.cases import ABOUT


class Live:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Answer]] = []
        self.all = asyncio.Event()

    def judged(self, ticket: int, answer: Answer) -> None:
        self.told.append((ticket, answer))
        self.all.set()


async def test_what_has_come_is_listened_for_no_more() -> None:
    live, jury = Live(), Jury(cast("Judges", None), EMPTY, ABOUT)
    there = cast("LiveSession", live)
    for ticket in (1, 2):
        jury.ask(there, Listen(ticket, 0.01))
    jury.ask(there, Listen(1, None))
    jury.ask(there, Listen(1, None))
    async with asyncio.timeout(10):
        await live.all.wait()
    assert live.told == [(2, Answer(failed="timeout"))]
    jury.ask(there, Listen(3, 3600))
    jury.close()
