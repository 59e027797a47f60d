"""Asks webhooks and moderations about what is said in one session."""

from __future__ import annotations

import asyncio

from dataplane.guardrails.judge import Answer
from dataplane.judges.about import About, Judges
from dataplane.realtime.effects import Ask, Found, Listen, Missed
from dataplane.realtime.live import LiveSession
from dataplane.snapshot import Snapshot

_WHY = {
    "not_transcribed": "what was said aloud was not transcribed, or not in time",
    "busy": "one session has more texts to be judged than are asked about at a time",
}


class Jury:
    """Of one session. What is still asked when it ends is given up."""

    def __init__(self, judges: Judges, snapshot: Snapshot, about: About) -> None:
        self._judges = judges
        self._snapshot = snapshot
        self._about = about
        self._asking: set[asyncio.Task[None]] = set()
        self._listening: dict[int, asyncio.TimerHandle] = {}
        """By their tickets."""

    def found(self, effect: Found | Missed) -> None:
        """Have it counted."""
        if isinstance(effect, Found):
            self._judges.found(effect.hits, self._about, effect.said, effect.place)
        else:
            self._judges.failed(effect.guardrail, effect.reason, _WHY[effect.reason])

    def ask(self, live: LiveSession, effect: Ask | Listen) -> None:
        """See that `live` learns what is said of the text, or that nothing was said in time."""
        loop = asyncio.get_running_loop()
        if isinstance(effect, Listen):
            self._listen(loop, live, effect)
            return
        task = loop.create_task(self._ask(live, effect))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def _listen(self, loop: asyncio.AbstractEventLoop, live: LiveSession, effect: Listen) -> None:
        def late() -> None:
            del self._listening[effect.ticket]
            live.judged(effect.ticket, Answer(failed="timeout"))

        if effect.seconds is not None:
            self._listening[effect.ticket] = loop.call_later(effect.seconds, late)
        elif (timer := self._listening.pop(effect.ticket, None)) is not None:
            timer.cancel()

    async def _ask(self, live: LiveSession, effect: Ask) -> None:
        answer = await self._judges.ask(
            effect.guardrail, effect.text, self._about, effect.said, effect.place, self._snapshot
        )
        live.judged(effect.ticket, answer)

    def close(self) -> None:
        """The session is over."""
        for task in self._asking:
            task.cancel()
        for timer in self._listening.values():
            timer.cancel()
