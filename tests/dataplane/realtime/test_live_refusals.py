"""What a client is told where no session comes about: an HTTP answer before the 101, in OpenAI's error shape."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dataplane.realtime import frames
from dataplane.table import Credential, Model, ModelAllow, Target, Timeouts
from simulator.server import Simulator
from tests.dataplane.certificates import certificate
from tests.dataplane.realtime.wires import (
    PATH,
    Answered,
    Peer,
    ask,
    calm,
    close_frame,
    dial,
    gateway,
    handshake,
    pair,
    switching,
    upstreams,
)
from tests.dataplane.rig import OPEN, REQUIRED, UPSTREAM_KEY, Rig, backend, provider, running, table

PASSTHROUGH = Credential(kind="passthrough")
BODY = b'{"error":{"message":"Slow down, please.","type":"requests","code":"rate_limit_exceeded"}}'
QUICK = Timeouts(connect=0.3, handshake=0.3, first_event=0.2)


def answering(status: str, *fields: str, body: bytes = BODY) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def refused(answer: Answered, status: int, code: str, hint: str) -> None:
    assert (answer.status, answer.error["code"]) == (status, code)
    assert hint in str(answer.error["message"])
    assert answer.get("x-tidegate-request-id")
    assert answer.get("sec-websocket-accept") is None


# -- the provider says no after its 101 ---------------------------------------------------------------------------


async def test_a_wrong_key_of_ours_is_our_fault(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1")))
    async with running(served, secrets={"upstream@1": "sk-stale"}) as rig, calm(rig):
        with capture_logs() as logs:
            refused(await ask(rig), 502, "upstream_credential_rejected", "Renew the Secret")
        assert [line["event"] for line in logs] == ["a provider is ejected", "callers are refused"]
        assert rig.meter.requests == [("ai/voice", "ai/voice", 502, "upstream_credential_rejected")]


async def test_a_wrong_key_of_the_clients_is_its_own(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1", credential=PASSTHROUGH)), OPEN)
    async with running(served) as rig, calm(rig):
        answer = await ask(rig, headers={"Authorization": "Bearer sk-mine"})
        refused(answer, 401, "invalid_api_key", "Send a valid one")
        assert b"sk-mine" not in answer.body
        refused(await ask(rig, headers={"Authorization": None}), 401, "invalid_api_key", "if any")


async def test_a_key_that_the_backend_does_not_send_is_not_asked_of_the_client(upstream: Simulator) -> None:
    served = table(backend(provider(upstream.url + "/v1", credential=Credential())), OPEN)
    async with running(served) as rig, calm(rig):
        answer = await ask(rig, headers={"Authorization": "Bearer sk-simulator"})
        refused(answer, 502, "upstream_credential_rejected", "neither secretRef nor passthrough")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v1/realtime?model=missing-1", 404, "model_not_found"), ("/v1/realtime", 400, "missing_model")],
)
async def test_a_model_that_nobody_knows(rig: Rig, path: str, status: int, code: str) -> None:
    async with calm(rig):
        refused(await ask(rig, path), status, code, "odel")


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "insufficient_quota", "credit_balance_exhausted"])
async def test_a_spent_budget_of_the_provider_is_429(code: str) -> None:
    event = b'{"type":"error","error":{"type":"x","code":"%s","message":"Spent."}}' % code.encode()
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        await it.upstream.opened(glued=frames.frame(frames.TEXT, event))
        refused(await client.answer(), 429, "upstream_rate_limited", "Spent.")
        client.reset()


async def test_a_call_is_refused_where_models_are_limited(upstream: Simulator) -> None:
    limited = OPEN.model_copy(update={"models": (ModelAllow(policy="ai/few", patterns=("gpt-realtime",)),)})
    served = table(backend(provider(upstream.url + "/v1", credential=PASSTHROUGH)), limited)
    async with running(served) as rig, calm(rig):
        refused(await ask(rig, "/v1/realtime?call_id=rtc_1"), 403, "model_not_allowed", "ai/few")
    assert not upstream.requests


async def test_beta_never_goes_upstream(rig: Rig, upstream: Simulator) -> None:
    async with calm(rig):
        assert (await ask(rig, headers={"OpenAI-Beta": "realtime=v1"})).status == 101
    assert all(name.lower() != "openai-beta" for name, _ in upstream.requests[-1].headers)


async def test_a_close_explains_an_error_without_a_code() -> None:
    event = b'{"type":"error","error":{"type":"invalid_request_error","code":null,"message":"No."}}'
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.opened(glued=frames.frame(frames.TEXT, event))
        far.close(3000, "invalid_request_error")
        refused(await client.answer(), 502, "upstream_credential_rejected", "Secret")
        client.reset()


async def test_an_upstream_that_leaves_before_its_first_event() -> None:
    async with pair() as it, calm(it.rig):
        for glued in (b"", close_frame(1013, "full"), b"\xff\xff\xff\xff"):
            client = await dial(it.rig)
            client.write(handshake())
            (await it.upstream.opened(glued=glued)).writer.close()
            refused(await client.answer(), 502, "upstream_refused", "before it began")
            client.reset()


async def test_a_silent_upstream_gets_its_101_passed_on() -> None:
    async with pair(timeouts=QUICK) as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.opened(glued=b"")
        assert (await client.answer()).status == 101
        far.send(b'{"type":"session.created","session":{}}')
        assert (await client.event())["type"] == "session.created"
        client.reset()


# -- the provider answers HTTP ------------------------------------------------------------------------------------

ANSWERS = {
    "401": (answering("401 Unauthorized"), 502, "upstream_credential_rejected", "Renew"),
    "403": (answering("403 Forbidden"), 502, "upstream_credential_rejected", "Renew"),
    "400": (answering("400 Bad Request"), 400, "upstream_refused", "Slow down"),
    "404 bare": (answering("404 Not Found", body=b""), 404, "upstream_refused", "answered 404"),
    "500": (answering("500 Oops"), 502, "upstream_protocol_error", "answered 500"),
    "200": (answering("200 OK"), 502, "upstream_protocol_error", "answered 200"),
    "302": (answering("302 Found", "Location: http://a/"), 502, "upstream_protocol_error", "answered 302"),
    "cut short": (answering("429 No", "Retry-After: 7")[:-9], 429, "upstream_refused", "answered 429"),
    "interim only": (b"HTTP/1.1 103 Early Hints\r\n\r\n", 502, "upstream_protocol_error", "without an answer"),
    "nothing": (b"", 502, "upstream_protocol_error", "without an answer"),
    "half a head": (b"HTTP/1.1 429 No\r\nRetry-", 502, "upstream_protocol_error", "without an answer"),
    "ssh": (b"SSH-2.0-OpenSSH_9.9\r\n", 502, "upstream_protocol_error", "not HTTP/1.1"),
    "bad status": (b"HTTP/1.1 10x OK\r\n\r\n", 502, "upstream_protocol_error", "not HTTP/1.1"),
    "bad field": (b"HTTP/1.1 101 OK\r\nno colon\r\n\r\n", 502, "upstream_protocol_error", "not HTTP/1.1"),
    "no accept": (
        b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        502,
        "upstream_protocol_error",
        "handshake is not valid",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_upstream_that_does_not_switch(name: str) -> None:
    said, status, code, hint = ANSWERS[name]
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.arrival()
        await far.head()
        far.write(said)
        far.writer.write_eof()
        answer = await client.answer()
        refused(answer, status, code, hint)
        assert answer.get("retry-after") == ("7" if status in (429, 503) else None)
        assert await far.reader.read() == b"", "it hears no frame: it speaks no WebSocket"
        client.reset()
        far.reset()


AS_THEY_CAME = {
    "429": (answering("429 Too Many Requests", "Retry-After: 7", "x-ratelimit-remaining: 0"), 429, BODY),
    "503": (answering("503 Unavailable", "retry-after: 7", "x-ratelimit-remaining: 0", body=b"<html>"), 503, b"<html>"),
    "chunked": (
        b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nx-ratelimit-remaining: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        429,
        BODY,
    ),
    "to the end": (b"HTTP/1.1 429 No\r\nRetry-After: 7\r\nx-ratelimit-remaining: 0\r\n\r\n" + BODY, 429, BODY),
}


@pytest.mark.parametrize("name", AS_THEY_CAME)
async def test_a_providers_limit_reaches_the_client_as_it_came(name: str) -> None:
    said, status, body = AS_THEY_CAME[name]
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.arrival()
        await far.head()
        far.write(said)
        far.writer.write_eof()
        answer = await client.answer()
        assert (answer.status, answer.body) == (status, body)
        assert (answer.get("retry-after"), answer.get("x-ratelimit-remaining")) == ("7", "0")
        assert answer.get("x-tidegate-request-id")
        assert [request[2:] for request in it.rig.meter.requests] == [(status, "upstream_refused")]
        client.reset()
        far.reset()


async def test_a_key_of_ours_is_not_in_what_is_passed_on() -> None:
    echo = b'{"error":{"message":"no quota for ' + UPSTREAM_KEY.encode() + b'"}}'
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.arrival()
        await far.head()
        far.write(answering("429 No", body=echo))
        answer = await client.answer()
        assert answer.status == 429
        assert b"no quota for ***" in answer.body
        client.reset()
        far.reset()


async def test_the_clients_own_key_keeps_the_providers_status() -> None:
    async with upstreams() as upstream:
        served = table(backend(provider(upstream.url, credential=PASSTHROUGH)), OPEN)
        async with gateway(served) as rig, calm(rig):
            for status in (401, 403):
                client = await dial(rig)
                client.write(handshake())
                far = await upstream.arrival()
                await far.head()
                far.write(answering(f"{status} No"))
                refused(await client.answer(), status, "upstream_refused", "Slow down")
                client.reset()
                far.reset()


def endless_head(far: Peer) -> bytes:
    return b"HTTP/1.1 101 OK\r\n" + b"X-More: 1\r\n" * 4000


def endless_body(far: Peer) -> bytes:
    return b"HTTP/1.1 429 No\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 200_000


def body_never_ends(far: Peer) -> bytes:
    return b"HTTP/1.1 429 No\r\nContent-Length: 999\r\n\r\n" + b"x"


def silence(far: Peer) -> bytes:
    return b""


def unasked_extension(far: Peer) -> bytes:
    return switching(far.request, "Sec-WebSocket-Extensions: permessage-deflate")


def unasked_subprotocol(far: Peer) -> bytes:
    return switching(far.request, "Sec-WebSocket-Protocol: other")


def wrong_accept(far: Peer) -> bytes:
    return switching(far.request.replace(b"Sec-WebSocket-Key: ", b"Sec-WebSocket-Key: A"))


@pytest.mark.parametrize(
    ("says", "status", "code", "hint"),
    [
        (endless_head, 502, "upstream_protocol_error", "head is over"),
        (endless_body, 429, "upstream_refused", "answered 429"),
        (body_never_ends, 429, "upstream_refused", "answered 429"),
        (silence, 504, "upstream_timeout", "within 0.3 s"),
        (unasked_extension, 502, "upstream_protocol_error", "handshake is not valid"),
        (unasked_subprotocol, 502, "upstream_protocol_error", "handshake is not valid"),
        (wrong_accept, 502, "upstream_protocol_error", "handshake is not valid"),
    ],
)
async def test_an_upstream_that_keeps_the_connection(
    says: Callable[[Peer], bytes], status: int, code: str, hint: str
) -> None:
    async with pair(timeouts=QUICK) as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.arrival()
        far.request = await far.head()
        far.write(says(far))
        refused(await client.answer(), status, code, hint)
        await far.gone()
        client.reset()
        far.reset()


async def test_interim_answers_and_a_101_in_single_bytes() -> None:
    async with pair() as it, calm(it.rig):
        client = await dial(it.rig)
        client.write(handshake())
        far = await it.upstream.arrival()
        request = await far.head()
        event = frames.frame(frames.TEXT, b'{"type":"session.created","session":{"model":"gpt-realtime"}}')
        for byte in b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 2 + switching(request) + event:
            far.write(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 101
        assert (await client.event())["type"] == "session.created"
        client.reset()


# -- the provider cannot be reached -------------------------------------------------------------------------------


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with gateway(table(backend(provider(f"http://127.0.0.1:{port}/v1")))) as rig, calm(rig):
        refused(await ask(rig), 502, "upstream_unreachable", "cannot be reached: connection refused")


async def test_a_black_hole() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        address = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # they fill the queue, so that the next SYN is not answered
            each.setblocking(False)
            each.connect_ex(address)
        served = table(backend(provider(f"http://127.0.0.1:{address[1]}/v1"), timeouts=QUICK))
        async with gateway(served) as rig, calm(rig):
            refused(await ask(rig), 504, "upstream_timeout", "more than 0.3 s")
        for each in waiting:
            each.close()


async def test_tls_that_fails(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, "localhost")
    async with upstreams() as silent, upstreams(tls=server) as unknown:
        for url, status, hint in (
            (silent.url.replace("http", "https"), 504, "more than 0.3 s"),
            (unknown.url, 502, "certificate is not trusted"),
        ):
            async with gateway(table(backend(provider(url), timeouts=QUICK))) as rig, calm(rig):
                code = "upstream_timeout" if status == 504 else "upstream_unreachable"
                refused(await ask(rig), status, code, hint)


async def test_tls_answered_in_plain() -> None:
    async with upstreams() as plain:
        served = table(backend(provider(plain.url.replace("http", "https"))))
        async with gateway(served) as rig, calm(rig):
            client = await dial(rig)
            client.write(handshake())
            far = await plain.arrival()
            far.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            refused(await client.answer(), 502, "upstream_unreachable", "TLS failed")
            client.reset()
            far.reset()


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b", "a" * 64])
async def test_a_name_that_cannot_be_resolved(host: str) -> None:
    async with gateway(table(backend(provider(f"http://{host}/v1")))) as rig, calm(rig):
        refused(await ask(rig), 502, "upstream_unreachable", f"{host}:80 cannot be reached: its name")


# -- the client asks wrongly --------------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, str | None], int, str]] = {
    "no upgrade": ({"Upgrade": None, "Connection": None}, 426, "upgrade_required"),
    "no connection": ({"Connection": "keep-alive"}, 426, "upgrade_required"),
    "connection that only sounds so": ({"Connection": "upgrade-insecurely"}, 426, "upgrade_required"),
    "another protocol": ({"Upgrade": "h2c"}, 426, "upgrade_required"),
    "no key": ({"Sec-WebSocket-Key": None}, 400, "invalid_header"),
    "two keys": ({"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}, 400, "invalid_header"),
    "short key": ({"Sec-WebSocket-Key": "AAAA"}, 400, "invalid_header"),
    "no base64": ({"Sec-WebSocket-Key": "not base64 at all!!"}, 400, "invalid_header"),
    "version 8": ({"Sec-WebSocket-Version": "8"}, 426, "upgrade_required"),
    "no version": ({"Sec-WebSocket-Version": None}, 426, "upgrade_required"),
    "two versions": ({"sec-websocket-version": "8"}, 426, "upgrade_required"),
    "no credential": ({"Authorization": None}, 401, "credentials_required"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_handshake_that_is_none(rig: Rig, upstream: Simulator, name: str) -> None:
    headers, status, code = BAD[name]
    async with calm(rig):
        answer = await ask(rig, headers=headers)
        assert (answer.status, answer.error["code"]) == (status, code)
        assert answer.get("sec-websocket-version") == ("13" if "version" in name else None)
    assert not upstream.requests


@pytest.mark.parametrize(
    ("request_", "status"),
    [(handshake(method="POST"), 405), (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 426)],
)
async def test_another_method_or_version(rig: Rig, request_: bytes, status: int) -> None:
    async with calm(rig):
        client = await dial(rig)
        client.write(request_)
        assert (await client.answer()).status == status
        client.reset()


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("model=gpt-realtime&model=other", 400, "invalid_value"),
        ("model=gpt-realtime&%6dodel=other", 400, "invalid_value"),
        ("call_id=rtc_1", 403, "call_id_not_allowed"),
        ("model=gpt-realtime&call%5Fid=rtc_1", 403, "call_id_not_allowed"),
        ("model=o1", 403, "model_not_allowed"),
        ("model=o1&intent=transcription", 403, "model_not_allowed"),
        ("model=gpt-realtime&Model=o1", 403, "model_not_allowed"),
        ("intent=transcription&%4dODEL=o1", 403, "model_not_allowed"),
        ("model=gpt-realtime&deployment=o1", 403, "model_not_allowed"),
    ],
)
async def test_a_query_that_is_refused(upstream: Simulator, query: str, status: int, code: str) -> None:
    policies = REQUIRED.model_copy(update={"models": (ModelAllow(policy="ai/models", patterns=("gpt-*",)),)})
    async with running(table(backend(provider(upstream.url + "/v1")), policies)) as rig, calm(rig):
        answer = await ask(rig, f"/v1/realtime?{query}")
        assert (answer.status, answer.error["code"]) == (status, code)
    assert not upstream.requests


async def test_the_model_that_was_allowed_is_the_one_that_is_sent(upstream: Simulator) -> None:
    policies = REQUIRED.model_copy(update={"models": (ModelAllow(policy="ai/models", patterns=("gpt-*",)),)})
    async with running(table(backend(provider(upstream.url + "/v1")), policies)) as rig, calm(rig):
        await ask(rig, "/v1/realtime?a=%2f&model=gpt-5;model=o1")
    assert upstream.requests[-1].path == "/v1/realtime?a=%2f&model=gpt-5%3Bmodel%3Do1"


async def test_a_declared_model(upstream: Simulator) -> None:
    voice = Model(name="voice", targets=(Target(provider="openai", model="gpt-realtime"),))
    async with running(table(backend(provider(upstream.url + "/v1"), models=(voice,)))) as rig, calm(rig):
        refused(await ask(rig, "/v1/realtime?model=voise"), 404, "model_not_found", "Did you mean voice?")
        assert (await ask(rig, "/v1/realtime?a=%2f&model=voice&b=+&c")).status == 101
    assert upstream.requests[-1].path == "/v1/realtime?a=%2f&model=gpt-realtime&b=+&c"


async def test_a_refusal_leaves_the_gateway_as_it_was(rig: Rig) -> None:
    assert (await ask(rig, "/v1/realtime?model=missing-1")).status == 404
    assert (await ask(rig, PATH)).status == 101
