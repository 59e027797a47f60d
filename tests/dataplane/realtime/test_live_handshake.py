"""What crosses the gateway with a handshake, and what never does: keys above all."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from openai import AsyncOpenAI
from structlog.typing import EventDict
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from dataplane.realtime import frames
from dataplane.realtime.session import Session
from dataplane.table import Credential, HeaderOps, HeaderValue, Transformation
from simulator.server import Simulator
from tests.dataplane.realtime.wires import (
    CREATED,
    PATH,
    Pair,
    calm,
    dial,
    gateway,
    handshake,
    pair,
    switching,
    upstreams,
)
from tests.dataplane.rig import BEARER, CLIENT_KEY, OPEN, REQUIRED, UPSTREAM_KEY, Rig, backend, provider, table

KEYED = f"openai-insecure-api-key.{CLIENT_KEY}"
NO_KEY: dict[str, str | None] = {"Authorization": None}


def header(name: str, value: str) -> HeaderValue:
    return HeaderValue(name=name, value=(value,))


async def seen(it: Pair, path: str = PATH, headers: dict[str, str | None] | None = None) -> tuple[str, bytes]:
    """The request line and the head that the upstream gets for a client's handshake."""
    client = await dial(it.rig)
    client.write(handshake(path, headers))
    far = await it.upstream.opened()
    assert (await client.answer()).status == 101
    client.reset()
    line, _, head = far.request.partition(b"\r\n")
    return line.decode(), head


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ("realtime", "realtime"),
        (f"realtime, {KEYED}", "realtime"),
        (f"{KEYED} , realtime", "realtime"),
        (f"{KEYED},openai-beta.realtime-v1,realtime,sdk-marker.1", "realtime"),
        (KEYED, None),
        ("graphql-ws", None),
        (None, None),
    ],
)
async def test_subprotocols(offered: str | None, selected: str | None) -> None:
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        key = NO_KEY if offered and CLIENT_KEY in offered else {}
        client.write(handshake(headers={**key, "Sec-WebSocket-Protocol": offered}))
        far = await it.upstream.opened()
        answer = await client.answer()
        assert (answer.status, answer.get("sec-websocket-protocol")) == (101, selected)
        assert CLIENT_KEY not in str(answer)
        assert CLIENT_KEY.encode() not in far.request
        assert f"authorization: Bearer {UPSTREAM_KEY}\r\n".encode() in far.request
        client.reset()


async def test_subprotocols_in_two_fields() -> None:
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        two = {"Sec-WebSocket-Protocol": KEYED, "sec-websocket-protocol": "realtime"}
        client.write(handshake(headers={**NO_KEY, **two}))
        await it.upstream.opened()
        answer = await client.answer()
        assert answer.get("sec-websocket-protocol") == "realtime"
        client.reset()


async def test_with_the_clients_own_key_subprotocols_go_on() -> None:
    async with upstreams() as upstream:
        served = table(backend(provider(upstream.url, credential=Credential(kind="passthrough"))), OPEN)
        async with gateway(served) as rig, calm(rig):
            _, head = await seen(
                Pair(rig, upstream), headers={**NO_KEY, "Sec-WebSocket-Protocol": f"realtime, {KEYED}"}
            )
            assert f"Sec-WebSocket-Protocol: realtime, {KEYED}\r\n".encode() in head


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("model=gpt-realtime&a=%2F+%20b&c&&d=", None),
        ("intent=transcription&x=%C3%A9", None),
        ("model=gpt%2Drealtime", None),
        (f"api-key={CLIENT_KEY}&model=gpt-realtime", "model=gpt-realtime"),
        (f"model=gpt-realtime&key={CLIENT_KEY}&z=1", "model=gpt-realtime&z=1"),
        (f"model=gpt-realtime&access%5Ftoken={CLIENT_KEY}", "model=gpt-realtime"),
    ],
)
async def test_the_query_goes_on_byte_for_byte_but_for_keys(query: str, sent: str | None) -> None:
    headers = NO_KEY if CLIENT_KEY in query else {}
    async with pair() as it, calm(it.rig):
        line, _ = await seen(it, f"/v1/realtime?{query}", headers)
        assert line == f"GET /v1/realtime?{query if sent is None else sent} HTTP/1.1"


async def test_the_default_model_is_named() -> None:
    async with upstreams() as upstream:
        served = table(backend(provider(upstream.url, default_model="gpt-realtime")))
        async with gateway(served) as rig, calm(rig):
            line, _ = await seen(Pair(rig, upstream), "/v1/realtime?x=1")
            assert line == "GET /v1/realtime?x=1&model=gpt-realtime HTTP/1.1"


@pytest.mark.parametrize("value", ["caf\u00e9 \u65e5\u672c", "\udce9t\udce9"])
async def test_header_values_that_are_not_ascii(value: str) -> None:
    async with pair() as it, calm(it.rig):
        _, head = await seen(it, headers={"X-Name": value})
        sent = value.encode("utf-8", "surrogateescape")
        assert b"x-name: " in head
        assert sent in head or sent.decode("latin-1").encode() in head


async def test_what_never_goes_upstream() -> None:
    headers: dict[str, str | None] = {
        "OpenAI-Beta": "realtime=v1",
        "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
        "Connection": "Upgrade, X-Hop",
        "X-Hop": "1",
        "X-Forwarded-For": "1.2.3.4",
        "OpenAI-Organization": "org-client",
        "X-Kept": "1",
    }
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake(headers=headers))
        far = await it.upstream.opened()
        answer = await client.answer()
        assert answer.status == 101
        assert answer.get("sec-websocket-extensions") is None
        head = far.request.lower()
        for gone in (b"beta", b"extensions", b"x-hop", b"1.2.3.4", b"org-client", CLIENT_KEY.encode()):
            assert gone not in head
        assert b"x-kept: 1\r\n" in head
        assert head.count(b"sec-websocket-key:") == head.count(b"host:") == head.count(b"\r\nupgrade:") == 1
        client.reset()


