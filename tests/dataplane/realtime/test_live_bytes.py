"""Any bytes on either leg: what is right arrives exactly, what is wrong ends in a documented Close."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from dataplane.realtime import frames
from dataplane.realtime.endings import ENDINGS
from tests.dataplane.realtime.wires import CREATED, MASK, Pair, Peer, calm, dial, gateway, handshake, pair, upstreams
from tests.dataplane.rig import backend, provider, table
from tests.integration.cutter import cutter

SIZES = (0, 1, 20, 125, 126, 127, 5000, 65_535, 65_536, 70_000)


def spoken(rng: Random, count: int, *, client: bool) -> list[tuple[int, bytes]]:
    """Frames (opcode, payload) of which none is read, and some that are."""
    said: list[tuple[int, bytes]] = []
    for _ in range(count):
        filling = bytes([rng.choice(b"ABCabc012+/")]) * rng.choice(SIZES)
        if client:
            kind = rng.choice((b"input_audio_buffer.append", b"conversation.item.create", b"unknown.event"))
            said.append((frames.TEXT, b'{"type":"%s","audio":"%s"}' % (kind, filling)))
        elif rng.random() < 0.3:
            said.append((frames.BINARY, filling))
        else:
            kind = rng.choice((b"response.output_audio.delta", b"rate_limits.updated", b"session.updated"))
            said.append((frames.TEXT, b'{"type":"%s","delta":"%s"}' % (kind, filling)))
    return said


async def exchanged(peer: Peer, says: list[tuple[int, bytes]], hears: int) -> list[tuple[int, bytes]]:
    """Send all of these while so many frames are received."""

    async def send() -> None:
        for opcode, payload in says:
            peer.send(payload, opcode)
            await peer.writer.drain()

    sending = asyncio.create_task(send())
    heard = [found for _ in range(hears) if (found := await peer.frame()) is not None]
    await sending
    return heard


@pytest.mark.parametrize("seed", range(4))
async def test_both_ways_at_once_cut_at_random(seed: int) -> None:
    rng = Random(seed)
    up, down = spoken(rng, 40, client=True), spoken(rng, 40, client=False)
    first, last = up[:7], up[7:]
    async with upstreams() as upstream, cutter(int(upstream.url.split(":")[2][:-3]), rng, pieces=3000) as far_port:
        served = table(backend(provider(f"http://127.0.0.1:{far_port}/v1")))
        async with gateway(served) as rig, cutter(rig.gateway.port, rng, pieces=3000) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            client = Peer(reader, writer, masks=True)
            client.write(handshake() + b"".join(frames.frame(code, payload, MASK) for code, payload in first))
            glued = [(frames.TEXT, CREATED), *down[:5]]
            far = await upstream.opened(glued=b"".join(frames.frame(*each) for each in glued))
            assert (await client.answer()).status == 101
            heard, far_heard = await asyncio.gather(
                exchanged(client, last, len(down) + 1), exchanged(far, down[5:], len(up))
            )
            assert heard == [(frames.TEXT, CREATED), *down]
            assert far_heard == up
            client.close(4001, "done")
            assert await client.closed() == (4001, "done")
            assert await far.closed() == (4001, "done")
            client.reset()
            far.reset()


# -- bytes that nobody should send ---------------------------------------------------------------------------------

OURS = {ending.code for ending in ENDINGS}
payloads = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [b"{}", b'{"type":"response.create"}', b'{"type":"response.done","response":{}}', CREATED, b"[", b""]
    ),
    st.sampled_from(SIZES).map(lambda size: b'{"type":"input_audio_buffer.append","audio":"' + b"A" * size + b'"}'),
)


@st.composite
def bytes_of_a_peer(draw: st.DrawFn, *, masked: bool) -> bytes:
    """Frames, some of them damaged."""
    data = bytearray()
    for _ in range(draw(st.integers(1, 6))):
        opcode = draw(st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10, 3, 15]))
        made = bytearray(frames.frame(opcode, draw(payloads), MASK if masked else None))
        if draw(st.booleans()) and draw(st.booleans()):
            made[draw(st.integers(0, min(len(made), 12) - 1))] ^= draw(st.integers(1, 255))
        data += made
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


async def thrown(it: Pair, data: bytes, *, by_client: bool) -> None:
    """One side says this and finishes; the session must end as documented."""
    client, far = await it.session()
    said, hears = (client, far) if by_client else (far, client)
    said.write(data)
    said.writer.write_eof()
    code, _ = await hears.closed()
    legal = code in OURS | frames.LEGAL_CODES | {1005, 1006} or 3000 <= code < 5000
    assert legal, code
    with suppress(ConnectionError):
        hears.close(1000)
    await asyncio.gather(said.gone(), hears.gone())
    said.reset()
    hears.reset()


def fuzz(data: bytes, *, by_client: bool) -> None:
    async def run() -> None:
        async with pair() as it, calm(it.rig):
            await thrown(it, data, by_client=by_client)

    with capture_logs() as logged:
        asyncio.run(run())
    assert not [line for line in logged if line["log_level"] in ("error", "critical", "warning")]


@settings(max_examples=30, deadline=None)
@given(bytes_of_a_peer(masked=True))
def test_any_bytes_of_a_client(data: bytes) -> None:
    fuzz(data, by_client=True)


@settings(max_examples=30, deadline=None)
@given(bytes_of_a_peer(masked=False))
def test_any_bytes_of_an_upstream(data: bytes) -> None:
    fuzz(data, by_client=False)


@settings(max_examples=20, deadline=None)
@given(
    st.binary(max_size=300).filter(lambda data: b"\r\n\r\n" not in data),
    st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 101 "]),
)
def test_any_bytes_instead_of_the_101(data: bytes, start: bytes) -> None:
    async def run() -> None:
        async with pair() as it, calm(it.rig):
            client = await dial(it.rig)
            client.write(handshake())
            far = await it.upstream.arrival()
            await far.head()
            far.write(start + data + b"\r\n\r\n")
            far.writer.write_eof()
            answer = await client.answer()
            assert 400 <= answer.status < 600
            assert answer.error["code"] in (
                "upstream_protocol_error",
                "upstream_refused",
                "upstream_credential_rejected",
            )
            client.reset()

    with capture_logs() as logged:
        asyncio.run(run())
    assert not logged
