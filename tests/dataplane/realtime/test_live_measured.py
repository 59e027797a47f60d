"""What is measured of sessions: bytes and messages, how long users wait, spans of turns, the list of what is live."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from random import Random

import pytest
from structlog.testing import capture_logs

from dataplane.metering.prices import Cost
from dataplane.metering.usage import NO_TOKENS, Usage
from dataplane.realtime import frames
from dataplane.server import Limits
from dataplane.table import Price
from dataplane.tracing import Timing
from simulator.server import Simulator
from tests.dataplane.realtime.wires import MASK, Pair, Peer, Tls, Tracer, ask, calm, gateway, handshake, pair, until
from tests.dataplane.rig import CLIENT_KEY, UPSTREAM_KEY, Remembering, backend, provider, table

USAGE = b'{"input_tokens":7,"output_tokens":5,"input_token_details":{"text_tokens":7}}'


def created(name: str) -> bytes:
    return b'{"type":"response.created","response":{"id":"%s"}}' % name.encode()


def spoken(name: str) -> bytes:
    return b'{"type":"response.output_audio.delta","response_id":"%s","delta":"AAAA"}' % name.encode()


def done(name: str, status: str = "completed", usage: bytes = USAGE) -> bytes:
    return b'{"type":"response.done","response":{"id":"%s","status":"%s","usage":%s}}' % (
        name.encode(),
        status.encode(),
        usage,
    )


async def said(peer: Peer, *payloads: bytes, heard_by: Peer) -> None:
    """One side says this, and the other has heard it."""
    for payload in payloads:
        peer.send(payload)
        assert await heard_by.frame() is not None


async def bye(client: Peer, far: Peer) -> None:
    client.close()
    await client.closed()
    await far.closed()
    await far.gone()
    client.reset()


# -- traffic ------------------------------------------------------------------------------------------------------


def sayings(rng: Random, kind: bytes) -> Iterator[bytes]:
    for _ in range(60):
        yield b'{"type":"%s","delta":"%s"}' % (kind, b"A" * rng.choice((0, 3, 100, 4000, 70_000)))


@pytest.mark.parametrize("ping", [0.02, 20.0])
async def test_bytes_and_messages_are_counted_exactly(ping: float, tls: Tls) -> None:
    """Those behind the handshake, on both legs; whether they are told in parts or all at the end."""
    async with pair(Limits(ping=ping), tls=tls) as it, calm(it.rig):
        client, far = await it.session()
        hearing = [asyncio.ensure_future(peer.answering()) for peer in (client, far)]
        up, down = (list(sayings(Random(seed), kind)) for seed, kind in ((1, b"x.append"), (2, b"x.delta")))
        for each, other in zip(up, down, strict=True):
            client.send(each)
            far.send(other)
            far.send(b"?", frames.PING)
            await asyncio.gather(client.writer.drain(), far.writer.drain())
            await asyncio.sleep(0.002)
        client.close()
        heard, far_heard = await asyncio.gather(*hearing)
        far.close()
        await client.gone()
        await far.gone()
        client.reset()
    texts = [[payload for opcode, payload in each if opcode == frames.TEXT] for each in (heard, far_heard)]
    assert texts == [down, up]
    assert it.rig.meter.carried == {
        ("client", "received"): client.wrote,
        ("client", "sent"): client.got,
        ("client", "messages"): len(up),
        ("upstream", "received"): far.wrote,
        ("upstream", "sent"): far.got,
        ("upstream", "messages"): len(down) + 1,  # session.created
    }


async def test_bytes_glued_to_the_handshakes_count(tls: Tls) -> None:
    async with pair(tls=tls) as it, calm(it.rig):
        client = await it.dial()
        early = frames.frame(frames.TEXT, b'{"type":"input_audio_buffer.clear"}', MASK)
        client.write(handshake() + early)
        glued = frames.frame(frames.TEXT, b'{"type":"session.created"}') + frames.frame(frames.TEXT, b'{"type":"x"}')
        far = await it.upstream.opened(glued=glued)
        assert (await client.answer()).status == 101
        assert await far.frame() == (frames.TEXT, b'{"type":"input_audio_buffer.clear"}')
        client.wrote, far.wrote = len(early), len(glued)
        await bye(client, far)
    carried = it.rig.meter.carried
    assert (carried["client", "received"], carried["client", "sent"]) == (client.wrote, client.got)
    assert (carried["upstream", "received"], carried["upstream", "sent"]) == (far.wrote, far.got)
    assert (carried["client", "messages"], carried["upstream", "messages"]) == (1, 2)


async def test_traffic_is_told_while_the_session_runs() -> None:
    async with pair(Limits(ping=0.02)) as it, calm(it.rig):
        client, far = await it.session()
        await said(client, b'{"type":"input_audio_buffer.clear"}', heard_by=far)
        await until(lambda: it.rig.meter.carried["client", "messages"] == 1, "it is told")
        assert it.rig.meter.closed == []
        client.reset()
        far.reset()


# -- turns --------------------------------------------------------------------------------------------------------


def in_order(timing: Timing) -> bool:
    moments = (timing.prompted, timing.began, timing.first_audio, timing.ended)
    known = [moment for moment in moments if moment is not None]
    return known == sorted(known)


async def test_a_turn_that_the_client_asks_for() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        before = time.time()
        await said(client, b'{"type":"response.create"}', heard_by=far)
        await asyncio.sleep(0.05)
        await said(far, created("r1"), spoken("r1"), spoken("r1"), done("r1"), heard_by=client)
        await bye(client, far)
    ((trigger, seconds),) = it.rig.meter.first_audios
    ((usage, timing, span),) = it.tracer.turns
    assert trigger == timing.trigger == "client"
    assert (usage.response_id, span) == ("r1", usage.session)
    assert timing.prompted is not None
    assert timing.first_audio is not None
    assert timing.first_audio - timing.prompted == pytest.approx(seconds, abs=1e-5)
    assert 0.05 - 0.001 <= seconds <= time.time() - before
    assert in_order(timing)
    assert before - 0.01 <= timing.prompted <= timing.ended <= time.time() + 0.01


async def test_a_turn_that_the_users_silence_begins() -> None:
    stopped = b'{"type":"input_audio_buffer.speech_stopped","item_id":"i1","audio_end_ms":900}'
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        await said(far, stopped, created("r1"), spoken("r1"), done("r1"), heard_by=client)
        await bye(client, far)
    assert [trigger for trigger, _ in it.rig.meter.first_audios] == ["voice"]
    ((_, timing, _),) = it.tracer.turns
    assert timing.trigger == "voice"
    assert in_order(timing)


async def test_turns_without_a_figure() -> None:
    """One that nobody prompted, one that says nothing aloud, and one whose beginning was never told."""
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        await said(far, created("r1"), spoken("r1"), done("r1"), heard_by=client)
        await said(client, b'{"type":"response.create"}', heard_by=far)
        await said(far, created("r2"), done("r2"), done("r3"), heard_by=client)
        await bye(client, far)
    assert it.rig.meter.first_audios == []
    first, second, third = (timing for _, timing, _ in it.tracer.turns)
    assert (first.prompted, first.first_audio is None) == (None, False)
    assert (second.prompted is None, second.first_audio) == (False, None)
    assert third == Timing(began=third.ended, ended=third.ended)


async def test_one_that_is_refused_is_not_timed_for_another() -> None:
    refusal = b'{"type":"error","error":{"code":"conversation_already_has_active_response","message":"x"}}'
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        await said(client, b'{"type":"response.create"}', heard_by=far)
        await said(far, created("r1"), heard_by=client)
        await said(client, b'{"type":"response.create"}', heard_by=far)
        await said(far, refusal, done("r1"), heard_by=client)
        await asyncio.sleep(0.05)
        between = time.time() - 0.01
        await said(client, b'{"type":"response.create"}', heard_by=far)
        await said(far, created("r2"), done("r2"), heard_by=client)
        await bye(client, far)
    prompted = it.tracer.turns[1][1].prompted
    assert prompted is not None
    assert prompted > between


async def test_turns_that_are_asked_for_at_once_are_told_apart() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        await said(client, b'{"type":"response.create"}', heard_by=far)
        await asyncio.sleep(0.05)
        between = time.time() - 0.01
        await said(client, b'{"type":"response.create"}', heard_by=far)
        answers = (created("r1"), created("r2"), spoken("r2"), spoken("r1"), done("r2"), done("r1"))
        far.write(b"".join(frames.frame(frames.TEXT, each) for each in answers))  # and they are read at once
        for _ in answers:
            await client.event()
        await bye(client, far)
    prompted = {usage.response_id: timing.prompted for usage, timing, _ in it.tracer.turns}
    assert prompted["r1"] is not None
    assert prompted["r2"] is not None
    assert prompted["r1"] < between < prompted["r2"]
    assert len(it.rig.meter.first_audios) == 2


@pytest.mark.parametrize(("reason", "by"), [("turn_detected", ["voice"]), ("client_cancelled", ["client"]), ("x", [])])
async def test_interruptions(reason: str, by: list[str]) -> None:
    cancelled = (
        b'{"type":"response.done","response":{"id":"r1","status":"cancelled",'
        b'"status_details":{"type":"cancelled","reason":"%s"},"usage":%s}}' % (reason.encode(), USAGE)
    )
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        await said(far, created("r1"), cancelled, heard_by=client)
        await bye(client, far)
    assert it.rig.meter.interruptions == by


async def test_transcriptions_are_traced_too() -> None:
    transcribed = b'{"type":"conversation.item.input_audio_transcription.completed","item_id":"i1","usage":%s}'
    usage = b'{"type":"duration","seconds":3}'
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        await said(far, transcribed % usage, heard_by=client)
        await bye(client, far)
    ((usage_, timing, span),) = it.tracer.turns
    assert (usage_.operation, span) == ("transcription", usage_.session)
    assert timing.began == timing.ended


async def test_what_a_whole_conversation_tells(upstream: Simulator) -> None:
    """With the simulator, which speaks: each answer has a figure, and the sums of the record are those of the turns."""
    async with gateway(table(backend(provider(upstream.url + "/v1")))) as rig, calm(rig):
        client = await Pair(rig, None).dial()  # type: ignore[arg-type]
        client.write(handshake())
        assert (await client.answer()).status == 101
        for _ in range(3):
            client.send(b'{"type":"response.create"}')
            while (await client.event())["type"] != "response.done":
                pass
        client.close()
        await client.closed()
        client.reset()
    assert [trigger for trigger, _ in rig.meter.first_audios] == ["client"] * 3
    assert all(0 <= seconds < 60 for _, seconds in rig.meter.first_audios)
    (summary,) = rig.meter.closed
    assert summary.turns == 3
    assert summary.tokens.output == sum(turn.tokens.output for turn in rig.meter.turns if turn.tokens)


# -- what is live -------------------------------------------------------------------------------------------------


async def test_what_is_live_is_shown_with_neither_content_nor_keys() -> None:
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        await said(client, b'{"type":"response.create","response":{"instructions":"tell nobody"}}', heard_by=far)
        await said(far, created("r1"), done("r1"), created("r2"), heard_by=client)
        text = b'{"type":"response.output_text.delta","response_id":"r2","delta":"a secret"}'
        await said(far, text, done("r2", usage=b"null"), heard_by=client)
        (shown,) = it.rig.gateway.sessions()
        assert shown["tokens"] == {"input_text": 7, "output_unknown": 5}
        assert shown["estimated_tokens"]
        assert (shown["turns"], shown["ending"]) == (2, None)
        sizes = {"client": (client.wrote, client.got), "upstream": (far.wrote, far.got)}
        assert shown["bytes"] == {side: {"received": got, "sent": sent} for side, (got, sent) in sizes.items()}
        for secret in ("secret", "tell nobody", CLIENT_KEY, UPSTREAM_KEY):
            assert secret not in json.dumps(shown)
        await said(far, created("r3"), heard_by=client)
        assert it.rig.gateway.end_session(str(shown["id"]))
        (ending,) = it.rig.gateway.sessions()
        assert ending["ending"] == "operator"
        client.reset()
        far.reset()
    (summary,) = it.rig.meter.closed
    assert (summary.turns, summary.tokens.input_text) == (3, 7)
    assert summary.estimated == sum(
        (turn.tokens for turn in it.rig.meter.turns if turn.estimated and turn.tokens),
        start=NO_TOKENS,
    )


async def test_what_is_estimated_costs_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def priced(self: Remembering, usage: Usage, own: Price | None = None, duration: float | None = None) -> Cost:
        self.turns.append(usage)
        return Cost(Decimal("0.25") if usage.estimated else Decimal(2), "priced", "")

    monkeypatch.setattr(Remembering, "turn", priced)
    text = b'{"type":"response.output_text.delta","response_id":"r3","delta":"Hello"}'
    async with pair() as it, calm(it.rig):
        client, far = await it.session()
        (before,) = it.rig.gateway.sessions()
        assert (before["cost_usd"], before["estimated_cost_usd"]) == (None, None)
        messages = (
            created("r1"),
            done("r1"),
            created("r2"),
            done("r2"),
            created("r3"),
            text,
            done("r3", usage=b"null"),
        )
        await said(far, *messages, heard_by=client)
        (shown,) = it.rig.gateway.sessions()
        assert (shown["cost_usd"], shown["estimated_cost_usd"]) == ("4", "0.25")
        await bye(client, far)
    (summary,) = it.rig.meter.closed
    assert (summary.cost, summary.estimated_cost) == (Decimal(4), Decimal("0.25"))


async def test_broken_telemetry_ends_nothing_and_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a tracer that raises, nor what the meter only tells; usage is counted all the same."""
    calls: list[str] = []

    def breaks(owner: type[object], name: str) -> None:
        def fails(self: object, *_: object, **__: object) -> None:
            calls.append(name)
            raise RuntimeError("telemetry is broken")

        monkeypatch.setattr(owner, name, fails)

    for name in ("handshake", "turn"):
        breaks(Tracer, name)
    for name in ("handshake", "first_audio", "interrupted", "traffic"):
        breaks(Remembering, name)
    cancelled = (
        b'{"type":"response.done","response":{"id":"r1","status":"cancelled",'
        b'"status_details":{"type":"cancelled","reason":"turn_detected"},"usage":%s}}' % USAGE
    )
    with capture_logs() as logs:
        async with pair(Limits(ping=0.05)) as it, calm(it.rig):
            assert (await ask(it.rig, "/v1/realtime?model=a&model=b")).status == 400
            client, far = await it.session()
            await said(client, b'{"type":"response.create"}', heard_by=far)
            await said(far, created("r1"), spoken("r1"), cancelled, heard_by=client)
            await until(lambda: calls.count("traffic") > 0, "traffic is told")
            await bye(client, far)
    assert set(calls) == {"handshake", "turn", "first_audio", "interrupted", "traffic"}
    assert [(turn.response_id, turn.status) for turn in it.rig.meter.turns] == [("r1", "cancelled")]
    assert [summary.reason for summary in it.rig.meter.closed] == ["client_closed"]
    assert [line["log_level"] for line in logs if "telemetry failed" in str(line["event"])] == ["error"]
