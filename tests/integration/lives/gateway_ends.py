"""Endings that the gateway makes."""

from __future__ import annotations

from tests.integration.lives.life import Life
from tests.integration.lives.line import Event

FAULT = "fault-injected-here"
"""An event id on which the gateway fails, in tests that arrange it."""

UNSPEAKABLE = "unspeakable"
"""A word that a guardrail blocks, on the guarded road."""


async def _told(life: Life, kind: str, code: str) -> None:
    if not life.attentive:
        return await life.over()
    words: list[Event] = await life.last_words()
    assert [(word["type"], word["code"]) for word in words] == [(kind, code)], f"{life.story}: told {words}"
    return await life.over()


async def by_operator(life: Life) -> None:
    life.story.ends("operator", 1001)
    assert life.host.end_session(life.story.session)
    await _told(life, "session_error", "ended_by_operator")


async def revoked(life: Life) -> None:
    life.story.ends("revoked", 1008)
    life.host.revoke(life.story.session)
    await _told(life, "authentication_error", "access_revoked")


async def idle(life: Life) -> None:
    """On a road where a session may be idle for a short time."""
    life.story.ends("idle", 1001)
    await _told(life, "session_error", "idle_timeout")


async def too_long(life: Life) -> None:
    """On a road where a session may last for a short time."""
    life.story.ends("duration", 1001)
    await _told(life, "session_error", "session_expired")


async def model_not_allowed(life: Life) -> None:
    """On a road where the provider transcribes with a model of its own choice."""
    life.story.ends("model_not_allowed", 1008)
    await life.talker.append(life.rng.randint(1, 4))
    await life.say("input_audio_buffer.commit")
    await _told(life, "permission_error", "model_not_allowed")


async def blocked(life: Life) -> None:
    """On the guarded road, for a word."""
    life.story.ends("guardrail", 1011)
    content = [{"type": "input_text", "text": f"It is {UNSPEAKABLE}."}]
    await life.say("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await _told(life, "guardrail_error", "guardrail_blocked")


async def _ask_for_too_much(life: Life) -> None:
    """Where each turn must be admitted, ask for one that is not. The session is to end, once nothing is under way."""
    life.host.spend(life.story.session)
    await life.say("response.create")
    life.story.asked -= 1  # it is never passed on


async def over_its_limit(life: Life) -> None:
    """What is under way ends by itself."""
    life.story.ends("limit", 1008)
    await _ask_for_too_much(life)
    await _told(life, "rate_limit_error", "limit_exceeded")


async def over_its_limit_in_a_turn(life: Life) -> None:
    """What is under way ends when the client says so."""
    life.story.ends("limit", 1008)
    await _ask_for_too_much(life)
    for turn in life.turns:
        await life.say("response.cancel", response_id=turn)
    life.story.cancels += len(life.turns)
    await _told(life, "rate_limit_error", "limit_exceeded")


async def over_its_limit_for_ever(life: Life) -> None:
    """What is under way does not end: the session goes on, until the client leaves."""
    life.story.ends("client_closed", 1000)
    await _ask_for_too_much(life)
    life.line.say_close((1000).to_bytes(2, "big"))
    await life.over()


async def fault(life: Life) -> None:
    """By a fault of its own."""
    life.story.ends("internal_error", 1011)
    await life.say("session.update", event_id=FAULT, session={"type": "realtime"})
    await _told(life, "server_error", "internal_error")


async def drained(life: Life) -> None:
    """By being told to shut down."""
    life.story.ends("draining", 1001)
    await _told(life, "session_error", "gateway_draining")
