"""A gateway at work, and what a collector hears of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from dataplane.metering.instruments import Instruments
from dataplane.metering.meter import Meter
from dataplane.metering.prices import PriceBook
from dataplane.metering.records import FanOut
from dataplane.server import AddressPolicy, Gateway
from dataplane.table import HeaderOps, HeaderValue, PolicySet, Table, Transformation, Variable
from dataplane.telemetry.facade import Telemetry
from simulator.server import Simulator
from tests.dataplane import rig
from tests.dataplane.telemetry.collector import Collector, Value, attributes
from tests.integration.talker import Talker

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=hush-hush", "baggage": "user=hush-hush"}
SAID = "My-grandmother-sings"


@dataclass
class Stand:
    gateway: Gateway
    telemetry: Telemetry
    upstream: Simulator

    @property
    def chat(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}/v1/chat/completions"

    def realtime(self, query: str = "model=gpt-realtime") -> str:
        return f"ws://127.0.0.1:{self.gateway.port}/v1/realtime?{query}"

    async def over(self) -> None:
        """Stop, and export everything."""
        await self.gateway.stop()
        await asyncio.to_thread(self.telemetry.shutdown)

    def fields(self) -> list[tuple[str, str]]:
        """Of the last request that reached the provider."""
        return [(name.lower(), value) for name, value in self.upstream.requests[-1].headers]


@asynccontextmanager
async def standing(policies: PolicySet = rig.REQUIRED) -> AsyncIterator[Stand]:
    instruments = Instruments()
    telemetry = Telemetry(instruments)
    meter = Meter(instruments, PriceBook(), FanOut(*telemetry.records))
    gateway = Gateway(meter=meter, tracer=telemetry.tracer, addresses=AddressPolicy(allow_loopback=True))
    async with Simulator() as upstream:
        served: Table = rig.table(rig.backend(rig.provider(upstream.url + "/v1")), policies)
        meter.load(served)
        gateway.load(served, rig.SECRETS)
        await gateway.start("127.0.0.1", 0)
        stand = Stand(gateway, telemetry, upstream)
        try:
            yield stand
        finally:
            await stand.over()


async def completed(stand: Stand, headers: dict[str, str], said: str = SAID) -> dict[str, object]:
    body = {**rig.ASK, "messages": [{"role": "user", "content": said}]}
    async with aiohttp.ClientSession() as http, http.post(stand.chat, json=body, headers=headers) as reply:
        assert reply.status == 200
        answer: dict[str, object] = await reply.json()
        return answer


async def test_a_chat_completion_is_one_span_below_the_clients(collector: Collector) -> None:
    async with standing() as stand:
        answer = await completed(stand, {**rig.BEARER, **TRACED})
    [span] = collector.spans()
    assert (span.name, span.kind) == ("chat gpt-5", Span.SPAN_KIND_CLIENT)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    found = attributes(span.attributes)
    usage = answer["usage"]
    assert isinstance(usage, dict)
    assert found["gen_ai.response.id"] == answer["id"]
    assert found["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert found["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert span.start_time_unix_nano < span.end_time_unix_nano


async def test_a_strangers_chat_completion_is_a_trace_of_its_own(collector: Collector) -> None:
    async with standing(rig.OPEN) as stand:
        await completed(stand, TRACED)
    [span] = collector.spans()
    assert (span.trace_id.hex() == TRACE, span.parent_span_id) == (False, b"")
    assert [link.trace_id.hex() for link in span.links] == [TRACE]


async def test_a_turn_has_a_record_with_the_numbers_of_its_span(collector: Collector) -> None:
    async with standing() as stand:
        await completed(stand, rig.BEARER)
    [span], [record] = collector.spans(), collector.records()
    of_span, of_record = attributes(span.attributes), attributes(record.attributes)
    assert record.event_name == "tidegate.turn"
    assert of_record["tidegate.id"] == of_span["tidegate.turn.id"]
    assert of_record["tidegate.response_id"] == of_span["gen_ai.response.id"]


async def test_a_provider_never_sees_the_clients_trace(collector: Collector) -> None:
    async with standing() as stand:
        await completed(stand, {**rig.BEARER, **TRACED})
        assert not {name for name, _ in stand.fields()} & set(TRACED)
        async with connect(stand.realtime(), additional_headers={**rig.BEARER, **TRACED}) as socket:
            await heard(socket, "session.created")
        assert not {name for name, _ in stand.fields()} & set(TRACED)


async def test_passthrough_keeps_the_clients_trace(collector: Collector) -> None:
    async with standing() as stand, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{stand.gateway.port}/v1/models"
        async with http.get(url, headers={**rig.BEARER, **TRACED}) as reply:
            assert reply.status == 200
        assert set(TRACED.items()) <= set(stand.fields())


async def test_a_policy_may_pass_the_clients_trace_on(collector: Collector) -> None:
    asked = (Variable(source="request.header", name="traceparent"),)
    change = Transformation(policy="ai/trace", request=HeaderOps(set=(HeaderValue(name="traceparent", value=asked),)))
    async with standing(rig.REQUIRED.model_copy(update={"transformations": (change,)})) as stand:
        await completed(stand, {**rig.BEARER, **TRACED})
        assert ("traceparent", TRACED["traceparent"]) in stand.fields()
        async with connect(stand.realtime(), additional_headers={**rig.BEARER, **TRACED}) as socket:
            await heard(socket, "session.created")
        assert ("traceparent", TRACED["traceparent"]) in stand.fields()


async def heard(socket: ClientConnection, kind: str) -> dict[str, object]:
    """The next event of a kind."""
    async with asyncio.timeout(10):
        while True:
            event: dict[str, object] = json.loads(await socket.recv())
            if event["type"] == kind:
                return event


async def said(socket: ClientConnection, text: str) -> str:
    """The id of the response to it."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send(json.dumps({"type": "response.create"}))
    response = (await heard(socket, "response.done"))["response"]
    assert isinstance(response, dict)
    return str(response["id"])


