"""openai-agents: its RealtimeRunner names the model in `session.update`, and offers compression; its Runner speaks the
Responses API."""

from __future__ import annotations

import asyncio

from agents import Agent, OpenAIResponsesModel, RunConfig, Runner
from agents.realtime import RealtimeAgent, RealtimeRunner
from conftest import Stack
from openai import AsyncOpenAI
from processes import CLIENT_KEY


async def test_a_turn_under_a_public_name(stack: Stack) -> None:
    runner = RealtimeRunner(
        RealtimeAgent(name="helper", instructions="Be brief."),
        config={"model_settings": {"model_name": "voice", "output_modalities": ["text"]}},
    )
    session = await runner.run(model_config={"url": f"{stack.realtime}?model=voice", "api_key": CLIENT_KEY})
    seen, errors = [], []
    async with session, asyncio.timeout(20):
        await session.send_message("Hello, who are you?")
        async for event in session:
            if event.type == "raw_model_event":
                seen.append(event.data.type)
                if event.data.type == "error":
                    errors.append(event.data.error)
            if event.type == "agent_end":
                break
    assert errors == []
    assert {"turn_started", "turn_ended", "item_updated"} <= set(seen)


async def test_a_run_goes_on_from_the_one_before(stack: Stack) -> None:
    client = AsyncOpenAI(api_key=CLIENT_KEY, base_url=stack.base, max_retries=0, timeout=20)
    agent = Agent(name="helper", model=OpenAIResponsesModel("gpt-5-mini", client))
    quiet = RunConfig(tracing_disabled=True)
    first = await Runner.run(agent, "Hello, who are you?", run_config=quiet)
    second = await Runner.run(agent, "And?", previous_response_id=first.last_response_id, run_config=quiet)
    assert second.final_output
    assert second.context_wrapper.usage.total_tokens > 0
