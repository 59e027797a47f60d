"""Every field of the API has an effect on live traffic, or a test here fails.

A field that is accepted and then does nothing is the worst kind: people believe that they are guarded. So each row
calls a running gateway twice, with and without what it is about, and says what is seen each time; and the last test
holds the rows against the models, so that no new field goes without one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import get_args

import openai
import pytest
from websockets.asyncio.client import ClientConnection

from crds.backend import BackendSpec
from crds.policy import PolicySpec
from crds.structural import as_mapping, structural
from dataplane.table import Variable
from tests.integration import authentication
from tests.integration.budgets import ROWS as BUDGETS
from tests.integration.calls import CLIENT_KEY, PATHS, WAYS, Call, Objects, Seen, provider, standing
from tests.integration.guardrails import FIELD as GUARDRAIL
from tests.integration.guardrails import ROWS as GUARDRAILS
from tests.integration.limits import LIMITS
from tests.integration.rows import CLIENT_SAYS, GUARD, MODEL, PROVIDER, ROWS, Row

EVERY_ROW = (*ROWS, *authentication.ROWS, *LIMITS, *BUDGETS, *GUARDRAILS)


@pytest.mark.parametrize(
    ("row", "way"), [pytest.param(row, way, id=f"{row.about}-{way}") for row in EVERY_ROW for way in row.ways]
)
async def test_it_has_an_effect(row: Row, way: str, tmp_path: Path) -> None:
    async with standing(tmp_path, row.before) as stand:
        seen = await stand.call(way, row.call)
        assert row.see(seen) == _by_way(row.unlike, way), f"before: {seen.message}"
        await stand.serve(row.after)
        seen = await stand.call(way, row.call)
        assert row.see(seen) == _by_way(row.like, way), f"after: {seen.message}"


def _by_way(value: object, way: str) -> object:
    return value[way] if isinstance(value, Mapping) else value


VARIABLES = {
    "request.header.X-Level": "client",
    "request.query.a": "1 2",
    "request.path": PATHS,
    "model": {"chat": "voice", "realtime": "voice", "passthrough": "", "tunnel": ""},
    "route": "ai/front#all",
    "backend": "ai/voice",
    "provider": "one",
    "caller.key": "ci-bot",
    "caller.team": "support",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("variable", VARIABLES)
async def test_a_variable_is_filled(variable: str, way: str, tmp_path: Path) -> None:
    changes = {"set": [{"name": "x-filled", "value": f"<${{{variable}}}>"}]}
    model = {"name": "voice", "targets": [{"provider": "one", "model": "gpt-realtime"}]}
    objects = Objects(
        {"models": [model]}, policies=(GUARD, {"transformation": {"request": changes, "response": changes}})
    )
    call = Call(model="voice", query="a=1+2", headers=CLIENT_SAYS.headers)
    async with standing(tmp_path, objects) as stand:
        seen = await stand.call(way, call)
    value = f"<{_by_way(VARIABLES[variable], way)}>"
    assert (seen.sent("x-filled"), seen.answered("x-filled")) == ([value], [value]), seen.message


def test_no_variable_is_left_out() -> None:
    sources = get_args(Variable.model_fields["source"].annotation)
    assert {source for source in sources for name in VARIABLES if name.startswith(source)} == {*sources}


PRICES = {
    "inputText": ("input_token_details", "text_tokens"),
    "inputAudio": ("input_token_details", "audio_tokens"),
    "inputImage": ("input_token_details", "image_tokens"),
    "cachedText": ("input_token_details", "cached_tokens_details", "text_tokens"),
    "cachedAudio": ("input_token_details", "cached_tokens_details", "audio_tokens"),
    "cachedImage": ("input_token_details", "cached_tokens_details", "image_tokens"),
    "outputText": ("output_token_details", "text_tokens"),
    "outputAudio": ("output_token_details", "audio_tokens"),
}
"""Price → where the provider says how many tokens it is for. Cached ones are a part of the input."""


@pytest.mark.parametrize("name", PRICES)
async def test_a_price_is_charged(name: str, tmp_path: Path) -> None:
    """At a dollar a token and nothing for the others, the cost is the number of tokens."""
    others = {other: "0" for other in PRICES if other != name}
    async with standing(tmp_path, _priced(others)) as stand:
        seen = await stand.converse("voice")
        amount = sum(_amount(turn["usage"], name) for turn in seen.ledger)
        assert amount
        assert _cost(seen) != amount
        await stand.serve(_priced({**others, name: "1000000"}))
        assert _cost(await stand.converse("voice")) == amount


@pytest.mark.parametrize(("name", "said"), [("inputText", "prompt_tokens"), ("outputText", "completion_tokens")])
async def test_a_price_is_charged_for_a_chat(name: str, said: str, tmp_path: Path) -> None:
    async with standing(tmp_path, _priced({"inputText": "0", "outputText": "0", name: "1000000"})) as stand:
        seen = await stand.call("chat", Call(model="voice"))
    assert _cost(seen) == as_mapping(seen.ledger[-1]["usage"])[said]
    assert (seen.logged("cost_status"), seen.logged("price_source")) == (["priced"], ["backend"])


TIMES = {"sessionMinute": "session_seconds", "audioMinute": "seconds", "item": "items"}
"""Price → what is recorded of the session's time that it is for."""