def turns(collector: Collector) -> dict[Value, Span]:
    """By the provider's id."""
    found = collector.named("realtime_inference gpt-realtime")
    return {attributes(span.attributes)["gen_ai.response.id"]: span for span in found}


async def test_a_session_is_a_handshake_and_one_linked_span_a_turn(collector: Collector) -> None:
    async with standing() as stand:
        async with connect(stand.realtime(), additional_headers={**rig.BEARER, **TRACED}) as socket:
            session = socket.response.headers["x-tidegate-request-id"] if socket.response else ""
            ids = [await said(socket, SAID) for _ in range(3)]
        billed = {turn["id"]: turn for turn in stand.upstream.ledger.turns}
    [handshake], [dial] = collector.named("GET ai/voice"), collector.named("dial openai")
    assert (handshake.trace_id.hex(), handshake.parent_span_id.hex()) == (TRACE, SPAN)
    assert dial.parent_span_id == handshake.span_id
    assert attributes(dial.attributes)["server.port"] == stand.upstream.port
    found = attributes(handshake.attributes)
    assert (found["http.response.status_code"], found["tidegate.session.id"]) == (101, session)
    spans = turns(collector)
    assert list(spans) == ids
    assert len({span.trace_id for span in spans.values()} | {handshake.trace_id}) == 4
    for response, span in spans.items():
        [link] = span.links
        assert (link.trace_id, link.span_id) == (handshake.trace_id, handshake.span_id)
        found, usage = attributes(span.attributes), billed[response]["usage"]
        assert isinstance(usage, dict)
        assert found["gen_ai.usage.input_tokens"] == usage["input_tokens"]
        assert found["gen_ai.usage.output_tokens"] == usage["output_tokens"]
        audio = usage["output_token_details"]["audio_tokens"]
        assert (found["gen_ai.usage.audio.output_tokens"], audio > 0) == (audio, True)
        assert (found["tidegate.session.id"], found["tidegate.turn.trigger"]) == (session, "client")
        assert isinstance(found["tidegate.first_audio_ms"], float)
        events = {event.name: event.time_unix_nano for event in span.events}
        assert set(events) == {"tidegate.prompted", "tidegate.began", "tidegate.first_audio"}
        moments = [span.start_time_unix_nano, *events.values(), span.end_time_unix_nano]
        assert moments == sorted(moments)
    assert [record.event_name for record in collector.records()] == ["tidegate.turn"] * 3 + ["tidegate.session.ended"]


