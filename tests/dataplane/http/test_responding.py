"""The Responses API through a gateway, with the vendor's own client and the simulator."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from pydantic import SecretStr
from yarl import URL

from dataplane.affinity.hints import Keys
from dataplane.server import Limits
from dataplane.table import (
    CallerKey,
    Credential,
    Model,
    ModelAllow,
    PathType,
    PolicySet,
    Provider,
    RouteType,
    Table,
    Target,
    Timeouts,
)
from simulator.server import Simulator
from tests.dataplane.rig import BEARER, CALLERS, CLIENT_KEY, OPEN, REQUIRED, Rig, backend, running, table
from tests.dataplane.upstream import upstream_of

RESPONSES = "/v1/responses"
PATHS = (PathType(suffix=RESPONSES, type=RouteType.RESPONSES),)
KEYS = frozenset(["sk-a", "sk-b"])
SECRETS = {"a@1": "sk-a", "b@1": "sk-b"}
ASK: dict[str, Any] = {"model": "gpt-5", "input": "hello"}
THINKING: dict[str, Any] = {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}
MODELS = tuple(
    Model(name=name, targets=tuple(Target(provider=each, model="gpt-5") for each in to))
    for name, to in {"at-a": "a", "at-b": "b", "any": "ab"}.items()
)


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator(keys=KEYS) as simulator:
        yield simulator


def one(url: str, name: str = "a", **changes: object) -> Provider:
    made = Provider(name=name, kind="openai", url=url, credential=Credential(kind="secret", secret=f"{name}@1"))
    return made.model_copy(update=changes)


def served(*providers: Provider, policies: PolicySet = REQUIRED, **changes: object) -> Table:
    made = table(backend(*providers, **{"paths": PATHS, **changes}), policies)
    return made.model_copy(update={"secrets": ("a@1", "b@1")})


def two(url: str) -> Table:
    """Two credentials of different organisations; the first is taken wherever both may be."""
    return served(one(url), one(url, "b"), models=MODELS)


@dataclass
class Stand:
    rig: Rig
    sdk: openai.AsyncOpenAI

    async def call(
        self, method: str, below: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Status and error code of a plain request."""
        data = body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else None
        async with aiohttp.request(
            method, f"{self.rig.url}{RESPONSES}{below}", data=data, headers={**BEARER, **(headers or {})}
        ) as answer:
            said = await answer.json()
            return answer.status, (said.get("error") or {}).get("code", "")

    def turn(self) -> Any:
        """The only one that was counted."""
        [turn] = self.rig.meter.turns
        return turn


@asynccontextmanager
async def standing(made: Table, limits: Limits | None = None, key: str = CLIENT_KEY) -> AsyncIterator[Stand]:
    async with running(made, limits, SECRETS) as rig, client_of(rig, key) as sdk:
        yield Stand(rig, sdk)


def client_of(rig: Rig, key: str = CLIENT_KEY) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=f"{rig.url}/v1", max_retries=0)


def raw_ids(upstream: Simulator) -> list[str]:
    return [str(turn["id"]) for turn in upstream.ledger.turns]


def asked(upstream: Simulator) -> list[tuple[str, str, str]]:
    """Method, path and key of what the provider was sent."""
    return [
        (each.method, each.path, dict(each.headers).get("authorization", "").removeprefix("Bearer "))
        for each in upstream.requests
    ]


# -- metering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_is_relayed_and_metered(upstream: Simulator, stream: bool) -> None:
    async with standing(served(one(upstream.url))) as stand:
        if stream:
            events = [event async for event in await stand.sdk.responses.create(**ASK, **THINKING, stream=True)]
            assert events[-1].type == "response.completed"
            made = events[-1].response
        else:
            made = await stand.sdk.responses.create(**ASK, **THINKING)
        await stand.rig.settled()
        turn = stand.turn()
    [billed] = upstream.ledger.turns
    assert made.usage
    assert (turn.tokens.input, turn.tokens.output, turn.tokens.reasoning) == (
        made.usage.input_tokens,
        made.usage.output_tokens,
        made.usage.output_tokens_details.reasoning_tokens,
    )
    assert (turn.operation, turn.status, turn.caller.key, turn.response_model) == (
        "chat",
        "completed",
        "ci-bot",
        "gpt-5",
    )
    assert turn.response_id == billed["id"]
    assert made.id.startswith("resp_tg1")
    assert made.id.endswith(str(billed["id"]).removeprefix("resp"))
    assert stand.rig.meter.requests == [("ai/voice", "ai/voice", 200, "")]


