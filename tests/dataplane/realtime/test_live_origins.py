"""Pages that may not open WebSockets are refused before anything is dialled, and after the caller is known."""

from __future__ import annotations

import pytest

from dataplane.table import SessionLimits, Subject
from tests.dataplane.realtime.wires import PATH, Answered, calm, dial, gateway, handshake, upstreams
from tests.dataplane.rig import REQUIRED, backend, provider, table

ECHO = "/v1/echo/ws"
LISTED = SessionLimits(policy="ai/pages", origins=("https://*.example.com",))


async def answered(
    path: str, *fields: tuple[str, str], limits: SessionLimits = LISTED, opened: bool = False
) -> Answered:
    """The answer to a handshake with these fields more; `opened`: the upstream is to open what it is asked for."""
    policies = REQUIRED.model_copy(update={"session": (limits,)})
    async with upstreams() as upstream:
        async with gateway(table(backend(provider(upstream.url)), policies)) as rig, calm(rig):
            client = await dial(rig)
            more = "".join(f"{name}: {value}\r\n" for name, value in fields)
            client.write(handshake(path).removesuffix(b"\r\n") + more.encode() + b"\r\n")
            if opened:
                await upstream.opened()
            answer = await client.answer()
            client.reset()
        assert upstream.arrivals.empty(), "nothing was dialled"
        assert len(rig.meter.handshakes) == (path == PATH)
    return answer


@pytest.mark.parametrize("path", [PATH, ECHO])
@pytest.mark.parametrize("origin", ["https://evil.test", "null", "https://example.com", "http://app.example.com"])
async def test_others_are_refused(path: str, origin: str) -> None:
    answer = await answered(path, ("Origin", origin))
    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")
    assert "ai/pages" in str(answer.error["message"])


@pytest.mark.parametrize("path", [PATH, ECHO])
async def test_two_origins_are_refused(path: str) -> None:
    page = ("Origin", "https://app.example.com")
    answer = await answered(path, page, page)
    assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed")


@pytest.mark.parametrize("path", [PATH, ECHO])
async def test_those_on_the_list_are_let_in(path: str) -> None:
    assert (await answered(path, ("Origin", "https://app.example.com"), opened=True)).status == 101


@pytest.mark.parametrize("path", [PATH, ECHO])
async def test_who_sends_none_is_no_browser(path: str) -> None:
    assert (await answered(path, opened=True)).status == 101


async def test_the_caller_is_asked_first() -> None:
    answer = await answered(ECHO, ("Origin", "https://evil.test"), ("api-key", "another"))
    assert (answer.status, answer.error["code"]) == (401, "ambiguous_credentials")


async def test_a_list_for_others_says_nothing() -> None:
    for_others = LISTED.model_copy(update={"subjects": (Subject(namespace="ai", team="sales"),)})
    assert (await answered(PATH, ("Origin", "https://evil.test"), limits=for_others, opened=True)).status == 101
