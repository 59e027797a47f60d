"""What each timeout, cap and limit of a session does to live traffic: rows of test_every_field.

Times are short or long by a factor of ten and more, and what is looked at is what happened, not when.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.integration.calls import CLIENT_KEY, Call, Objects, Seen, Talk, at, provider
from tests.integration.rows import GUARD, POLICY, Row, policies

TIMEOUTS = "Backend.spec.timeouts"
SESSION = f"{POLICY}.session"
FRONT = {"targetRefs": [at("HTTPRoute", "front")]}
HTTP, SOCKETS = ("chat", "passthrough"), ("realtime", "tunnel")


def hole(scheme: str, **timeouts: str) -> Objects:
    """With a provider that takes connections, and then says nothing for ever: to a TLS handshake, or to a request."""
    return Objects({"providers": [provider("one", url=f"{scheme}://$HOLE/v1")], "timeouts": timeouts})


def backend(**spec: object) -> Objects:
    return Objects(spec)


def session(**limits: object) -> Objects:
    return policies({"session": limits})


def waited(seen: Seen) -> object:
    """How long for what, as the refusal says."""
    said = re.search("(Connecting|answer).* (?:more than|within) (.*) s", seen.message)
    return seen.status, seen.code, *(said.groups() if said else ())


def told(seen: Seen) -> object:
    return seen.status, seen.code, seen.shown


async def to_the_end(socket: ClientConnection) -> str:
    """Listen until a turn is done, or the session: then the error's code and the close code."""
    code = ""
    try:
        async with asyncio.timeout(10):
            while (event := json.loads(await socket.recv()))["type"] != "response.done":
                code = event["error"]["code"] if event["type"] == "error" else code
    except ConnectionClosed as closed:
        return f"{code} {closed.rcvd.code if closed.rcvd else None}"
    return "response.done"


async def still_open(socket: ClientConnection) -> str:
    """Whether it is, some seconds later."""
    try:
        async with asyncio.timeout(4):
            await socket.wait_closed()
    except TimeoutError:
        return "open"
    assert socket.close_code == 1006
    return "cut"


async def nothing(_: ClientConnection) -> str:
    return ""


def saying(message: str | Iterable[str]) -> Talk:
    """Send a message, in one frame or in several, and wait for what comes of it."""

    async def talk(socket: ClientConnection) -> str:
        await socket.send(message)
        return await to_the_end(socket)

    return talk


RESPOND = ["{", '"type": "response.create", ', '"response": {"output_modalities": ["text"]}}', ""]
LONG = json.dumps(
    {"type": "response.create", "response": {"output_modalities": ["text"], "instructions": "x" * 20_000}}
)


def timeout(kind: str, seconds: str) -> Mapping[str, object]:
    return dict.fromkeys((*HTTP, *SOCKETS), (504, "upstream_timeout", kind, seconds))


BACKEND_LIMITS = [
    Row(f"{TIMEOUTS}.connect", hole("https", connect="200ms"), hole("https", connect="100ms"), waited,
        timeout("Connecting", "0.2"), timeout("Connecting", "0.1")),
    Row(f"{TIMEOUTS}.handshake", hole("http", handshake="200ms"), hole("http", handshake="100ms"), waited,
        timeout("answer", "0.2"), timeout("answer", "0.1"), SOCKETS),
    Row(f"{TIMEOUTS}.response", hole("http", response="200ms"), hole("http", response="100ms"), waited,
        timeout("answer", "0.2"), timeout("answer", "0.1"), HTTP),
    Row(f"{TIMEOUTS}.firstEvent", backend(timeouts={"firstEvent": "1m"}), backend(timeouts={"firstEvent": "100ms"}),
        told, (0, "", ""), (101, "", ""), ("realtime",), Call(query="scenario=silent", talk=nothing, patience=2)),
    Row(f"{TIMEOUTS}.idle", backend(), backend(timeouts={"idle": "100ms"}), told, (200, "", ""), (200, "", "cut"),
        ("chat",), Call(query="scenario=slow:200", stream=True)),
    Row("timeouts.idle is between two pieces of an answer, and not before it", backend(timeouts={"response": "100ms"}),
        backend(timeouts={"idle": "100ms"}), told, (504, "upstream_timeout", ""), (200, "", ""), ("chat",),
        Call(query="scenario=slow:400")),
    Row("Backend.spec.maxSessions", backend(maxSessions=2), backend(maxSessions=1),
        lambda seen: (seen.status, seen.code, bool(seen.answered("retry-after"))), (101, "", False),
        (503, "backend_overloaded", True), ("realtime",), Call(beside=True)),
]  # fmt: skip