@pytest.mark.parametrize("name", ["odd-bytes:1", "odd-bytes:7", "crlf", "crlf,odd-bytes:5"])
async def test_a_stream_however_it_comes(upstream: Simulator, name: str) -> None:
    async with standing(served(one(upstream.url))) as stand:
        stream = await stand.sdk.responses.create(**ASK, metadata={"scenario": name}, stream=True)
        events = [event async for event in stream]
        await stand.rig.settled()
        turn = stand.turn()
    assert len({event.response.id for event in events if hasattr(event, "response")}) == 1
    assert (turn.status, turn.tokens is not None) == ("completed", True)


@pytest.mark.parametrize(("name", "status"), [("fail", "failed"), ("incomplete", "incomplete")])
@pytest.mark.parametrize("stream", [False, True])
async def test_how_it_ended(upstream: Simulator, name: str, status: str, stream: bool) -> None:
    async with standing(served(one(upstream.url))) as stand:
        made: Any = await stand.sdk.responses.create(**ASK, metadata={"scenario": name}, stream=stream)
        if stream:
            [_ async for _ in made]
        await stand.rig.settled()
        turn = stand.turn()
    assert (turn.status, turn.tokens.output >= 0) == (status, True)


async def test_compactions_are_metered_and_counts_of_tokens_are_none(upstream: Simulator) -> None:
    async with standing(served(one(upstream.url))) as stand:
        assert (await stand.sdk.responses.input_tokens.count(**ASK)).input_tokens == 2
        first = await stand.sdk.responses.create(**ASK)
        compacted = await stand.sdk.responses.compact(model="gpt-5", previous_response_id=first.id)
        again: Any = [item.model_dump(exclude_none=True, warnings=False) for item in compacted.output]
        assert (await stand.sdk.responses.create(model="gpt-5", input=again)).output_text
        await stand.rig.settled(4)
    assert [turn.response_id for turn in stand.rig.meter.turns] == raw_ids(upstream)
    assert len(raw_ids(upstream)) == 3


async def test_what_the_background_took_is_counted_once(upstream: Simulator) -> None:
    async with standing(served(one(upstream.url))) as stand:
        made = await stand.sdk.responses.create(**ASK, background=True)
        assert made.status == "queued"
        states = [(await stand.sdk.responses.retrieve(made.id)).status for _ in range(4)]
        assert states == ["in_progress", "completed", "completed", "completed"]
        await stand.rig.settled(5)
        turn = stand.turn()
    [billed] = upstream.ledger.turns
    assert (turn.id, turn.response_id, turn.public_model) == (billed["id"], billed["id"], "gpt-5")
    assert turn.tokens


async def test_another_process_counts_it_too_by_the_same_id(upstream: Simulator) -> None:
    hints = {"hints": ("k@1",), "secrets": ("a@1", "b@1", "k@1")}
    made_of = served(one(upstream.url)).model_copy(update=hints)
    secrets = {**SECRETS, "k@1": "k" * 32}
    async with running(made_of, None, secrets) as first, running(made_of, None, secrets) as second:
        async with client_of(first) as sdk, client_of(second) as elsewhere:
            made = await sdk.responses.create(**ASK, background=True)
            await sdk.responses.retrieve(made.id)
            assert (await elsewhere.responses.retrieve(made.id)).status == "completed"
            await sdk.responses.retrieve(made.id)
        await first.settled(3)
        await second.settled()
    assert [turn.id for turn in first.meter.turns] == [turn.id for turn in second.meter.turns] == raw_ids(upstream)


async def test_a_cancelled_one_is_counted(upstream: Simulator) -> None:
    async with standing(served(one(upstream.url))) as stand:
        made = await stand.sdk.responses.create(**ASK, background=True)
        assert (await stand.sdk.responses.cancel(made.id)).status == "cancelled"
        await stand.sdk.responses.retrieve(made.id)
        await stand.rig.settled(3)
        assert stand.turn().status == "cancelled"


