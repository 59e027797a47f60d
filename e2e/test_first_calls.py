"""The calls that people make first, in the words of the beta, against a provider that no longer understands them;
and what /metrics shows of them."""

from __future__ import annotations

import json

import books
from conftest import Node, Stack

GA_ONLY = {"response.output_text.delta", "response.output_text.done", "conversation.item.added"}


def test_a_beta_client_finishes_a_turn(stack: Stack, node: Node) -> None:
    (line,) = node.run("beta.mjs", URL=f"{stack.realtime}?model=gpt-realtime")
    done = json.loads(line)
    assert done["status"] == "completed"
    assert "error" not in done["events"]
    assert {"response.text.delta", "response.text.done"} <= set(done["events"])
    assert not GA_ONLY & set(done["events"])
    assert done["usage"]["output_tokens"] > 0


def test_the_exchange_that_is_typed_by_hand(stack: Stack, node: Node) -> None:
    done, closed = map(json.loads, node.run("exchange.mjs", URL=f"{stack.realtime}?model=voice"))
    assert done["status"] == "completed"
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]
    assert done["extensions"] == ""
    assert closed == {"code": 1000}


def test_token_usage_by_direction_and_model(stack: Stack, node: Node) -> None:
    node.run("exchange.mjs", URL=f"{stack.realtime}?model=gpt-realtime")
    stack.gateway.wait_for(lambda: books.of_metrics(stack.metrics()) == books.of_ledger(stack.ledger()))
    book = books.of_metrics(stack.metrics())
    models = {model for model, _ in book}
    assert "gpt-realtime" in models
    assert all(book[model, direction] > 0 for model in models for direction in ("input", "output"))
    assert "gen_ai_client_token_usage_bucket{" in stack.metrics()