async def test_a_spoken_turn_and_its_transcription_are_spans(collector: Collector) -> None:
    async with standing() as stand:
        async with connect(stand.realtime(), additional_headers=rig.BEARER, max_size=None) as socket:
            await Talker(socket, Random(1)).vad()
        billed = {turn["id"]: turn["usage"] for turn in stand.upstream.ledger.turns}
    [handshake], [turn] = collector.named("GET ai/voice"), turns(collector).values()
    [heard] = [span for span in collector.spans() if span.name.startswith("transcription ")]
    assert [link.span_id for span in (turn, heard) for link in span.links] == [handshake.span_id] * 2
    found = attributes(turn.attributes)
    assert found["tidegate.turn.trigger"] == "voice"
    usage = billed[found["gen_ai.response.id"]]
    assert isinstance(usage, dict)
    audio = usage["input_token_details"]["audio_tokens"]
    assert (found["gen_ai.usage.audio.input_tokens"], audio > 0) == (audio, True)
    assert found["tidegate.session.id"] == attributes(heard.attributes)["tidegate.session.id"]


async def test_a_turn_that_was_cut_off_says_by_whom(collector: Collector) -> None:
    async with (
        standing() as stand,
        connect(stand.realtime(), additional_headers=rig.BEARER, max_size=None) as socket,
    ):
        talker = Talker(socket, Random(1))
        await talker.text()
        await talker.cancelled()
        await talker.interrupted()
    found = [attributes(span.attributes).get("tidegate.turn.interrupted_by") for span in turns(collector).values()]
    assert found == [None, "client", "voice"]


async def refused(stand: Stand, query: str) -> None:
    with pytest.raises(InvalidStatus):
        async with connect(stand.realtime(query), additional_headers=rig.BEARER):
            pass


async def test_a_handshake_that_is_refused_here_says_why(collector: Collector) -> None:
    async with standing() as stand:
        await refused(stand, "model=a&model=b")
    [span] = collector.spans()
    found = attributes(span.attributes)
    assert (found["http.response.status_code"], found["error.type"]) == (400, "invalid_value")
    assert span.status.code == Status.STATUS_CODE_UNSET


async def test_a_handshake_that_no_provider_takes_says_why(collector: Collector) -> None:
    async with standing() as stand:
        await stand.upstream.stop()
        await refused(stand, "model=gpt-realtime")
    [span], [dial] = collector.named("GET ai/voice"), collector.named("dial openai")
    found = attributes(span.attributes)
    assert (found["http.response.status_code"], found["error.type"]) == (502, "upstream_unreachable")
    assert attributes(dial.attributes)["error.type"] == "upstream_unreachable"
    assert {span.status.code, dial.status.code} == {Status.STATUS_CODE_ERROR}


async def test_neither_keys_nor_content_are_exported(collector: Collector) -> None:
    """Not in spans, not in records, not in metrics: every byte is searched."""
    spoken: list[str] = []
    async with standing() as stand:
        answer = await completed(stand, {**rig.BEARER, **TRACED, "x-secret": "hush-hush", "User-Agent": "hush-hush"})
        async with connect(
            stand.realtime("model=gpt-realtime&note=hush-hush"), additional_headers={**rig.BEARER, **TRACED}
        ) as socket:
            await said(socket, SAID)
            await socket.send(json.dumps({"type": "response.create", "response": {"instructions": SAID}}))
            spoken.append(str((await heard(socket, "response.output_audio_transcript.done"))["transcript"]))
            await heard(socket, "response.done")
    choices = answer["choices"]
    assert isinstance(choices, list)
    spoken.append(choices[0]["message"]["content"])
    exported = collector.everything()
    assert {path for path, _ in collector.bodies} == {"/v1/traces", "/v1/logs", "/v1/metrics"}
    assert b"ci-bot" in exported
    for secret in (rig.CLIENT_KEY, rig.UPSTREAM_KEY, SAID, "hush-hush", *spoken):
        assert secret
        assert secret.encode() not in exported


async def test_a_silent_collector_holds_nobody_up(silent: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "1")
    async with standing() as stand:
        await completed(stand, rig.BEARER)
        for _ in range(2):  # a batch of spans and one of records are on their way
            assert await asyncio.to_thread(silent.arrived.acquire, timeout=10)
        for _ in range(5):
            await completed(stand, rig.BEARER)
        await stand.gateway.stop()
        assert not silent.released.is_set()
        silent.released.set()
    assert len(silent.spans()) == len(silent.records()) == 6
