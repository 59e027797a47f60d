"""Chat completions through a gateway, against the simulator."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from dataplane.server import Limits
from dataplane.table import Model, ModelAllow, PolicySet, Price, Target, Timeouts
from simulator.server import Simulator
from tests.dataplane.realtime.wires import until
from tests.dataplane.rig import ASK, BEARER, CLIENT_KEY, REQUIRED, UPSTREAM_KEY, Rig, backend, provider, running, table
from tests.dataplane.upstream import upstream_of

CHAT = "/v1/chat/completions"


def ask(**changes: object) -> dict[str, object]:
    return {**ASK, **changes}


def scenario(name: str, **changes: object) -> dict[str, object]:
    return ask(metadata={"scenario": name}, **changes)


async def stream_of(response: aiohttp.ClientResponse) -> list[dict[str, Any]]:
    """The chunks of a stream, which must end with `[DONE]`."""
    text = await response.text()
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [orjson.loads(line) for line in lines]


async def test_a_json_completion_is_relayed_and_metered(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
        assert response.status == 200
        reply = await response.json()
        assert response.headers["x-tidegate-request-id"]
        assert response.headers["x-ratelimit-limit-requests"] == "10000"
    await rig.settled()
    [turn] = rig.meter.turns
    assert turn.response_id == reply["id"]
    assert turn.tokens is not None
    assert (turn.tokens.input, turn.tokens.output) == (
        reply["usage"]["prompt_tokens"],
        reply["usage"]["completion_tokens"],
    )
    assert (turn.status, turn.operation, turn.caller.key, turn.caller.team) == (
        "completed",
        "chat",
        "ci-bot",
        "support",
    )
    assert rig.meter.requests == [("ai/voice", "ai/voice", 200, "")]


async def test_the_provider_sees_its_own_key_and_nothing_of_the_clients(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    sent = {**BEARER, "OpenAI-Organization": "org-1", "X-Forwarded-For": "10.1.2.3", "x_api_key": "odd", "X-Own": "1"}
    async with client.post(
        URL(rig.url + CHAT + "?a=%2F&key=client-key-1f2e3d4c5b6a", encoded=True), json=ASK, headers=sent
    ) as response:
        assert response.status == 200
    received = upstream.requests[-1]
    names = [name.lower() for name, _ in received.headers]
    assert ("authorization", f"Bearer {UPSTREAM_KEY}") in [(n.lower(), v) for n, v in received.headers]
    assert names.count("authorization") == 1
    assert not {"openai-organization", "x-forwarded-for", "x_api_key"} & set(names)
    assert "x-own" in names
    assert received.path == CHAT + "?a=%2F"


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("name", ["", "odd-bytes:1", "odd-bytes:7", "crlf", "crlf,odd-bytes:5"])
async def test_a_stream_is_metered_and_shows_usage_only_to_who_asked(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession, name: str, wanted: bool
) -> None:
    options: dict[str, object] = {"stream_options": {"include_usage": True}} if wanted else {}
    body = scenario(name, stream=True, **options)
    async with client.post(rig.url + CHAT, json=body, headers=BEARER) as response:
        assert response.content_type == "text/event-stream"
        chunks = await stream_of(response)
    await rig.settled()
    [billed] = upstream.ledger.turns
    [turn] = rig.meter.turns
    assert turn.status == "completed"
    assert turn.tokens is not None
    assert turn.tokens.input > 0
    assert turn.tokens.output > 0
    assert [chunk for chunk in chunks if not chunk["choices"]] == ([chunks[-1]] if wanted else [])
    assert (billed["id"], billed["status"]) == (turn.response_id, "completed")


async def test_other_stream_options_are_kept(rig: Rig, upstream: Simulator, client: aiohttp.ClientSession) -> None:
    body = ask(stream=True, stream_options={"include_obfuscation": False})
    async with client.post(rig.url + CHAT, json=body, headers=BEARER) as response:
        await stream_of(response)
    sent = orjson.loads(upstream.requests[-1].body)
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}


async def test_the_model_is_renamed_and_priced_by_its_public_name(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    price = Price(input_text="1")
    models = (Model(name="fast", targets=(Target(provider="openai", model="gpt-5-mini"),), price=price),)
    async with running(table(backend(provider(upstream.url), models=models))) as rig:
        async with client.post(rig.url + CHAT, json=ask(model="fast"), headers=BEARER) as response:
            assert response.status == 200
        await rig.settled()
    assert orjson.loads(upstream.requests[-1].body)["model"] == "gpt-5-mini"
    assert (rig.meter.turns[0].public_model, rig.meter.turns[0].request_model) == ("fast", "gpt-5-mini")
    assert rig.meter.prices == [price]


async def test_the_provider_sees_the_model_that_was_authorised(
    rig: Rig, upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    body = b'{"model":"hidden","messages":[{"role":"user","content":"x"}],"model":"gpt-5"}'
    async with client.post(rig.url + CHAT, data=body, headers=BEARER) as response:
        assert response.status == 200
    assert upstream.requests[-1].body.count(b'"model"') == 1
    assert orjson.loads(upstream.requests[-1].body)["model"] == "gpt-5"


@pytest.mark.parametrize("status", [429, 503])
async def test_busy_upstreams_are_passed_on_as_they_were(rig: Rig, client: aiohttp.ClientSession, status: int) -> None:
    async with client.post(rig.url + CHAT, json=scenario(f"status:{status}"), headers=BEARER) as response:
        assert response.status == status
        assert response.headers["Retry-After"] == "1"
        assert "error" in await response.json()
    await rig.settled()
    assert rig.meter.turns == []


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_other_errors_keep_their_status_and_body(rig: Rig, client: aiohttp.ClientSession, status: int) -> None:
    async with client.post(rig.url + CHAT, json=scenario(f"status:{status}"), headers=BEARER) as response:
        assert response.status == status
        assert "error" in await response.json()


async def test_a_refusal_of_our_own_credential_is_a_502(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    bad = provider(upstream.url)
    async with running(table(backend(bad)), secrets={"upstream@1": "sk-wrong-upstream"}) as rig:
        async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
            assert response.status == 502
            error = (await response.json())["error"]
        assert error["code"] == "upstream_credential_rejected"
        assert "sk-wrong" not in str(error)


async def test_a_silent_upstream_is_a_504(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    timeouts = Timeouts(response=0.2)
    async with running(table(backend(provider(upstream.url), timeouts=timeouts))) as rig:
        async with client.post(rig.url + CHAT, json=scenario("stall"), headers=BEARER) as response:
            assert response.status == 504
            assert (await response.json())["error"]["code"] == "upstream_timeout"
        await rig.settled()
        assert [turn.status for turn in rig.meter.turns] == ["failed"]


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_breaks_off_is_cut_for_the_client_too(
    rig: Rig, client: aiohttp.ClientSession, stream: bool
) -> None:
    async with client.post(rig.url + CHAT, json=scenario("drop", stream=stream), headers=BEARER) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    await rig.settled()
    assert [turn.status for turn in rig.meter.turns] == ["failed"]
    assert rig.meter.requests == [("ai/voice", "ai/voice", 200, "upstream_lost")]


@pytest.mark.parametrize("body", [scenario("slow:20", stream=True), scenario("stall")])
async def test_a_client_that_leaves_ends_the_upstream_request(
    rig: Rig, upstream: Simulator, body: dict[str, object]
) -> None:
    before = asyncio.all_tasks()
    payload = orjson.dumps(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nAuthorization: {BEARER['Authorization']}\r\n"
    writer.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
    if body.get("stream"):
        await reader.readuntil(b"data: ")
    else:
        await received(upstream, 1)
    writer.close()
    await rig.settled()
    assert [turn.status for turn in rig.meter.turns] == ["cancelled"]
    assert rig.meter.requests == [("ai/voice", "ai/voice", 499, "client_gone")]
    async with asyncio.timeout(5):
        while upstream.connections or asyncio.all_tasks() - before:
            await asyncio.sleep(0.005)


async def received(upstream: Simulator, count: int) -> None:
    async with asyncio.timeout(5):
        while len(upstream.requests) < count:
            await asyncio.sleep(0.005)


async def test_events_leave_as_they_come(client: aiohttp.ClientSession) -> None:
    """The second event is sent only after the client has seen the first."""
    seen = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        await seen.wait()
        seen.clear()
        writer.write(b'data: {"id":"c1","model":"m","choices":[{}]}\n\n')
        await seen.wait()
        writer.write(b"data: [DONE]\n\n")
        writer.close()

    async with (
        upstream_of(answer) as url,
        running(table(backend(provider(url)))) as rig,
        client.post(rig.url + CHAT, json=ask(stream=True), headers=BEARER) as response,
    ):
        seen.set()  # the head came before any event
        assert (await response.content.readuntil(b"\n\n")).startswith(b"data: {")
        seen.set()
        assert await response.content.readuntil(b"\n\n") == b"data: [DONE]\n\n"


async def test_an_error_inside_a_stream_is_a_failed_turn(client: aiohttp.ClientSession) -> None:
    event = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + event)
        writer.close()

    async with upstream_of(answer) as url, running(table(backend(provider(url)))) as rig:
        async with client.post(rig.url + CHAT, json=ask(stream=True), headers=BEARER) as response:
            assert await response.read() == event
        await rig.settled()
        assert [turn.status for turn in rig.meter.turns] == ["failed"]


async def test_a_reply_over_the_limit_is_relayed_and_counted_as_unmetered(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    async with running(table(backend(provider(upstream.url))), Limits(reply=10)) as rig:
        async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
            assert (await response.json())["usage"]
        await rig.settled()
        assert [turn.tokens for turn in rig.meter.turns] == [None]
        assert rig.meter.lost == ["reply_too_long"]


async def test_upstream_connections_are_reused(rig: Rig, upstream: Simulator, client: aiohttp.ClientSession) -> None:
    for _ in range(5):
        async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
            await response.read()
    assert upstream.connections == 1


@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
async def test_an_upstream_that_closes_behind_each_answer_costs_no_client_an_error(
    client: aiohttp.ClientSession, path: str
) -> None:
    """It does not say that it will: some closes are seen in time, others cross the next request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    async with upstream_of(answer) as url, running(table(backend(provider(url)))) as rig:
        for _ in range(30):
            async with client.post(rig.url + path, json=ASK, headers=BEARER) as response:
                assert (response.status, await response.read()) == (200, b"{}")


