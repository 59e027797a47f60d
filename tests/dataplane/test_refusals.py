"""What the gateway refuses, with which status and code, in the error's shape, and without any key."""

from __future__ import annotations

import logging
import re
from typing import Any

import aiohttp
import orjson
import pytest
from yarl import URL

from dataplane.errors import CATALOGUE
from dataplane.server import Limits
from dataplane.snapshot import Snapshot
from dataplane.table import Forward, Model, ModelAllow, PolicySet, Route, Subject, Table, Target, sealed
from simulator.server import Simulator
from tests.dataplane.rig import (
    ASK,
    BEARER,
    CLIENT_KEY,
    REQUIRED,
    SECRETS,
    UPSTREAM_KEY,
    Rig,
    backend,
    provider,
    running,
    table,
)
from tests.dataplane.upstream import says, upstream_of

CHAT = "/v1/chat/completions"


async def error_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The error, after checking the shape that every refusal has."""
    assert response.content_type == "application/json"
    body = orjson.loads(await response.read())
    error: dict[str, Any] = body.pop("error")
    assert body == {}
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == CATALOGUE[error["code"]].type
    assert len(error["message"]) > 10
    assert response.headers["x-request-id"] == response.headers["x-tidegate-request-id"]
    for secret in (CLIENT_KEY, UPSTREAM_KEY, "wrong-key"):
        assert secret not in str(error) + str(response.headers)
    return error


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("POST", CHAT, {}, ASK, 401, "credentials_required"),
        ("POST", CHAT, {"Authorization": "Bearer wrong-key-000"}, ASK, 401, "invalid_api_key"),
        ("POST", CHAT, {**BEARER, "api-key": "wrong-key-000"}, ASK, 401, "ambiguous_credentials"),
        ("POST", CHAT, BEARER, b"{", 400, "invalid_json"),
        ("POST", CHAT, BEARER, b"", 400, "invalid_json"),
        ("POST", CHAT, BEARER, b"[]", 400, "invalid_json"),
        ("POST", CHAT, BEARER, b'{"model":"\xff"}', 400, "invalid_json"),
        ("POST", CHAT, BEARER, b"[" * 100_000, 400, "invalid_json"),
        ("POST", CHAT, BEARER, {**ASK, "model": 7}, 400, "invalid_value"),
        ("POST", CHAT, BEARER, {**ASK, "model": None}, 400, "invalid_value"),
        ("POST", CHAT, BEARER, {"messages": []}, 400, "missing_model"),
        ("POST", CHAT, BEARER, {**ASK, "model": ""}, 400, "missing_model"),
        ("POST", CHAT, BEARER, b" " * 2000, 413, "body_too_large"),
        ("POST", CHAT, {**BEARER, "Content-Encoding": "gzip"}, b"x", 415, "unsupported_encoding"),
        ("GET", CHAT, BEARER, None, 405, "method_not_allowed"),
        ("GET", "/v1/../v1/models", BEARER, None, 400, "invalid_path"),
        ("GET", "/v1/%2e%2e/models", BEARER, None, 400, "invalid_path"),
        ("GET", "/v1%2fmodels", BEARER, None, 400, "invalid_path"),
        ("GET", "/v1/%00", BEARER, None, 400, "invalid_path"),
        ("POST", "/v1/realtime/client_secrets", BEARER, {}, 403, "path_not_allowed"),
        ("POST", "//v1//Realtime/%63lient_secrets/", BEARER, {}, 403, "path_not_allowed"),
        ("GET", "/v1/organization", BEARER, None, 403, "path_not_allowed"),
        ("GET", "/V1/Organization/users", BEARER, None, 403, "path_not_allowed"),
        ("GET", "/v1/realtime?model=gpt-realtime", BEARER, None, 426, "upgrade_required"),
    ],
)
async def test_refusals(
    upstream: Simulator,
    client: aiohttp.ClientSession,
    method: str,
    path: str,
    headers: dict[str, str],
    body: object,
    status: int,
    code: str,
) -> None:
    data = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
    async with running(table(backend(provider(upstream.url))), Limits(body=1000 if status == 413 else 2**20)) as rig:
        url = URL(rig.url + path, encoded=True)
        async with client.request(method, url, data=data, headers=headers) as response:
            error = await error_of(response)
            assert (response.status, error["code"]) == (status, code)
            assert ("Allow" in response.headers) == (status == 405)
            assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert list(upstream.requests) == []
    assert [request[2:] for request in rig.meter.requests] == [(status, code)]
    assert rig.meter.turns == []


async def test_a_chunked_body_over_the_limit_is_refused_too(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    async def body() -> Any:
        for _ in range(20):
            yield b" " * 100

    async with (
        running(table(backend(provider(upstream.url))), Limits(body=1000)) as rig,
        client.post(rig.url + CHAT, data=body(), headers=BEARER) as response,
    ):
        assert response.status == 413
        await error_of(response)


async def test_undeclared_paths_and_unknown_models(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    served = backend(
        provider(upstream.url),
        paths=backend().paths[:1],
        models=(Model(name="gpt-fast", targets=(Target(provider="openai"),)),),
    )
    async with running(table(served)) as rig:
        async with client.get(rig.url + "/v1/files", headers=BEARER) as response:
            assert response.status == 404
            error = await error_of(response)
            assert error["code"] == "undeclared_path"
            assert CHAT in error["message"]
        async with client.post(rig.url + CHAT, json={**ASK, "model": "gpt-fats"}, headers=BEARER) as response:
            assert response.status == 404
            error = await error_of(response)
            assert (error["code"], error["param"]) == ("model_not_found", "model")
            assert "gpt-fast" in error["message"]


async def test_models_that_a_policy_does_not_allow(upstream: Simulator, client: aiohttp.ClientSession) -> None:
    allow = (
        ModelAllow(policy="ai/a", patterns=("gpt-*",)),
        ModelAllow(policy="ai/b", subjects=(Subject(namespace="ai", team="support"),), patterns=("gpt-5", "o*")),
        ModelAllow(policy="ai/c", subjects=(Subject(namespace="ai", team="other"),), patterns=("nothing",)),
    )
    async with running(table(backend(provider(upstream.url)), REQUIRED.model_copy(update={"models": allow}))) as rig:
        for model, status in (("gpt-5", 200), ("gpt-5-mini", 403), ("o1", 403)):
            async with client.post(rig.url + CHAT, json={**ASK, "model": model}, headers=BEARER) as response:
                assert response.status == status, model
                if status == 403:
                    assert (await error_of(response))["code"] == "model_not_allowed"


async def test_what_a_caller_may_not_use_is_refused_alike_whether_or_not_it_exists(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    declared = tuple(Model(name=name, targets=(Target(provider="openai"),)) for name in ("mine-1", "secret-1"))
    allow = (ModelAllow(policy="ai/a", patterns=("mine-*",)),)
    served = table(backend(provider(upstream.url), models=declared), REQUIRED.model_copy(update={"models": allow}))
    async with running(served) as rig:

        async def asked(model: str) -> tuple[int, str]:
            async with client.post(rig.url + CHAT, json={**ASK, "model": model}, headers=BEARER) as response:
                return response.status, (await error_of(response))["message"].replace(model, "it")

        assert await asked("secret-1") == await asked("secret-2")
        assert (await asked("secret-1"))[0] == 403
        status, message = await asked("mine-2")
        assert status == 404
        assert "Did you mean mine-1?" in message


async def test_a_body_names_no_other_model_where_models_are_limited(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    allow = (ModelAllow(policy="ai/a", patterns=("gpt-5",)),)
    body = {**ASK, "model": "gpt-5", "models": ["gpt-5", "o1"]}
    for policies, status in ((REQUIRED, 200), (REQUIRED.model_copy(update={"models": allow}), 403)):
        async with (
            running(table(backend(provider(upstream.url)), policies)) as rig,
            client.post(rig.url + CHAT, json=body, headers=BEARER) as response,
        ):
            assert response.status == status
            if status == 403:
                error = await error_of(response)
                assert (error["code"], error["param"]) == ("model_not_allowed", "models")


async def test_without_a_policy_about_callers_the_answer_says_what_to_apply(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    async with (
        running(table(backend(provider(upstream.url)), PolicySet())) as rig,
        client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response,
    ):
        assert response.status == 401
        error = await error_of(response)
    assert error["code"] == "authentication_not_configured"
    assert "kind: Policy" in error["message"]
    assert "name: voice" in error["message"]


async def test_broken_objects_answer_500_with_their_message_and_cost_only_themselves(
    upstream: Simulator, client: aiohttp.ClientSession
) -> None:
    good = backend(provider(upstream.url))
    broken = backend(provider("x", error="Secret ai/openai is missing"), name="ai/broken")
    routes = (
        Route(name="good", hostnames=("good.test",), forwards=(Forward(backend=good.name, policies=REQUIRED),)),
        Route(name="a", hostnames=("a.test",), error="rule 1 has a bad filter"),
        Route(name="b", hostnames=("b.test",), forwards=(Forward(backend="ai/none", error="no Backend ai/none"),)),
        Route(name="c", hostnames=("c.test",), forwards=(Forward(backend=broken.name, policies=REQUIRED),)),
        Route(name="d", hostnames=("d.test",), forwards=()),
    )
    served = table(good)
    served = Table(
        backends=(good, broken),
        routes=tuple(sealed(route) for route in routes),
        callers=served.callers,
        secrets=served.secrets,
    )
    async with running(served) as rig:
        for host, words in {"a": "bad filter", "b": "ai/none", "c": "Secret ai/openai", "d": "no backend"}.items():
            sent = {**BEARER, "Host": f"{host}.test"}
            async with client.post(rig.url + CHAT, json=ASK, headers=sent) as response:
                assert response.status == 500
                error = await error_of(response)
                assert error["code"] == "configuration_error"
                assert words in error["message"]
        async with client.post(rig.url + CHAT, json=ASK, headers={**BEARER, "Host": "good.test"}) as response:
            assert response.status == 200
        async with client.post(rig.url + CHAT, json=ASK, headers={**BEARER, "Host": "z.test"}) as response:
            assert (response.status, (await error_of(response))["code"]) == (404, "unknown_host")


async def test_upstreams_that_cannot_be_reached(client: aiohttp.ClientSession) -> None:
    async with upstream_of(says(b"")) as closed:
        pass
    async with upstream_of(says(b"")) as mute, upstream_of(says(b"SSH-2.0-x\r\n\r\n")) as odd:
        expected = {
            closed: "upstream_unreachable",
            mute: "upstream_unreachable",
            odd: "upstream_protocol_error",
            "http://does-not-exist.invalid": "upstream_unreachable",
            "http://169.254.169.254": "upstream_address_refused",
            "http://10.0.0.1": "upstream_address_refused",
            "http://[::ffff:10.0.0.1]": "upstream_address_refused",
        }
        for url, code in expected.items():
            async with running(table(backend(provider(url)))) as rig:
                for path, body in ((CHAT, ASK), ("/v1/files", {})):
                    async with client.post(rig.url + path, json=body, headers=BEARER) as response:
                        assert response.status == 502
                        assert (await error_of(response))["code"] == code, url


async def test_an_unforeseen_failure_is_a_500_with_the_request_id(
    rig: Rig, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("something odd")

    monkeypatch.setattr("dataplane.upstreams.pools.Pools.named", broken)
    async with client.post(rig.url + CHAT, json=ASK, headers=BEARER) as response:
        assert response.status == 500
        error = await error_of(response)
        request_id = response.headers["x-request-id"]
    assert error["code"] == "internal_error"
    assert request_id in error["message"]
    assert "odd" not in error["message"]
    assert request_id in caplog.text
    assert "something odd" in caplog.text
    async with client.get(rig.url + "/v1/echo", headers=BEARER) as response:
        assert response.status == 200


async def test_no_key_is_in_any_log(rig: Rig, client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    long = "x" * 40_000
    for key in (CLIENT_KEY, "wrong-key-000"):
        for headers, query in (
            ({"Authorization": f"Bearer {key}"}, ""),
            ({"api-key": key}, ""),
            ({"Sec-WebSocket-Protocol": f"realtime, openai-insecure-api-key.{key}"}, ""),
            ({}, f"?key={key}"),
            ({"Authorization": f"Bearer {key}{long}"}, ""),
        ):
            async with client.post(rig.url + CHAT + query, data=b"{", headers=headers) as response:
                text = await response.text() + str(response.headers)
                assert response.status in (400, 401, 431)
                assert key not in text
    for raw in (
        f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {CLIENT_KEY}\x01\r\n\r\n",
        f"{CLIENT_KEY}\r\n\r\n",
    ):
        assert CLIENT_KEY not in (await rig.raw(raw.encode())).decode()
    for secret in (CLIENT_KEY, "wrong-key", UPSTREAM_KEY):
        assert not re.search(secret, caplog.text)
        assert secret not in repr(rig.gateway.table())


def test_snapshots_show_no_secret(upstream: Simulator) -> None:
    snapshot = Snapshot.build(table(backend(provider("http://a.test"))), SECRETS)
    assert UPSTREAM_KEY not in repr(snapshot)
