"""What is metered equals what the provider billed, to the token, whatever guardrails do to turns: they refuse, cancel,
hold and mask them, here and by a webhook, and end sessions in the middle of one."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from random import Random

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from dataplane.table.guardrails import Guardrail, Keywords, Webhook
from tests.dataplane import rig
from tests.integration.talker import KINDS, Event, Talker
from tests.integration.test_metering_is_true import Stand, stand

WORDS = ("you", "something", "found", "city")
"""Of what the simulator answers, in speech, in writing, to the output of a tool, and what it calls one with."""
ROUNDS = 1
TOLD = ("guardrail_blocked", "response_cancel_not_active")


def guardrail(name: str, **changes: object) -> Guardrail:
    looks = {} if "webhook" in changes else {"keywords": Keywords(words=WORDS)}
    first = Guardrail(policy="ai/p", name=name, input=False, action="block", refuse_turn=True, optional=True)
    return first.model_copy(update=looks | changes)


def guardrails(url: str) -> tuple[Guardrail, ...]:
    hook = Webhook(url=f"{url}/_judge/word=you/delay=0.01")
    return (
        guardrail("refuse"),
        guardrail("hold", audio="hold"),
        guardrail("mask", action="mask", audio="pass"),
        guardrail("mute", action="mask", audio="hold"),
        guardrail("ask", webhook=hook),
        guardrail("ask-held", webhook=hook, audio="hold"),
        guardrail("hear", input=True, output=False, webhook=Webhook(url=f"{url}/_judge/word=nothing")),
        guardrail("end", refuse_turn=False),
    )


class Guarded(Talker):
    """Under guardrails."""

    def __init__(self, socket: object, rng: Random) -> None:
        super().__init__(socket, rng)  # type: ignore[arg-type]
        self.blocked = 0

    async def _receive(self) -> Event:
        while True:
            async with asyncio.timeout(60):
                event: Event = json.loads(await self._socket.recv())
            if event["type"] != "error":
                return event
            error = event["error"]
            assert isinstance(error, dict)
            assert error["code"] in TOLD, error
            self.blocked += error["code"] == "guardrail_blocked"


async def talk(it: Stand, names: str, rng: Random) -> tuple[int, int]:
    """Turns of every kind, to their ends or to that of the session: how many ended, and how many were blocked."""
    url = f"ws://127.0.0.1:{it.port}/v1/realtime?model=gpt-realtime&guardrails={names}"
    async with connect(url, additional_headers=rig.BEARER, max_size=None) as socket:
        talker = Guarded(socket, rng)
        kinds = [kind for kind in KINDS if kind != "twice"] * ROUNDS  # a refused turn ends once, and be it said twice
        rng.shuffle(kinds)
        try:
            for kind in kinds:
                await talker.hold(kind)
        except ConnectionClosed:
            assert "end" in names
        return talker.turns, talker.blocked


async def test_turns_that_guardrails_interfere_with() -> None:
    rng = Random(20261123)
    async with stand(rng, lambda url: rig.REQUIRED.model_copy(update={"guardrails": guardrails(url)})) as it:
        single = [each.name for each in guardrails("")]
        names = [*single, "ask,hear", "hold,ask-held", "mute,ask", "refuse,mask", "hear,end"]
        async with asyncio.TaskGroup() as group:
            talks = {each: group.create_task(talk(it, each, Random(each))) for each in names}
        await it.settled(sessions=0)
        assert it.faults() == []
        turns, blocked = (Counter({name: task.result()[at] for name, task in talks.items()}) for at in (0, 1))
        assert all(blocked[name] for name in names if not {"mask", "mute", "hear", "end"} & {*name.split(",")})
        assert min(turns[name] for name in names if "end" not in name) > ROUNDS * len(KINDS)