async def test_a_stream_of_the_background_is_counted_by_its_end(upstream: Simulator) -> None:
    async with standing(served(one(upstream.url))) as stand:
        events = [event async for event in await stand.sdk.responses.create(**ASK, background=True, stream=True)]
        assert events[-1].type == "response.completed"
        await stand.sdk.responses.retrieve(events[-1].response.id)
        await stand.sdk.responses.retrieve(events[-1].response.id)
        await stand.rig.settled(3)
        assert stand.turn().status == "completed"


@pytest.mark.parametrize(("background", "statuses"), [(False, ["cancelled"]), (True, [])])
async def test_a_client_that_leaves(upstream: Simulator, background: bool, statuses: list[str]) -> None:
    """What goes on in the background is counted later."""
    async with standing(served(one(upstream.url))) as stand:
        scenario = {"scenario": "slow:20"}
        stream = await stand.sdk.responses.create(**ASK, metadata=scenario, stream=True, background=background)
        await anext(aiter(stream))
        await stream.close()
        await stand.rig.settled()
        assert [turn.status for turn in stand.rig.meter.turns] == statuses


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("later", [False, True])
async def test_a_client_that_leaves_when_it_has_heard_the_end(background: bool, later: bool) -> None:
    """Before the stream is over: it is counted as what it was, and once."""
    said = b'{"id":"resp_1","object":"response","model":"m","background":%s,"status":"completed","usage":%s}'
    made = said % (b"true" if background else b"false", b'{"input_tokens":1,"output_tokens":2}')
    end = b'data: {"type":"response.completed","response":' + made + b"}\n\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + end)
        await reader.read()

    async with upstream_of(answer) as url, standing(served(one(url))) as stand:
        stream: Any = await stand.sdk.responses.create(**ASK, stream=True)
        event = await anext(aiter(stream))
        await stream.close()
        await stand.rig.settled()
        assert stand.turn().status == "completed"
        if later:
            stream = await stand.sdk.responses.retrieve(event.response.id, stream=True)
            await anext(aiter(stream))
            await stream.close()
            await stand.rig.settled(2)
        assert stand.turn().tokens.nonzero()


async def test_who_hears_the_end_of_the_background_and_leaves_has_it_counted() -> None:
    said = b'{"type":"%s","response":{"id":"resp_1","object":"response","model":"m","background":true,"usage":{}}}'
    ends = iter([b"response.created", b"response.completed"])

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        writer.write(b"data: " + said % next(ends) + b"\n\n")
        await reader.read()

    async with upstream_of(answer) as url, standing(served(one(url))) as stand:
        stream: Any = await stand.sdk.responses.create(**ASK, stream=True, background=True)
        made = (await anext(aiter(stream))).response.id
        await stream.close()
        await stand.rig.settled()
        assert stand.rig.meter.turns == []
        stream = await stand.sdk.responses.retrieve(made, stream=True)
        await anext(aiter(stream))
        await stream.close()
        await stand.rig.settled(2)
        assert stand.turn().status == "completed"


async def test_an_answer_that_breaks_off(upstream: Simulator) -> None:
    async with standing(served(one(upstream.url))) as stand:
        with pytest.raises((openai.APIConnectionError, aiohttp.ClientError, Exception)):
            [_ async for _ in await stand.sdk.responses.create(**ASK, metadata={"scenario": "drop"}, stream=True)]
        await stand.rig.settled()
        assert stand.turn().status == "failed"


async def test_a_stream_without_an_end_is_a_failed_turn() -> None:
    event = b'data: {"type":"response.created","response":{"id":"resp_1","model":"m"}}\n\n'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + event)
        writer.close()

    async with upstream_of(answer) as url, standing(served(one(url))) as stand:
        [_ async for _ in await stand.sdk.responses.create(**ASK, stream=True)]
        await stand.rig.settled()
        assert stand.turn().status == "failed"
        assert stand.rig.meter.lost == ["reply_not_json"]


