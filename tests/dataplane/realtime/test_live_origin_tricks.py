"""Tricks with `Origin`: whatever a handshake says, in whatever lines, pages that are not listed get no WebSocket."""

from __future__ import annotations

import pytest

from dataplane.table import SessionLimits
from tests.dataplane.realtime.wires import PATH, Pair, Peer, calm, handshake, pair

ECHO = "/v1/echo/ws"
LISTED = SessionLimits(
    policy="ai/pages",
    origins=("https://app.example.com", "https://*.example.org", "http://localhost:3000", "https://kiosk.example.com"),
)
LET_IN = [
    [],
    ["Origin: https://app.example.com"],
    ["origin:HTTPS://App.Example.COM:443"],
    ["ORIGIN:   https://app.example.com  "],
    ["Origin: https://a.b.example.org"],
    ["Origin: http://LOCALHOST:3000"],
]
TURNED_AWAY = [
    ["Origin:"],
    ["Origin: null"],
    ["Origin: *"],
    ["Origin: https://evil-example.org"],
    ["Origin: https://evilexample.org"],
    ["Origin: https://example.org"],
    ["Origin: https://.example.org"],
    ["Origin: https://*.example.org"],
    ["Origin: https://a.example.org."],
    ["Origin: https://a.example.org.evil.test"],
    ["Origin: https://a.example.org:8443"],
    ["Origin: http://a.example.org"],
    ["Origin: https://evil.test?.example.org"],
    ["Origin: https://evil.test/.example.org"],
    ["Origin: https://evil.test#.example.org"],
    ["Origin: https://evil.test\\.example.org"],
    ["Origin: https://evil.test@a.example.org"],
    ["Origin: https://app.example.com."],
    ["Origin: https://app.example.com/"],
    ["Origin: https://app.example.com\t.evil.test"],
    ["Origin: //app.example.com"],
    ["Origin: app.example.com"],
    ["Origin: https://app.example.com, https://evil.test"],
    ["Origin: https://app.example.com https://evil.test"],
    ["Origin: https://\u212aiosk.example.com"],
    ["Origin: https://app.example.com\xad"],
    ["Origin: https://app.example.com", "Origin: https://app.example.com"],
    ["Origin: https://app.example.com", "Origin: https://evil.test"],
    ["Origin: https://evil.test", "origin: https://app.example.com"],
    ["Origin: https://app.example.com", "Origin:"],
]


async def asked(it: Pair, path: str, lines: list[str]) -> Peer:
    client = await it.dial()
    head = handshake(path).removesuffix(b"\r\n")
    client.write(head + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
    return client


@pytest.mark.parametrize("path", [PATH, ECHO])
async def test_pages_that_are_listed_are_let_in_and_so_are_clients_that_are_no_browsers(path: str) -> None:
    async with pair(session=LISTED) as it, calm(it.rig):
        for lines in LET_IN:
            client = await asked(it, path, lines)
            far = await it.upstream.opened(**({} if path == PATH else {"glued": b""}))
            assert (await client.answer()).status == 101, lines
            client.reset()
            far.reset()


@pytest.mark.parametrize("path", [PATH, ECHO])
async def test_no_other_page_is(path: str) -> None:
    async with pair(session=LISTED) as it, calm(it.rig):
        for lines in TURNED_AWAY:
            client = await asked(it, path, lines)
            answer = await client.answer()
            assert (answer.status, answer.error["code"]) == (403, "origin_not_allowed"), lines
            client.reset()
        assert it.upstream.arrivals.empty(), "nobody is dialled for them"
