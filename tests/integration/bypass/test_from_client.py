"""What clients say: nothing that is blocked or masked reaches the upstream, in no event and no disguise."""

from __future__ import annotations

import json

import pytest

from tests.dataplane.realtime.wires import MASK
from tests.integration.bypass.disguises import DISGUISES, REFUSED, WORD, Wire, compact
from tests.integration.bypass.sessions import (
    ACTIONS,
    BAD,
    BLOCKED,
    GOOD,
    LAST,
    Action,
    Heard,
    begun,
    guarded,
    guardrail,
    heard,
)
from tests.integration.bypass.shapes import CLIENT, Event

PLAIN = [name for name, shape in CLIENT.items() if WORD.encode() in compact(shape(BAD))]
"""Those whose text stands in them as it is."""


async def said(action: Action, wire: Wire, event: Event, **changes: object) -> tuple[Heard, Heard]:
    """What upstream and client hear where the client says this."""
    async with guarded(guardrail(action, **changes)) as it, begun(it) as session:
        session.say(wire(event, MASK))
        upstream = await heard(session.upstream, LAST)
        session.client.close()
        return upstream, await heard(session.client, {"event_id": None})


def told(event: Event) -> Event:
    """As the upstream hears it: in GA's words, and without what the gateway writes into updates of the session."""
    ga: Event = json.loads(compact(event).replace(b'"type":"text"', b'"type":"output_text"'))
    session = ga.get("session")
    if not isinstance(session, dict):
        return ga
    session = {name: value for name, value in session.items() if name != "type"}
    return {**ga, "event_id": None, "session": session}


def without_own(events: list[Event]) -> list[Event]:
    """Without the gateway's own update, by which what users say is transcribed."""
    own: Event = {"audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}, "type": "realtime"}
    return [event for event in events if event.get("session") != own]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", CLIENT)
async def test_block(shape: str, disguise: str) -> None:
    upstream, client = await said("block", DISGUISES[disguise], CLIENT[shape](BAD))
    assert WORD not in upstream.text
    (error,) = client.of("error")
    assert error["error"]["type"] == "guardrail_error"  # type: ignore[index]
    assert error["error"]["message"] == BLOCKED  # type: ignore[index]
    assert client.close == (1011, BLOCKED)


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", CLIENT)
async def test_refused_turn(shape: str, disguise: str) -> None:
    upstream, client = await said("block", DISGUISES[disguise], CLIENT[shape](BAD), refuse_turn=True)
    assert without_own(upstream.events) == []
    assert upstream.close is None
    (error,) = client.of("error")
    assert error["error"]["type"] == "guardrail_error"  # type: ignore[index]


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", CLIENT)
async def test_mask(shape: str, disguise: str) -> None:
    upstream, client = await said("mask", DISGUISES[disguise], CLIENT[shape](BAD))
    assert WORD not in upstream.text
    assert "I go to [no-travel] tomorrow" in upstream.text
    assert len(upstream.events) == 1
    assert client.of("error") == []


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", CLIENT)
async def test_flag(shape: str, disguise: str) -> None:
    upstream, client = await said("flag", DISGUISES[disguise], CLIENT[shape](BAD))
    (event,) = upstream.events
    assert told(event) == told(CLIENT[shape](BAD))
    assert client.of("error") == []


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", CLIENT)
async def test_nothing_else_is_stopped(shape: str, disguise: str, action: Action) -> None:
    async with guarded(guardrail(action)) as it, begun(it) as session:
        session.say(DISGUISES[disguise](CLIENT[shape](GOOD), MASK))
        upstream = await heard(session.upstream, LAST)
    assert [told(event) for event in without_own(upstream.events)] == [told(CLIENT[shape](GOOD))]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("disguise", REFUSED)
@pytest.mark.parametrize("shape", PLAIN)
async def test_what_two_readers_may_read_differently_goes_nowhere(shape: str, disguise: str, action: Action) -> None:
    async with guarded(guardrail(action)) as it, begun(it) as session:
        session.say(REFUSED[disguise](CLIENT[shape](BAD), MASK))
        upstream = await heard(session.upstream, LAST)
    assert upstream.binary == []
    assert all(str(event.get("event_id", "")).startswith("event_gw_") for event in upstream.events)
