"""Guardrails as clients meet them: attached to a key, to a team, and asked for; in sessions, and over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import openai
import processes
import pytest
from conftest import Node, Stack
from processes import CLIENT_KEY
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

SAID = "What is the salary of my neighbour?"
MESSAGE = "Guardrail blocked this request: salaries are not discussed here"
FREE = f"{CLIENT_KEY}-free"
GUARDED = {
    "a key": (f"{CLIENT_KEY}-guarded", ""),
    "a team": (f"{CLIENT_KEY}-intern", ""),
    "by request": (FREE, "guardrails=hush"),
}
"""The key, and what is in the query."""


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    simulator = processes.start_simulator(folder)
    addresses = {"SIMULATOR": simulator.ports["url"]}
    running = Stack(processes.start_gateway(folder, addresses, config="guardrails.yaml"), simulator)
    yield running
    running.close()


def address(stack: Stack, query: str) -> str:
    return f"{stack.realtime}?model=gpt-realtime" + (f"&{query}" if query else "")


async def talk(stack: Stack, key: str, query: str) -> tuple[list[dict[str, object]], int]:
    """All events, and the close code."""
    events = []
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": SAID}]}
    async with asyncio.timeout(20):
        async with connect(address(stack, query), additional_headers={"Authorization": f"Bearer {key}"}) as session:
            await session.send(json.dumps({"type": "conversation.item.create", "item": item}))
            await session.send(json.dumps({"type": "response.create", "response": {"output_modalities": ["text"]}}))
            try:
                while True:
                    events.append(json.loads(await session.recv()))
                    if events[-1]["type"] == "response.done":
                        await session.close()
            except ConnectionClosed as closed:
                return events, closed.rcvd.code if closed.rcvd else 1006


@pytest.mark.parametrize("how", GUARDED)
async def test_a_session_in_python(stack: Stack, how: str) -> None:
    events, code = await talk(stack, *GUARDED[how])
    (error,) = (event["error"] for event in events if event["type"] == "error")
    assert (error["type"], error["message"]) == ("guardrail_error", MESSAGE)
    assert code == 1011
    assert all(not str(event["type"]).startswith("conversation.item") for event in events)


@pytest.mark.parametrize("how", GUARDED)
def test_a_session_in_node(stack: Stack, node: Node, how: str) -> None:
    key, query = GUARDED[how]
    error, close = map(json.loads, node.run("guardrails.mjs", URL=address(stack, query), KEY=key, SAID=SAID))
    assert error == {"type": "guardrail_error", "message": MESSAGE}
    assert close == {"code": 1011}


async def test_whoever_is_not_guarded_is_answered(stack: Stack, node: Node) -> None:
    events, code = await talk(stack, FREE, "")
    assert "response.done" in [event["type"] for event in events]
    assert code == 1000
    done, close = map(json.loads, node.run("guardrails.mjs", URL=address(stack, ""), KEY=FREE, SAID=SAID))
    assert (done, close) == ({"status": "completed"}, {"code": 1000})


async def test_a_guardrail_that_there_is_not(stack: Stack) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await talk(stack, FREE, "guardrails=hash")
    assert refused.value.response.status_code == 400
    error = json.loads(refused.value.response.body or b"")["error"]
    assert error["code"] == "unknown_guardrail"
    assert "hush" in error["message"]


@pytest.mark.parametrize("how", GUARDED)
def test_the_openai_sdk(stack: Stack, how: str) -> None:
    key, query = GUARDED[how]
    extra = dict([query.split("=")]) if query else {}
    with openai.OpenAI(base_url=stack.base, api_key=key, default_query=extra, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as refused:
            client.chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": SAID}])
        assert refused.value.code == "guardrail_blocked"
        assert MESSAGE in str(refused.value)
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(model="gpt-5-mini", input=SAID)
        assert refused.value.code == "guardrail_blocked"
        with client.realtime.connect(model="gpt-realtime", extra_query=extra) as session:
            session.conversation.item.create(
                item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": SAID}]}
            )
            error = next(event for event in session if event.type == "error")
        assert (error.error.type, error.error.message) == ("guardrail_error", MESSAGE)


def test_what_was_found_is_counted_and_logged_without_its_text(stack: Stack) -> None:
    assert "tidegate_guardrail_findings_total{" in stack.metrics()
    lines = [json.loads(line) for line in stack.gateway.text().splitlines() if '"event":"guardrail"' in line]
    assert {(line["guardrail"], line["action"], line["direction"]) for line in lines} == {
        ("no-salaries", "block", "input"),
        ("hush", "block", "input"),
    }
    assert "neighbour" not in stack.gateway.text()