@pytest.mark.parametrize("name", TIMES)
async def test_a_price_of_time_is_charged(name: str, tmp_path: Path) -> None:
    def priced(prices: Mapping[str, str]) -> Objects:
        model = {"name": "voice", "targets": [{"provider": "one"}], "price": prices}
        return Objects({"providers": [provider("one", custom=None, xai={})], "models": [model]})

    others = {other: "0" for other in TIMES if other != name}
    call = Call(model="voice", talk=_manually)
    async with standing(tmp_path, priced({**others, name: "0"}), kind="xai") as stand:
        assert _cost(await stand.hold(call)) == 0
        await stand.serve(priced({**others, name: "60"}))
        seen = await stand.hold(call)
    times = [as_mapping(line["tokens"]) for line in seen.lines if line.get("operation") == "realtime_session_time"]
    amount = sum(Decimal(str(time.get(TIMES[name], 0))) for time in times)
    assert amount > 0
    assert _cost(seen) == amount * (60 if name == "item" else 1)


async def _manually(socket: ClientConnection) -> str:
    """A turn that is ended by the client, of half a second of audio, and a text."""
    audio = base64.b64encode(bytes(24_000)).decode()
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    for event in (
        {"type": "session.update", "session": {"turn_detection": {"type": None}}},
        {"type": "input_audio_buffer.append", "audio": audio},
        {"type": "conversation.item.create", "item": item},
        {"type": "response.create"},
    ):
        await socket.send(json.dumps(event))
    while json.loads(await socket.recv())["type"] != "response.done":
        pass
    return ""


def _priced(price: Mapping[str, str]) -> Objects:
    return Objects({"models": [{"name": "voice", "targets": [{"provider": "one"}], "price": price}]})


def _cost(seen: Seen) -> Decimal | None:
    costs = seen.logged("cost_usd")
    assert costs
    return None if None in costs else sum((Decimal(str(cost)) for cost in costs), Decimal(0))


def _amount(usage: object, name: str) -> int:
    """Tokens of a provider's usage that have this price."""
    found: object = usage
    for key in PRICES[name]:
        found = as_mapping(found)[key]
    assert isinstance(found, int)
    return found - _amount(usage, name.replace("input", "cached")) if name.startswith("input") else found


async def test_a_domain_has_what_its_providers_made(tmp_path: Path) -> None:
    models = [{"name": name, "targets": [{"provider": name}]} for name in ("one", "two")]

    def apart(*domains: str) -> Objects:
        providers = [provider(name, domain=domain) for name, domain in zip(("one", "two"), domains, strict=True)]
        return Objects({"providers": providers, "models": models, "routes": {"/v1/responses": "Responses"}})

    async with standing(tmp_path, apart("a", "b")) as stand:
        url = f"http://{stand.gateway.address}/v1"
        async with openai.AsyncOpenAI(api_key=CLIENT_KEY, base_url=url, max_retries=0) as sdk:
            made = await sdk.responses.create(model="one", input="hello")
            with pytest.raises(openai.BadRequestError, match="served by other providers"):
                await sdk.responses.create(model="two", input="and?", previous_response_id=made.id)
            await stand.serve(apart("a", "a"))
            assert (await sdk.responses.create(model="two", input="and?", previous_response_id=made.id)).output_text


SERVICE = {f"{PROVIDER}.custom.service.{name}" for name in ("name", "namespace", "port")}
"""There are Services in clusters only: see test_services."""
TLS = {
    f"{PROVIDER}.tls.{name}" for name in ("caSecretRef.name", "caSecretRef.key", "clientSecretRef.name", "serverName")
}
"""They have an effect on providers with certificates only: see test_provider_tls."""
ELSEWHERE = {f"{PROVIDER}.azure.resourceName"}
"""A resource is on the internet: which address a name stands for is in the golden azure."""
JUDGE = {f"{GUARDRAIL}.webhook.service.{name}" for name in ("name", "namespace", "port")}
"""A Service is in a cluster: what it stands for is in the golden guardrails-services."""
POOLS = {
    *(f"Backend.spec.balance.{name}" for name in ("strategy", "sticky.header", "sticky.caller")),
    *(f"Backend.spec.health.{name}" for name in ("ejectAfter", "ejectFor", "ejectForMost")),
}
"""It takes several requests to see what they do: see test_pools."""


def test_no_field_is_left_out() -> None:
    driven = {path for row in EVERY_ROW for path in row.about.split()} | {
        f"{MODEL}.price.{name}" for name in (*PRICES, *TIMES)
    }
    driven |= JUDGE | SERVICE | TLS | ELSEWHERE | POOLS | {f"{PROVIDER}.domain"}
    fields = {*_leaves("Backend.spec", structural(BackendSpec)), *_leaves("Policy.spec", structural(PolicySpec))}
    assert fields - driven == set()
    assert {path for path in driven if path.startswith(("Backend.spec", "Policy.spec"))} - fields == set()


def _leaves(path: str, node: Mapping[str, object]) -> Iterator[str]:
    """Paths of the fields that hold no others."""
    if "items" in node:
        yield from _leaves(f"{path}[]", as_mapping(node["items"]))
    elif isinstance(node.get("additionalProperties"), dict):
        yield from _leaves(f"{path}.*", as_mapping(node["additionalProperties"]))
    elif "properties" in node:
        for name, child in as_mapping(node["properties"]).items():
            yield from _leaves(f"{path}.{name}", as_mapping(child))
    else:
        yield path
