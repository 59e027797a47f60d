"""A session under a guardrail, between a client and an upstream of which the test says every byte."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Literal, NamedTuple

from dataplane.realtime import frames
from dataplane.table import Guardrail, Keywords, PolicySet
from tests.dataplane.realtime.wires import MASK, PATH, Pair, Peer, handshake, pair
from tests.dataplane.rig import REQUIRED
from tests.integration.bypass.disguises import WORD, compact
from tests.integration.bypass.shapes import Event

Action = Literal["block", "mask", "flag"]
ACTIONS: tuple[Action, ...] = ("block", "mask", "flag")
BAD, GOOD = f"I go to {WORD} tomorrow", "I go to helsinki tomorrow"
MASKED = BAD.replace(WORD, "[no-travel]")
BLOCKED = "Guardrail blocked this request: no-travel: keywords"
BETA = {"openai-beta": "realtime=v1"}
LAST: Event = {"type": "input_audio_buffer.clear", "event_id": "last"}
"""What a client says behind all else."""
AFTER: Event = {"type": "rate_limits.updated", "event_id": "after", "rate_limits": []}
"""What an upstream says behind all else."""


def guardrail(action: Action, **changes: object) -> Guardrail:
    first = Guardrail(policy="ai/words", name="no-travel", keywords=Keywords(words=(WORD,)), action=action)
    return first.model_copy(update=changes)


class Session(NamedTuple):
    client: Peer
    upstream: Peer

    def over(self) -> None:
        """Both ends vanish, so that nobody waits for anybody."""
        self.client.reset()
        self.upstream.reset()

    def say(self, *wires: bytes) -> None:
        """The client says all this in one write, and LAST behind it."""
        self.client.write(b"".join(wires) + frames.frame(frames.TEXT, compact(LAST), MASK))

    def answer(self, *wires: bytes) -> None:
        """The upstream says all this in one write, and AFTER behind it."""
        self.upstream.write(b"".join(wires) + frames.frame(frames.TEXT, compact(AFTER)))


class Heard(NamedTuple):
    """What one end was sent, up to the last thing that the other said, or to Close."""

    events: list[Event]
    close: tuple[int, str] | None
    binary: list[bytes]

    @property
    def text(self) -> str:
        """All strings in all of it, and the pieces of each stream put together."""
        pieces: dict[object, str] = {}
        for event in self.events:
            if isinstance(delta := event.get("delta"), str):
                stream = event["type"], event.get("item_id")
                pieces[stream] = pieces.get(stream, "") + delta
        said = [*strings(self.events), *pieces.values(), *map(bytes.decode, self.binary)]
        return "\n".join([*said, *(each for text in said for each in strings(_json(text)))])

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.get("type") == kind]


def strings(value: object) -> Iterator[str]:
    """Every string in a value, keys too, and in what is JSON in it."""
    if isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            yield from strings(_json(value))
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def _json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, (dict, list)) else None


async def heard(peer: Peer, last: Event) -> Heard:
    """Read to the last event, or to Close, or until the connection is gone."""
    found = Heard([], None, [])
    while (frame := await peer.frame()) is not None:
        opcode, payload = frame
        if opcode == frames.CLOSE:
            return found._replace(close=(int.from_bytes(payload[:2], "big"), payload[2:].decode()))
        if opcode == frames.BINARY:
            found.binary.append(payload)
        elif opcode == frames.TEXT:
            event: Event = json.loads(payload)
            if event.get("event_id") == last["event_id"]:
                return found
            found.events.append(event)
    return found


@asynccontextmanager
async def guarded(*guardrails: Guardrail) -> AsyncIterator[Pair]:
    policies: PolicySet = REQUIRED.model_copy(update={"guardrails": guardrails})
    async with pair(policies=policies) as it:
        yield it


@asynccontextmanager
async def begun(it: Pair, *, beta: bool = False) -> AsyncIterator[Session]:
    """A session after `session.created`."""
    client = await it.dial()
    client.write(handshake(PATH, BETA if beta else {}))
    upstream = await it.upstream.opened()
    assert (await client.answer()).status == 101
    assert (await client.event())["type"] == "session.created"
    session = Session(client, upstream)
    try:
        yield session
    finally:
        session.over()
