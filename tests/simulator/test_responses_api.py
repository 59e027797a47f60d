"""The simulated Responses API, with the vendor's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from simulator.server import Simulator
from simulator.stored_responses import Shelf, Stored, encrypted

KEYS = frozenset(["sk-a.1", "sk-a.2", "sk-b"])
WITH_REASONING: dict[str, Any] = {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(keys=KEYS) as running:
        yield running


def client(simulator: Simulator, key: str = "sk-a.1") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=f"{simulator.url}/v1", max_retries=0)


async def test_json_and_stream_say_the_same_and_are_billed(simulator: Simulator) -> None:
    async with client(simulator) as a:
        made = await a.responses.create(model="gpt-5", input="hello")
        stream = await a.responses.create(model="gpt-5", input="hello", stream=True)
        events = [event async for event in stream]
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == made.output_text != ""
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert made.usage == last.response.usage
    billed = simulator.ledger.turns
    assert [turn["kind"] for turn in billed] == ["responses", "responses"]
    assert made.usage
    assert simulator.ledger.totals["input_tokens"] == 2 * made.usage.input_tokens
    assert simulator.ledger.totals["output_unknown_tokens"] == 2 * made.usage.output_tokens


async def test_what_is_stored_is_its_organisations(simulator: Simulator) -> None:
    async with client(simulator) as a, client(simulator, "sk-a.2") as again, client(simulator, "sk-b") as b:
        first = await a.responses.create(model="gpt-5", input="hello")
        second = await again.responses.create(model="gpt-5", input="and?", previous_response_id=first.id)
        assert second.usage
        assert second.usage.input_tokens_details.cached_tokens > 0
        assert (await again.responses.retrieve(first.id)).output_text == first.output_text
        assert [item.type for item in (await a.responses.input_items.list(second.id)).data] == ["message"]
        with pytest.raises(openai.BadRequestError, match="Previous response with id"):
            await b.responses.create(model="gpt-5", input="and?", previous_response_id=first.id)
        with pytest.raises(openai.NotFoundError):
            await b.responses.retrieve(first.id)
        await a.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await a.responses.retrieve(first.id)


async def test_what_is_not_to_be_stored_is_not(simulator: Simulator) -> None:
    async with client(simulator) as a:
        made = await a.responses.create(model="gpt-5", input="hello", store=False)
        with pytest.raises(openai.NotFoundError):
            await a.responses.retrieve(made.id)


async def test_encrypted_content_is_read_by_its_organisation(simulator: Simulator) -> None:
    async with client(simulator) as a, client(simulator, "sk-b") as b:
        made = await a.responses.create(model="gpt-5", input="hello", **WITH_REASONING)
        reasoning: Any = made.output[0]
        assert reasoning.encrypted_content
        again: Any = [reasoning.model_dump(exclude_none=True), {"role": "user", "content": "and?"}]
        assert (await a.responses.create(model="gpt-5", input=again)).output_text
        with pytest.raises(openai.BadRequestError, match="organization_id did not match") as refused:
            await b.responses.create(model="gpt-5", input=again)
        assert refused.value.code == "invalid_encrypted_content"
        again[0]["encrypted_content"] = "tg1x." + again[0]["encrypted_content"]
        with pytest.raises(openai.BadRequestError, match="could not be decrypted"):
            await a.responses.create(model="gpt-5", input=again)


async def test_the_background_is_billed_when_it_ends(simulator: Simulator) -> None:
    async with client(simulator) as a:
        made = await a.responses.create(model="gpt-5", input="hello", background=True)
        assert (made.status, made.usage) == ("queued", None)
        assert (await a.responses.retrieve(made.id)).status == "in_progress"
        assert simulator.ledger.turns == []
        assert (await a.responses.retrieve(made.id)).status == "completed"
        assert (await a.responses.retrieve(made.id)).usage
        assert len(simulator.ledger.turns) == 1
        other = await a.responses.create(model="gpt-5", input="hello", background=True)
        assert (await a.responses.cancel(other.id)).status == "cancelled"
        with pytest.raises(openai.BadRequestError, match="background"):
            await a.responses.cancel((await a.responses.create(model="gpt-5", input="hello")).id)


async def test_tools_ends_and_the_rest(simulator: Simulator) -> None:
    tool: Any = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": True}
    async with client(simulator) as a:
        called = await a.responses.create(model="gpt-5", input="hello", tools=[tool])
        assert called.output[0].type == "function_call"
        stream = await a.responses.create(model="gpt-5", input="hello", tools=[tool], stream=True)
        assert "response.function_call_arguments.done" in [event.type async for event in stream]
        cut = await a.responses.create(model="gpt-5", input="hello", max_output_tokens=1)
        assert (cut.status, cut.incomplete_details and cut.incomplete_details.reason) == (
            "incomplete",
            "max_output_tokens",
        )
        failed = await a.responses.create(model="gpt-5", input="hello", metadata={"scenario": "fail"})
        assert failed.status == "failed"
        counted = await a.responses.input_tokens.count(model="gpt-5", input="hello")
        assert counted.input_tokens == 2
        compacted = await a.responses.compact(model="gpt-5", input="hello")
        assert compacted.output[-1].type == "compaction"
        with pytest.raises(openai.BadRequestError, match="does not exist"):
            await a.responses.create(model="missing-1", input="hello")
        with pytest.raises(openai.InternalServerError):
            await a.responses.create(model="gpt-5", input="hello", metadata={"scenario": "status:503"})


def test_the_oldest_is_forgotten() -> None:
    shelf = Shelf()
    for number in range(10_001):
        shelf.keep(Stored("a", {"id": f"resp_{number}"}, [], [], made=None), store=True)  # type: ignore[arg-type]
    assert shelf.find("resp_0", "a") is None
    assert shelf.find("resp_1", "a")


def test_it_is_not_readable_that_it_is_of_another() -> None:
    assert encrypted("x", "a") != encrypted("x", "b")
