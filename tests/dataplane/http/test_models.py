"""`GET /v1/models`: what this caller may use."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import aiohttp
import orjson
import pytest

from dataplane.http.models import LONGEST
from dataplane.table import (
    CallerKey,
    CallerSet,
    Credential,
    HeaderOps,
    HeaderValue,
    Model,
    ModelAllow,
    PathType,
    PolicySet,
    RouteType,
    Subject,
    Target,
    Timeouts,
    Transformation,
)
from simulator.server import Simulator
from tests.dataplane.rig import ASK, BEARER, OPEN, REQUIRED, Rig, backend, provider, running, table
from tests.dataplane.upstream import says, upstream_of

LIST = "/v1/models"
DECLARED = tuple(
    Model(name=name, targets=(Target(provider="openai", model=at),))
    for name, at in {"voice": "gpt-realtime", "secret": "gpt-5", "gpt-*": ""}.items()
)
GPT = ModelAllow(policy="ai/gpt", patterns=("gpt-5", "gpt-realtime*"))


def limited(*allow: ModelAllow, policies: PolicySet = REQUIRED) -> PolicySet:
    return policies.model_copy(update={"models": allow})


async def listed(client: aiohttp.ClientSession, rig: Rig, path: str = LIST) -> list[str]:
    async with client.get(rig.url + path, headers=BEARER) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/json"
        assert response.headers["x-tidegate-request-id"]
        body = await response.json()
    assert body["object"] == "list"
    assert all(each["object"] == "model" and isinstance(each["created"], int) for each in body["data"])
    assert all(isinstance(each["owned_by"], str) for each in body["data"])
    return [each["id"] for each in body["data"]]


async def refused(client: aiohttp.ClientSession, rig: Rig, path: str = LIST, method: str = "GET") -> tuple[int, str]:
    async with client.request(method, rig.url + path, headers=BEARER) as response:
        error: dict[str, Any] = (await response.json())["error"]
        return response.status, str(error["code"])


# -- the Backend says it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "names"),
    [
        ((), ["voice", "secret"]),
        ((ModelAllow(policy="ai/a", patterns=("voice", "gpt-5", "o1")),), ["voice", "gpt-5"]),
        ((ModelAllow(policy="ai/a", patterns=("*",)), ModelAllow(policy="ai/b", patterns=("voi*",))), ["voice"]),
        ((ModelAllow(policy="ai/a", subjects=(Subject(namespace="ai", team="sales"),), patterns=("x",)),), None),
        ((ModelAllow(policy="ai/a", subjects=(Subject(namespace="ai", team="support"),), patterns=("x",)),), []),
    ],
)
async def test_declared_models_are_listed_by_their_public_names(
    upstream: Simulator, client: aiohttp.ClientSession, allow: tuple[ModelAllow, ...], names: list[str] | None
) -> None:
    served = table(backend(provider(upstream.url), models=DECLARED), limited(*allow))
    async with running(served) as rig:
        assert await listed(client, rig) == (["voice", "secret"] if names is None else names)
        assert await listed(client, rig, "/v1/models/?limit=1") == await listed(client, rig, "/models")
        assert rig.meter.turns == []
    assert not upstream.requests


async def test_one_model(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    allow = ModelAllow(policy="ai/a", patterns=("voice*", "gpt-*", "eu/x"))
    eu = Model(name="eu/*", targets=(Target(provider="openai"),))
    served = table(backend(provider(upstream.url), models=(*DECLARED, eu)), limited(allow))
    async with running(served) as rig:
        for name in ("voice", "gpt-4", "eu/x"):
            async with client.get(f"{rig.url}{LIST}/{name}", headers=BEARER) as response:
                assert (response.status, (await response.json())["id"]) == (200, name)
        assert await refused(client, rig, f"{LIST}/voice-2") == (404, "model_not_found")
        assert await refused(client, rig, f"{LIST}/secret") == (403, "model_not_allowed")
        assert await refused(client, rig, f"{LIST}/nothing") == (403, "model_not_allowed")
    assert not upstream.requests


async def test_it_is_answered_where_no_route_says_so(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    paths = (PathType(suffix="/v1/realtime", type=RouteType.REALTIME),)
    async with running(table(backend(provider(upstream.url), models=DECLARED, paths=paths))) as rig:
        assert await listed(client, rig) == ["voice", "secret"]


async def test_a_path_that_is_declared_keeps_its_type(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    paths = (PathType(suffix=LIST, type=RouteType.PASSTHROUGH),)
    async with running(table(backend(provider(upstream.url), models=DECLARED, paths=paths), limited(GPT))) as rig:
        assert "whisper-1" in await listed(client, rig)


async def test_callers_must_say_who_they_are(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async with running(table(backend(provider(upstream.url), models=DECLARED))) as rig:
        for path in (LIST, f"{LIST}/voice"):
            async with client.get(rig.url + path) as response:
                assert response.status == 401


@pytest.mark.parametrize("models", [DECLARED, ()])
async def test_methods(upstream: Simulator, client: aiohttp.ClientSession, models: tuple[Model, ...]) -> None:
    served = table(backend(provider(upstream.url), models=models), limited(GPT))
    async with running(served) as rig:
        names = await listed(client, rig)
        async with client.head(rig.url + LIST, headers=BEARER) as response:
            assert (response.status, await response.read()) == (200, b"")
            assert response.content_length
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            async with client.request(method, rig.url + LIST, headers=BEARER) as response:
                assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")
        assert await refused(client, rig, f"{LIST}/gpt-5", "DELETE") == (405, "method_not_allowed")
        assert await listed(client, rig) == names
    assert {request.method for request in upstream.requests} <= {"GET"}


async def test_policies_change_the_headers_of_the_answer(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    ops = HeaderOps(set=(HeaderValue(name="access-control-allow-origin", value=("*",)),))
    changed = REQUIRED.model_copy(update={"transformations": (Transformation(policy="ai/t", response=ops),)})
    async with (
        running(table(backend(provider(upstream.url), models=DECLARED), changed)) as rig,
        client.get(rig.url + LIST, headers=BEARER) as response,
    ):
        assert response.headers["access-control-allow-origin"] == "*"


# -- a provider says it --------------------------------------------------------------------------------------------


async def test_without_a_limit_the_providers_answer_goes_on_as_it_came(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    async with running(table(backend(provider(upstream.url)))) as rig:
        names = await listed(client, rig, "/v1/models?after=x")
        assert {"gpt-5", "whisper-1"} <= {*names}
        assert upstream.requests[-1].path == "/v1/models?after=x"


async def test_a_providers_list_loses_what_the_caller_may_not_use(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    async with running(table(backend(provider(upstream.url + "/v1")), limited(GPT))) as rig:
        headers = {**BEARER, "Range": "bytes=0-1", "If-None-Match": "x", "Accept-Encoding": "gzip"}
        async with client.get(rig.url + "/v1/models?limit=1&key=nothing", headers=BEARER) as response:
            assert response.status == 401  # two keys
        async with client.get(rig.url + "/v1/models?limit=1", headers=headers) as response:
            names = [each["id"] for each in (await response.json())["data"]]
        assert names == ["gpt-5", "gpt-realtime", "gpt-realtime-2"]
        assert upstream.requests[-1].path == LIST
        sent = {name.lower(): value for name, value in upstream.requests[-1].headers}
        assert sent["accept-encoding"] == "identity"
        assert not sent.keys() & {"range", "if-none-match"}
        assert sent["authorization"] != BEARER["Authorization"]
        assert await listed(client, rig, "/models") == names
        assert await listed(client, rig, "/v1/%6dodels") == names
        assert rig.meter.turns == []
        assert await refused(client, rig, f"{LIST}/o1") == (403, "model_not_allowed")
        assert LIST + "/o1" not in {request.path for request in upstream.requests}
        async with client.get(f"{rig.url}{LIST}/gpt-5", headers=BEARER) as response:
            await response.read()
        assert upstream.requests[-1].path == f"{LIST}/gpt-5"


def answer(body: bytes, status: str = "200 OK", fields: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    return head.encode() + body


MODELS = orjson.dumps({"data": [{"id": "gpt-5"}, {"id": "o1"}]})
LONG = orjson.dumps({"data": [{"id": "gpt-5", "x": "y" * LONGEST}]})


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (answer(b"<html>"), 502, "upstream_protocol_error"),
        (answer(b'{"models":[]}'), 502, "upstream_protocol_error"),
        (answer(gzip.compress(MODELS), fields="Content-Encoding: gzip\r\n"), 502, "upstream_protocol_error"),
        (answer(LONG), 502, "upstream_protocol_error"),
        (answer(MODELS)[:-5], 502, "upstream_protocol_error"),
        (answer(b"", "204 No Content"), 502, "upstream_protocol_error"),
        (answer(b"{}", "401 Unauthorized"), 502, "upstream_credential_rejected"),
        (answer(b'{"error":{"code":"slow"}}', "429 Too Many Requests"), 429, "slow"),
        (answer(b'{"error":{"code":"broken"}}', "500 Internal Server Error"), 500, "broken"),
        (b"", 502, "upstream_unreachable"),
    ],
    ids=["html", "another shape", "compressed", "long", "broken off", "empty", "key", "429", "500", "silent"],
)
async def test_a_provider_that_does_not_say_it(
    client: aiohttp.ClientSession, said: bytes, status: int, code: str
) -> None:
    async with upstream_of(says(said)) as url, running(table(backend(provider(url)), limited(GPT))) as rig:
        assert await refused(client, rig) == (status, code)
        await rig.settled()
        assert rig.meter.turns == []


async def test_a_provider_that_says_it_in_pieces(client: aiohttp.ClientSession) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, MODELS[at : at + 1]) for at in range(len(MODELS)))
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with (
        upstream_of(says(said)) as url,
        running(table(backend(provider(url)), limited(GPT))) as rig,
        client.get(rig.url + LIST, headers=BEARER) as response,
    ):
        assert await response.json() == {"object": "list", "data": [{"id": "gpt-5"}]}


async def test_a_provider_that_does_not_go_on(client: aiohttp.ClientSession) -> None:
    async with upstream_of(stalls) as url:
        served = backend(provider(url), timeouts=Timeouts(idle=0.2))
        async with running(table(served, limited(GPT))) as rig:
            assert await refused(client, rig) == (502, "upstream_protocol_error")


async def stalls(reader: Any, writer: Any) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(answer(MODELS)[:-5])
    await reader.read()


async def test_no_usable_provider(client: aiohttp.ClientSession) -> None:
    async with running(table(backend(provider("http://a.test", error="no Secret")), limited(GPT))) as rig:
        assert await refused(client, rig) == (500, "configuration_error")
        assert await refused(client, rig, f"{LIST}/o1") == (403, "model_not_allowed")


async def test_a_key_of_the_clients_own_is_used(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    own = provider(upstream.url, credential=Credential(kind="passthrough"))
    policies = limited(GPT, policies=OPEN)
    async with running(table(backend(own), policies)) as rig:
        async with client.get(rig.url + LIST, headers={"Authorization": "Bearer sk-simulator"}) as response:
            assert response.status == 200
        assert await refused(client, rig) == (401, "invalid_api_key")


# -- by team and by key --------------------------------------------------------------------------------------------


async def test_each_caller_sees_its_own(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    def keys(team: str, *names: str) -> CallerSet:
        digests = (CallerKey(name=name, sha256=hashlib.sha256(name.encode()).hexdigest()) for name in names)
        return CallerSet(id=f"ai/{team}", namespace="ai", team=team, keys=tuple(digests))

    def only(patterns: tuple[str, ...], **subject: str) -> ModelAllow:
        return ModelAllow(policy="ai/x", subjects=(Subject(namespace="ai", **subject),), patterns=patterns)

    everyone = REQUIRED.authentication.model_copy(update={"callers": ("ai/support", "ai/sales")})  # type: ignore[union-attr]
    policies = PolicySet(
        authentication=everyone, models=(only(("voice",), team="support"), only(("secret", "gpt-5"), key="boss"))
    )
    served = table(backend(provider(upstream.url), models=DECLARED), policies)
    served = served.model_copy(update={"callers": (keys("support", "helpdesk"), keys("sales", "boss", "bob"))})
    async with running(served) as rig:
        seen = {}
        for key in ("helpdesk", "boss", "bob"):
            async with client.get(rig.url + LIST, headers={"Authorization": f"Bearer {key}"}) as response:
                seen[key] = [each["id"] for each in (await response.json())["data"]]
        assert seen == {"helpdesk": ["voice"], "boss": ["secret", "gpt-5"], "bob": ["voice", "secret"]}
        headers = {"Authorization": "Bearer helpdesk"}
        async with client.post(
            f"{rig.url}/v1/chat/completions", json={**ASK, "model": "secret"}, headers=headers
        ) as no:
            assert no.status == 403
