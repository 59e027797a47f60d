"""A client asks for guardrails by `?guardrails=a,b`: it gets them, or is told that there are none of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.calls import WAYS, Call, Objects, standing
from tests.integration.rows import GUARD

OPTIONAL = {"name": "careful", "pii": {}, "action": "Flag", "optional": True}
GUARDED = Objects(policies=(GUARD, {"guardrails": [OPTIONAL]}))
READ = ("chat", "realtime")


@pytest.mark.parametrize("way", READ)
async def test_the_provider_does_not_see_what_was_asked_for(way: str, tmp_path: Path) -> None:
    async with standing(tmp_path, GUARDED) as stand:
        seen = await stand.call(way, Call(query="a=1&guardrails=careful&b=2"))
    assert seen.status in (200, 101), seen.message
    query = seen.received[-1].path.partition("?")[2]
    assert "a=1&b=2" in query
    assert "guardrails" not in query


@pytest.mark.parametrize("way", WAYS)
async def test_a_name_that_there_is_not_is_refused_before_the_provider_is_asked(way: str, tmp_path: Path) -> None:
    async with standing(tmp_path, GUARDED) as stand:
        seen = await stand.call(way, Call(query="guardrails=carefull"))
    assert (seen.status, seen.code, seen.path) == (400, "unknown_guardrail", "")
    assert seen.message == "There is no guardrail carefull for you here; you may ask for: careful."


@pytest.mark.parametrize("way", READ)
async def test_where_nobody_guards_there_is_nothing_to_ask_for(way: str, tmp_path: Path) -> None:
    async with standing(tmp_path, Objects(policies=(GUARD,))) as stand:
        seen = await stand.call(way, Call(query="guardrails=careful"))
    assert (seen.status, seen.code) == (400, "unknown_guardrail")


async def test_on_a_path_that_is_relayed_unread_the_parameter_is_the_providers_where_nobody_guards(
    tmp_path: Path,
) -> None:
    async with standing(tmp_path, Objects(policies=(GUARD,))) as stand:
        seen = await stand.call("passthrough", Call(query="guardrails=theirs"))
    assert seen.received[-1].path.endswith("?guardrails=theirs")
