"""Callers with tokens, end to end: files, compiler, gateway, an issuer that publishes its keys by HTTP, real clients.

What is refused in detail is in tests/dataplane/callers/test_tokens.py; here is what only a running gateway shows:
keys that rotate or cannot be had, and that no token reaches anybody whom it is not for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import structlog

from dataplane.callers import refresh
from tests.dataplane.callers.issuers import AUDIENCE, ISSUER, claims, jwk, key_set, pem, token, unsigned
from tests.dataplane.callers.publisher import Publisher
from tests.integration.calls import CLIENT_KEY, WAYS, Call, Objects, Seen, Stand, provider, standing

ONE = jwk("P-256", kid="a", alg="ES256")
TWO = jwk("Ed25519", kid="b", alg="EdDSA")


def trusting(url: str, inline: str = "", /, **authentication: object) -> Objects:
    keys = {"inline": inline} if inline else {"url": url}
    issuer = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": keys, "claims": {"team": "department"}}
    return Objects(policies=[{"authentication": {"jwt": [issuer], **authentication}}])


def good(**said: object) -> str:
    return token(claims(**{"department": "support", **said}))


def bearer(text: str) -> Call:
    return Call().keyed(text)


@asynccontextmanager
async def standing_by(folder: Path, publisher: Publisher, **authentication: object) -> AsyncIterator[Stand]:
    async with standing(folder, trusting(publisher.url, **authentication)) as stand:
        await publisher.heard(1)
        yield stand


def outcome(seen: Seen) -> tuple[int, str]:
    return seen.status, seen.code


async def metric(stand: Stand, result: str) -> float:
    """Fetches with this result."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{stand.gateway.admin_address}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    found = [each for each in lines if each.startswith("tidegate_jwks_fetches_total") and f'result="{result}"' in each]
    return sum(float(each.rpartition(" ")[2]) for each in found)


@pytest.mark.parametrize("way", WAYS)
async def test_a_token_says_who_calls(way: str, tmp_path: Path) -> None:
    async with Publisher(key_set(ONE)) as publisher, standing_by(tmp_path, publisher) as stand:
        seen = await stand.call(way, bearer(good()))
        assert seen.status in (200, 101)
        who = {"namespace": "ai", "key": "alice", "team": "support"}
        assert all(each == who for each in seen.logged("caller"))
        assert (await stand.call(way, bearer(""))).code == "credentials_required"
        assert (await stand.call(way, bearer("sk-guess"))).code == "invalid_api_key"
        refused = await stand.call(way, bearer(good(aud="other")))
        assert outcome(refused) == (401, "invalid_token")
        assert refused.answered("www-authenticate") == ['Bearer error="invalid_token"']
        assert publisher.asked == 1


async def test_bad_tokens_of_every_sort_are_401_and_cause_no_fetch(tmp_path: Path) -> None:
    mac_header = {"alg": "HS256", "kid": "a"}
    bad = {
        "another issuer": good(iss="https://evil.example.com"),
        "another audience": good(aud="other"),
        "expired": good(exp=1_000_000_000),
        "not yet valid": good(nbf=4_000_000_000),
        "no algorithm": unsigned({"alg": "none", "kid": "a"}, claims()),
        "a public key as a secret": unsigned(mac_header, claims(), pem("P-256")),
        "another's key": token(claims(department="support"), number=1),
        "huge": good(padding="x" * 9000),
        "a name that is none": good(sub="alice\r\nx-admin: 1"),
        "a team that is none": good(department=["support"]),
        "cut short": good()[:-1],
    }
    async with Publisher(key_set(ONE)) as publisher, standing_by(tmp_path, publisher) as stand:
        for what, text in bad.items():
            seen = await stand.call("chat", bearer(text))
            assert outcome(seen) == (401, "invalid_token"), what
            assert not seen.received, what
        assert publisher.asked == 1


async def test_keys_rotate_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Publisher(key_set(ONE)) as publisher, standing_by(tmp_path, publisher) as stand:
        old, new = good(), token(claims(department="support"), "EdDSA", "Ed25519", kid="b")
        assert (await stand.call("chat", bearer(old))).status == 200
        publisher.body = key_set(ONE, TWO)
        monkeypatch.setattr(refresh, "SOONEST", 0.0)
        assert [(await stand.call("chat", bearer(each))).status for each in (new, old)] == [200, 200]
        assert publisher.asked == 2
        publisher.body = key_set(TWO)
        unknown = token(claims(), number=5, kid="nobody's")
        assert outcome(await stand.call("chat", bearer(unknown))) == (401, "invalid_token")
        assert publisher.asked == 3
        assert [(await stand.call("chat", bearer(each))).status for each in (new, old)] == [200, 401]


