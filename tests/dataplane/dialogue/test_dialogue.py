"""The WebSocket mode of the Responses API through a gateway, with the vendor's own client and the simulator."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus

from dataplane.process.drain import AT_ONCE, Drain
from dataplane.server import Limits
from dataplane.table import (
    CallerKey,
    CallerLimits,
    HeaderOps,
    HeaderValue,
    Limit,
    ModelAllow,
    OnRevoke,
    SessionLimits,
    Table,
    Timeouts,
    Transformation,
)
from simulator.scenarios import Scenarios
from simulator.server import Simulator
from tests.dataplane.dialogue.talk import talking, until
from tests.dataplane.http.test_responding import KEYS, MODELS, SECRETS, THINKING, one, served, standing, two
from tests.dataplane.rig import CALLERS, REQUIRED, Rig, backend, provider, table
from tests.dataplane.rig import SECRETS as UPSTREAM

OTHER_KEY = "other-key-9a8b7c6d5e4f"
TWO_CALLERS = CALLERS.model_copy(
    update={
        "keys": (*CALLERS.keys, CallerKey(name="other", sha256=hashlib.sha256(OTHER_KEY.encode()).hexdigest())),
    }
)
SEALED = {name: SecretStr(value) for name, value in SECRETS.items()}
SLOW: dict[str, Any] = {"model": "at-a", "input": "hello", "metadata": {"scenario": "slow:20"}}


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator(keys=KEYS) as simulator:
        yield simulator


def keys_of(upstream: Simulator) -> list[str]:
    """The key of each handshake."""
    return [dict(each.headers)["authorization"].removeprefix("Bearer ") for each in upstream.requests]


def told(upstream: Simulator) -> list[dict[str, Any]]:
    """What the provider was sent."""
    return [orjson.loads(text) for _, text in upstream.messages]


def billed(upstream: Simulator) -> tuple[int, int, int]:
    totals = upstream.ledger.totals
    return int(totals["turns"]), int(totals["input_tokens"]), int(totals["output_tokens"])


def counted(rig: Rig) -> tuple[int, int, int]:
    tokens = [turn.tokens for turn in rig.meter.turns if turn.tokens]
    return len(rig.meter.turns), sum(each.input for each in tokens), sum(each.output for each in tokens)


# -- what is relayed and counted -----------------------------------------------------------------------------------


async def test_the_vendors_client_holds_a_conversation(upstream: Simulator) -> None:
    """`store=False`: what was said last is known to this connection alone."""
    previous, kinds = None, []
    async with standing(two(upstream.url)) as stand:
        async with stand.sdk.responses.connect() as connection:
            for text in ("hello", "and?", "and then?"):
                await connection.response.create(model="any", input=text, store=False, previous_response_id=previous)
                async for event in connection:
                    kinds.append(event.type)
                    if event.type == "response.completed":
                        previous = event.response.id
                        assert event.response.output_text
                        break
        await until(lambda: stand.rig.meter.closed)
        assert counted(stand.rig) == billed(upstream)
        [closed] = stand.rig.meter.closed
    assert (closed.turns, closed.provider, closed.reason, closed.close_code) == (3, "a", "client_closed", 1000)
    assert closed.tokens.input == billed(upstream)[1]
    assert stand.rig.meter.opened == 1
    assert kinds.count("response.created") == 3
    assert len(upstream.requests) == 1
    assert [("previous_response_id" in each, "tg1" in str(each)) for each in told(upstream)] == [
        (True, False),  # the vendor's client says null
        (True, False),
        (True, False),
    ]
    assert {turn.status for turn in stand.rig.meter.turns} == {"completed"}


async def test_models_are_renamed_and_reasoning_is_signed(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        made = await talk.asks(model="at-b", input="hello", store=False, **THINKING)
        reasoning = made["output"][0]
        assert reasoning["encrypted_content"].startswith("tg1")
        said = [*made["output"], {"role": "user", "content": "and?"}]
        assert (await talk.asks(model="any", input=said))["status"] == "completed"
    assert {each["model"] for each in told(upstream)} == {"gpt-5"}
    assert keys_of(upstream) == ["sk-b"]


@pytest.mark.parametrize("where", ["a", "b"])
async def test_what_was_posted_is_gone_on_from(upstream: Simulator, where: str) -> None:
    async with standing(two(upstream.url)) as stand:
        made = await stand.sdk.responses.create(model=f"at-{where}", input="hello")
        async with talking(stand.rig) as talk:
            again = await talk.asks(model="any", input="and?", previous_response_id=made.id)
        assert again["previous_response_id"].startswith("resp_tg1")
        assert (await stand.sdk.responses.retrieve(again["id"])).id == again["id"]
    assert keys_of(upstream) == [f"sk-{where}"] * 3


async def test_lanes_and_their_order(upstream: Simulator) -> None:
    """Each lane has one at a time, lanes run beside each other, and each event says whose it is."""
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.say(**SLOW)
        await talk.say(**{**SLOW, "stream_id": "fast", "metadata": {}})
        await talk.say(**{**SLOW, "metadata": {}})
        ends = [await talk.until("response.completed") for _ in range(3)]
        assert [each.get("stream_id") for each in ends] == ["fast", None, None]
        assert counted(stand.rig) == billed(upstream)


async def test_steering_makes_a_response_that_nobody_asked_for(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.say(**SLOW)
        first = (await talk.until("response.created"))["response"]["id"]
        steer = {"type": "response.steer", "previous_response_id": first, "input": "shorter"}
        await talk.socket.send(orjson.dumps(steer).decode())
        assert (await talk.until("response.steer.accepted"))["steer"]["previous_response_id"] == first
        await talk.until("response.completed")
        assert (await talk.until("response.created"))["response"]["id"] != first
        await talk.until("response.completed")
        assert counted(stand.rig) == billed(upstream)
        assert len({turn.response_id for turn in stand.rig.meter.turns}) == 2
        await talk.socket.send(orjson.dumps({**steer, "previous_response_id": "resp_000001"}).decode())
        assert (await talk.event())["error"]["code"] == "response_not_found"
    assert "tg1" not in str(told(upstream))


async def test_a_prefix_is_warmed_up(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        made = await talk.asks(model="any", input="hello", generate=False, store=False)
        assert made["output"] == []
        await talk.asks(model="any", input="and?", previous_response_id=made["id"])
        assert counted(stand.rig) == billed(upstream)


@pytest.mark.parametrize(("scenario", "status"), [("fail", "failed"), ("incomplete", "incomplete")])
async def test_other_ends_are_counted(upstream: Simulator, scenario: str, status: str) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        assert (await talk.asks(model="any", input="x", metadata={"scenario": scenario}))["status"] == status
        assert [turn.status for turn in stand.rig.meter.turns] == [status]
        assert counted(stand.rig) == billed(upstream)


# -- what is refused, while the connection goes on -------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        ({"model": "any", "previous_response_id": "resp_000001"}, 404, "response_not_found"),
        ({"model": "any", "input": [{"type": "reasoning", "encrypted_content": "gAAAA"}]}, 400, None),
        ({"model": "none"}, 404, "model_not_found"),
        ({"model": 5}, 400, "invalid_value"),
        ({"model": "any", "background": True}, 400, "invalid_value"),
        ({"model": "any", "stream_id": "a b"}, 400, "invalid_value"),
        ({"model": "any", "Stream_ID": "a"}, 400, "invalid_value"),
        ({"model": "any", "conversation": "conv_1"}, 403, "conversation_not_allowed"),
        ({"type": "response.cancel"}, 400, "invalid_value"),
    ],
)
async def test_what_is_refused_is_not_sent(
    upstream: Simulator, said: dict[str, Any], status: int, code: str | None, first: bool
) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        if not first:
            await talk.asks(model="any", input="hello")
        before = len(upstream.messages), len(stand.rig.meter.turns)
        await talk.say(**{"input": "x", "stream_id": "lane", **said}) if "type" not in said else await talk.socket.send(
            orjson.dumps(said).decode()
        )
        event = await talk.event()
        assert (event["type"], event["status"]) == ("error", status)
        assert event["error"]["code"] == (code or "invalid_encrypted_content")
        assert (len(upstream.messages), len(stand.rig.meter.turns)) == before
        assert (await talk.asks(model="any", input="and?"))["status"] == "completed"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("message", ["{", "[]", b'{"type":"response.create"}'])
async def test_messages_that_are_none(upstream: Simulator, message: str | bytes) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.socket.send(message)
        assert (await talk.event())["error"]["code"] == "invalid_json"
        assert (await talk.asks(model="any", input="and?"))["status"] == "completed"


async def test_ids_of_another_caller_and_ids_that_were_changed(upstream: Simulator) -> None:
    made = two(upstream.url).model_copy(update={"callers": (TWO_CALLERS,)})
    async with standing(made) as stand, talking(stand.rig) as talk, talking(stand.rig, OTHER_KEY) as other:
        name = (await talk.asks(model="any", input="hello"))["id"]
        hint = name.split("_", 1)[1]
        flipped = ("B" if hint[20] != "B" else "C").join((hint[:20], hint[21:]))
        ask = {"model": "any", "input": "and?"}
        before = len(upstream.messages)
        assert (await other.asks(**ask, previous_response_id=name))["code"] == "response_not_found"
        assert (await talk.asks(**ask, previous_response_id=f"resp_{flipped}"))["code"] == "response_not_found"
        assert len(upstream.messages) == before
        assert (await talk.asks(**ask, previous_response_id=name))["status"] == "completed"


async def test_what_another_provider_has_wants_another_connection(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        made = await stand.sdk.responses.create(model="at-b", input="hello")
        await talk.asks(model="at-a", input="hello")
        before = len(upstream.messages)
        assert (await talk.asks(model="at-b", input="x"))["code"] == "other_provider"
        assert (await talk.asks(model="any", input="x", previous_response_id=made.id))["code"] == "other_provider"
        assert len(upstream.messages) == before
        assert (await talk.asks(model="any", input="x"))["status"] == "completed"


async def test_only_allowed_models(upstream: Simulator) -> None:
    policies = REQUIRED.model_copy(update={"models": (ModelAllow(policy="ai/p", patterns=("at-a",)),)})
    made = served(one(upstream.url), policies=policies, models=MODELS[:1])
    async with standing(made) as stand, talking(stand.rig) as talk:
        assert (await talk.asks(model="any", input="x"))["code"] == "model_not_allowed"
        assert (await talk.asks(model="at-a", input="x"))["status"] == "completed"
        assert (await talk.asks(model="any", input="x"))["code"] == "model_not_allowed"
        tools = [{"type": "image_generation", "model": "gpt-image-2"}]
        assert (await talk.asks(model="at-a", input="x", tools=tools))["code"] == "model_not_allowed"
    assert len(upstream.messages) == 1


async def test_limits_hold_within_a_connection(upstream: Simulator) -> None:
    every = (Limit(kind="requests", per="Day", max=3), Limit(kind="sessions", max=1))
    limit = CallerLimits(policy="ai/p", limits=every, reserve=1, counted_by="Caller")
    policies = REQUIRED.model_copy(update={"limits": (limit,)})
    async with standing(served(one(upstream.url), policies=policies)) as stand:
        async with talking(stand.rig) as talk:
            for _ in range(2):
                assert (await talk.asks(model="gpt-5", input="x"))["status"] == "completed"
            await talk.say(model="gpt-5", input="x", stream_id="l")
            event = await talk.event()
            assert (event["status"], event["stream_id"]) == (429, "l")
            assert event["error"]["code"] == "limit_exceeded"
            with pytest.raises(InvalidStatus):
                async with talking(stand.rig):
                    pass
        await until(lambda: stand.rig.meter.closed)
    assert len(upstream.messages) == 2


# -- before the upgrade ----------------------------------------------------------------------------------------------


async def test_who_may_not_come_gets_no_101(upstream: Simulator) -> None:
    policies = REQUIRED.model_copy(update={"session": (SessionLimits(policy="ai/s", origins=("https://a.example",)),)})
    async with standing(served(one(upstream.url), policies=policies), Limits(sessions=1)) as stand:
        for options, status in (
            ({"key": "wrong"}, 401),
            ({"origin": "https://b.example"}, 403),
            ({"query": "/input_tokens"}, 405),
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with talking(stand.rig, **options):
                    pass
            assert refused.value.response.status_code == status
        async with talking(stand.rig):
            with pytest.raises(InvalidStatus) as refused:
                async with talking(stand.rig):
                    pass
            assert refused.value.response.status_code == 503
    assert not upstream.requests


# -- providers that do not take it -----------------------------------------------------------------------------------


def pool(*urls: str) -> Table:
    return served(*(one(url, name) for name, url in zip("ab", urls, strict=False)))


@pytest.mark.parametrize("scenario", ["no-upgrade:503", "no-upgrade:429", "no-upgrade:401", "status:500", "gone"])
async def test_a_provider_that_does_not_take_it_loses_nothing(upstream: Simulator, scenario: str) -> None:
    rules = Scenarios.load("[]" if scenario == "gone" else f"- {{match: {{}}, scenario: '{scenario}'}}")
    async with Simulator(keys=KEYS, scenarios=rules) as bad:
        url = bad.url if scenario != "gone" else "http://127.0.0.1:1"
        async with standing(pool(url, upstream.url)) as stand, talking(stand.rig) as talk:
            made = await talk.asks(model="gpt-5", input="hello")
            assert made["status"] == "completed"
            assert counted(stand.rig) == billed(upstream)
            [turn] = stand.rig.meter.turns
            assert turn.provider == "b"
            assert len(stand.rig.meter.failovers) == 1
            assert stand.rig.meter.active["a", "session"] == 0


async def test_an_error_of_the_only_provider_is_passed_on_and_counts_once(upstream: Simulator) -> None:
    async with standing(pool(upstream.url)) as stand, talking(stand.rig) as talk:
        failing = {"model": "gpt-5", "input": "x", "metadata": {"scenario": "status:500"}}
        for state in ("healthy", "healthy", "ejected"):  # the third in a row ejects
            assert (await talk.asks(**failing))["type"] == "server_error"
            assert stand.rig.gateway.doing("ai/voice", "a")["state"] == state
        assert len(stand.rig.meter.ejections) == 1
        assert not stand.rig.meter.turns


async def test_where_nobody_takes_it_the_client_may_ask_again(upstream: Simulator) -> None:
    async with standing(pool("http://127.0.0.1:1", "http://127.0.0.1:1")) as stand, talking(stand.rig) as talk:
        for _ in range(2):
            assert (await talk.asks(model="gpt-5", input="hello"))["code"] == "upstream_unreachable"
        assert not stand.rig.meter.turns
    assert not stand.rig.meter.active["a", "session"]


async def test_a_credential_of_ours_that_is_refused() -> None:
    async with Simulator(keys=frozenset(["sk-x"])) as strict, standing(pool(strict.url)) as stand:
        async with talking(stand.rig) as talk:
            assert (await talk.asks(model="gpt-5", input="hello"))["code"] == "upstream_credential_rejected"
        assert not stand.rig.meter.turns


@pytest.mark.parametrize(
    ("scenario", "close", "reason", "event"),
    [
        ("drop", 1011, "upstream_lost", "upstream_lost"),
        ("close:1013", 1013, "upstream_closed", None),
    ],
)
async def test_a_provider_that_dies_in_the_middle(
    upstream: Simulator, scenario: str, close: int, reason: str, event: str | None
) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.say(model="any", input="x", metadata={"scenario": scenario})
        if event is not None:
            assert (await talk.until("error"))["error"]["code"] == event
        assert (await talk.closed())[0] == close
        await until(lambda: stand.rig.meter.closed)
        assert [turn.status for turn in stand.rig.meter.turns] == ["failed"]
        [closed] = stand.rig.meter.closed
        assert closed.reason == reason


async def test_a_credential_that_is_refused_later_is_not_shown(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.asks(model="any", input="x")
        refused = await talk.asks(model="any", input="x", metadata={"scenario": "status:401"}, stream_id="l")
        assert refused["code"] == "upstream_credential_rejected"
        assert (await talk.asks(model="any", input="x", stream_id="l"))["status"] == "completed"
        assert len(stand.rig.meter.turns) == 2
        assert stand.rig.meter.ejections == [("a", "credential")]


async def test_a_connection_that_is_old_ends_as_the_provider_says(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig, query="?scenario=expire:200") as talk:
        await talk.asks(model="any", input="x")
        assert (await talk.until("error"))["error"]["code"] == "websocket_connection_limit_reached"
        assert (await talk.closed())[0] == 1000
        assert [turn.status for turn in stand.rig.meter.turns] == ["completed"]


async def test_a_provider_that_says_nothing_is_not_waited_for(upstream: Simulator) -> None:
    timeouts = Timeouts(response=0.2)
    async with standing(served(one(upstream.url), timeouts=timeouts)) as stand, talking(stand.rig) as talk:
        said = await talk.asks(model="gpt-5", input="x", metadata={"scenario": "stall"})
        assert said["code"] == "upstream_timeout"
        assert [turn.status for turn in stand.rig.meter.turns] == ["failed"]


# -- ends ------------------------------------------------------------------------------------------------------------


async def test_a_client_that_goes_away_in_the_middle(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand:
        async with talking(stand.rig) as talk:
            await talk.say(**SLOW)
            await talk.until("response.output_text.delta")
            assert talk.socket.transport
            talk.socket.transport.abort()
        await until(lambda: stand.rig.meter.closed)
        assert [(turn.status, bool(turn.response_id)) for turn in stand.rig.meter.turns] == [("cancelled", True)]
        [closed] = stand.rig.meter.closed
        assert (closed.reason, closed.initiator) == ("client_lost", "client")
        await until(lambda: upstream.sessions == 0)
        assert not stand.rig.gateway.sessions()
    assert [turn["status"] for turn in upstream.ledger.turns] == ["abandoned"]


async def test_an_operator_sees_and_ends_it(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.asks(model="any", input="x")
        [shown] = stand.rig.gateway.sessions()
        assert (shown["provider"], shown["turns"], shown["model"]) == ("a", 1, "gpt-5")
        assert stand.rig.gateway.end_session(str(shown["id"]))
        assert (await talk.event())["error"]["code"] == "ended_by_operator"
        assert (await talk.closed())[0] == 1001


async def test_a_drain_waits_for_the_response(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.say(**SLOW)
        await talk.until("response.created")
        phases = Drain(lame_duck=0, patience=20, closing=20, linger=0)
        draining = asyncio.create_task(stand.rig.gateway.drain(phases, asyncio.Event()))
        await talk.until("response.completed")
        assert (await talk.event())["error"]["code"] == "gateway_draining"
        assert (await talk.closed())[0] == 1001
        await draining
        assert [turn.status for turn in stand.rig.meter.turns] == ["completed"]


async def test_a_gateway_that_drains_takes_none_and_ends_those_that_rest(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.asks(model="any", input="x")
        assert stand.rig.gateway._running
        stand.rig.gateway._running.dialogues.refuse_new()
        with pytest.raises(InvalidStatus) as refused:
            async with talking(stand.rig):
                pass
        assert refused.value.response.status_code == 503
        stand.rig.gateway._running.end_between_turns()
        assert (await talk.event())["error"]["code"] == "gateway_draining"
        await until(lambda: stand.rig.gateway.idle)


async def test_a_policy_changes_the_head_of_the_101(upstream: Simulator) -> None:
    changes = Transformation(policy="ai/p", response=HeaderOps(set=(HeaderValue(name="x-team", value=("blue",)),)))
    policies = REQUIRED.model_copy(update={"transformations": (changes,)})
    async with standing(served(one(upstream.url), policies=policies)) as stand, talking(stand.rig) as talk:
        assert talk.socket.response
        assert talk.socket.response.headers["x-team"] == "blue"
        assert talk.socket.response.headers["x-tidegate-request-id"]


async def test_a_stop_accounts_for_what_is_under_way(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.say(**SLOW)
        await talk.until("response.created")
        await stand.rig.gateway.drain(AT_ONCE, asyncio.Event())
        assert (await talk.until("error"))["error"]["code"] == "gateway_draining"
        assert [turn.status for turn in stand.rig.meter.turns] == ["cancelled"]
        assert len(stand.rig.meter.closed) == 1


async def test_access_that_is_revoked_ends_it(upstream: Simulator) -> None:
    policies = REQUIRED.model_copy(update={"session": (SessionLimits(on_revoke=OnRevoke.END),)})
    made = served(one(upstream.url), policies=policies)
    async with standing(made) as stand, talking(stand.rig) as talk:
        await talk.asks(model="gpt-5", input="x")
        nobody = CALLERS.model_copy(update={"keys": ()})
        stand.rig.gateway.load(made.model_copy(update={"callers": (nobody,)}), SEALED)
        assert (await talk.event())["error"]["code"] == "access_revoked"
        assert (await talk.closed())[0] == 1008


@pytest.mark.parametrize(
    ("limits", "code"),
    [(SessionLimits(idle=0.3), "idle_timeout"), (SessionLimits(duration=0.3), "session_expired")],
)
async def test_time_is_limited(upstream: Simulator, limits: SessionLimits, code: str) -> None:
    policies = REQUIRED.model_copy(update={"session": (limits,)})
    async with standing(served(one(upstream.url), policies=policies)) as stand, talking(stand.rig) as talk:
        await talk.asks(model="gpt-5", input="x")
        assert (await talk.event())["error"]["code"] == code
        assert (await talk.closed())[0] == 1001


async def test_who_asks_for_nothing_does_not_stay(upstream: Simulator) -> None:
    async with standing(two(upstream.url), Limits(client_idle=0.2)) as stand, talking(stand.rig) as talk:
        assert (await talk.event())["error"]["code"] == "idle_timeout"
        assert (await talk.closed())[0] == 1001
    assert not upstream.requests


async def test_messages_are_bounded(upstream: Simulator) -> None:
    policies = REQUIRED.model_copy(update={"session": (SessionLimits(max_message=1000),)})
    async with standing(served(one(upstream.url), policies=policies)) as stand, talking(stand.rig) as talk:
        await talk.say(model="gpt-5", input="x" * 2000)
        assert (await talk.closed())[0] == 1009
    assert not upstream.requests


async def test_a_client_that_answers_no_ping_is_gone(upstream: Simulator) -> None:
    limits = Limits(ping=0.3, silence=0.6)
    async with standing(two(upstream.url), limits) as stand, talking(stand.rig, close_timeout=0.1) as talk:
        await talk.asks(model="any", input="x")
        assert talk.socket.transport
        talk.socket.transport.pause_reading()
        await until(lambda: stand.rig.meter.closed)
        [closed] = stand.rig.meter.closed
        assert closed.reason == "client_silent"


async def test_a_table_that_changes_ends_nothing(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, talking(stand.rig) as talk:
        await talk.asks(model="any", input="x")
        stand.rig.gateway.load(table(backend(provider("http://127.0.0.1:1/v1"), name="ai/other")), UPSTREAM)
        assert (await talk.asks(model="any", input="x"))["status"] == "completed"
