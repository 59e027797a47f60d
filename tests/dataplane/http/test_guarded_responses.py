"""The Responses API under guardrails, with the vendor's own client and the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from dataplane.guardrails.judge import Answer
from dataplane.table import Guardrail
from simulator.server import Simulator
from tests.dataplane.http.guarding import CARD, Bench, asked, cards, guarded, guardrail, held
from tests.dataplane.http.test_responding import KEYS, RESPONSES, SECRETS, client_of, one, served
from tests.dataplane.realtime.wires import until
from tests.dataplane.rig import BEARER, Rig
from tests.dataplane.upstream import says, upstream_of

IN: dict[str, Any] = {"output": False}
OUT: dict[str, Any] = {"input": False}


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator(keys=KEYS) as simulator:
        yield simulator


@asynccontextmanager
async def standing(
    url: str, *guardrails: Guardrail, says: Any = lambda _: Answer()
) -> AsyncIterator[tuple[Rig, Bench, openai.AsyncOpenAI]]:
    made = served(one(url), policies=held(*guardrails))
    async with guarded(made, says, secrets=SECRETS) as (rig, bench), client_of(rig) as sdk:
        yield rig, bench, sdk


async def events_of(sdk: openai.AsyncOpenAI, text: str) -> list[Any]:
    stream = await sdk.responses.create(model="gpt-5", input=text, stream=True)
    return [event async for event in stream]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"input": "the swordfish"},
        {"instructions": "say swordfish"},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": '["\\u0073wordfish"]'}]},
    ],
)
async def test_a_blocked_request_reaches_no_provider(
    upstream: Simulator, changes: dict[str, Any], stream: bool
) -> None:
    async with standing(upstream.url, guardrail(**IN)) as (rig, _, sdk):
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.responses.create(**{"model": "gpt-5", "input": "hello", "stream": stream, **changes})
        await rig.settled()
    assert refused.value.code == "guardrail_blocked"
    assert not upstream.requests
    assert not rig.meter.turns


@pytest.mark.parametrize("below", ["/compact", "/input_tokens"])
async def test_what_is_made_of_a_like_body_is_judged_too(upstream: Simulator, below: str) -> None:
    async with (
        standing(upstream.url, guardrail(**IN)) as (rig, _, _),
        aiohttp.ClientSession() as client,
        client.post(
            f"{rig.url}{RESPONSES}{below}", json={"model": "gpt-5", "input": "swordfish"}, headers=BEARER
        ) as response,
    ):
        assert response.status == 400
    assert not upstream.requests


async def test_a_masked_request_is_sent_with_labels(upstream: Simulator) -> None:
    async with standing(upstream.url, cards("mask", **IN)) as (_, _, sdk):
        await sdk.responses.create(model="gpt-5", input=f"pay with {CARD}")
    assert orjson.loads(upstream.requests[-1].body)["input"] == "pay with [CARD]"


async def test_a_blocked_answer_is_an_error_and_counts_as_used(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail(**OUT)) as (rig, _, sdk):
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.responses.create(model="gpt-5", input="swordfish")
        await rig.settled()
    assert refused.value.code == "guardrail_blocked"
    [turn] = rig.meter.turns
    assert turn.status == "completed"
    assert turn.tokens is not None


@pytest.mark.parametrize("remote", [False, True])
async def test_pieces_and_whole_texts_show_the_same(upstream: Simulator, remote: bool) -> None:
    def judged(text: str) -> Answer:
        return Answer(rule="thanks", text=text.replace("Thank", "Th***"))

    more = [asked("mask", **OUT)] if remote else []
    async with standing(upstream.url, cards("mask", **OUT), *more, says=judged) as (rig, bench, sdk):
        events = await events_of(sdk, f"say {CARD}")
        await rig.settled()
    expected = "You said “say [CARD]”. Thank you, I have noted it."
    expected = expected.replace("Thank", "Th***") if remote else expected
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == expected
    [done] = [event.text for event in events if event.type == "response.output_text.done"]
    assert done == expected
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == expected
    assert "1111" not in repr(events)
    assert bench.hits.count(("no-cards", "card", "output")) == 1
    assert len(bench.texts) == remote
    [turn] = rig.meter.turns
    assert turn.status == "completed"


async def test_a_blocked_stream_ends_with_an_error_before_the_word(upstream: Simulator) -> None:
    events: list[Any] = []
    async with standing(upstream.url, guardrail(**OUT)) as (rig, _, sdk):
        with pytest.raises(openai.APIError, match="Guardrail blocked this request") as refused:  # noqa: PT012
            async for event in await sdk.responses.create(model="gpt-5", input="say swordfish now", stream=True):
                events.append(event)  # noqa: PERF401
        await rig.settled()
    assert refused.value.code == "guardrail_blocked"
    assert events[0].type == "response.created"
    assert "swordfish" not in repr(events)
    [turn] = rig.meter.turns
    assert turn.status == "cancelled"


async def test_what_only_looks_on_is_told_once(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail("flag"), asked("flag"), says=lambda _: Answer(rule="fish")) as (
        _,
        bench,
        sdk,
    ):
        events = await events_of(sdk, "a swordfish")
        await until(lambda: len(bench.hits) >= 4, "both directions are told")
    assert "swordfish" in events[-1].response.output_text
    assert sorted(bench.hits) == [
        ("elsewhere", "fish", "input"),
        ("elsewhere", "fish", "output"),
        ("no-secrets", "words[0]", "input"),
        ("no-secrets", "words[0]", "output"),
    ]


@pytest.mark.parametrize("background", [False, True])
async def test_what_is_stored_is_judged_when_it_is_asked_for(upstream: Simulator, background: bool) -> None:
    """It was made before anybody guarded, or in the background, where nobody heard it."""
    ask = {"model": "gpt-5", "input": f"say {CARD}", "background": background}
    made = served(one(upstream.url))
    guards = (cards("mask", **OUT), guardrail(**OUT))
    async with guarded(made, secrets=SECRETS) as (rig, _), client_of(rig) as sdk:
        stored = await sdk.responses.create(**ask)  # type: ignore[call-overload]
        hidden = await sdk.responses.create(**{**ask, "input": "swordfish"})  # type: ignore[call-overload]
        seen = made.model_copy(update={"routes": served(one(upstream.url), policies=held(*guards)).routes})
        await rig.gateway.replace(seen, rig.gateway._snapshot.secrets)
        async with asyncio.timeout(5):
            while (seen_later := await sdk.responses.retrieve(stored.id)).status != "completed":
                await asyncio.sleep(0.005)
        assert "[CARD]" in seen_later.output_text
        items = await sdk.responses.input_items.list(stored.id)
        assert "1111" not in items.model_dump_json()
        with pytest.raises(openai.BadRequestError, match="Guardrail blocked"):
            await sdk.responses.input_items.list(hidden.id)


async def test_nobody_goes_on_from_a_blocked_response_nor_reads_it(upstream: Simulator) -> None:
    """The provider has stored it, and its id was shown before its text was judged."""
    async with standing(upstream.url, guardrail(**OUT)) as (_, _, sdk):
        before = await sdk.responses.create(model="gpt-5", input="hello")
        ids: list[str] = []
        with pytest.raises(openai.APIError, match="Guardrail blocked"):  # noqa: PT012
            async for event in await sdk.responses.create(model="gpt-5", input="say swordfish", stream=True):
                ids += [event.response.id] if event.type == "response.created" else []
        [blocked] = ids
        sent = len(upstream.requests)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="gpt-5", input="go on", previous_response_id=blocked)
        assert len(upstream.requests) == sent
        await sdk.responses.create(model="gpt-5", input="go on", previous_response_id=before.id)
        with pytest.raises(openai.BadRequestError, match="Guardrail blocked"):
            await sdk.responses.retrieve(blocked)
        with pytest.raises(openai.APIError, match="Guardrail blocked"):  # noqa: PT012
            async for event in await sdk.responses.retrieve(blocked, stream=True):
                assert "swordfish" not in event.model_dump_json()
        with pytest.raises(openai.BadRequestError, match="Guardrail blocked"):
            await sdk.responses.input_items.list(blocked)


async def test_a_response_that_nobody_could_judge_goes_on_once_somebody_did(upstream: Simulator) -> None:
    says = [Answer(failed="timeout"), Answer()]
    async with standing(upstream.url, asked(**OUT), says=lambda _: says.pop(0) if says else Answer()) as (_, _, sdk):
        with pytest.raises(openai.APIError, match="not_judged") as refused:  # noqa: PT012
            stream = await sdk.responses.create(model="gpt-5", input="hello", stream=True)
            blocked = (await anext(aiter(stream))).response.id  # type: ignore[union-attr]
            async for _ in stream:
                pass
        assert refused.value.code == "guardrail_blocked"
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="gpt-5", input="go on", previous_response_id=blocked)
        await sdk.responses.retrieve(blocked)
        await sdk.responses.create(model="gpt-5", input="go on", previous_response_id=blocked)


def sse(*events: Any) -> bytes:
    text = b"".join(b"data: " + orjson.dumps(each) + b"\n\n" for each in events)
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(text)}\r\n\r\n"
    return head.encode() + text


async def shown_of(answer: bytes, *guardrails: Guardrail) -> list[dict[str, Any]]:
    async with (
        upstream_of(says(answer)) as url,
        standing(url, *guardrails) as (rig, _, _),
        aiohttp.ClientSession() as client,
        client.post(rig.url + RESPONSES, json={"model": "m", "input": "x", "stream": True}, headers=BEARER) as response,
    ):
        text = await response.text()
        if response.content_type == "application/json":
            return [orjson.loads(text)]
        return [orjson.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


@pytest.mark.parametrize("parameter", ["starting_after=4", "starting%5Fafter=4"])
async def test_a_stream_from_its_middle_on_may_begin_within_a_finding(parameter: str) -> None:
    piece = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0}
    answer = sse({**piece, "delta": "ordfish", "sequence_number": 5})
    asks = f"?stream=true&{parameter}"
    async with upstream_of(says(answer)) as url, Simulator(keys=KEYS) as simulator:
        made = served(one(simulator.url))
        async with guarded(made, secrets=SECRETS) as (rig, _), client_of(rig) as sdk, aiohttp.ClientSession() as http:
            stored = await sdk.responses.create(model="gpt-5", input="hello")
            there = f"{rig.url}{RESPONSES}/{stored.id}"
            for enforces in (False, True):
                policies = held(guardrail("block" if enforces else "flag", **OUT))
                await rig.gateway.replace(served(one(url), policies=policies), rig.gateway._snapshot.secrets)
                async with http.get(there + asks, headers=BEARER) as response:
                    assert (response.status == 400) is enforces
                    assert ("ordfish" in await response.text()) is not enforces


async def test_arguments_come_in_one_piece_before_their_end() -> None:
    about = {"item_id": "i", "output_index": 0}
    kind = "response.function_call_arguments"
    answer = sse(
        {"type": f"{kind}.delta", **about, "delta": '{"to": "\\u0034111 11', "sequence_number": 1},
        {"type": f"{kind}.delta", **about, "delta": '11 1111 1111"}', "sequence_number": 2},
        {"type": f"{kind}.done", **about, "arguments": '{"to": "\\u0034111 1111 1111 1111"}', "sequence_number": 3},
    )
    delta, done = await shown_of(answer, cards("mask", **OUT))
    assert (delta["type"], delta["delta"], delta["sequence_number"]) == (f"{kind}.delta", '{"to":"[CARD]"}', 2)
    assert done["arguments"] == '{"to":"[CARD]"}'


@pytest.mark.parametrize("whole", ["response.output_item.done", "response.output_text.done", "response.something.new"])
async def test_a_text_that_comes_whole_only_is_judged(whole: str) -> None:
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "swordfish"}]}
    fields = {"text": "swordfish"} if "text" in whole else {"item": item}
    [shown] = await shown_of(sse({"type": whole, "output_index": 0, **fields}), guardrail(**OUT))
    assert shown["error"]["code"] == "guardrail_blocked"
    assert "swordfish" not in str(shown)


async def test_what_a_stream_leaves_open_is_shown_at_its_end() -> None:
    piece = {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "content_index": 0}
    copies = {"logprobs": [{"token": "sword"}]}
    shown = await shown_of(sse({**piece, "delta": "sword", **copies}), guardrail(**OUT))
    assert [each["delta"] for each in shown] == ["sword"]
    assert "token" not in str(shown)
