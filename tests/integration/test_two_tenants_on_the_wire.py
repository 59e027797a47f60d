"""Two tenants on one running gateway: what blue does, and whether red notices. At compile: test_two_tenants.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tests.dataplane.callers.issuers import AUDIENCE, ISSUER, claims, jwk, key_set, token
from tests.integration.calls import Json, Objects, Seen, Stand, at, standing
from tests.integration.lives.line import Gone, upgrade
from tests.integration.lives.used import Used
from tests.integration.tenants import (
    BLUE,
    GUEST,
    RED,
    SAME_KEY,
    UPSTREAM,
    Tenants,
    backend,
    call,
    grant,
    named,
    own_key,
    policy,
    route,
    tenant,
    vouched,
)

SHOWN = ("a key", "a token")
KINDS = ("requests", "tokens", "spend", "sessions")
MOST: dict[str, object] = {
    "requests": [{"max": 1, "per": "Month"}],
    "tokens": [{"max": 4096, "per": "Month"}],  # what is set aside for one turn
    "spend": [{"usd": "0.262144", "per": "Month"}],  # the same, at the model's dearest price
    "sessions": 1,
}
"""As much as one use, and no more."""
LIFT: Json = {
    "precedence": "Override",
    "authentication": {"mode": "None"},
    "session": {"onRevoke": "KeepSession"},
    "models": {"allow": ["*"]},
    "limits": {"requests": [{"max": 1_000_000, "per": "Month"}]},
}
AT_GUEST = at("HTTPRoute", "guest")


async def chat(stand: Stand, host: str, key: str, model: str = "voice", **headers: str) -> Seen:
    return await stand.call("chat", call(host, key, model, **headers))


def outcome(seen: Seen) -> tuple[int, str]:
    return seen.status, seen.code


def who(seen: Seen) -> object:
    (caller,) = seen.logged("caller")
    return caller


async def session(stand: Stand, host: str, key: str) -> Used:
    return await Used.open(stand.gateway.address.port, upgrade(host, "/v1/realtime?model=voice", key))


async def knock(stand: Stand, host: str, key: str) -> int:
    return await Used.knock(stand.gateway.address.port, upgrade(host, "/v1/realtime?model=voice", key))


async def told(stand: Stand, *paths: str) -> str:
    """What the gateway tells those who run it."""
    async with aiohttp.ClientSession() as http:
        replies = [await http.get(f"http://{stand.gateway.admin_address}{path}") for path in paths]
        assert [reply.status for reply in replies] == [200] * len(paths)
        return "".join([await reply.text() for reply in replies])


# -- keys and tokens


@pytest.mark.parametrize("way", ["chat", "realtime"])
async def test_keys_open_their_own_tenants_doors_alone_and_are_shown_nowhere(way: str, tmp_path: Path) -> None:
    async with standing(tmp_path, Tenants()) as stand:
        seen = {
            (owner, host): await stand.call(way, call(f"{host}.test", own_key(owner)))
            for owner in (RED, BLUE)
            for host in (RED, BLUE)
        }
        for (owner, host), each in seen.items():
            if owner == host:
                assert each.status in (200, 101)
                assert each.sent("authorization") == [f"Bearer {UPSTREAM[owner]}"]
                assert who(each) == {"namespace": owner, "key": "ci-bot", "team": "support"}
            else:
                assert outcome(each) == (401, "invalid_api_key")
                assert not each.received
                assert f"{owner}/" not in json.dumps([each.message, each.answer])
        everything = json.dumps([[each.lines, each.answer, each.message] for each in seen.values()], default=str)
        everything += await told(stand, "/metrics", "/table", "/sessions", "/limits")
        for secret in (own_key(RED), own_key(BLUE), SAME_KEY, *UPSTREAM.values()):
            assert secret not in everything


@pytest.mark.parametrize("shown", SHOWN)
async def test_what_is_shown_to_both_makes_two_callers_with_a_budget_each(shown: str, tmp_path: Path) -> None:
    key = SAME_KEY if shown == "a key" else vouched()
    async with standing(tmp_path, Tenants(limits={"requests": MOST["requests"]})) as stand:
        first = await chat(stand, "blue.test", key)
        assert outcome(await chat(stand, "blue.test", key)) == (429, "limit_exceeded")
        second = await chat(stand, "red.test", key)
        name = "twin" if shown == "a key" else "alice"
        assert [who(first), who(second)] == [
            {"namespace": each, "key": name, "team": "support"} for each in (BLUE, RED)
        ]
        assert outcome(await chat(stand, "red.test", key)) == (429, "limit_exceeded")


async def test_an_issuers_name_is_nothing_without_its_keys(tmp_path: Path) -> None:
    """Blue trusts red's issuer by name, with a key of its own making."""
    forger = {"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": {"inline": key_set(jwk("P-256", 9, kid="a"))}}
    mine = policy(BLUE, "guard", authentication={"jwt": [forger]})
    async with standing(tmp_path, Tenants(less=named(BLUE, "Policy", "guard"), more=[mine])) as stand:
        forged = token(claims(sub="red-admin"), number=9)
        assert who(await chat(stand, "blue.test", forged)) == {"namespace": BLUE, "key": "red-admin", "team": ""}
        assert outcome(await chat(stand, "red.test", forged)) == (401, "invalid_token")
        assert outcome(await chat(stand, "blue.test", vouched())) == (401, "invalid_token")
        assert (await chat(stand, "red.test", vouched())).status == 200