SESSION_LIMITS = [
    Row(f"{SESSION}.idle {SESSION}.duration", session(duration="1s"), session(idle="1s"), told,
        (101, "", "session_expired 1001"), (101, "", "idle_timeout 1001"), ("realtime",), Call(talk=to_the_end)),
    Row(f"{SESSION}.maxMessage", session(maxMessage="32Ki"), session(maxMessage="16Ki"), told,
        (101, "", "response.done"), (101, "", "message_too_big 1009"), ("realtime",), Call(talk=saying(LONG))),
    Row(f"{SESSION}.maxFragments", session(maxFragments=5), session(maxFragments=3), told,
        (101, "", "response.done"), (101, "", "too_many_fragments 1009"), ("realtime",), Call(talk=saying(RESPOND))),
    Row("session limits for some callers",
        policies(GUARD, {"session": {"maxMessage": "16Ki"}, "subjects": [{"team": "sales"}]}),
        policies(GUARD, {"session": {"maxMessage": "16Ki"}, "subjects": [{"team": "support"}]}), told,
        (101, "", "response.done"), (101, "", "message_too_big 1009"), ("realtime",), Call(talk=saying(LONG))),
    Row("session limits hold whole", policies({"session": {"maxFragments": 3}, **FRONT}, {"session": {"idle": "1h"}}),
        policies({"session": {"maxFragments": 3}, **FRONT, "precedence": "Override"}, {"session": {"idle": "1h"}}),
        told, (101, "", "response.done"), (101, "", "too_many_fragments 1009"), ("realtime",),
        Call(talk=saying(RESPOND))),
]  # fmt: skip

PAGE = Call(headers={"Origin": "https://App.example.com:443", "Authorization": f"Bearer {CLIENT_KEY}"})
SOON = {"ci-bot": json.dumps({"key": CLIENT_KEY, "expires": "$SOON"})}
ACCESS = [
    Row(f"{SESSION}.origins[]", session(origins=["https://*.example.com"]), session(origins=["https://example.com"]),
        lambda seen: (seen.status, seen.code), (101, ""), (403, "origin_not_allowed"), SOCKETS, PAGE),
    Row("origins of a client that is no browser", session(origins=["https://*.example.com"]),
        session(origins=["https://example.com"]), lambda seen: (seen.status, seen.code), (101, ""), (101, ""), SOCKETS),
    Row(f"{SESSION}.onRevoke", policies(GUARD, {"session": {"duration": "4s"}}, keys=SOON),
        policies(GUARD, {"session": {"duration": "4s", "onRevoke": "EndSession"}}, keys=SOON), told,
        (101, "", "session_expired 1001"), (101, "", "access_revoked 1008"), ("realtime",), Call(talk=to_the_end)),
    Row("onRevoke of a WebSocket that nobody reads",
        policies(GUARD, {"session": {"onRevoke": "KeepSession"}}, keys=SOON),
        policies(GUARD, {"session": {"onRevoke": "EndSession"}}, keys=SOON), told,
        (101, "", "open"), (101, "", "cut"), ("tunnel",), Call(talk=still_open)),
]  # fmt: skip

LIMITS = (*BACKEND_LIMITS, *SESSION_LIMITS, *ACCESS)
