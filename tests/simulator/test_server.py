"""The simulator over real sockets, with clients that nobody here wrote."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import openai
import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from openai.types.chat import ChatCompletionUserMessageParam
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Close
from websockets.typing import Subprotocol

from simulator.scenarios import Scenarios
from simulator.server import Simulator
from tests.simulator.dialogue import check_event

KEY = {"Authorization": "Bearer sk-simulator"}
WRONG_KEY = {"Authorization": "Bearer sk-wrong"}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="sk-simulator", base_url=f"{simulator.url}/v1", max_retries=0) as made:
        yield made


@pytest.fixture
async def http(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(simulator.url) as made:
        yield made


def dial(
    simulator: Simulator, query: str, headers: dict[str, str] | None = None, protocols: list[str] | None = None
) -> websockets.connect:
    offered = [Subprotocol(name) for name in protocols] if protocols else None
    url = simulator.url.replace("http", "ws") + f"/v1/realtime?{query}"
    wanted = KEY if headers is None else headers
    return websockets.connect(url, additional_headers=wanted, subprotocols=offered, close_timeout=0.2)


async def last_words(socket: ClientConnection) -> tuple[list[dict[str, object]], Close | None]:
    """Every event until the end, and the CLOSE (None: the connection just died)."""
    events = []
    try:
        while True:
            events.append(json.loads(await socket.recv()))
    except ConnectionClosed as closed:
        return events, closed.rcvd


async def settled(simulator: Simulator) -> None:
    """Wait until no connection is left."""
    async with asyncio.timeout(5):
        while simulator.connections or simulator.sessions:
            await asyncio.sleep(0.005)


async def test_sdk_chat_json_and_stream(client: openai.AsyncOpenAI, simulator: Simulator) -> None:
    messages: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "Say hello in one word"}]
    reply = await client.chat.completions.create(model="gpt-5", messages=messages)
    assert reply.choices[0].message.content == "Hello!"
    assert reply.usage is not None
    spent = reply.usage.prompt_tokens
    for scenario in ("odd-bytes:3", "crlf", "slow:1"):
        stream = await client.chat.completions.create(
            model="gpt-5",
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            metadata={"scenario": scenario},
        )
        chunks = [chunk async for chunk in stream]
        assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == "Hello!"
        assert chunks[-1].usage == reply.usage
    assert simulator.ledger.totals["input_tokens"] == 4 * spent
    assert [turn["kind"] for turn in simulator.ledger.turns] == ["chat"] * 4


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_sdk_sees_errors_as_the_vendor_sends_them(
    client: openai.AsyncOpenAI, simulator: Simulator, status: int, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind) as refused:
        await client.chat.completions.create(
            model="gpt-5", messages=[{"role": "user", "content": "x"}], metadata={"scenario": f"status:{status}"}
        )
    headers = refused.value.response.headers
    assert ("retry-after" in headers) == (status in (429, 503))
    assert headers["x-ratelimit-remaining-requests"] == ("0" if status == 429 else "9999")
    assert simulator.ledger.turns == []


@pytest.mark.parametrize("stream", [True, False])
async def test_dropped_answer_breaks_off(http: aiohttp.ClientSession, simulator: Simulator, stream: bool) -> None:
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "What is new?"}], "stream": stream}
    async with http.post("/v1/chat/completions?scenario=drop", json=body, headers=KEY) as reply:
        assert reply.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await reply.read()
    assert [(t["status"], t["usage"]) for t in simulator.ledger.turns] == [("dropped", None)]


async def test_stalled_request_ends_when_its_client_has_gone(simulator: Simulator) -> None:
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}], "metadata": {"scenario": "stall"}}
    async with aiohttp.ClientSession(simulator.url) as http:
        asking = asyncio.create_task(http.post("/v1/chat/completions", json=body, headers=KEY))
        async with asyncio.timeout(10):
            while not simulator.requests:
                await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
    await settled(simulator)
    assert simulator.requests[0].body == json.dumps(body).encode()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 401),
        (WRONG_KEY, b"{}", 401),
        (KEY, b"{", 400),
        (KEY, b"[]", 400),
        (KEY, b'{"model":"missing-1","messages":[{"role":"user","content":"x"}]}', 404),
    ],
)
async def test_wrong_requests(http: aiohttp.ClientSession, headers: dict[str, str], body: bytes, status: int) -> None:
    async with http.post("/v1/chat/completions", data=body, headers=headers) as reply:
        assert reply.status == status
        error = (await reply.json())["error"]
        assert error["message"]
        assert "sk-wrong" not in json.dumps(error)


async def test_ledger_over_http(client: openai.AsyncOpenAI, http: aiohttp.ClientSession) -> None:
    await client.chat.completions.create(model="gpt-5", messages=[{"role": "user", "content": "x"}])
    async with http.get("/_ledger") as reply:
        report = await reply.json()
    assert report["turns"][0]["usage"]["prompt_tokens"] == report["totals"]["input_tokens"] == 1
    async with http.delete("/_ledger") as reply:
        assert reply.status == 204
    async with http.get("/_ledger") as reply:
        assert (await reply.json())["turns"] == []


async def test_other_endpoints(client: openai.AsyncOpenAI, http: aiohttp.ClientSession) -> None:
    assert "gpt-realtime" in [model.id async for model in client.models.list()]
    embedded = await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
    assert (len(embedded.data), embedded.usage.total_tokens) == (2, 2)
    file = await client.files.create(file=b"x" * 1000, purpose="user_data")
    assert file.bytes > 1000  # with its multipart frame
    async with http.get("/v1/nowhere") as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (404, "unknown_url")


async def test_echo_shows_what_arrived(http: aiohttp.ClientSession, simulator: Simulator) -> None:
    async with http.put("/v1/echo/a%2Fb?x=%2F&x", data=b"\x00body", headers={"X-Team": "blue"}) as reply:
        assert await reply.read() == b"\x00body"
        assert ["X-Team", "blue"] in json.loads(reply.headers["x-seen"])
    received = simulator.requests[-1]
    assert (received.method, received.body) == ("PUT", b"\x00body")
    assert received.path.startswith("/v1/echo/a%2Fb?x=")
    async with http.get("/v1/echo?headers=1", headers={"X-Team": "red"}) as reply:
        assert ["X-Team", "red"] in await reply.json()


async def test_download_has_the_size_that_was_asked_for(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/bytes/200001") as reply:
        data = await reply.read()
    assert (len(data), data[:3], data[-1]) == (200_001, b"\x00\x01\x02", 200_000 % 256)


async def test_head_of_a_download_has_its_size_and_no_body(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    writer.write(b"HEAD /v1/bytes/100000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"Content-Length: 100000" in head
    assert body == b""
    writer.close()


async def test_socket_echo_compresses_if_asked(simulator: Simulator) -> None:
    url = simulator.url.replace("http", "ws") + "/v1/echo/ws"
    async with websockets.connect(url) as socket:
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
        await socket.send("text")
        await socket.send(b"\x00bytes")
        assert [await socket.recv(), await socket.recv()] == ["text", b"\x00bytes"]
        await socket.close(3001, "enough")
        assert socket.protocol.close_rcvd == Close(3001, "")


async def test_sdk_realtime_turns(client: openai.AsyncOpenAI, simulator: Simulator) -> None:
    async with client.realtime.connect(model="gpt-realtime") as session:
        assert (await session.recv()).type == "session.created"
        await session.session.update(
            session={"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        )
        await session.input_audio_buffer.append(audio=base64.b64encode(bytes(48 * 700)).decode())
        seen = []
        async for event in session:
            check_event(event.model_dump(exclude_unset=True))
            seen.append(event.type)
            if event.type == "response.done":
                assert event.response.usage is not None
                total = event.response.usage.total_tokens
            if event.type == "rate_limits.updated":
                break
        assert "response.output_audio.delta" in seen
        assert simulator.sessions == 1
    assert simulator.ledger.totals["total_tokens"] == total
    assert simulator.ledger.totals["transcription_seconds"] == 0.7
    assert json.loads(simulator.messages[0][1])["type"] == "session.update"
    assert dict(simulator.requests[0].headers)["Authorization"] == "Bearer sk-simulator"


@pytest.mark.parametrize(
    ("query", "headers", "code", "close"),
    [
        ("model=m", {}, None, Close(3000, "invalid_request_error")),
        (
            "model=m",
            WRONG_KEY,
            "invalid_api_key",
            Close(3000, "invalid_request_error.invalid_api_key"),
        ),
        ("model=missing-m", KEY, "invalid_model", Close(4000, "invalid_request_error.invalid_model")),
        ("", KEY, "missing_model", Close(4000, "invalid_request_error.missing_model")),
        (
            "intent=transcription",
            {**KEY, "OpenAI-Beta": "realtime=v1"},
            "beta_api_shape_disabled",
            Close(4000, "invalid_request_error.beta_api_shape_disabled"),
        ),
    ],
)
async def test_refused_sessions_get_101_then_error_then_close(
    simulator: Simulator, query: str, headers: dict[str, str], code: str | None, close: Close
) -> None:
    async with dial(simulator, query, headers) as socket:
        (event,), closed = await last_words(socket)
    check_event(event)
    assert event["error"]["code"] == code  # type: ignore[index]
    assert closed == close
    await settled(simulator)


async def test_key_in_a_subprotocol(simulator: Simulator) -> None:
    offered = ["realtime", "openai-insecure-api-key.sk-simulator"]
    async with dial(simulator, "model=m", {}, offered) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(await socket.recv())["type"] == "session.created"


@pytest.mark.parametrize(
    ("query", "status", "retry_after"),
    [
        ("model=m&scenario=no-upgrade", 503, "1"),
        ("model=m&scenario=no-upgrade:429", 429, "1"),
        ("model=m&scenario=no-upgrade:401", 401, None),
        ("model=m&scenario=nonsense", 400, None),
        ("call_id=rtc_1", 404, None),
    ],
)
async def test_handshakes_that_fail_with_http(
    simulator: Simulator, query: str, status: int, retry_after: str | None
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await dial(simulator, query)
    response = refused.value.response
    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry_after)
    assert json.loads(response.body or b"")["error"]["message"]


async def test_binary_frames_are_refused_and_the_session_goes_on(simulator: Simulator) -> None:
    async with dial(simulator, "model=m") as socket:
        await socket.recv()
        await socket.send(b"{}")
        assert json.loads(await socket.recv())["error"]["code"] == "invalid_event"
        await socket.send('{"type":"session.update","session":{"type":"realtime"}}')
        assert json.loads(await socket.recv())["type"] == "session.updated"
    await settled(simulator)


async def test_session_that_expires(simulator: Simulator) -> None:
    async with dial(simulator, "model=m&scenario=expire:1") as socket:
        events, close = await last_words(socket)
    assert [event["type"] for event in events] == ["session.created", "error"]
    assert close == Close(1001, "Your session hit the maximum duration of 60 minutes.")


@pytest.mark.parametrize("scenario", ["drop-after:4", "drop"])
async def test_session_that_dies_in_mid_turn(simulator: Simulator, scenario: str) -> None:
    async with dial(simulator, f"model=m&scenario={scenario}") as socket:
        await socket.send('{"type":"response.create"}')
        _, close = await last_words(socket)
    assert close is None
    await settled(simulator)
    assert [turn["status"] for turn in simulator.ledger.turns] == ["dropped"]


async def test_close_that_is_never_answered(simulator: Simulator) -> None:
    async with dial(simulator, "model=m&scenario=no-close-reply") as socket:
        await socket.recv()
        await socket.close()  # gives up after close_timeout
        assert socket.protocol.close_rcvd is None
    await settled(simulator)


async def test_silent_session_and_pings(simulator: Simulator) -> None:
    async with dial(simulator, "model=m&scenario=silent") as socket:
        await socket.send('{"type":"response.create"}')
        await (await socket.ping())  # what the server had to say would have come before the pong
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await socket.recv()
    async with aiohttp.ClientSession(headers=KEY) as http:
        url = f"{simulator.url}/v1/realtime?model=m&scenario=ping:1"
        async with http.ws_connect(url, autoping=False) as raw:
            await raw.receive()
            assert (await raw.receive()).type is aiohttp.WSMsgType.PING


async def test_client_that_vanishes_leaves_nothing(simulator: Simulator) -> None:
    socket = await dial(simulator, "model=m&scenario=wait")
    await socket.send('{"type":"response.create"}')
    while json.loads(await socket.recv())["type"] != "response.output_audio.delta":
        pass
    socket.transport.abort()
    await settled(simulator)
    assert [turn["status"] for turn in simulator.ledger.turns] == ["abandoned"]


async def test_big_append_is_taken(simulator: Simulator) -> None:
    async with dial(simulator, "model=m") as socket:
        await socket.recv()
        audio = base64.b64encode(bytes(11 * 1024 * 1024)).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        assert json.loads(await socket.recv())["type"] == "input_audio_buffer.speech_started"


async def test_rules_of_a_file_and_stop_with_open_sessions() -> None:
    rules = Scenarios.load('[{match: {model: "busy-*"}, scenario: "no-upgrade:429"}]')
    simulator = Simulator(keys=frozenset({"sk-1"}), scenarios=rules)
    await simulator.start()
    with pytest.raises(InvalidStatus):
        await dial(simulator, "model=busy-1", {"Authorization": "Bearer sk-1"})
    async with dial(simulator, "model=other", {"Authorization": "Bearer sk-1"}) as socket:
        await socket.recv()
        await simulator.stop()
        events, _ = await last_words(socket)
    assert events == []
    assert (simulator.sessions, simulator.connections) == (0, 0)


async def test_address_that_is_taken_leaves_nothing_behind(simulator: Simulator) -> None:
    other = Simulator()
    with pytest.raises(OSError, match="address already in use"):
        await other.start(port=simulator.port)
    assert (other.port, other.connections) == (0, 0)


async def test_tls(tmp_path: Path) -> None:
    server, client = _contexts(tmp_path)
    simulator = Simulator()
    await simulator.start(ssl=server)
    try:
        assert simulator.url == f"https://127.0.0.1:{simulator.port}"
        async with aiohttp.ClientSession(headers=KEY) as http:
            url = f"{simulator.url}/v1/realtime?model=m&scenario=drop-after:1"
            async with http.ws_connect(url, ssl=client) as socket:
                assert (await socket.receive_json())["type"] == "session.created"
                assert (await socket.receive()).type is not aiohttp.WSMsgType.TEXT
    finally:
        await simulator.stop()


def _contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server with a certificate of its own, and a client that trusts it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    certificate = builder.add_extension(address, critical=True).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))
