"""Paths that would lead around guardrails."""

from __future__ import annotations

import aiohttp
import pytest

from dataplane.table import PathType, RouteType
from simulator.server import Simulator
from tests.dataplane.http.guarding import guarded, guardrail, held
from tests.dataplane.rig import BEARER, Rig, backend, provider, table

PATHS = (
    PathType(suffix="/v1/chat/completions", type=RouteType.COMPLETIONS),
    PathType(suffix="/v1/responses", type=RouteType.RESPONSES),
    PathType(suffix="/v1/realtime", type=RouteType.REALTIME),
    PathType(suffix="/v1/realtime/client_secrets", type=RouteType.PASSTHROUGH),
    PathType(suffix="/v1/realtime/sessions", type=RouteType.COMPLETIONS),
    PathType(suffix="*", type=RouteType.PASSTHROUGH),
)


async def answered(rig: Rig, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as client,
        client.post(rig.url + path, json={"model": "m", "input": "swordfish"}, headers=BEARER) as response,
    ):
        return response.status, "guardrail_blocked" if '"guardrail_blocked"' in await response.text() else ""


@pytest.mark.parametrize(
    "path",
    [
        "/v1/realtime/client_secrets",
        "/v1/Realtime/client_secrets",
        "/v1/realtime/sessions",
        "/v1/realtime/calls",
        "/v1/realtime/calls/rtc_1/accept",
        "/chat/completions",
        "/v1/chat/Completions",
        "/responses",
        "/responses/resp_1",
    ],
)
@pytest.mark.parametrize(("action", "shadow"), [("block", False), ("mask", False), ("flag", False), ("block", True)])
async def test_what_would_lead_around_guardrails_that_enforce_is_refused(
    upstream: Simulator, path: str, action: str, shadow: bool
) -> None:
    made = table(
        backend(provider(upstream.url + "/v1"), paths=PATHS, refused=()), held(guardrail(action, shadow=shadow))
    )
    async with guarded(made) as (rig, bench):
        status, code = await answered(rig, path)
    enforces = action != "flag" and not shadow
    assert (code == "guardrail_blocked") is enforces
    assert (("no-secrets", "unreadable", "input") in bench.hits) is enforces
    if enforces:
        assert status == 400
        assert not upstream.requests


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/files", "/v1/realtime/other"])
async def test_other_unread_paths_are_as_the_backend_says(upstream: Simulator, path: str) -> None:
    made = table(backend(provider(upstream.url), paths=PATHS), held(guardrail()))
    async with guarded(made) as (rig, _):
        _, code = await answered(rig, path)
    assert code != "guardrail_blocked"
    assert len(upstream.requests) == 1