@pytest.mark.parametrize("status", [429, 503])
async def test_busy_upstreams_are_passed_on_as_they_were(upstream: Simulator, status: int) -> None:
    async with standing(served(one(upstream.url))) as stand:
        with pytest.raises(openai.APIStatusError) as refused:
            await stand.sdk.responses.create(**ASK, metadata={"scenario": f"status:{status}"})
        assert refused.value.status_code == status
        assert refused.value.response.headers["Retry-After"] == "1"
        await stand.rig.settled()
        assert stand.rig.meter.turns == []


async def test_a_silent_upstream_is_a_504(upstream: Simulator) -> None:
    async with standing(served(one(upstream.url), timeouts=Timeouts(response=0.2))) as stand:
        with pytest.raises(openai.APIStatusError, match="did not answer within"):
            await stand.sdk.responses.create(**ASK, metadata={"scenario": "stall"})


# -- where it goes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["a", "b"])
async def test_a_response_goes_on_where_it_was_made(upstream: Simulator, where: str, stream: bool) -> None:
    async with standing(two(upstream.url)) as stand:
        made = await stand.sdk.responses.create(model=f"at-{where}", input="hello")
        for _ in range(3):
            options: dict[str, Any] = {"model": "any", "input": "and?", "previous_response_id": made.id}
            if stream:
                events = [event async for event in await stand.sdk.responses.create(**options, stream=True)]
                made = events[-1].response
            else:
                made = await stand.sdk.responses.create(**options)
            assert made.previous_response_id == options["previous_response_id"]
    assert [key for _, _, key in asked(upstream)] == [f"sk-{where}"] * 4
    assert [turn["status"] for turn in upstream.ledger.turns] == ["completed"] * 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("where", ["a", "b"])
async def test_encrypted_content_goes_back_where_it_was_made(upstream: Simulator, where: str, stream: bool) -> None:
    """The incident: reasoning items sent to another organisation, `invalid_encrypted_content`."""
    async with standing(two(upstream.url)) as stand:
        first: Any = {"model": f"at-{where}", "input": "hello", "store": False, **THINKING}
        if stream:
            items = [
                event.item
                async for event in await stand.sdk.responses.create(**first, stream=True)
                if event.type == "response.output_item.done"
            ]
        else:
            items = (await stand.sdk.responses.create(**first)).output
        said: Any = [item.model_dump(exclude_none=True) for item in items]
        assert said[0]["encrypted_content"].startswith("tg1")
        again = await stand.sdk.responses.create(model="any", input=[*said, {"role": "user", "content": "and?"}])
        assert again.output_text
    assert [key for _, _, key in asked(upstream)] == [f"sk-{where}"] * 2
    assert b"tg1" not in upstream.requests[-1].body


