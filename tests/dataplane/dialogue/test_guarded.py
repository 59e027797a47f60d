"""The WebSocket mode of the Responses API under guardrails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection

from dataplane.guardrails.judge import Answer
from dataplane.table import Guardrail
from simulator.server import Simulator
from tests.dataplane.dialogue.talk import Talk, provider_of, talking
from tests.dataplane.http.guarding import CARD, Bench, asked, cards, guarded, guardrail, held
from tests.dataplane.http.test_responding import KEYS, SECRETS, one, served
from tests.dataplane.realtime.wires import until
from tests.dataplane.rig import Rig

IN: dict[str, Any] = {"output": False}
OUT: dict[str, Any] = {"input": False}
ASK: dict[str, Any] = {"model": "gpt-5"}
WHY = "Guardrail blocked this request: no-secrets: keywords"


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator(keys=KEYS) as simulator:
        yield simulator


@asynccontextmanager
async def standing(
    url: str, *guardrails: Guardrail, says: Any = lambda _: Answer()
) -> AsyncIterator[tuple[Rig, Bench, Talk]]:
    made = served(one(url), policies=held(*guardrails))
    async with guarded(made, says, secrets=SECRETS) as (rig, bench), talking(rig) as talk:
        yield rig, bench, talk


def told(upstream: Simulator) -> list[dict[str, Any]]:
    return [orjson.loads(text) for _, text in upstream.messages]


async def all_of(talk: Talk) -> list[dict[str, Any]]:
    """The events of a response."""
    events = [await talk.event()]
    while events[-1]["type"] not in ("response.completed", "error"):
        events.append(await talk.event())
    return events


@pytest.mark.parametrize("first", [True, False])
async def test_a_blocked_request_is_not_sent_and_ends_the_connection(upstream: Simulator, first: bool) -> None:
    async with standing(upstream.url, guardrail(**IN)) as (rig, _, talk):
        if not first:
            await talk.asks(**ASK, input="hello")
        error = await talk.asks(**ASK, input="the swordfish")
        code, reason = await talk.closed()
        await until(lambda: rig.meter.closed, "the session is counted")
    assert (error["type"], error["code"], error["message"]) == ("guardrail_error", "guardrail_blocked", WHY)
    assert (code, reason) == (1011, WHY)
    assert "swordfish" not in str(told(upstream))
    assert len(rig.meter.turns) == (0 if first else 1)
    assert rig.meter.closed[0].reason == "guardrail"


@pytest.mark.parametrize("first", [True, False])
async def test_a_request_alone_is_refused_where_the_policy_says_so(upstream: Simulator, first: bool) -> None:
    async with standing(upstream.url, guardrail(refuse_turn=True, **IN)) as (rig, _, talk):
        if not first:
            await talk.asks(**ASK, input="hello")
        error = await talk.asks(**ASK, input="the swordfish")
        assert error["code"] == "guardrail_blocked"
        answer = await talk.asks(**ASK, input="hello")
        assert answer["status"] == "completed"
    assert "swordfish" not in str(told(upstream))
    assert len(rig.meter.turns) == (1 if first else 2)


async def test_a_masked_request_is_sent_with_labels(upstream: Simulator) -> None:
    async with standing(upstream.url, cards("mask", **IN)) as (_, _, talk):
        for _ in range(2):
            await talk.asks(**ASK, input=f"pay with {CARD}")
    assert [each["input"] for each in told(upstream)] == ["pay with [CARD]"] * 2


@pytest.mark.parametrize("remote", [False, True])
async def test_pieces_and_whole_texts_show_the_same_masks(upstream: Simulator, remote: bool) -> None:
    more = [asked(**OUT)] if remote else []
    async with standing(upstream.url, cards("mask", **OUT), *more) as (rig, bench, talk):
        for _ in range(2):
            await talk.say(**ASK, input=f"say {CARD}", stream_id="a")
            events = await all_of(talk)
            text = "".join(each["delta"] for each in events if each["type"] == "response.output_text.delta")
            assert text == "You said “say [CARD]”. Thank you, I have noted it."
            assert events[-1]["response"]["output"][0]["content"][0]["text"] == text
            assert {each["stream_id"] for each in events} == {"a"}
            assert "1111" not in str(events)
    assert len(rig.meter.turns) == 2
    assert len(bench.texts) == 2 * remote


async def test_a_blocked_answer_ends_the_connection_before_the_word(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail(**OUT)) as (rig, _, talk):
        await talk.say(**ASK, input="say swordfish please")
        events = await all_of(talk)
        assert (await talk.closed())[0] == 1011
        await until(lambda: rig.meter.closed, "the session is counted")
    assert events[-1]["error"]["message"] == WHY
    assert "swordfish" not in str(events)
    [turn] = rig.meter.turns
    assert turn.status in ("cancelled", "completed")


async def test_the_rest_of_a_refused_answer_is_withheld(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail(refuse_turn=True, **OUT)) as (rig, _, talk):
        await talk.say(**ASK, input="say swordfish please")
        await talk.say(**ASK, input="hello")
        first, second = await all_of(talk), await all_of(talk)
    assert first[-1]["error"]["code"] == "guardrail_blocked"
    assert "swordfish" not in str(first) + str(second)
    assert second[0]["type"] == "response.created"
    assert "Hello" in str(second[-1]["response"])
    assert [turn.status for turn in rig.meter.turns] == ["completed", "completed"]


@pytest.mark.parametrize("ends", [False, True])
async def test_nobody_goes_on_from_a_refused_answer(upstream: Simulator, ends: bool) -> None:
    """Its id was shown before its text was judged."""
    async with standing(upstream.url, guardrail(refuse_turn=not ends, **OUT)) as (rig, _, talk):
        before = await talk.asks(**ASK, input="hello")
        await talk.say(**ASK, input="say swordfish please")
        refused = (await all_of(talk))[0]["response"]["id"]
        sent = len(told(upstream))
        async with talking(rig) as again:
            going = again if ends else talk
            error = await going.asks(**ASK, input="go on", previous_response_id=refused)
            assert error["code"] == "response_not_found"
            if not ends:
                steer = {"type": "response.steer", "previous_response_id": refused, "input": "go on"}
                await talk.socket.send(orjson.dumps(steer).decode())
                assert (await talk.event())["error"]["code"] == "response_not_found"
            assert len(told(upstream)) == sent
            answer = await going.asks(**ASK, input="go on", previous_response_id=before["id"])
            assert answer["status"] == "completed"


async def test_what_only_looks_on_changes_nothing(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail("flag"), asked("flag"), says=lambda _: Answer(rule="fish")) as (
        _,
        bench,
        talk,
    ):
        answer = await talk.asks(**ASK, input="a swordfish")
        await until(lambda: len(bench.hits) >= 4, "both directions are told")
    assert "swordfish" in str(answer)
    assert sorted(set(bench.hits)) == [
        ("elsewhere", "fish", "input"),
        ("elsewhere", "fish", "output"),
        ("no-secrets", "words[0]", "input"),
        ("no-secrets", "words[0]", "output"),
    ]


@pytest.mark.parametrize("odd", [b"swordfish", "swordfish"])
async def test_what_the_provider_says_that_cannot_be_judged_ends_it(odd: bytes | str) -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(odd)
        await socket.wait_closed()

    async with provider_of(handler) as url, standing(url, guardrail(**OUT)) as (_, _, talk):
        error = await talk.asks(**ASK, input="hello")
        assert (await talk.closed())[0] == 1011
    assert error["code"] == "guardrail_blocked"
