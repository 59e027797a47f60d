"""Sessions under limits, on the wire: turns wait for their admission, and nothing stays set aside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Literal

import pytest

from dataplane.errors import Refusal
from dataplane.limits.budget import Budget
from dataplane.realtime import endings
from dataplane.slices import at_once
from dataplane.table import CallerLimits, Limit, PolicySet
from tests.dataplane.realtime.wires import Pair, Peer, ask, calm, pair, until
from tests.dataplane.rig import REQUIRED

CREATE = {"type": "response.create", "event_id": "mine"}
VAD = {"type": "server_vad", "create_response": True}


def limited(
    kind: Literal["requests", "tokens", "sessions"], most: int, *, reserve: int = 100, ends: bool = False
) -> PolicySet:
    limit = Limit(kind=kind, max=most, per=None if kind == "sessions" else "Month")
    limits = CallerLimits(policy="ai/few", limits=(limit,), reserve=reserve, end_session=ends)
    return REQUIRED.model_copy(update={"limits": (limits,)})


def say(peer: Peer, *events: object) -> None:
    for event in events:
        peer.send(json.dumps(event).encode())


def begun(name: str) -> dict[str, object]:
    return {"type": "response.created", "response": {"id": name}}


def done(name: str, tokens: int) -> dict[str, object]:
    usage = {"total_tokens": tokens, "input_tokens": tokens - 1, "output_tokens": 1}
    return {"type": "response.done", "response": {"id": name, "status": "completed", "usage": usage}}


def transcribed(item: str, tokens: int) -> dict[str, object]:
    usage = {"type": "tokens", "total_tokens": tokens, "input_tokens": tokens, "output_tokens": 0}
    return {"type": "conversation.item.input_audio_transcription.completed", "item_id": item, "usage": usage}


async def hears(peer: Peer, *kinds: str) -> dict[str, object]:
    """The last of these events, which come one after the other."""
    event: dict[str, object] = {}
    for kind in kinds:
        event = await peer.event()
        assert event["type"] == kind
    return event


def counts(it: Pair) -> tuple[object, object]:
    """What is used and reserved of the one limit."""
    listed = at_once(it.rig.gateway.limiter.listing())
    return (listed[0]["used"], listed[0]["reserved"]) if listed else (0, 0)


async def test_turns_go_on_until_the_tokens_are_used_up() -> None:
    async with pair(policies=limited("tokens", 250)) as it, calm(it.rig):
        client, far = await it.session()
        say(client, CREATE)
        await hears(far, "response.create")
        assert counts(it) == (0, 100)
        say(far, begun("r1"), done("r1", 170))
        await hears(client, "response.created", "response.done")
        assert counts(it) == (170, 0)
        say(client, CREATE)
        error = (await hears(client, "error"))["error"]
        assert isinstance(error, dict)
        assert (error["type"], error["code"], error["event_id"]) == ("rate_limit_error", "limit_exceeded", "mine")
        assert "80 tokens left" in str(error["message"])
        client.close(1000)
        assert await far.closed() == (1000, "")
        far.reset()
        client.reset()
    assert [usage.tokens.input for usage in it.rig.meter.turns if usage.tokens] == [169]


async def test_a_turn_of_the_voice_is_asked_for_by_the_gateway() -> None:
    async with pair(policies=limited("tokens", 150)) as it, calm(it.rig):
        client, far = await it.session()
        configured = {"type": "session.updated", "session": {"audio": {"input": {"turn_detection": VAD}}}}
        say(client, {**configured, "type": "session.update"})
        sent = await hears(far, "session.update")
        assert '"create_response": false' in json.dumps(sent)
        say(far, json.loads(json.dumps(configured).replace("true", "false")))
        assert '"create_response": true' in json.dumps(await hears(client, "session.updated"))
        for number in (1, 2):
            say(far, {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 5, "item_id": f"i{number}"})
            say(far, {"type": "input_audio_buffer.committed", "item_id": f"i{number}"})
            await hears(client, "input_audio_buffer.speech_stopped", "input_audio_buffer.committed")
            if number == 1:
                await hears(far, "response.create")
                say(far, begun("r1"), done("r1", 100))
                await hears(client, "response.created", "response.done")
        await hears(client, "error")
        assert counts(it) == (100, 0)
        client.reset()
        far.reset()


async def test_what_was_set_aside_is_given_back_however_the_session_ends() -> None:
    async with pair(policies=limited("tokens", 10_000)) as it, calm(it.rig):
        ways: tuple[Callable[[Peer], None], ...] = (Peer.reset, lambda peer: peer.close(1000))
        for number, leave in enumerate(ways, 1):
            for leaver in ("client", "far"):
                client, far = await it.session()
                say(client, CREATE, CREATE)
                await hears(far, "response.create", "response.create")
                say(far, begun(f"r{number}"))
                await hears(client, "response.created")
                assert counts(it)[1] == 200
                leave(client if leaver == "client" else far)
                (far if leaver == "client" else client).reset()
                client.reset()
                far.reset()
                await until(lambda: not it.rig.gateway.sessions(), "the session ends")
                assert counts(it)[1] == 0


async def test_a_session_is_refused_where_no_turn_could_begin() -> None:
    async with pair(policies=limited("tokens", 100)) as it, calm(it.rig):
        client, far = await it.session()
        say(client, CREATE)
        await hears(far, "response.create")
        refused = await ask(it.rig)
        assert refused.status == 429
        assert "retry-after" in {name.lower() for name, _ in refused.headers}
        client.reset()
        far.reset()


async def test_sessions_at_a_time_ask_nobody_about_turns() -> None:
    async with pair(policies=limited("sessions", 1)) as it, calm(it.rig):
        client, far = await it.session()
        say(client, CREATE)
        await hears(far, "response.create")
        assert not it.live().session.terms.admits
        assert (await ask(it.rig)).status == 429
        client.reset()
        far.reset()
        await until(lambda: not it.rig.gateway.sessions(), "the session ends")
        client, far = await it.session()
        client.reset()
        far.reset()


async def test_a_fault_of_ours_refuses_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    async with pair(policies=limited("tokens", 250)) as it, calm(it.rig):
        client, far = await it.session()
        monkeypatch.setattr(Budget, "admit_turn", fails)
        say(client, CREATE)
        error = (await hears(client, "error"))["error"]
        assert isinstance(error, dict)
        assert error["code"] == "internal_error"
        client.reset()
        far.reset()


async def test_an_answer_that_comes_too_late_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    admit, may = Budget.admit_turn, asyncio.Event()

    async def late(self: Budget, model: object) -> None:
        await may.wait()
        await admit(self, model)  # type: ignore[arg-type]

    async with pair(policies=limited("tokens", 250)) as it, calm(it.rig):
        client, far = await it.session()
        monkeypatch.setattr(Budget, "admit_turn", late)
        say(client, CREATE)
        await until(lambda: it.live().relay.client_waits, "the turn waits")
        client.reset()
        far.reset()
        await until(lambda: not it.rig.gateway.sessions(), "the session ends")
        may.set()
        await until(lambda: counts(it) == (0, 0), "it is given back")


async def test_a_store_that_is_away_refuses_turns_where_the_policy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise Refusal("limits_unavailable", "Nobody knows.")

    async with pair(policies=limited("tokens", 250)) as it, calm(it.rig):
        client, far = await it.session()
        monkeypatch.setattr(Budget, "admit_turn", away)
        say(client, CREATE)
        error = (await hears(client, "error"))["error"]
        assert isinstance(error, dict)
        assert error["code"] == "limits_unavailable"
        client.reset()
        far.reset()
    assert endings.CLIENT_LOST.label in [summary.reason for summary in it.rig.meter.closed]


@pytest.mark.parametrize(
    ("path", "ends"), [("/v1/realtime?intent=transcription", False), ("/v1/realtime?model=gpt-realtime", True)]
)
async def test_whoever_never_stops_talking_is_not_transcribed_for_ever(path: str, *, ends: bool) -> None:
    async with pair(policies=limited("tokens", 100, ends=ends)) as it, calm(it.rig):
        client, far = await it.session(path=path)
        unheard = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "gpt-4o-transcribe"}}}}
        say(far, {"type": "session.updated", "session": unheard})
        await hears(client, "session.updated")
        for number in (1, 2):
            say(client, {"type": "input_audio_buffer.append", "audio": "A" * 400})
            await hears(far, "input_audio_buffer.append")
            say(far, transcribed(f"i{number}", 60 * number))
            await hears(client, "conversation.item.input_audio_transcription.completed")
        assert not it.live().relay.ending, "somebody is talking"
        say(far, transcribed("i3", 1))
        await hears(client, "conversation.item.input_audio_transcription.completed", "error")
        assert (await client.closed())[0] == 1008
        client.reset()
        far.reset()
    assert [summary.reason for summary in it.rig.meter.closed] == [endings.LIMIT.label]


async def test_where_turns_are_refused_transcriptions_do_not_go_on_for_ever() -> None:
    """The session goes on without turns; what it may still take, that cannot be refused, is as much as a turn."""
    async with pair(policies=limited("tokens", 100)) as it, calm(it.rig):
        client, far = await it.session()
        say(far, transcribed("i1", 60), transcribed("i2", 60))
        heard = "conversation.item.input_audio_transcription.completed"
        await hears(client, heard, heard)
        say(client, CREATE)
        error = (await hears(client, "error"))["error"]
        assert isinstance(error, dict)
        assert error["code"] == "limit_exceeded"
        assert it.live().relay.ending is None
        say(far, transcribed("i3", 60))
        error = (await hears(client, heard, "error"))["error"]
        assert isinstance(error, dict)
        assert "cannot be refused" in str(error["message"])
        assert (await client.closed())[0] == 1008
        client.reset()
        far.reset()


async def test_a_turn_that_nobody_ever_answers_counts_as_what_was_set_aside_for_it() -> None:
    async with pair(policies=limited("tokens", 10_000)) as it, calm(it.rig):
        for number, leaver in enumerate(("client", "far"), 1):
            client, far = await it.session()
            say(client, CREATE)
            await hears(far, "response.create")
            (client if leaver == "client" else far).reset()
            (far if leaver == "client" else client).reset()
            await until(lambda: not it.rig.gateway.sessions(), "the session ends")
            assert counts(it) == (100 * number, 0)


async def test_a_turn_that_the_provider_refuses_counts_nothing() -> None:
    async with pair(policies=limited("tokens", 10_000)) as it, calm(it.rig):
        client, far = await it.session()
        say(client, CREATE)
        await hears(far, "response.create")
        say(far, {"type": "error", "error": {"code": "invalid_value", "event_id": "mine"}})
        await hears(client, "error")
        client.reset()
        far.reset()
        await until(lambda: not it.rig.gateway.sessions(), "the session ends")
        assert counts(it) == (0, 0)
