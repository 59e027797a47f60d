"""What limits of Policies do to live traffic: rows of test_every_field."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.integration.calls import Call, Objects, Seen
from tests.integration.rows import GUARD, OK, POLICY, Row, answered, refused, status

LIMITS = f"{POLICY}.limits"
MODELS = [{"name": "voice", "targets": [{"provider": "one"}], "price": {"inputText": "1", "outputText": "64"}}]
VOICE = Call(model="voice")
SAID = answered("ratelimit-policy")
MONTH = {"requests": [{"max": 100, "per": "Month"}]}
FULL = refused(429, "limit_exceeded")


def limits(**fields: object) -> Objects:
    """With limits, in front of a model that has a price."""
    return Objects({"models": MODELS}, policies=(GUARD, {"limits": fields}))


def requests(most: int, per: str = "Month") -> Objects:
    return limits(requests=[{"max": most, "per": per}])


def tokens(most: int, per: str = "Month", **fields: object) -> Objects:
    return limits(tokens=[{"max": most, "per": per}], **fields)


def spend(usd: str, per: str = "Month", **fields: object) -> Objects:
    return limits(spend=[{"usd": usd, "per": per}], **fields)


def seats(most: int) -> Objects:
    return Objects(policies=(GUARD, {"limits": {"sessions": most}}))


def whose(seen: Seen) -> object:
    """Whose limit it is, as the refusal says."""
    return seen.status, *seen.message.split(" ")[3:5]


def told(limit: str, unit: str, most: int, seconds: int) -> list[str]:
    return [f'"ai/p1:{limit}";q={most};qu="{unit}";w={seconds}']


async def asks_for_more(socket: ClientConnection) -> str:
    """Than the opening of the session, which was a request. The error's code, and what becomes of the session."""
    await socket.send('{"type":"response.create"}')
    while (event := json.loads(await socket.recv()))["type"] != "error":
        pass
    code = event["error"]["code"]
    try:
        async with asyncio.timeout(10):
            await (await socket.ping())
    except ConnectionClosed as closed:
        return f"{code} {closed.rcvd.code if closed.rcvd else None}"
    return f"{code} open"


ONE: Mapping[str, object] = {"spend": [{"usd": "0.000001", "per": "Day"}]}
"""Which no turn can begin under."""
ROWS = [
    Row(f"{LIMITS}.requests[].max", requests(100), requests(1), status, OK, FULL, call=VOICE),
    Row(f"{LIMITS}.requests[].per", requests(9, "Minute"), requests(9, "Day"), SAID,
        told("requests/Minute", "requests", 9, 60), told("requests/Day", "requests", 9, 86_400), call=VOICE),
    Row(f"{LIMITS}.tokens[].max", tokens(100_000), tokens(4096), status, (200, ""), (429, "limit_exceeded"),
        ("chat",), VOICE),
    Row(f"{LIMITS}.tokens[].per {LIMITS}.tokens[].count", tokens(5000, "Hour"),
        limits(tokens=[{"max": 5000, "per": "Second", "count": "Input"}]), SAID,
        told("tokens/Hour", "tokens", 5000, 3600), told("tokens/Second/Input", "tokens", 5000, 1), ("chat",), VOICE),
    Row(f"{LIMITS}.reserve", tokens(5000), tokens(5000, reserve=5000), status,
        (200, ""), (429, "limit_exceeded"), ("chat",), VOICE),
    Row(f"{LIMITS}.sessions", seats(2), seats(1), status, (101, ""), (429, "limit_exceeded"),
        ("realtime", "tunnel"), Call(beside=True)),
    Row(f"{LIMITS}.spend[].usd", spend("1"), spend("0.000001"), status, (200, ""), (403, "limit_too_low"),
        ("chat",), VOICE),
    Row(f"{LIMITS}.spend[].per", spend("1", "Hour"), spend("1", "Minute"), SAID,
        told("spend/Hour", "micro-usd", 1_000_000, 3600), told("spend/Minute", "micro-usd", 1_000_000, 60),
        ("chat",), VOICE),
    Row(f"{LIMITS}.onUnpriced", Objects(policies=(GUARD, {"limits": {"spend": [{"usd": "1", "per": "Day"}]}})),
        Objects(policies=(GUARD, {"limits": {"spend": [{"usd": "1", "per": "Day"}], "onUnpriced": "Allow"}})),
        status, (403, "model_not_priced"), (200, ""), ("chat",), Call(model="home-made")),
    Row(f"{LIMITS}.countedBy", limits(**ONE), limits(**ONE, countedBy="Team"), whose,
        (403, "caller", "ai/ci-bot"), (403, "team", "ai/support"), ("chat",), VOICE),
    Row(f"{LIMITS}.onExceeded", requests(1), limits(requests=[{"max": 1, "per": "Day"}], onExceeded="EndSession"),
        lambda seen: seen.shown, "limit_exceeded open", "limit_exceeded 1008", ("realtime",),
        Call(model="voice", talk=asks_for_more)),
    Row(f"{LIMITS}.scope", limits(**MONTH, whenStoreFails="Refuse"),
        limits(**MONTH, whenStoreFails="Refuse", scope="Fleet"), status,
        OK, refused(503, "limits_unavailable"), call=VOICE),
    Row(f"{LIMITS}.whenStoreFails", limits(**MONTH, scope="Fleet"),
        limits(**MONTH, scope="Fleet", whenStoreFails="Refuse"), status,
        OK, refused(503, "limits_unavailable"), call=VOICE),
]  # fmt: skip