async def test_transformations_both_ways() -> None:
    change = Transformation(
        policy="ai/headers",
        request=HeaderOps(
            set=(header("X-Set", "ours"), header("OpenAI-Beta", "realtime=v1")),
            add=(header("X-Added", "1"),),
            remove=("x-secret", "sec-websocket-extensions"),
        ),
        response=HeaderOps(set=(header("X-Answer", "ours"),), remove=("x-server",)),
    )
    policies = REQUIRED.model_copy(update={"transformations": (change,)})
    async with upstreams() as upstream, gateway(table(backend(provider(upstream.url)), policies)) as rig, calm(rig):
        client = await dial(rig)
        client.write(handshake(headers={"X-Set": "theirs", "X-Secret": "1"}))
        far = await upstream.arrival()
        far.request = await far.head()
        fields = ["X-Server: nginx", "Set-Cookie: a=1", "X-Answer: theirs"]

        far.write(switching(far.request, *fields) + frames.frame(frames.TEXT, CREATED))
        answer = await client.answer()
        assert answer.status == 101
        assert [value for name, value in answer.headers if name.lower() == "x-answer"] == ["ours"]
        assert answer.get("x-server") is None
        assert answer.get("set-cookie") == "a=1"
        assert answer.get("x-tidegate-request-id")
        head = far.request.lower()
        assert b"x-set: ours\r\n" in head
        assert b"x-added: 1\r\n" in head
        assert b"theirs" not in head
        assert b"x-secret" not in head
        assert b"openai-beta" not in head
        client.reset()


async def test_real_clients(rig: Rig, upstream: Simulator) -> None:
    """The OpenAI SDK, and a browser's way of giving the key."""
    async with calm(rig):
        sdk = AsyncOpenAI(api_key=CLIENT_KEY, base_url=f"{rig.url}/v1")
        async with sdk.realtime.connect(model="gpt-realtime") as connection:
            assert (await connection.recv()).type == "session.created"
        await sdk.close()
        offered = [Subprotocol("realtime"), Subprotocol(KEYED)]
        url = f"ws://127.0.0.1:{rig.gateway.port}{PATH}"
        async with connect(url, subprotocols=offered, compression="deflate") as socket:
            assert socket.subprotocol == "realtime"
            assert json.loads(await socket.recv())["type"] == "session.created"
    assert [summary.close_code for summary in rig.meter.closed] == [1000, 1000]


# -- keys ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Every log line of the process, at debug level, structlog's and logging's."""
    found: list[str] = []

    def keep(_logger: object, _name: str, event: EventDict) -> str:
        found.append(repr(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, keep],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        cache_logger_on_first_use=False,
    )
    with caplog.at_level(logging.DEBUG):
        yield found
        found += [f"{record.getMessage()} {record.exc_text}" for record in caplog.records]
    structlog.configure(**before)


WAYS: dict[str, tuple[str, dict[str, str | None]]] = {
    "authorization": (PATH, {**BEARER}),
    "api-key": (PATH, {**NO_KEY, "api-key": CLIENT_KEY}),
    "query": (f"{PATH}&api-key={CLIENT_KEY}", NO_KEY),
    "subprotocol": (PATH, {**NO_KEY, "Sec-WebSocket-Protocol": f"realtime, {KEYED}"}),
}


@pytest.mark.parametrize("way", WAYS)
async def test_keys_are_in_no_log_answer_listing_or_repr(
    way: str, lines: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, headers = WAYS[way]
    heard: list[str] = []

    def faulty(self: Session, payload: bytes, *, binary: bool) -> object:
        raise RuntimeError("a fault of ours")

    async with pair() as it, calm(it.rig):
        for says in ("refuses", "echoes", "breaks", "works"):
            client = await dial(it.rig)
            client.write(handshake(path, headers))
            far = await it.upstream.arrival()
            request = await far.head()
            if says == "refuses":
                far.write(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            elif says == "echoes":
                text = json.dumps({"error": {"message": f"No: {request.decode()}"}}).encode()
                far.write(b"HTTP/1.1 400 No\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            elif says == "breaks":
                far.write(b"HTTP/1.1 101 OK\r\nX: " + request.replace(b"\r\n", b" ") + b"\r\n\r\n")
            else:
                far.write(switching(request) + frames.frame(frames.TEXT, CREATED))
            heard.append(str(await client.answer()))
            if says == "works":
                await client.event()
                heard += [str(it.rig.gateway.sessions()), repr(it.live()), repr(vars(it.live()))]
                monkeypatch.setattr(Session, "read_client", faulty)
                monkeypatch.setattr(Session, "read_upstream", faulty)
                it.live().relay._upstream_gate._read = it.live().session.read_upstream
                far.send(b'{"type":"response.done"}')
                heard.append(str(await client.event()))
            client.reset()
    lines += [record.getMessage() + str(record.exc_text) for record in caplog.records]
    assert any("a fault of ours" in line for line in lines)
    for key in (CLIENT_KEY, UPSTREAM_KEY):
        assert not [line for line in lines if key in line]
        assert not [text for text in heard if key in text]
    await asyncio.sleep(0)
