"""Webhooks and moderations are asked over real connections; what fails is an answer, counted and told."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dataplane.guardrails.judge import Answer, Hit
from dataplane.judges import panel as panels
from dataplane.judges.panel import Panel
from dataplane.process.files import Files
from dataplane.snapshot import EMPTY, Snapshot
from dataplane.table import Guardrail
from dataplane.upstreams.addresses import AddressPolicy
from dataplane.upstreams.pool import Pool
from tests.dataplane.judges.asked import Asked
from tests.dataplane.judges.cases import ABOUT, TEXT, asks_moderation, asks_webhook
from tests.dataplane.rig import Remembering
from tests.dataplane.upstream import says, upstream_of

SNAPSHOT = replace(
    EMPTY, secrets={"key": SecretStr("Bearer sk-one"), "bad": SecretStr("")}, endpoints={"ai/guard:80": ()}
)
PASS, BLOCK = Answer(), Answer("webhook")


@dataclass
class Rig:
    panel: Panel
    meter: Remembering
    current: Snapshot = SNAPSHOT

    async def ask(self, guardrail: Guardrail, text: str = TEXT) -> Answer:
        return await self.panel.ask(guardrail, text, ABOUT, "input", "messages[0].content", SNAPSHOT)


@asynccontextmanager
async def asking(*, loopback: bool = True) -> AsyncIterator[Rig]:
    meter = Remembering()
    pool = Pool(AddressPolicy(allow_loopback=loopback), files=Files(), tls=ssl.create_default_context())
    rig = Rig(Panel(pool, meter, lambda: rig.current, time.monotonic), meter)
    try:
        yield rig
    finally:
        await pool.close()


async def test_a_webhook_is_asked() -> None:
    async with Asked() as server, asking() as rig:
        guardrail = asks_webhook(server.url + "?a=%2F", secret="key")
        assert await rig.ask(guardrail) == PASS
        server.answer = {"action": "block", "rule": "birds"}
        assert await rig.ask(guardrail) == Answer("birds")
        server.answer = {"action": "mask", "text": "Say nothing of [it]."}
        assert await rig.ask(guardrail) == Answer("webhook", "Say nothing of [it].")
        first = server.requests[0]
        assert (first.method, first.path_qs) == ("POST", "/judge?a=%2F")
        assert first.headers["Authorization"] == "Bearer sk-one"
        assert first.headers["Content-Type"] == "application/json"
        assert {body["text"] for body in server.bodies if isinstance(body, dict)} == {TEXT}
        assert rig.meter.asked == [("ours", "webhook")] * 3
        assert len({request.transport for request in server.requests}) == 1, "connections are kept"


async def test_a_moderation_is_asked() -> None:
    async with Asked({"results": [{"flagged": True, "categories": {"hate": True}}]}) as server, asking() as rig:
        assert await rig.ask(asks_moderation(f"http://127.0.0.1:{server.port}/v1")) == Answer("hate")
        (request,) = server.requests
        assert (request.path, request.headers["Authorization"]) == ("/v1/moderations", "Bearer sk-one")
        assert server.bodies == [{"model": "omni-moderation-latest", "input": TEXT}]
        assert rig.meter.asked == [("clean", "moderation")]


async def test_who_shows_no_credential_has_none() -> None:
    async with Asked() as server, asking() as rig:
        assert await rig.ask(asks_webhook(server.url)) == PASS
        assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("status", "body", "failed"),
    [
        (404, {}, "status"),
        (301, {}, "status"),
        (204, b"", "status"),
        (429, {"action": "pass"}, "status"),
        (500, {"action": "pass"}, "status"),
        (200, b"<html>", "nonsense"),
        (200, {"action": "allow"}, "nonsense"),
        (200, b" " * 2**20, "nonsense"),
    ],
)
async def test_other_answers_are_failures(status: int, body: object, failed: str) -> None:
    async with Asked(body) as server, asking() as rig:
        server.answer, server.statuses = body, [status]
        assert await rig.ask(asks_webhook(server.url, retries=0)) == Answer(failed=failed)
        assert rig.meter.unjudged == [("ours", failed, "closed")]


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({}, "closed"),
        ({"action": "mask"}, "closed"),
        ({"open": True}, "open"),
        ({"shadow": True}, "open"),
        ({"action": "flag"}, "open"),
    ],
)
async def test_what_becomes_of_a_text_is_counted(fields: dict[str, object], outcome: str) -> None:
    async with Asked({"action": "?"}) as server, asking() as rig:
        assert (await rig.ask(asks_webhook(server.url, **fields))).failed
        assert rig.meter.unjudged == [("ours", "nonsense", outcome)]


async def test_5xx_is_asked_once_more() -> None:
    async with Asked() as server, asking() as rig:
        server.statuses = [503, 500]
        assert await rig.ask(asks_webhook(server.url, retries=2)) == PASS
        server.statuses = [503, 500]
        assert await rig.ask(asks_webhook(server.url, retries=1)) == Answer(failed="status")
        assert len(server.requests) == 5
        assert rig.meter.unjudged == [("ours", "status", "closed")]


async def test_what_was_refused_is_not_asked_once_more() -> None:
    async with Asked() as server, asking() as rig:
        server.statuses = [404]
        assert (await rig.ask(asks_webhook(server.url, retries=3))).failed == "status"
        assert len(server.requests) == 1


async def test_a_connection_that_breaks_is_made_once_more() -> None:
    answers = [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", b'HTTP/1.1 200 OK\r\n\r\n{"action": "block"}']

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(answers.pop(0))(reader, writer)

    async with upstream_of(script) as url, asking() as rig:
        assert await rig.ask(asks_webhook(url, retries=2)) == BLOCK
        assert answers == []


async def test_nobody_is_there() -> None:
    async with Asked() as server:
        url = server.url
    async with asking() as rig:
        with capture_logs() as logs:
            assert await rig.ask(asks_webhook(url)) == Answer(failed="unreachable")
        assert "cannot be reached" in logs[0]["error"]


async def test_an_answer_takes_no_longer_than_it_may() -> None:
    async with Asked() as server, asking() as rig:
        server.free.clear()
        assert await rig.ask(asks_webhook(server.url, timeout=0.1, retries=3)) == Answer(failed="timeout")
        assert rig.meter.unjudged == [("ours", "timeout", "closed")]
        assert rig.meter.asked == [("ours", "webhook")]
        server.free.set()
        assert await rig.ask(asks_webhook(server.url)) == PASS


async def test_attempts_share_one_time() -> None:
    async with Asked() as server, asking() as rig:
        server.statuses = [500] * 100
        assert await rig.ask(asks_webhook(server.url, timeout=0.12, retries=90)) == Answer(failed="timeout")


async def test_addresses_are_those_that_upstreams_may_have() -> None:
    async with Asked() as server, asking(loopback=False) as rig:
        assert await rig.ask(asks_webhook(server.url)) == Answer(failed="unreachable")
        assert server.requests == []
        assert await rig.ask(asks_webhook(server.url, networks=("127.0.0.0/8",))) == PASS


async def test_a_service_is_asked_at_the_endpoints_that_it_has_now() -> None:
    guardrail = asks_webhook("http://guard.ai.svc/", endpoints="ai/guard:80", retries=0)
    async with Asked() as server, asking(loopback=False) as rig:
        assert await rig.ask(guardrail) == Answer(failed="unreachable")
        rig.current = replace(EMPTY, endpoints={"ai/guard:80": (f"127.0.0.1:{server.port}",)})
        assert await rig.ask(guardrail) == PASS
        assert server.requests[0].headers["Host"] == "guard.ai.svc"
        rig.current = EMPTY
        assert await rig.ask(guardrail) == Answer(failed="unreachable")


async def test_a_secret_that_is_no_key() -> None:
    async with Asked() as server, asking() as rig:
        assert await rig.ask(asks_webhook(server.url, secret="bad")) == Answer(failed="credential")
        assert server.requests == []


async def test_a_text_that_is_too_long() -> None:
    async with Asked() as server, asking() as rig:
        assert await rig.ask(asks_webhook(server.url), "x" * 2**21) == Answer(failed="too_large")
        await rig.ask(asks_webhook(server.url, open=True), "x" * 2**21)
        assert rig.meter.unjudged == 2 * [("ours", "too_large", "closed")]
        assert server.requests == []


async def test_questions_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "AT_ONCE", 2)
    async with Asked() as server, asking() as rig:
        server.free.clear()
        guardrail = asks_webhook(server.url, timeout=30)
        waiting = [asyncio.create_task(rig.ask(guardrail)) for _ in range(2)]
        await server.heard(2)
        assert await rig.ask(guardrail) == Answer(failed="busy")
        other = asyncio.create_task(rig.ask(asks_webhook(server.url, name="other")))
        await server.heard(3)
        gone = waiting.pop()
        gone.cancel()
        await asyncio.wait([gone])
        again = asyncio.create_task(rig.ask(guardrail))
        await server.heard(4)
        server.free.set()
        assert [await each for each in (*waiting, other, again)] == [PASS] * 3
        assert rig.meter.unjudged == [("ours", "busy", "closed")]


async def test_a_fault_of_ours_is_a_failure_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError

    monkeypatch.setattr(panels, "post", broken)
    async with asking() as rig:
        with capture_logs() as logs:
            assert await rig.ask(asks_webhook()) == Answer(failed="internal")
        assert logs[0]["exc_info"]


async def test_a_guardrail_without_anybody_to_ask() -> None:
    async with asking() as rig:
        with capture_logs():
            assert (await rig.ask(asks_webhook(webhook=None))).failed == "internal"


async def test_failures_are_in_the_log_seldom_and_without_the_text() -> None:
    async with Asked({"action": TEXT}) as server, asking() as rig:
        with capture_logs() as logs:
            for _ in range(3):
                await rig.ask(asks_webhook(server.url, secret="key"))
            server.statuses = [404]
            await rig.ask(asks_webhook(server.url))
        assert [(line["reason"], line["outcome"]) for line in logs] == [("nonsense", "closed"), ("status", "closed")]
        assert {(line["log_level"], line["policy"], line["guardrail"]) for line in logs} == {
            ("warning", "ai/guards", "ours")
        }
        assert TEXT not in str(logs)
        assert "sk-one" not in str(logs)


async def test_what_nobody_could_be_asked_about_is_a_failure_too() -> None:
    async with asking() as rig:
        with capture_logs() as logs:
            for guardrail in (asks_webhook(), asks_webhook(open=True), asks_moderation(action="flag")):
                rig.panel.failed(guardrail, "not_transcribed", "there is no text of what was said")
        assert rig.meter.unjudged == [
            ("ours", "not_transcribed", "closed"),
            ("ours", "not_transcribed", "open"),
            ("clean", "not_transcribed", "open"),
        ]
        assert [(line["guardrail"], line["error"]) for line in logs] == [
            ("ours", "there is no text of what was said"),
            ("clean", "there is no text of what was said"),
        ]


async def test_what_is_found_is_counted_and_logged() -> None:
    flags = asks_webhook(action="flag")
    shadow = asks_moderation(shadow=True)
    async with asking() as rig:
        with capture_logs() as logs:
            hits = (Hit(flags, "birds", "flag", shadow=False, findings=2), Hit(shadow, "hate", "block", shadow=True))
            rig.panel.found(hits, ABOUT, "output", "choices[0].message.content")
            rig.panel.found(hits[:1], ABOUT._replace(realtime=True), "input", "item.content[0].text")
        assert rig.meter.findings == {
            ("ours", "output", "flag", "enforce"): 2,
            ("clean", "output", "block", "shadow"): 1,
            ("ours", "input", "flag", "enforce"): 2,
        }
        assert logs[0] == {
            "event": "guardrail",
            "log_level": "info",
            "guardrail": "ours",
            "policy": "ai/guards",
            "rule": "birds",
            "place": "choices[0].message.content",
            "direction": "output",
            "action": "flag",
            "mode": "enforce",
            "findings": 2,
            "request": "r-1",
            "route": "ai/voice",
            "backend": "ai/voice",
            "caller": {"namespace": "ai", "key": "ci-bot", "team": "support"},
        }
        assert (logs[1]["mode"], logs[2]["session"]) == ("shadow", "r-1")