async def test_unfinished_bodies_share_a_room(rig: Rig) -> None:
    """Who holds most of it is refused with what comes next; the others are served."""
    room, last = rig.gateway._room, orjson.dumps(ASK)
    room.size, room.fit = 100_000, lambda memory: None  # type: ignore[method-assign]
    small, large = [await _unfinished(rig, b" " * size, last) for size in (30_000, 60_000)]
    await until(lambda: room.held == 90_000, "both are held")
    late = await _unfinished(rig, b" " * 20_000, last)
    await until(lambda: room.held == 50_000, "the largest let go")
    for (reader, writer), status in ((large, b"503"), (small, b"200"), (late, b"200")):
        writer.write(last)
        assert (await reader.readline()).split()[1] == status
        writer.close()
    await until(lambda: room.held == 0, "nothing is held")


async def _unfinished(rig: Rig, body: bytes, last: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A completion that has been asked for, but for the last of the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.gateway.port)
    fields = f"Authorization: {BEARER['Authorization']}\r\nContent-Length: {len(body) + len(last)}"
    writer.write(f"POST {CHAT} HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n".encode() + body)
    return reader, writer


async def test_the_model_of_azures_paths_is_judged_and_sent(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    only = PolicySet(
        authentication=REQUIRED.authentication, models=(ModelAllow(policy="ai/five", patterns=("gpt-5",)),)
    )
    async with running(table(backend(provider(f"{upstream.url}/v1")), only)) as rig:
        for path, body, expected in (
            ("gpt-5", "gpt-4o", 200),  # the body's is not looked at
            ("gpt-4o", "gpt-5", 403),
            ("gpt-4o", "", 403),
        ):
            url = f"{rig.url}/openai/deployments/{path}/chat/completions?api-version=2024-10-21"
            async with client.post(url, json=ask(model=body), headers={"api-key": CLIENT_KEY}) as response:
                assert response.status == expected
    assert [received.path for received in upstream.requests] == [CHAT]
    assert upstream.ledger.turns[-1]["model"] == "gpt-5"
