"""Lanes of a WebSocket do not wait for each other, where somebody is asked about what is said on one."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection

from dataplane.dialogue import messages, strands
from dataplane.dialogue.socket import Message
from dataplane.dialogue.strands import Strands
from dataplane.guardrails.judge import Answer
from tests.dataplane.dialogue.talk import made, provider_of, talking, until
from tests.dataplane.dialogue.test_guarded import OUT
from tests.dataplane.http.guarding import Bench, asked, guarded, held
from tests.dataplane.http.test_responding import SECRETS, one, served


class Slow(Bench):
    """Thinks of what is slow until it is free."""

    free: asyncio.Event

    async def ask(self, guardrail: Any, text: str, *rest: Any) -> Answer:
        if text == "slow":
            await self.free.wait()
        return await super().ask(guardrail, text, *rest)


def of(lane: str, kind: str, **fields: object) -> str:
    return orjson.dumps({"stream_id": lane, "type": kind, **fields}).decode()


def answer(lane: str) -> list[str]:
    """One that says the lane's name."""
    about = {"item_id": "i", "output_index": 0, "content_index": 0}
    created, completed = [orjson.loads(made(kind, lane, status=kind)) for kind in ("created", "completed")]
    return [
        of(lane, created.pop("type"), **created),
        of(lane, "response.output_text.delta", **about, delta=lane),
        of(lane, "response.output_text.done", **about, text=lane),
        of(lane, completed.pop("type"), **completed),
    ]


@pytest.mark.parametrize("closes", [False, True])
async def test_one_lane_is_heard_while_another_is_asked_about(closes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async def handler(socket: ServerConnection) -> None:
        created, *rest = answer("slow")
        await socket.recv()
        await socket.send(created)
        await socket.recv()
        for event in [*rest, *answer("fast")]:
            await socket.send(event)
        if not closes:
            await socket.wait_closed()

    bench = Slow()
    bench.free = asyncio.Event()
    monkeypatch.setattr("tests.dataplane.http.guarding.Bench", lambda _: bench)
    async with (
        provider_of(handler) as url,
        guarded(served(one(url), policies=held(asked(**OUT))), secrets=SECRETS) as (rig, _),
        talking(rig) as talk,
    ):
        for lane in ("slow", "fast"):
            await talk.say(model="gpt-5", input="hello", stream_id=lane)
        events = [await talk.event() for _ in range(5)]
        assert [each["type"] for each in events if each["stream_id"] == "slow"] == ["response.created"]
        assert events[-1]["type"] == "response.completed"
        bench.free.set()
        events = [await talk.event() for _ in range(3)]
        assert {each["stream_id"] for each in events} == {"slow"}
        assert [each.get("delta", each["type"]) for each in events] == [
            "slow",
            "response.output_text.done",
            "response.completed",
        ]
        await talk.socket.close()
        await until(lambda: rig.meter.closed)
    assert [turn.status for turn in rig.meter.turns] == ["completed", "completed"]


@pytest.mark.parametrize(("most", "lanes"), [(5, 32), (1000, 1)])
async def test_so_much_waits_and_no_more(monkeypatch: pytest.MonkeyPatch, most: int, lanes: int) -> None:
    monkeypatch.setattr(strands, "MOST", most)
    monkeypatch.setattr(messages, "LANES", lanes)
    free, done = asyncio.Event(), list[bytes]()

    async def act(message: Message) -> None:
        await free.wait()
        done.append(message.data)

    waiting = Strands(act)
    await waiting.put("a", Message(b"first", binary=False))
    more = asyncio.create_task(waiting.put("b", Message(b"second", binary=False)))
    await asyncio.sleep(0)
    assert not more.done()
    free.set()
    await more
    await waiting.empty()
    assert done == [b"first", b"second"]


async def test_what_waits_is_left_when_all_is_over() -> None:
    async def act(_: Message) -> None:
        await asyncio.Event().wait()

    waiting = Strands(act)
    await waiting.put("a", Message(b"", binary=False))
    await asyncio.sleep(0)
    await waiting.stop()
    await waiting.empty()