async def test_an_origin_of_blues_is_none_of_reds(tmp_path: Path) -> None:
    async with standing(tmp_path, Tenants()) as stand:
        for origin, status in ((BLUE, 403), (RED, 101)):
            shown = call("red.test", own_key(RED), Origin=f"https://app.{origin}.test")
            assert (await stand.call("realtime", shown)).status == status


# -- budgets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counted", ["Caller", "Team", "Backend", "Policy"])
async def test_what_blue_has_used_up_red_still_has(counted: str, kind: str, tmp_path: Path) -> None:
    """Both may use a thing once."""
    async with standing(tmp_path, Tenants(limits={"countedBy": counted, kind: MOST[kind]})) as stand:
        for host, other in ((BLUE, RED), (RED, BLUE)):
            if kind == "sessions":
                held = await session(stand, f"{host}.test", own_key(host))
                refused = await stand.call("realtime", call(f"{host}.test", own_key(host)))
                await held.turn()
                fields = refused.answer
            else:
                used = await chat(stand, f"{host}.test", own_key(host))
                assert used.status == 200
                refused = await chat(stand, f"{host}.test", own_key(host))
                fields = [*used.answer, *refused.answer]
                assert refused.answered("ratelimit")
            assert outcome(refused) == (429, "limit_exceeded")
            assert f"Policy {host}/limits" in refused.message
            assert f"{other}/" not in json.dumps([fields, refused.message])


async def test_blues_callers_beyond_number_leave_reds_their_own_counters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with standing(tmp_path, Tenants(limits={"requests": MOST["requests"]})) as stand:
        monkeypatch.setattr(stand.gateway.gateway.limiter, "_most", 8)
        await serve(
            stand, Tenants(limits={"requests": MOST["requests"]}, more=[policy(BLUE, "x", models={"allow": ["*"]})])
        )
        for number in range(12):
            await chat(stand, "blue.test", vouched(f"made-up-{number}"))
        crowd = await chat(stand, "blue.test", vouched("one-more"))
        assert "for whom there was no room" in crowd.message
        for name in ("alice", "bob"):
            assert (await chat(stand, "red.test", vouched(name))).status == 200


# -- routes


async def test_a_younger_claim_to_reds_host_gets_none_of_its_requests(tmp_path: Path) -> None:
    squats = [
        route(BLUE, "squat", "red.test", {"name": "voice"}),
        backend(BLUE, "squatter", expose={"hostnames": ["direct.red.test"], "pathPrefix": "/voice"}),
        policy(BLUE, "open", at("Backend", "squatter"), authentication={"mode": "None"}),
    ]
    async with standing(tmp_path, Tenants(more=squats)) as stand:
        for host, path in (("red.test", ""), ("direct.red.test", "/voice/v1/chat/completions")):
            seen = await stand.call("chat", replace(call(host, own_key(RED)), path=path))
            assert seen.status == 200
            assert seen.sent("authorization") == [f"Bearer {UPSTREAM[RED]}"]


async def test_without_a_grant_blues_route_does_not_reach_reds_backend(tmp_path: Path) -> None:
    open_ = policy(BLUE, "lift", AT_GUEST, **LIFT)
    async with standing(tmp_path, Tenants(more=[GUEST, open_])) as stand:
        for key in (own_key(RED), own_key(BLUE), ""):
            seen = await chat(stand, "guest.test", key)
            assert seen.status == 500
            assert not seen.received
            assert "no ReferenceGrant there lets" in seen.message