async def test_what_is_stored_is_asked_of_who_has_it(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand:
        made = await stand.sdk.responses.create(model="at-b", input="hello", **THINKING)
        found = await stand.sdk.responses.retrieve(made.id)
        assert (found.id, found.output) == (made.id, made.output)
        assert (await stand.sdk.responses.input_items.list(made.id)).data
        await stand.sdk.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await stand.sdk.responses.retrieve(made.id)
    [original] = raw_ids(upstream)
    assert asked(upstream)[1:] == [
        ("GET", f"/v1/responses/{original}", "sk-b"),
        ("GET", f"/v1/responses/{original}/input_items", "sk-b"),
        ("DELETE", f"/v1/responses/{original}", "sk-b"),
        ("GET", f"/v1/responses/{original}", "sk-b"),
    ]


async def test_queries_and_other_spellings_of_the_path_go_on(upstream: Simulator) -> None:
    async with standing(served(one(upstream.url))) as stand:
        made = await stand.sdk.responses.create(**ASK)
        spelled = made.id.replace("r", "%72", 1)
        async with aiohttp.ClientSession(headers=BEARER) as client:
            url = f"{stand.rig.url}//v1/responses/{spelled}/?include[]=a%2Fb&stream=false"
            async with client.get(URL(url, encoded=True)) as answer:
                assert answer.status == 200
                assert (await answer.json())["id"] == made.id
    assert asked(upstream)[-1][1] == f"/v1/responses/{raw_ids(upstream)[0]}?include[]=a%2Fb&stream=false"


async def test_clients_of_azures_shape(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand, client_of(stand.rig) as plain:
        sdk = plain.with_options(base_url=f"{stand.rig.url}/openai/v1")
        made = await sdk.responses.create(model="at-b", input="hello")
        assert (await sdk.responses.retrieve(made.id)).id == made.id
        assert (await sdk.responses.create(model="any", input="and?", previous_response_id=made.id)).output_text
    assert [(path.partition("/resp_")[0], key) for _, path, key in asked(upstream)] == [("/v1/responses", "sk-b")] * 3


async def test_providers_of_one_domain_are_one(upstream: Simulator) -> None:
    providers = one(upstream.url, domain="org"), one(upstream.url, "b", domain="org")
    async with standing(served(*providers, models=MODELS)) as stand:
        made = await stand.sdk.responses.create(model="at-b", input="hello")
        with pytest.raises(openai.BadRequestError, match="Previous response with id"):  # so says the provider
            await stand.sdk.responses.create(model="any", input="and?", previous_response_id=made.id)
    assert asked(upstream)[-1][2] == "sk-a"


async def test_a_gateway_reads_what_another_signed_and_what_an_older_key_signed(upstream: Simulator) -> None:
    old, new = "o" * 32, "n" * 32
    secrets = {**SECRETS, "old@1": old, "new@1": new}
    ids = ("a@1", "b@1", "old@1", "new@1")
    before = two(upstream.url).model_copy(update={"hints": ("old@1",), "secrets": ids})
    after = before.model_copy(update={"hints": ("new@1", "old@1")})
    async with (
        running(before, None, secrets) as first,
        running(after, None, secrets) as second,
        client_of(first) as sdk,
        client_of(second) as elsewhere,
    ):
        made = await sdk.responses.create(model="at-b", input="hello")
        found = await elsewhere.responses.retrieve(made.id)
        assert found.id != made.id
        assert Keys(new.encode()).read_id(found.id).original == raw_ids(upstream)[0]
        with pytest.raises(openai.NotFoundError, match="No response of this id"):
            await sdk.responses.retrieve(found.id)


# -- what is refused ------------------------------------------------------------------------------------------------


async def refusal(stand: Stand, upstream: Simulator, **options: Any) -> str:
    """The code; nothing is sent."""
    before = len(upstream.requests)
    with pytest.raises(openai.APIStatusError) as refused:
        await stand.sdk.responses.create(**{**ASK, "model": "any", **options})
    assert len(upstream.requests) == before
    return f"{refused.value.status_code} {refused.value.code} {refused.value.param}"


async def test_ids_and_contents_that_were_not_made_here(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand:
        made: Any = await stand.sdk.responses.create(model="at-b", input="hello", **THINKING)
        reasoning: Any = made.output[0].model_dump(exclude_none=True)
        [original] = raw_ids(upstream)
        for changed in (original, made.id[:-1], made.id.replace("tg1", "tg2"), "resp_1", [made.id]):
            said = await refusal(stand, upstream, previous_response_id=changed)
            assert said == "404 response_not_found previous_response_id"
        for content in ("gAAAA", reasoning["encrypted_content"] + "x", reasoning["encrypted_content"][5:]):
            said = await refusal(stand, upstream, input=[{**reasoning, "encrypted_content": content}])
            assert said == "400 invalid_encrypted_content input[0].encrypted_content"
        for name in (original, made.id + "x", "resp_1"):
            for ask in (
                stand.sdk.responses.retrieve,
                stand.sdk.responses.delete,
                stand.sdk.responses.cancel,
                stand.sdk.responses.input_items.list,
            ):
                with pytest.raises(openai.NotFoundError, match="No response of this id"):
                    await ask(name)
    assert len(upstream.requests) == 1


async def test_another_callers_is_closed(upstream: Simulator) -> None:
    other = "another-key-9e8d7c6b5a4f"
    known = CallerKey(name="other", sha256=hashlib.sha256(other.encode()).hexdigest())
    callers = CALLERS.model_copy(update={"keys": (*CALLERS.keys, known)})
    made_of = two(upstream.url).model_copy(update={"callers": (callers,)})
    async with standing(made_of) as stand:
        made: Any = await stand.sdk.responses.create(model="at-b", input="hello", **THINKING)
        content = [made.output[0].model_dump(exclude_none=True)]
        mine = Stand(stand.rig, stand.sdk)
        stand = Stand(stand.rig, stand.sdk.with_options(api_key=other))
        assert (await refusal(stand, upstream, previous_response_id=made.id)).startswith("404 response_not_found")
        assert (await refusal(stand, upstream, input=content)).startswith("400 invalid_encrypted_content")
        with pytest.raises(openai.NotFoundError):
            await stand.sdk.responses.retrieve(made.id)
        with pytest.raises(openai.NotFoundError):
            await stand.sdk.responses.delete(made.id)
        assert await mine.sdk.responses.retrieve(made.id)


async def test_two_domains_in_one_request(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand:
        at_a = await stand.sdk.responses.create(model="at-a", input="hello")
        at_b: Any = await stand.sdk.responses.create(model="at-b", input="hello", **THINKING)
        items = [at_b.output[0].model_dump(exclude_none=True)]
        said = await refusal(stand, upstream, previous_response_id=at_a.id, input=items)
        assert said == "400 several_domains None"
        said = await refusal(stand, upstream, model="at-a", previous_response_id=at_b.id)
        assert said == "400 several_domains model"


async def test_an_item_by_its_id_alone(upstream: Simulator) -> None:
    reference = [{"type": "item_reference", "id": "rs_1"}]
    async with standing(two(upstream.url)) as stand:
        assert await refusal(stand, upstream, input=reference) == "400 several_domains input[0]"
        made = await stand.sdk.responses.create(model="at-b", input="hello")
        options: Any = {"model": "any", "input": reference, "previous_response_id": made.id}
        assert await stand.sdk.responses.create(**options)
    async with standing(served(one(upstream.url))) as stand:
        options = {"model": "gpt-5", "input": reference}
        assert await stand.sdk.responses.create(**options)


async def test_a_domain_that_is_gone_is_not_replaced(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand:
        made = await stand.sdk.responses.create(model="at-b", input="hello")
        left = tuple(Model(name=each.name, targets=each.targets[:1]) for each in MODELS if each.name != "at-b")
        gone = served(one(upstream.url), models=left)
        stand.rig.gateway.load(gone, _secrets())
        said = await refusal(stand, upstream, previous_response_id=made.id)
        assert said == "404 domain_gone None"
        with pytest.raises(openai.NotFoundError, match="no longer among"):
            await stand.sdk.responses.retrieve(made.id)


async def test_a_domain_that_cannot_be_used_is_not_replaced(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand:
        made = await stand.sdk.responses.create(model="at-b", input="hello")
        broken = served(one(upstream.url), one(upstream.url, "b", error="its Secret is missing"), models=MODELS)
        stand.rig.gateway.load(broken, _secrets())
        assert (await refusal(stand, upstream, previous_response_id=made.id)).startswith("500 configuration_error")
        with pytest.raises(openai.InternalServerError, match="its Secret is missing"):
            await stand.sdk.responses.retrieve(made.id)


def _secrets() -> dict[str, SecretStr]:
    return {name: SecretStr(value) for name, value in SECRETS.items()}


async def test_the_clients_own_credential(upstream: Simulator) -> None:
    """The provider knows itself what is whose; a stored conversation is the client's own."""
    own = one(upstream.url, credential=Credential(kind="passthrough"))
    async with standing(served(own, policies=OPEN), key="sk-a") as stand:
        made = await stand.sdk.responses.create(**ASK, conversation="conv_1")
        assert (await stand.sdk.responses.retrieve(made.id)).id == made.id
        with pytest.raises(openai.NotFoundError, match="not found"):
            await stand.sdk.with_options(api_key="sk-b").responses.retrieve(made.id)


async def test_stored_conversations_are_nobodys(upstream: Simulator) -> None:
    async with standing(two(upstream.url)) as stand:
        for value in ("conv_1", {"id": "conv_1"}):
            said = await refusal(stand, upstream, conversation=value)
            assert said == "403 conversation_not_allowed conversation"


FEW = REQUIRED.model_copy(update={"models": (ModelAllow(policy="ai/few", patterns=("gpt-5",)),)})


@pytest.mark.parametrize("below", ["", "/compact", "/input_tokens"])
@pytest.mark.parametrize(
    "body",
    [
        {"model": "gpt-6"},
        {"model": "gpt-5", "models": ["gpt-6"]},
        {"model": "gpt-5", "tools": [{"type": "image_generation", "model": "gpt-image-1"}]},
    ],
)
async def test_only_allowed_models(upstream: Simulator, below: str, body: dict[str, object]) -> None:
    async with standing(served(one(upstream.url), policies=FEW)) as stand:
        assert await stand.call("POST", below, {"input": "x", **body}) == (403, "model_not_allowed")
        assert await stand.call("POST", below, ASK) == (200, "")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("below", ["", "/compact", "/input_tokens"])
async def test_the_model_is_renamed_on_every_path(upstream: Simulator, below: str) -> None:
    models = (Model(name="fast", targets=(Target(provider="a", model="gpt-5-mini"),)),)
    async with standing(served(one(upstream.url), models=models)) as stand:
        assert await stand.call("POST", below, {"model": "fast", "input": "hello"}) == (200, "")
        assert await stand.call("POST", below, {"model": "slow", "input": "hello"}) == (404, "model_not_found")
    assert orjson.loads(upstream.requests[-1].body)["model"] == "gpt-5-mini"


@pytest.mark.parametrize("models", [False, True])
async def test_what_a_provider_has_made_goes_on_there_when_it_gets_nothing_new(
    upstream: Simulator, models: bool
) -> None:
    """As when it is taken out of use: by a weight of 0, its own or that of a model's target."""
    weights = (Target(provider="a", model="gpt-5", weight=0), Target(provider="b", model="gpt-5"))
    changes: dict[str, Any] = {"models": (Model(name="gpt-5", targets=weights),)} if models else {}
    left = served(one(upstream.url, weight=1 if models else 0), one(upstream.url, "b"), **changes)
    hints = {"hints": ("k@1",), "secrets": ("a@1", "b@1", "k@1")}
    secrets = {**SECRETS, "k@1": "k" * 32}
    before, after = (made.model_copy(update=hints) for made in (served(one(upstream.url)), left))
    async with running(before, None, secrets) as first, client_of(first) as sdk:
        made = await sdk.responses.create(**ASK)
    async with running(after, None, secrets) as second, client_of(second) as sdk:
        next_one = await sdk.responses.create(**ASK, previous_response_id=made.id)
        await sdk.responses.retrieve(next_one.id)
        await sdk.responses.create(**ASK)
    assert [key for _, _, key in asked(upstream)] == ["sk-a", "sk-a", "sk-a", "sk-b"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "", 405, "method_not_allowed"),
        ("PUT", "", 405, "method_not_allowed"),
        ("GET", "/compact", 405, "method_not_allowed"),
        ("POST", "/resp_1", 405, "method_not_allowed"),
        ("GET", "/resp_1/output", 404, "undeclared_path"),
        ("GET", "/a/b/c/d/e", 404, "undeclared_path"),
    ],
)
async def test_paths_that_there_are_not(upstream: Simulator, method: str, path: str, status: int, code: str) -> None:
    paths = (*PATHS, PathType(suffix="*", type=RouteType.PASSTHROUGH))
    async with standing(served(one(upstream.url), paths=paths)) as stand:
        assert await stand.call(method, path) == (status, code)
    assert not upstream.requests


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", {}, "invalid_json"),
        (b"[]", {}, "invalid_json"),
        (b'{"model":5}', {}, "invalid_value"),
        (b"{}", {}, "missing_model"),
        (b"{}", {"Content-Encoding": "gzip"}, "unsupported_encoding"),
    ],
)
async def test_bodies_that_are_none(upstream: Simulator, body: bytes, headers: dict[str, str], code: str) -> None:
    async with standing(served(one(upstream.url))) as stand:
        _, said = await stand.call("POST", "", body, headers)
        assert said == code


async def test_where_everything_is_of_the_type(upstream: Simulator) -> None:
    paths = (PathType(suffix="*", type=RouteType.RESPONSES),)
    async with standing(served(one(upstream.url), paths=paths)) as stand:
        made = await stand.sdk.responses.create(**ASK)
        assert (await stand.sdk.responses.retrieve(made.id)).id == made.id
