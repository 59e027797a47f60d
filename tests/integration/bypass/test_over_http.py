"""Chat completions and the Responses API: fields beside messages, input and answers, in which a model is told
something, or tells it; and that no field of the vendor's own client stops a request."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any, NamedTuple

import aiohttp
import orjson
import pytest
from openai.types.chat import completion_create_params as chat_params
from openai.types.responses import response_create_params as responses_params

from dataplane.guardrails.texts import chat_request, responses_request
from dataplane.table import Guardrail, PathType, RouteType
from tests.dataplane.http.guarding import guarded, held
from tests.dataplane.rig import BEARER, backend, provider, table
from tests.dataplane.upstream import says, upstream_of
from tests.integration.bypass.disguises import WORD
from tests.integration.bypass.sessions import ACTIONS, BAD, GOOD, Action, guardrail

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
PATHS = (PathType(suffix=CHAT, type=RouteType.COMPLETIONS), PathType(suffix=RESPONSES, type=RouteType.RESPONSES))
Json = dict[str, Any]
ASKS: dict[str, Json] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
    RESPONSES: {"model": "m", "input": "Hello"},
}
ANSWERS: dict[str, Json] = {
    CHAT: {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": []},
    RESPONSES: {"id": "resp_1", "object": "response", "model": "m", "status": "completed", "output": []},
}


class Crossing(NamedTuple):
    """What came out at both ends."""

    asked: list[Json]
    status: int
    shown: str


async def crossed(path: str, ask: Json, answer: Json | list[Json], *guardrails: Guardrail) -> Crossing:
    """A provider is asked so, and answers this; a list is a stream."""
    asked: list[Json] = []
    streamed = isinstance(answer, list)
    payload = b"".join(b"data: %b\n\n" % orjson.dumps(each) for each in answer) if streamed else orjson.dumps(answer)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        assert length is not None
        asked.append(orjson.loads(await reader.readexactly(int(length[1]))))
        kind = b"text/event-stream" if streamed else b"application/json"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(payload))
        writer.write(head + payload)
        await writer.drain()

    async with (
        upstream_of(script) as url,
        guarded(table(backend(provider(url), paths=PATHS), held(*guardrails))) as (rig, _),
        aiohttp.ClientSession() as client,
        client.post(rig.url + path, json={**ask, "stream": streamed}, headers=BEARER) as response,
    ):
        return Crossing(asked, response.status, await response.text())


SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "description": BAD}}, "required": ["city"]}
NAMED = {"type": "object", "properties": {BAD: {"type": "string"}}}


def _tagged(kind: str, schema: object = SCHEMA) -> Json:
    return {"type": "json_schema", **({"json_schema": {"name": "x", "schema": schema}} if kind == CHAT else {})}


INPUT: dict[str, tuple[str, Json]] = {
    "a template": (CHAT, {"chat_template": "{{ messages }} " + BAD}),
    "a template's variables": (CHAT, {"chat_template_kwargs": {"type": BAD, "data": [BAD]}}),
    "what a template's variables are called": (CHAT, {"chat_template_kwargs": {BAD: True}}),
    "documents": (CHAT, {"documents": [{"id": "1", "data": BAD}]}),
    "a schema to follow": (CHAT, {"guided_json": SCHEMA}),
    "a schema to follow, as text": (CHAT, {"guided_json": orjson.dumps(SCHEMA).decode()}),
    "choices to take one of": (CHAT, {"guided_choice": ["yes", BAD]}),
    "a grammar to follow": (CHAT, {"structured_outputs": {"grammar": f'root ::= "{BAD}"'}}),
    "the shape of a reply": (CHAT, {"response_format": _tagged(CHAT)}),
    "what the fields of a reply are called": (CHAT, {"response_format": _tagged(CHAT, NAMED)}),
    "where the user is": (CHAT, {"web_search_options": {"user_location": {"approximate": {"city": BAD}}}}),
    "a field that nobody knows": (CHAT, {"poem": {"verses": [[{"line": BAD}]]}}),
    "messages in another spelling": (CHAT, {"Messages": [{"role": "user", "content": BAD}]}),
    "the shape of a response": (RESPONSES, {"text": {"format": {**_tagged(RESPONSES), "name": "x", "schema": SCHEMA}}}),
    "a field of a response that nobody knows": (RESPONSES, {"poem": [BAD]}),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("field", INPUT)
async def test_what_a_model_is_told_beside_messages(field: str, action: Action) -> None:
    path, fields = INPUT[field]
    found = await crossed(path, {**ASKS[path], **fields}, ANSWERS[path], guardrail(action, output=False))
    if action == "block":
        assert (found.status, found.asked) == (400, [])
        assert "guardrail_blocked" in found.shown
        return
    assert found.status == 200
    [asked] = found.asked
    assert (WORD in str(asked)) is (action == "flag")
    assert ("[no-travel]" in str(asked)) is (action == "mask")


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_embeds": base64.b64encode(b"vectors").decode()},
        {"Prompt_Embeds": ["dmVjdG9ycw=="]},
        {"messages": [{"role": "user", "content": [{"type": "prompt_embeds", "prompt_embeds": "dmVjdG9ycw=="}]}]},
        {"prompt_token_ids": [1, 2, 3]},
    ],
)
async def test_what_only_the_model_can_read_is_refused(fields: Json) -> None:
    ask = {**ASKS[CHAT], **fields}
    found = await crossed(CHAT, ask, ANSWERS[CHAT], guardrail("block", output=False))
    assert (found.status, found.asked) == (400, [])
    assert (await crossed(CHAT, ask, ANSWERS[CHAT], guardrail("flag", output=False))).status == 200


SPOKEN = {"input_audio": {"data": "AAAA", "format": "wav"}}
SPEECH = [
    (CHAT, "messages", [{"role": "user", "content": [{"type": "input_audio", **SPOKEN}]}]),
    (CHAT, "messages", [{"role": "user", "content": [{"type": "audio_url", "audio_url": {"url": "data:,"}}]}]),
    (RESPONSES, "input", [{"type": "message", "role": "user", "content": [{"type": "input_audio", **SPOKEN}]}]),
]


@pytest.mark.parametrize(("path", "field", "said"), SPEECH)
async def test_speech_that_nobody_transcribes_is_refused(path: str, field: str, said: list[Json]) -> None:
    ask = {**ASKS[path], field: said}
    found = await crossed(path, ask, ANSWERS[path], guardrail("block", output=False))
    assert (found.status, found.asked) == (400, [])
    assert "nobody transcribed" in found.shown
    for other in (guardrail("block", output=False, open=True), guardrail("mask"), guardrail("block", input=False)):
        assert (await crossed(path, ask, ANSWERS[path], other)).status == 200


async def test_what_cannot_be_read_hides_nothing_from_who_looks_on() -> None:
    flags = guardrail("flag", output=False)
    async with (
        upstream_of(says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")) as url,
        guarded(table(backend(provider(url), paths=PATHS), held(flags))) as (rig, bench),
        aiohttp.ClientSession() as client,
    ):
        ask = {"numbers": [1], "model": "m", "messages": [{"role": "user", "content": BAD}]}
        await client.post(rig.url + CHAT, json=ask, headers=BEARER)
    assert bench.hits == [("no-travel", "words[0]", "input")]


OUTPUT: dict[str, tuple[str, Json]] = {
    "sources": (CHAT, {"citations": ["https://a.example/1", BAD]}),
    "results of a search": (CHAT, {"search_results": [{"title": BAD, "url": "https://a.example/"}]}),
    "an error": (CHAT, {"error": {"message": BAD, "code": 502}}),
    "a field that nobody knows": (CHAT, {"poem": {"line": BAD}}),
    "what images were drawn by": (CHAT, {"data": [{"b64_json": "QUFB", "revised_prompt": BAD}]}),
    "why a response failed": (RESPONSES, {"error": {"code": "server_error", "message": BAD}}),
    "a summary of a response's reasoning": (RESPONSES, {"reasoning": {"effort": "low", "summary": BAD}}),
    "a field of a response that nobody knows": (RESPONSES, {"poem": [BAD]}),
}


def _streamed(path: str, answer: Json) -> list[Json]:
    if path == CHAT:
        return [{"id": "c", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}, answer]
    return [{"type": "response.created", "response": ANSWERS[path]}, {"type": "response.failed", "response": answer}]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("field", OUTPUT)
async def test_what_a_model_tells_beside_its_answer(field: str, action: Action, streamed: bool) -> None:
    path, fields = OUTPUT[field]
    whole = {**ANSWERS[path], **fields}
    answer = _streamed(path, whole) if streamed else whole
    found = await crossed(path, ASKS[path], answer, guardrail(action, input=False))
    assert (WORD in found.shown) is (action == "flag")
    assert ("[no-travel]" in found.shown) is (action == "mask")
    assert ("guardrail_blocked" in found.shown) is (action == "block")


@pytest.mark.parametrize("action", ACTIONS)
async def test_what_an_error_in_a_stream_tells(action: Action) -> None:
    event = {"type": "error", "code": "server_error", "message": BAD, "param": None, "sequence_number": 1}
    found = await crossed(RESPONSES, ASKS[RESPONSES], [event], guardrail(action, input=False))
    assert (WORD in found.shown) is (action == "flag")


async def test_what_is_put_in_again_with_what_was_withheld_is_masked_too() -> None:
    """The gateway's own chunk has what the provider's chunks have beside their choices."""
    chunks = [{"id": "c", "poem": BAD, "choices": [{"index": 0, "delta": {"content": f"to {WORD[:4]}"}}]}]
    found = await crossed(CHAT, ASKS[CHAT], chunks, guardrail("mask", input=False))
    assert WORD not in found.shown
    assert found.shown.count("[no-travel]") == 2


LOCATION = {"type": "approximate", "approximate": {"city": GOOD, "country": "FI", "timezone": "Europe/Helsinki"}}
FORMAT = {"name": "trip", "schema": {"type": "object", "properties": {"to": {"type": "string", "description": GOOD}}}}
SHARED: Json = {
    "model": WORD,
    "metadata": {"about": WORD},
    "moderation": {"model": WORD, "policy": {"input": {"mode": "score"}}},
    "parallel_tool_calls": True,
    "prompt_cache_key": WORD,
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
    "prompt_cache_retention": "24h",
    "safety_identifier": WORD,
    "service_tier": "auto",
    "store": False,
    "stream": False,
    "stream_options": {"include_obfuscation": False},
    "temperature": 1.0,
    "tool_choice": {"type": "function", "name": WORD},
    "tools": [{"type": "function", "function": {"name": WORD, "description": WORD, "parameters": {}}}],
    "top_logprobs": 1,
    "top_p": 1.0,
    "user": WORD,
}
FULL: dict[str, Json] = {
    CHAT: {
        **SHARED,
        "messages": [{"role": "user", "content": GOOD}],
        "audio": {"voice": WORD, "format": "wav"},
        "frequency_penalty": 0.5,
        "function_call": {"name": WORD},
        "functions": [{"name": WORD}],
        "logit_bias": {"50256": -100},
        "logprobs": True,
        "max_completion_tokens": 10,
        "max_tokens": 10,
        "modalities": ["text", "audio"],
        "n": 1,
        "prediction": {"type": "content", "content": GOOD},
        "presence_penalty": 0.5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {**FORMAT, "strict": True}},
        "seed": 1,
        "stop": [WORD],
        "verbosity": "low",
        "web_search_options": {"search_context_size": "low", "user_location": LOCATION},
    },
    RESPONSES: {
        **SHARED,
        "access_programs": {"cyber": "standard"},
        "background": False,
        "context_management": [{"type": "compaction", "compact_threshold": 1000}],
        "conversation": None,
        "image": {"context_compression": "auto"},
        "include": ["reasoning.encrypted_content"],
        "input": [{"role": "user", "content": [{"type": "input_text", "text": GOOD}]}],
        "instructions": GOOD,
        "max_output_tokens": 10,
        "max_tool_calls": 1,
        "previous_response_id": None,
        "prompt": {"id": WORD, "version": "2", "variables": {"city": GOOD}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "low", "format": {"type": "json_schema", **FORMAT}},
        "truncation": "auto",
    },
}


def test_the_vendors_client_has_no_other_field() -> None:
    """Add those that are new, and to dataplane/guardrails/fields.py where they are no text."""
    chat = chat_params.CompletionCreateParamsNonStreaming.__annotations__
    responses = responses_params.ResponseCreateParamsNonStreaming.__annotations__
    base = chat_params.CompletionCreateParamsBase.__annotations__
    assert FULL[CHAT].keys() == chat.keys() | base.keys()
    assert FULL[RESPONSES].keys() == responses.keys() | responses_params.ResponseCreateParamsBase.__annotations__.keys()


@pytest.mark.parametrize("path", FULL)
async def test_no_field_of_the_vendors_client_stops_a_request(path: str) -> None:
    """Those that are no text hold the word."""
    blocks = guardrail("block")
    found = await crossed(path, FULL[path], ANSWERS[path], blocks)
    assert found.status == 200
    [asked] = found.asked
    assert {name: asked[name] for name in FULL[path]} == FULL[path]


def test_enumerations_are_nobodys_text() -> None:
    """So nobody is asked about them."""
    told = {GOOD, "trip", "to", "FI", "Europe/Helsinki"}
    assert {place.text for place in chat_request(FULL[CHAT])} == told
    assert {place.text for place in responses_request(FULL[RESPONSES])} == {GOOD, "trip", "to", "2"}