async def test_with_a_grant_reds_rules_hold_on_blues_route(tmp_path: Path) -> None:
    more = [grant(), GUEST, policy(BLUE, "lift", AT_GUEST, **LIFT)]
    limits = {"countedBy": "Policy", "requests": [{"max": 2, "per": "Month"}]}
    async with standing(tmp_path, Tenants(limits=limits, more=more)) as stand:
        assert outcome(await chat(stand, "guest.test", own_key(BLUE))) == (401, "invalid_api_key")
        assert outcome(await chat(stand, "guest.test", "")) == (401, "credentials_required")
        assert (await chat(stand, "guest.test", own_key(RED), "dear")).code == "model_not_allowed"
        foreign = call("guest.test", own_key(RED), Origin="https://app.blue.test")
        assert (await stand.call("realtime", foreign)).status == 403
        assert (await chat(stand, "guest.test", own_key(RED))).status == 200
        assert (await chat(stand, "red.test", own_key(RED))).status == 200
        for host in ("guest.test", "red.test"):
            refused = await chat(stand, host, own_key(RED))
            assert outcome(refused) == (429, "limit_exceeded")
            assert "Policy red/limits" in refused.message
        assert (await chat(stand, "blue.test", own_key(BLUE))).status == 200


@pytest.mark.parametrize("broken", [{"models": {"allow": 7}}, {"lift": "everything"}])
async def test_a_broken_policy_of_blues_closes_blue_alone(broken: Json, tmp_path: Path) -> None:
    async with standing(tmp_path, Tenants(more=[policy(BLUE, "broken", **broken)])) as stand:
        assert (await chat(stand, "blue.test", own_key(BLUE))).status == 500
        assert (await chat(stand, "red.test", own_key(RED))).status == 200


# -- sessions

LESS = {
    "its keys": named(BLUE, "Secret", "callers"),
    "its guard": named(BLUE, "Policy", "guard"),
    "its Backend": named(BLUE, "Backend"),
    "its route": named(BLUE, "HTTPRoute"),
    "everything": named(BLUE),
}
ENDS_BLUE = {("its keys", "a key"), *((what, shown) for what in ("its Backend", "everything") for shown in SHOWN)}
"""Without a guard this gateway, which is on loopback, is open; and the Backend has another way beside the route."""


@pytest.mark.parametrize("shown", SHOWN)
@pytest.mark.parametrize("what", LESS)
async def test_what_blue_takes_away_ends_no_session_of_reds(what: str, shown: str, tmp_path: Path) -> None:
    key = SAME_KEY if shown == "a key" else vouched()
    async with standing(tmp_path, Tenants()) as stand:
        red, blue = await session(stand, "red.test", key), await session(stand, "blue.test", key)
        await serve(stand, Tenants(less=LESS[what]))
        if (what, shown) in ENDS_BLUE:
            await ended(blue)
        else:
            await blue.turn()
        await red.turn()
        assert await knock(stand, "red.test", key) == 101
        await serve(stand, Tenants(less=named(RED)))
        await ended(red)


async def test_a_session_of_reds_on_blues_route_ends_by_red_alone(tmp_path: Path) -> None:
    more: Sequence[Json] = [grant(), GUEST, policy(BLUE, "lift", AT_GUEST, **LIFT)]
    async with standing(tmp_path, Tenants(more=more)) as stand:
        red = await session(stand, "guest.test", own_key(RED))
        await serve(stand, Tenants(more=more, less=named(BLUE)))
        await red.turn()
        await serve(stand, Tenants(more=more, less=named(RED, "Secret", "callers")))
        await ended(red)


BROKEN = {
    "a broken Policy": [grant(), GUEST, policy(BLUE, "broken", AT_GUEST, models=7)],
    "a broken route": [grant(), {**GUEST, "spec": {"rules": 7}}],
    "a grant withdrawn": [GUEST],
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_what_blue_breaks_on_its_route_keeps_nobody_whom_red_has_shut_out(broken: str, tmp_path: Path) -> None:
    async with standing(tmp_path, Tenants(more=[grant(), GUEST])) as stand:
        red = await session(stand, "guest.test", own_key(RED))
        await serve(stand, Tenants(more=BROKEN[broken]))
        await red.turn()
        await serve(stand, Tenants(more=BROKEN[broken], less=named(RED, "Secret", "callers")))
        await ended(red)


async def serve(stand: Stand, objects: Objects) -> None:
    stand.write(objects)
    await stand.gateway.reload()


async def ended(used: Used) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(Gone):
            await used.event("never")
    assert used.line.close == 1008


def test_both_have_objects_of_the_same_names() -> None:
    names = [[(each["kind"], each["metadata"]["name"]) for each in tenant(one)] for one in (RED, BLUE)]  # type: ignore[index]
    assert names[0] == names[1]
