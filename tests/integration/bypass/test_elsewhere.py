"""Other ways in: a key as a subprotocol, a path that is relayed unread, a secret that a client would mint."""

from __future__ import annotations

import aiohttp
import pytest

from tests.dataplane.realtime.wires import MASK, PATH, ask, handshake
from tests.dataplane.rig import BEARER, CLIENT_KEY
from tests.integration.bypass.disguises import DISGUISES, WORD
from tests.integration.bypass.sessions import BAD, BLOCKED, LAST, Session, guarded, guardrail, heard
from tests.integration.bypass.shapes import CLIENT, Event

NOTHING: Event = {"event_id": None}


async def test_a_key_as_a_subprotocol() -> None:
    offered = f"realtime, openai-insecure-api-key.{CLIENT_KEY}"
    async with guarded(guardrail("block")) as it:
        client = await it.dial()
        client.write(handshake(PATH, {"authorization": None, "sec-websocket-protocol": offered}))
        upstream = await it.upstream.opened()
        assert (await client.answer()).status == 101
        session = Session(client, upstream)
        session.say(DISGUISES["as it is"](CLIENT["a user's words"](BAD), MASK))
        assert WORD not in (await heard(upstream, LAST)).text
        assert (await heard(client, NOTHING)).close == (1011, BLOCKED)
        session.over()


@pytest.mark.parametrize(
    "path", ["/v1/realtime/client_secrets", "/v1/realtime/sessions", "/v1/realtime/transcription_sessions"]
)
async def test_no_secret_is_minted_that_would_lead_round_the_gateway(path: str) -> None:
    """Its holder would speak with the provider directly."""
    async with guarded(guardrail("block")) as it, aiohttp.ClientSession(headers=BEARER) as http:
        body = {"session": {"type": "realtime", "instructions": BAD}}
        answer = await http.post(f"{it.rig.url}{path}", json=body)
        assert answer.status == 403
        assert it.upstream.arrivals.empty()


async def test_guardrails_cannot_be_asked_for_where_nobody_reads() -> None:
    async with guarded(guardrail("block", optional=True)) as it, aiohttp.ClientSession(headers=BEARER) as http:
        answer = await http.get(f"{it.rig.url}/v1/files?guardrails=no-travel")
        assert answer.status == 400
        assert (await answer.json())["error"]["code"] == "unknown_guardrail"


async def test_a_guardrail_that_there_is_not_is_no_guardrail() -> None:
    async with guarded(guardrail("block", optional=True)) as it:
        answer = await ask(it.rig, f"{PATH}&guardrails=no-trevel")
        assert answer.status == 400
        assert answer.error["code"] == "unknown_guardrail"
        assert "no-travel" in str(answer.error["message"])
