"""Chat completions under guardrails, with the vendor's own client and the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from dataplane.guardrails.judge import Answer
from dataplane.process.beside import Beside
from dataplane.server import Limits
from dataplane.table import Guardrail
from simulator.server import Simulator
from tests.dataplane.http.guarding import CARD, Bench, asked, cards, guarded, guardrail, held
from tests.dataplane.realtime.wires import until
from tests.dataplane.rig import BEARER, CLIENT_KEY, Rig, backend, provider, table
from tests.dataplane.upstream import says, upstream_of

CHAT = "/v1/chat/completions"
IN: dict[str, Any] = {"output": False}
OUT: dict[str, Any] = {"input": False}


@asynccontextmanager
async def standing(
    url: str, *guardrails: Guardrail, says: Any = lambda _: Answer(), limits: Limits | None = None
) -> AsyncIterator[tuple[Rig, Bench, openai.AsyncOpenAI]]:
    async with guarded(table(backend(provider(url)), held(*guardrails)), says, limits) as (rig, bench):
        sdk = openai.AsyncOpenAI(api_key=CLIENT_KEY, base_url=f"{rig.url}/v1", max_retries=0)
        async with sdk:
            yield rig, bench, sdk


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def streamed(sdk: openai.AsyncOpenAI, text: str, **options: Any) -> tuple[list[str], Any]:
    """The pieces of an answer, and the finish reason."""
    pieces, finish = [], None
    stream = await sdk.chat.completions.create(model="gpt-5", messages=said(text), stream=True, **options)
    async for chunk in stream:
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = finish or choice.finish_reason
    return pieces, finish


# -- what is asked --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "the Swordfish"},
        {"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "swordfish"}]},
        {"role": "tool", "tool_call_id": "c", "content": '{"found": "sword\\u0066ish"}'},
    ],
)
async def test_a_blocked_request_reaches_no_provider_and_is_not_billed(
    upstream: Simulator, message: Any, stream: bool
) -> None:
    async with standing(upstream.url, guardrail(reason="Not that word.", **IN)) as (rig, bench, sdk):
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(model="gpt-5", messages=[message], stream=stream)
        await rig.settled()
    assert refused.value.type == "guardrail_error"
    assert refused.value.code == "guardrail_blocked"
    assert refused.value.body["message"] == "Guardrail blocked this request: Not that word."  # type: ignore[index]
    assert bench.hits == [("no-secrets", "words[0]", "input")]
    assert not upstream.requests
    assert not rig.meter.turns
    assert rig.meter.requests == [("ai/voice", "ai/voice", 400, "guardrail_blocked")]


async def test_a_masked_request_is_sent_with_labels(upstream: Simulator) -> None:
    async with standing(upstream.url, cards("mask", **IN)) as (_, bench, sdk):
        reply = await sdk.chat.completions.create(model="gpt-5", messages=said(f"pay with {CARD} now"))
    sent = orjson.loads(upstream.requests[-1].body)
    assert sent["messages"] == said("pay with [CARD] now")
    assert "4111" not in reply.choices[0].message.content  # type: ignore[operator]
    assert bench.hits == [("no-cards", "card", "input")]
    assert bench.abouts[0][1:3] == ("ai/voice", "ai/voice")
    assert bench.abouts[0].model == "gpt-5"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("changes", [{"action": "flag"}, {"action": "block", "shadow": True}])
async def test_what_only_looks_on_changes_nothing_and_is_told(
    upstream: Simulator, changes: dict[str, Any], stream: bool
) -> None:
    ask = {"model": "gpt-5", "messages": said("a swordfish"), "stream": stream}
    async with (
        standing(upstream.url) as (plain, _, _),
        standing(upstream.url, guardrail(**changes), asked("flag"), says=lambda _: Answer(rule="fish")) as (
            rig,
            bench,
            _,
        ),
        aiohttp.ClientSession() as client,
    ):
        shown = []
        for each in (plain, rig):
            async with client.post(each.url + CHAT, json=ask, headers=BEARER) as response:
                assert response.status == 200
                shown.append(await response.text())
        await until(lambda: len(set(bench.hits)) >= 4, "both directions are told")
    assert shown[0].count("swordfish") == shown[1].count("swordfish")
    assert len(shown[0]) == len(shown[1])
    assert sorted(set(bench.hits)) == [
        ("elsewhere", "fish", "input"),
        ("elsewhere", "fish", "output"),
        ("no-secrets", "words[0]", "input"),
        ("no-secrets", "words[0]", "output"),
    ]


@pytest.mark.parametrize("guardrails", [(asked("flag", **IN),), (asked("flag", **OUT), guardrail("flag", **OUT))])
async def test_what_nobody_looked_at_for_want_of_room_is_counted(
    upstream: Simulator, guardrails: tuple[Guardrail, ...]
) -> None:
    async with standing(upstream.url, *guardrails) as (rig, bench, sdk):
        running = rig.gateway._running
        assert running is not None
        running.services = replace(running.services, beside=Beside(0))
        reply = await sdk.chat.completions.create(model="gpt-5", messages=said("a swordfish"))
        await rig.settled()
    assert "swordfish" in str(reply.choices[0].message.content)
    assert (bench.hits, bench.texts) == ([], [])
    assert sorted(bench.missed) == sorted((each.name, "busy") for each in guardrails)


async def test_more_texts_than_somebody_is_asked_about_are_counted(upstream: Simulator) -> None:
    many: Any = [{"role": "user", "content": f"number {number}"} for number in range(1001)]
    async with standing(upstream.url, asked("flag", **IN)) as (_, bench, sdk):
        await sdk.chat.completions.create(model="gpt-5", messages=many)
    assert ("elsewhere", "too_large") in bench.missed


async def test_others_are_asked_about_each_text_once(upstream: Simulator) -> None:
    def judged(text: str) -> Answer:
        return Answer(rule="name", text=text.replace("Ann", "[NAME]")) if "Ann" in text else Answer()

    messages: Any = [*said("Ann is here"), {"role": "assistant", "content": "hello"}, *said("Ann is here")]
    async with standing(upstream.url, asked("mask", **IN), says=judged) as (_, bench, sdk):
        await sdk.chat.completions.create(model="gpt-5", messages=messages)
    sent = orjson.loads(upstream.requests[-1].body)
    assert [each["content"] for each in sent["messages"]] == ["[NAME] is here", "hello", "[NAME] is here"]
    assert bench.texts == ["Ann is here", "hello"]


@pytest.mark.parametrize(("fails_open", "status"), [(False, 400), (True, 200)])
async def test_where_nobody_judges_it_is_open_or_closed_as_the_policy_says(
    upstream: Simulator, fails_open: bool, status: int
) -> None:
    down = Answer(failed="timeout")
    async with (
        standing(upstream.url, asked(open=fails_open), says=lambda _: down) as (rig, _, _),
        aiohttp.ClientSession() as client,
        client.post(rig.url + CHAT, json={"model": "gpt-5", "messages": said("hello")}, headers=BEARER) as response,
    ):
        assert response.status == status
    assert len(upstream.requests) == (status == 200)


async def test_what_cannot_be_read_surely_is_refused(upstream: Simulator) -> None:
    twice = {"role": "tool", "tool_call_id": "c", "content": '{"a": "swordfish", "a": "b"}'}
    async with standing(upstream.url, guardrail(**IN)) as (_, bench, sdk):
        with pytest.raises(openai.BadRequestError, match="a key appears twice"):
            await sdk.chat.completions.create(model="gpt-5", messages=[twice])  # type: ignore[list-item]
    assert bench.hits == [("no-secrets", "unreadable", "input")]
    assert not upstream.requests


async def test_long_requests_are_judged_up_to_a_limit(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail(**IN)) as (_, _, sdk):
        with pytest.raises(openai.BadRequestError, match="no-secrets: keywords"):
            await sdk.chat.completions.create(model="gpt-5", messages=said("a " * 10_000 + "swordfish"))
        with pytest.raises(openai.BadRequestError, match="characters, the most"):
            await sdk.chat.completions.create(model="gpt-5", messages=said("a " * 3_000_000))
    assert not upstream.requests


# -- what is answered -----------------------------------------------------------------------------------------------


async def test_a_blocked_reply_is_an_error_and_counts_as_used(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail(**OUT)) as (rig, bench, sdk):
        with pytest.raises(openai.BadRequestError) as refused:
            await sdk.chat.completions.create(model="gpt-5", messages=said("say swordfish"))
        await rig.settled()
    assert refused.value.code == "guardrail_blocked"
    assert "You said" not in refused.value.message
    assert [hit[2] for hit in bench.hits] == ["output"]
    [turn] = rig.meter.turns
    assert (turn.status, turn.response_id) == ("completed", upstream.ledger.turns[0]["id"])
    assert turn.tokens is not None


async def test_a_masked_reply_has_labels(upstream: Simulator) -> None:
    async with standing(upstream.url, cards("mask", **OUT)) as (rig, _, sdk):
        reply = await sdk.chat.completions.create(model="gpt-5", messages=said(f"say {CARD}"))
        await rig.settled()
    assert reply.choices[0].message.content == "You said “say [CARD]”. Thank you, I have noted it."
    assert len(rig.meter.turns) == 1


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
@pytest.mark.parametrize("scenario", ["", "odd-bytes:1", "crlf,odd-bytes:5"])
@pytest.mark.parametrize("remote", [False, True])
async def test_a_masked_stream_has_labels_and_is_metered(
    upstream: Simulator, scenario: str, options: dict[str, Any], remote: bool
) -> None:
    more = [asked(**OUT)] if remote else []
    async with standing(upstream.url, cards("mask", **OUT), *more) as (rig, bench, sdk):
        meta = {"metadata": {"scenario": scenario}} if scenario else {}
        pieces, finish = await streamed(sdk, f"say {CARD} twice", **meta, **options)
        await rig.settled()
    assert "".join(pieces) == "You said “say [CARD] twice”. Thank you, I have noted it."
    assert finish == "stop"
    assert bench.texts == (["".join(pieces)] if remote else [])
    [turn] = rig.meter.turns
    assert turn.status == "completed"
    assert turn.tokens is not None


@pytest.mark.parametrize("scenario", ["", "odd-bytes:1"])
async def test_a_blocked_stream_ends_with_an_error_before_the_word(upstream: Simulator, scenario: str) -> None:
    pieces: list[str] = []
    async with standing(upstream.url, guardrail(reason="No.", **OUT)) as (rig, _, sdk):
        meta = {"metadata": {"scenario": scenario}} if scenario else {}
        with pytest.raises(openai.APIError, match="Guardrail blocked this request: No") as refused:  # noqa: PT012
            stream = await sdk.chat.completions.create(
                model="gpt-5", messages=said("say swordfish please"), stream=True, extra_body=meta
            )
            async for chunk in stream:
                pieces += [choice.delta.content or "" for choice in chunk.choices]
        await rig.settled()
    assert refused.value.code == "guardrail_blocked"
    assert "sword" not in "".join(pieces)
    assert "You said".startswith("".join(pieces)[:8])
    [turn] = rig.meter.turns
    assert turn.status == "cancelled"
    assert rig.meter.requests[0][2:] == (200, "guardrail_blocked")


async def test_a_stream_that_others_block_shows_nothing_of_the_text(upstream: Simulator) -> None:
    no = Answer(rule="fish")
    async with (
        standing(upstream.url, asked(**OUT), says=lambda _: no) as (rig, _, _),
        aiohttp.ClientSession() as client,
        client.post(
            rig.url + CHAT, json={"model": "gpt-5", "messages": said("swordfish"), "stream": True}, headers=BEARER
        ) as response,
    ):
        shown = await response.text()
        await rig.settled()
    assert "swordfish" not in shown
    assert "guardrail_blocked" in shown
    assert "[DONE]" not in shown
    [turn] = rig.meter.turns
    assert (turn.status, turn.tokens and turn.tokens.output) == ("cancelled", upstream.ledger.totals["output_tokens"])


async def test_usage_right_behind_a_block_is_metered_although_the_client_left_at_it() -> None:
    left = asyncio.Event()
    usage = {"id": "c1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}}

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        blocked, rest = sse(piece("Hello "), piece("swordfish, "), usage).split(b'data: {"id":"c1","choices":[],')
        writer.write(blocked)
        await left.wait()
        writer.write(b'data: {"id":"c1","choices":[],' + rest)
        await writer.drain()

    async with upstream_of(script) as url, standing(url, guardrail(**OUT)) as (rig, _, _):
        async with (
            aiohttp.ClientSession() as client,
            client.post(
                rig.url + CHAT, json={"model": "m", "messages": said("x"), "stream": True}, headers=BEARER
            ) as response,
        ):
            async for line in response.content:
                if b"guardrail_blocked" in line:
                    break
            response.close()
        left.set()
        await rig.settled()
    [turn] = rig.meter.turns
    assert turn.tokens is not None
    assert (turn.status, turn.tokens.input, turn.tokens.output) == ("cancelled", 7, 9)


def sse(*chunks: Any, more: bytes = b"") -> bytes:
    events = more + b"".join(
        b"data: " + (each if isinstance(each, bytes) else orjson.dumps(each)) + b"\n\n" for each in chunks
    )
    head = f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {len(events)}\r\n\r\n"
    return head.encode() + events


def piece(text: str, index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "c1",
        "model": "m",
        "choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish, **more}],
    }


async def shown_of(answer: bytes, *guardrails: Guardrail) -> tuple[int, str]:
    async with (
        upstream_of(says(answer)) as url,
        standing(url, *guardrails) as (rig, _, _),
        aiohttp.ClientSession() as client,
        client.post(rig.url + CHAT, json={"model": "m", "messages": said("x"), "stream": True}, headers=BEARER) as got,
    ):
        return got.status, await got.text()


@pytest.mark.parametrize("action", ["block", "mask"])
async def test_arguments_of_tools_are_judged_whole_and_as_what_they_mean(action: str) -> None:
    written = '{"what": "\\u0034111 1111 1111 1111"}'
    calls = [
        {
            **piece(""),
            "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 1, "function": {"arguments": each}}]}}],
        }
        for each in (written[:15], written[15:])
    ]
    _, shown = await shown_of(sse(*calls, piece("", finish="tool_calls"), b"[DONE]"), cards(action, **OUT))
    assert "1111" not in shown
    if action == "block":
        assert "guardrail_blocked" in shown
        return
    *_, last, finish, _, _ = shown.split("\n\n")
    [choice] = orjson.loads(last.removeprefix("data: "))["choices"]
    assert choice["delta"] == {"tool_calls": [{"index": 1, "function": {"arguments": '{"what":"[CARD]"}'}}]}
    assert "tool_calls" in finish


async def test_what_comes_whole_is_judged_whole_and_keeps_its_place() -> None:
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "look_up", "arguments": ""}}
    site = {"type": "url_citation", "url_citation": {"title": "a swordfish", "url": "http://a/"}}
    chunk = {"index": 0, "delta": {"role": "assistant", "tool_calls": [call], "annotations": [site]}}
    filtered = {"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
    answer = sse({"choices": [{**chunk, **filtered}]}, piece("", finish="stop"), b"[DONE]")
    _, shown = await shown_of(answer, guardrail("mask", **OUT))
    first, *rest = [orjson.loads(line[5:]) for line in shown.splitlines() if line.startswith("data: {")]
    site["url_citation"] = {"title": "a [no-secrets]", "url": "http://a/"}
    assert first == {"choices": [{**chunk, **filtered}]}
    assert len(rest) == 1


async def test_token_by_token_copies_do_not_show_what_is_withheld() -> None:
    token: Any = {"logprobs": {"content": [{"token": "swordfish", "logprob": 0.0}]}}
    _, shown = await shown_of(sse(piece("a sword"), piece("fish", **token), b"[DONE]"), guardrail("mask", **OUT))
    assert "swordfish" not in shown
    assert '"content":"a"' in shown
    assert "[no-secrets]" in shown


async def test_the_last_chunk_may_have_text_and_choices_are_apart() -> None:
    answer = sse(piece("a sword"), piece("b sword", 1), piece("fish", finish="stop"), piece("man", 1, finish="stop"))
    _, shown = await shown_of(answer, guardrail("mask", **OUT))
    texts = ["", ""]
    for line in shown.splitlines():
        if line.startswith("data:"):
            [choice] = orjson.loads(line[5:])["choices"]
            texts[choice["index"]] += choice["delta"]["content"]
    assert texts == ["a [no-secrets]", "b swordman"]


@pytest.mark.parametrize(
    "answer",
    [
        sse(b"swordfish"),
        sse(piece("sword", finish="stop"), piece("fish")),
        b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n"swordfish"',
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 9\r\n\r\nswordfish",
    ],
)
async def test_answers_that_cannot_be_judged_are_refused(answer: bytes) -> None:
    async with (
        upstream_of(says(answer)) as url,
        standing(url, guardrail(**OUT), limits=Limits(event=1000, reply=1000)) as (rig, _, _),
        aiohttp.ClientSession() as client,
        client.post(rig.url + CHAT, json={"model": "m", "messages": said("x"), "stream": True}, headers=BEARER) as got,
    ):
        shown = await got.text()
    assert "guardrail_blocked" in shown
    assert "fish" not in shown


async def test_what_only_a_lenient_reader_takes_for_data_is_left_out() -> None:
    odd = b"event: swordfish\n\n: ping\n\n\xef\xbb\xbfdata: swordfish\n\n"
    answer = sse(piece("hello"), b"[DONE]", more=odd)
    _, shown = await shown_of(answer, guardrail(**OUT))
    assert "swordfish" not in shown
    assert ": ping\n\n" in shown
    assert shown.endswith("data: [DONE]\n\n")


async def test_whatever_is_judged_here_is_timed_once_for_each_message(upstream: Simulator) -> None:
    async with standing(upstream.url, guardrail()) as (rig, _, sdk):
        await streamed(sdk, "hello")
        await rig.settled()
        with pytest.raises(openai.BadRequestError):
            await sdk.chat.completions.create(model="gpt-5", messages=said("swordfish"))
    assert [(route, direction) for route, direction, _ in rig.meter.judged] == [
        ("ai/voice", "input"),
        ("ai/voice", "output"),
        ("ai/voice", "input"),
    ]
    assert all(0 < seconds < 60 for *_, seconds in rig.meter.judged)
    async with standing(upstream.url, guardrail("flag", **OUT), asked("flag")) as (rig, _, sdk):
        await sdk.chat.completions.create(model="gpt-5", messages=said("hello"))
        await until(lambda: rig.meter.judged, "what only looks on is timed too")
    assert [direction for _, direction, _ in rig.meter.judged] == ["output"]


WHOLE = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{"choices": "sword'


@pytest.mark.parametrize(("answer", "status"), [(sse(piece("a sword")), 0), (WHOLE, 502)])
async def test_what_is_withheld_when_the_provider_breaks_off_is_never_shown(answer: bytes, status: int) -> None:
    """Of a stream something was shown."""
    cut = answer.replace(b"content-length: ", b"content-length: 9")
    async with (
        upstream_of(says(cut)) as url,
        standing(url, guardrail(**OUT)) as (rig, _, _),
        aiohttp.ClientSession() as client,
    ):
        shown = b""
        try:
            ask = {"model": "m", "messages": said("x"), "stream": True}
            async with client.post(rig.url + CHAT, json=ask, headers=BEARER) as response:
                assert response.status == (status or 200)
                async for part in response.content.iter_any():
                    shown += part
        except aiohttp.ClientPayloadError:
            assert not status
        else:
            assert status
        await rig.settled()
    assert b"sword" not in shown
    assert [turn.status for turn in rig.meter.turns] == ["failed"]
