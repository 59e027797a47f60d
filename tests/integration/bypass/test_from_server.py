"""What models say: nothing that is blocked or masked reaches the client, in no event and however it is cut."""

from __future__ import annotations

import pytest

from tests.integration.bypass.disguises import CUTS, DISGUISES, WORD
from tests.integration.bypass.sessions import (
    ACTIONS,
    AFTER,
    BAD,
    BLOCKED,
    GOOD,
    Action,
    Heard,
    begun,
    guarded,
    guardrail,
    heard,
)
from tests.integration.bypass.shapes import ANSWERS, SERVER, Event

BETA = [False, True]


async def answered(
    action: Action, events: list[Event], disguise: str = "as it is", *, beta: bool = False, **changes: object
) -> tuple[Heard, Heard]:
    """What the client hears where the upstream says this, all in one write; and what the upstream is told."""
    async with guarded(guardrail(action, **changes)) as it, begun(it, beta=beta) as session:
        session.answer(*(DISGUISES[disguise](event, None) for event in events))
        client = await heard(session.client, AFTER)
        session.client.close()
        return client, await heard(session.upstream, {"event_id": None})


def check_blocked(client: Heard) -> None:
    assert WORD not in client.text
    (error,) = client.of("error")
    assert error["error"]["type"] == "guardrail_error"  # type: ignore[index]
    assert error["error"]["message"] == BLOCKED  # type: ignore[index]
    assert client.close == (1011, BLOCKED)


@pytest.mark.parametrize("beta", BETA)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_block_of_an_answer(answer: str, cut: str, beta: bool) -> None:
    client, _ = await answered("block", ANSWERS[answer](BAD, CUTS[cut]), beta=beta)
    check_blocked(client)


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", SERVER)
async def test_block_of_an_event(shape: str, disguise: str) -> None:
    client, _ = await answered("block", SERVER[shape](BAD), disguise)
    check_blocked(client)


@pytest.mark.parametrize("beta", BETA)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_refused_turn(answer: str, cut: str, beta: bool) -> None:
    """The session goes on; the response is cancelled, ends as OpenAI ends one that it filters, and is deleted."""
    events = ANSWERS[answer](BAD, CUTS[cut])
    client, upstream = await answered("block", events, beta=beta, refuse_turn=True)
    assert WORD not in client.text
    (error,) = client.of("error")
    assert error["error"]["type"] == "guardrail_error"  # type: ignore[index]
    assert client.close is None
    (done,) = client.of("response.done")
    response = done["response"]
    assert isinstance(response, dict)
    assert response["status"] == "incomplete"
    assert response["status_details"] == {"type": "incomplete", "reason": "content_filter"}
    assert response["output"] == []
    assert [event["item_id"] for event in upstream.of("conversation.item.delete")] == ["item_9"]


@pytest.mark.parametrize("beta", BETA)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_mask_of_an_answer(answer: str, cut: str, beta: bool) -> None:
    client, _ = await answered("mask", ANSWERS[answer](BAD, CUTS[cut]), beta=beta, audio="pass")
    assert WORD not in client.text
    assert "[no-travel]" in client.text
    assert client.of("error") == []
    assert client.close is None


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", SERVER)
async def test_mask_of_an_event(shape: str, disguise: str) -> None:
    client, _ = await answered("mask", SERVER[shape](BAD), disguise, audio="pass")
    assert WORD not in client.text
    assert "[no-travel]" in client.text
    assert client.close is None


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("shape", SERVER)
async def test_flag(shape: str, disguise: str) -> None:
    client, _ = await answered("flag", SERVER[shape](BAD), disguise)
    assert client.events == SERVER[shape](BAD)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shape", SERVER)
async def test_no_event_is_stopped_that_says_nothing_bad(shape: str, action: Action) -> None:
    client, _ = await answered(action, SERVER[shape](GOOD))
    assert joined(client.events) == joined(SERVER[shape](GOOD))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_is_stopped_that_says_nothing_bad(answer: str, cut: str, action: Action) -> None:
    """It may come in other pieces; what it says, and in which order, is the same."""
    events = ANSWERS[answer](GOOD, CUTS[cut])
    client, _ = await answered(action, events)
    assert joined(client.events) == joined(events)


def joined(events: list[Event]) -> list[Event]:
    """With the pieces of each stream put together, where it ends."""
    found: list[Event] = []
    open_streams: dict[str, Event] = {}
    for event in events:
        kind = str(event["type"])
        if kind.endswith(".delta") and isinstance(event["delta"], str):
            stream = open_streams.setdefault(kind, {**event, "delta": "", "event_id": ""})
            stream["delta"] = str(stream["delta"]) + event["delta"]
        elif kind.endswith(".done") and (begun := open_streams.pop(kind.removesuffix("done") + "delta", None)):
            found += [begun, event]
        else:
            found.append(event)
    return [*found, *open_streams.values()]