async def test_a_key_that_takes_the_name_of_the_old_one_is_accepted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an issuer that was set up anew, which was away meanwhile."""
    async with Publisher(key_set(ONE)) as publisher, standing_by(tmp_path, publisher) as stand:
        old, new = good(), token(claims(department="support"), number=1)
        assert (await stand.call("chat", bearer(old))).status == 200
        monkeypatch.setattr(refresh, "SOONEST", 0.0)
        publisher.status = 503
        assert outcome(await stand.call("chat", bearer(new))) == (401, "invalid_token")
        assert (await stand.call("chat", bearer(old))).status == 200
        publisher.status, publisher.body = 200, key_set(jwk("P-256", 1, kid="a", alg="ES256"))
        assert [(await stand.call("chat", bearer(each))).status for each in (new, old)] == [200, 401]


async def test_unknown_keys_cause_no_storm(tmp_path: Path) -> None:
    async with Publisher(key_set(ONE)) as publisher, standing_by(tmp_path, publisher) as stand:
        assert (await stand.call("chat", bearer(good()))).status == 200
        forged = [token(claims(), number=5, kid=f"unknown-{number}") for number in range(50)]
        url = f"http://{stand.gateway.address}/v1/chat/completions"
        async with aiohttp.ClientSession() as http:

            async def status(text: str) -> int:
                async with http.post(url, json={}, headers={"Authorization": f"Bearer {text}"}) as reply:
                    return reply.status

            assert {*await asyncio.gather(*map(status, forged))} == {401}
        assert publisher.asked == 1


async def test_an_outage_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "EVERY", 0.02)
    monkeypatch.setattr(refresh, "_RETRIES", (0.01,))
    async with Publisher(key_set(ONE)) as publisher, standing_by(tmp_path, publisher) as stand:
        with structlog.testing.capture_logs() as lines:
            publisher.status = 503
            await publisher.heard(publisher.asked + 5)
            assert (await stand.call("chat", bearer(good()))).status == 200
            failed = await metric(stand, "failed")
        assert failed >= 4
        began = [line for line in lines if line["event"] == "keys of an issuer cannot be fetched"]
        assert [line["meanwhile"] for line in began] == ["the keys that are known stay in use"]
        with structlog.testing.capture_logs() as lines:
            publisher.status = 200
            await publisher.heard(publisher.asked + 2)
        assert "keys of an issuer are fetched again" in [line["event"] for line in lines]
        assert await metric(stand, "fetched") >= 2


async def test_who_was_never_told_any_keys_says_so_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "SOONEST", 0.0)
    async with Publisher(key_set(ONE)) as publisher:
        publisher.status = 500
        async with standing_by(tmp_path, publisher, keys=[{"secretRef": {"name": "callers"}}]) as stand:
            seen = await stand.call("chat", bearer(good()))
            assert outcome(seen) == (503, "issuer_keys_unavailable")
            assert seen.answered("retry-after")
            assert (await stand.call("chat", bearer(CLIENT_KEY))).status == 200
            publisher.status = 200
            assert (await stand.call("chat", bearer(good()))).status == 200


async def test_the_first_request_waits_for_keys_that_are_under_way(tmp_path: Path) -> None:
    async with Publisher(key_set(ONE)) as publisher:
        publisher.free.clear()
        async with standing_by(tmp_path, publisher) as stand:
            first = asyncio.create_task(stand.call("chat", bearer(good())))
            await asyncio.sleep(0.05)
            assert not first.done()
            publisher.free.set()
            assert (await first).status == 200
        assert publisher.asked == 1


async def test_a_reload_waits_for_nobody_and_keeps_what_is_known(tmp_path: Path) -> None:
    async with (
        Publisher(key_set(ONE)) as publisher,
        Publisher(key_set(TWO)) as other,
        standing_by(tmp_path, publisher) as stand,
    ):
        assert (await stand.call("chat", bearer(good()))).status == 200
        publisher.free.clear()
        changed = trusting(publisher.url, mode="Optional")
        await stand.serve(changed)
        assert (await stand.call("chat", bearer(good()))).status == 200
        assert (await stand.call("chat", bearer(""))).status == 200
        assert publisher.asked == 1
        other.free.clear()
        await stand.serve(trusting(other.url))
        await other.heard(1)
        other.free.set()
        new = token(claims(department="support"), "EdDSA", "Ed25519", kid="b")
        assert (await stand.call("chat", bearer(new))).status == 200
        assert outcome(await stand.call("chat", bearer(good()))) == (401, "invalid_token")


async def test_keys_in_the_policy_are_fetched_nowhere(tmp_path: Path) -> None:
    objects = trusting("", key_set(ONE, {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}))
    async with standing(tmp_path, objects) as stand:
        (problem,) = [each for each in stand.gateway.problems() if "InvalidKeys" in each]
        assert 'jwks.inline: keys[1] has the secret member "k"' in problem
        assert "c2VjcmV0" not in problem
        assert (await stand.call("chat", bearer(good()))).status == 200
        forged = unsigned({"alg": "HS256", "kid": "shared"}, claims(), b"secret")
        assert outcome(await stand.call("chat", bearer(forged))) == (401, "invalid_token")


# -- who sees what


BYOK = provider("one", auth={"passthrough": {}})
PLACES: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "header": ({"header": "X-Gateway-Key"}, {"x-gateway-key": "$KEY"}, ""),
    "header with a scheme": ({"header": "x-gateway-key"}, {"X-Gateway-Key": "Bearer $KEY"}, ""),
    "query": ({"query": "gw_key"}, {}, "gw_key=$KEY&a=1"),
}


@pytest.mark.parametrize("credential", ["key", "token"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
async def test_the_gateways_credential_reaches_nobody_and_the_clients_own_its_provider(
    way: str, place: str, credential: str, tmp_path: Path
) -> None:
    location, headers, query = PLACES[place]
    shown = good() if credential == "token" else "the-gateways-own-key"
    key = {"Authorization": f"Bearer {CLIENT_KEY}"}
    call = Call(
        headers={name: value.replace("$KEY", shown) for name, value in headers.items()} | key,
        query=query.replace("$KEY", shown),
    )
    echo = {"name": "x-echo", "value": "<${request.header.x-gateway-key}${request.query.gw_key}>"}
    authentication = {
        **trusting("", key_set(ONE)).policies[0]["authentication"],  # type: ignore[dict-item]
        "keys": [{"secretRef": {"name": "callers"}, "team": "support"}],
        "location": location,
    }
    objects = Objects(
        {"providers": [BYOK]},
        policies=[
            {"authentication": authentication},
            {"transformation": {"request": {"set": [echo]}, "response": {"set": [echo]}}},
            {"telemetry": {"logEvents": ["*"]}},
        ],
        keys={"alice": "the-gateways-own-key"},
    )
    async with standing(tmp_path, objects) as stand:
        seen = await stand.call(way, call)
        assert seen.status in (200, 101), seen.message
        assert seen.sent("authorization") == [f"Bearer {CLIENT_KEY}"]
        assert seen.sent("x-echo") == seen.answered("x-echo") == ["<>"]
        assert ("a=1" in seen.received[-1].path) == ("a=1" in call.query)
        wrong = replace(call, headers={name: f"{value}x" for name, value in call.headers.items()}, query=call.query)
        unkeyed = await stand.call(way, replace(call, headers=key, query=""))
        assert outcome(unkeyed) == (401, "credentials_required")
        assert next(iter(location.values())).lower() in unkeyed.message
        everywhere = [seen, unkeyed, await stand.call(way, wrong)]
    for each in everywhere:
        written = json.dumps([each.lines, each.answer, each.message, each.code], default=str)
        assert shown not in written
        assert shown not in str([(got.path, got.headers) for got in each.received])


@pytest.mark.parametrize("way", WAYS)
async def test_the_providers_key_is_no_key_of_the_gateways(way: str, tmp_path: Path) -> None:
    """A location is the only place: what is elsewhere does not count, be it valid."""
    authentication = {"keys": [{"secretRef": {"name": "callers"}}], "location": {"header": "x-gateway-key"}}
    objects = Objects({"providers": [BYOK]}, policies=[{"authentication": authentication}])
    async with standing(tmp_path, objects) as stand:
        assert outcome(await stand.call(way, bearer(CLIENT_KEY))) == (401, "credentials_required")
        both = Call(headers={"X-Gateway-Key": CLIENT_KEY, "Authorization": f"Bearer {CLIENT_KEY}"})
        assert (await stand.call(way, both)).status in (200, 101)


@pytest.mark.parametrize("way", WAYS)
async def test_a_token_does_not_reach_a_provider_under_our_credential(way: str, tmp_path: Path) -> None:
    objects = trusting("", key_set(ONE))
    async with standing(tmp_path, objects) as stand:
        shown = good()
        seen = await stand.call(way, bearer(shown))
        assert seen.sent("authorization") == ["Bearer sk-simulator"]
        assert shown not in str([(got.path, got.headers) for got in seen.received])
        assert shown not in json.dumps(seen.lines, default=str)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"api-key": CLIENT_KEY}, ""),
        ({"X-Goog-Api-Key": CLIENT_KEY}, ""),
        ({}, f"key={CLIENT_KEY}"),
        ({}, f"api-key={CLIENT_KEY}"),
    ],
)
async def test_the_clients_own_credential_goes_on_from_wherever_it_is(
    headers: dict[str, str], query: str, tmp_path: Path
) -> None:
    authentication = {"keys": [{"secretRef": {"name": "callers"}}], "location": {"header": "x-gateway-key"}}
    objects = Objects(
        {"providers": [BYOK]}, policies=[{"authentication": authentication}], keys={"alice": "the-gateways-own-key"}
    )
    call = Call(headers={"X-Gateway-Key": "the-gateways-own-key", **headers}, query=query)
    async with standing(tmp_path, objects) as stand:
        seen = await stand.call("passthrough", call)
    for name, value in headers.items():
        assert seen.sent(name.lower()) == [value]
    assert seen.received[-1].path.endswith(f"?{query}" if query else "/v1/echo")
    assert "the-gateways-own-key" not in str(seen.received)
