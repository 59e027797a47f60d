"""The table of endings on the wire: what each leg is told, what is recorded, and that nothing is left behind; with TLS
on either leg, and without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import pytest

from dataplane.realtime import endings, frames
from dataplane.realtime.endings import ENDINGS, Ending
from dataplane.revocation import NOT_ADMITTED
from dataplane.server import Limits
from dataplane.table import CallerLimits, Guardrail, Limit, ModelAllow, OnRevoke, PolicySet, SessionLimits
from dataplane.table.guardrails import Keywords
from tests.dataplane.realtime.wires import MASK, PATH, PATIENCE, Pair, Peer, Tls, calm, pair
from tests.dataplane.rig import CALLERS, REQUIRED, SECRETS

PINGS = Limits(ping=0.1)
SILENT, STALLED = Limits(ping=0.1, silence=0.3), Limits(stall=0.3)
Told = tuple[int, str | None]
"""A Close: code and reason; None is any."""
NO_KEYS = CALLERS.model_copy(update={"keys": ()})
AWAY: Told = (1001, "client went away")
DONE: Told = (1000, "")


@dataclass(frozen=True)
class Row:
    """How a session is brought to its end, and what each side is told: None where nothing can be."""

    ending: Ending
    happens: Callable[[Pair, Peer, Peer], Awaitable[object] | None]
    client: Told | None
    far: Told | None
    limits: Limits = PINGS
    session: SessionLimits | None = None
    policies: PolicySet = REQUIRED
    path: str = PATH
    deaf: str = ""
    """Who reads nothing, and so answers no Ping."""


def nothing(it: Pair, client: Peer, far: Peer) -> None:
    pass


async def flood(peer: Peer) -> None:
    """Send until the connection is gone."""
    payload = audio(30_000)
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionError):
            while not peer.writer.transport.is_closing():
                peer.send(payload)
                await peer.writer.drain()
                await asyncio.sleep(0)


def audio(length: int, tail: bytes = b'"}') -> bytes:
    return b'{"type":"input_audio_buffer.append","audio":"' + b"A" * length + tail


def fragments(count: int) -> bytes:
    heads = [frames.TEXT, *[frames.CONTINUATION] * (count - 1)]
    return b"".join(bytes([head, 0x81]) + MASK + b"x" for head in heads)


def operated(it: Pair, client: Peer, far: Peer) -> None:
    (session,) = it.rig.gateway.sessions()
    assert it.rig.gateway.end_session(str(session["id"]))


def revoked(it: Pair, client: Peer, far: Peer) -> None:
    it.rig.gateway.load(it.rig.gateway.table().model_copy(update={"callers": (NO_KEYS,)}), SECRETS)


def limited(**changes: object) -> PolicySet:
    return REQUIRED.model_copy(update=changes)


NO_SWEETS = Guardrail(policy="ai/few", name="no-sweets", keywords=Keywords(words=("candy",)), action="block")


def fails(it: Pair, client: Peer, far: Peer) -> None:
    def broken(data: bytes) -> object:
        raise RuntimeError("a fault of ours")

    it.live().relay.from_client = broken  # type: ignore[method-assign, assignment]
    client.send(b"{}")


ROWS = [
    Row(endings.CLIENT_CLOSED, lambda it, client, far: client.close(4001, "bye"), (4001, "bye"), (4001, "bye")),
    Row(endings.CLIENT_LOST, lambda it, client, far: client.reset(), None, AWAY),
    Row(endings.CLIENT_SILENT, nothing, None, AWAY, limits=SILENT, deaf="client"),
    Row(endings.CLIENT_STALLED, lambda it, client, far: flood(far), None, AWAY, limits=STALLED, deaf="client"),
    Row(endings.UPSTREAM_CLOSED, lambda it, client, far: far.close(4002, "so"), (4002, "so"), (4002, "so")),
    Row(endings.UPSTREAM_LOST, lambda it, client, far: far.reset(), (1011, None), None),
    Row(endings.UPSTREAM_INVALID, lambda it, client, far: far.write(b"\xff\x00"), (1011, None), (1002, "")),
    Row(endings.UPSTREAM_SILENT, nothing, (1011, None), None, limits=SILENT, deaf="far"),
    Row(
        endings.UPSTREAM_STALLED, lambda it, client, far: flood(client), (1011, None), None, limits=STALLED, deaf="far"
    ),
    Row(endings.PROTOCOL_ERROR, lambda it, client, far: client.write(b"\x81\x02{}"), (1002, None), DONE),
    Row(endings.BAD_UTF8, lambda it, client, far: client.send(b'{"type":"\xff"}'), (1007, None), DONE),
    Row(
        endings.MESSAGE_TOO_BIG,
        lambda it, client, far: client.send(audio(1000)),
        (1009, None),
        DONE,
        session=SessionLimits(max_message=1000),
    ),
    Row(
        endings.AMBIGUOUS_AUDIO,
        lambda it, client, far: client.send(audio(100_000, b'","type":"response.create"}')),
        (1008, None),
        None,  # it is in the middle of a frame
    ),
    Row(
        endings.TOO_MANY_FRAGMENTS,
        lambda it, client, far: client.write(fragments(4)),
        (1009, None),
        DONE,
        session=SessionLimits(max_fragments=3),
    ),
    Row(endings.IDLE, nothing, (1001, "No message passed for 0.3 s."), DONE, session=SessionLimits(idle=0.3)),
    Row(
        endings.DURATION,
        lambda it, client, far: client.send(audio(10)),
        (1001, "The session is 0.3 s old, which is the most it may be."),
        DONE,
        session=SessionLimits(duration=0.3),
    ),
    Row(endings.OPERATOR, operated, (1001, "An operator ended the session."), DONE),
    Row(endings.DRAINING, lambda it, client, far: it.rig.gateway.stop(), (1001, "The gateway is shutting down."), DONE),
    Row(endings.REVOKED, revoked, (1008, NOT_ADMITTED), DONE, session=SessionLimits(on_revoke=OnRevoke.END)),
    Row(
        endings.LIMIT,
        lambda it, client, far: client.send(b'{"type":"response.create"}'),  # to open the session was the only one
        (1008, None),
        DONE,
        policies=limited(
            limits=(
                CallerLimits(
                    policy="ai/few",
                    limits=(Limit(kind="requests", max=1, per="Month"),),
                    reserve=1,
                    end_session=True,
                ),
            )
        ),
    ),
    Row(
        endings.MODEL_NOT_ALLOWED,
        lambda it, client, far: far.send(b'{"type":"response.created","response":{"id":"r1"}}'),
        (1008, None),
        DONE,
        policies=limited(models=(ModelAllow(policy="ai/few", patterns=("whisper-1",)),)),
        path="/v1/realtime?intent=transcription",
    ),
    Row(
        endings.GUARDRAIL,
        lambda it, client, far: client.send(b'{"type":"conversation.item.create","item":{"output":"c\\u0061ndy"}}'),
        (1011, "Guardrail blocked this request: no-sweets: keywords"),
        DONE,
        policies=limited(guardrails=(NO_SWEETS,)),
    ),
    Row(endings.INTERNAL, fails, (1011, None), DONE),
]


def test_every_row_is_here() -> None:
    assert {row.ending for row in ROWS} == {ending for ending in ENDINGS if not ending.reserved}


async def heard(peer: Peer) -> tuple[list[dict[str, object]], tuple[int, str] | None]:
    """What a peer is told that answers Pings and the Close: events, and the Close."""
    events: list[dict[str, object]] = []
    close: tuple[int, str] | None = None
    for opcode, payload in await peer.answering():
        if opcode == frames.CLOSE:
            close = int.from_bytes(payload[:2], "big"), payload[2:].decode()
            peer.write(frames.frame(frames.CLOSE, payload, peer.key))
        elif opcode == frames.TEXT:
            events.append(json.loads(payload))
    await peer.gone()
    return events, close


def told(close: tuple[int, str] | None, expected: Told | None) -> bool:
    if close is None or expected is None:
        return close is expected
    return close[0] == expected[0] and expected[1] in (None, close[1])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.ending.label)
async def test_a_session_ends(row: Row, tls: Tls) -> None:
    async with pair(row.limits, session=row.session, policies=row.policies, tls=tls) as it, calm(it.rig):
        client, far = await it.session(path=row.path)
        peers = {"client": client, "far": far}
        if row.deaf:
            peers[row.deaf].sleep()
        hearing = {name: asyncio.ensure_future(heard(peer)) for name, peer in peers.items() if name != row.deaf}
        happening = row.happens(it, client, far)
        if happening is not None:
            await happening
        for name, hears in hearing.items():
            events, close = await hears
            expected = row.client if name == "client" else row.far
            assert told(close, expected), (name, close)
            if name == "client":
                errors = [event["error"] for event in events if event["type"] == "error"]
                named = [(error["type"], error["code"]) for error in errors]  # type: ignore[index]
                assert named == ([row.ending.event] if row.ending.event else [])
        client.reset()
        far.reset()
    meter = it.rig.meter
    (summary,) = meter.closed
    relayed = row.ending in (endings.CLIENT_CLOSED, endings.UPSTREAM_CLOSED)
    code = row.client[0] if relayed and row.client else row.ending.code
    assert (summary.reason, summary.initiator, summary.close_code) == (row.ending.label, row.ending.initiator, code)
    assert (meter.handshakes, meter.opened) == ([101], 1)
    assert [(done.status, done.code) for done in it.tracer.handshakes] == [(101, "")]
