"""The upstream's half of a WebSocket handshake; `websockets` says whether we take the answers that others take."""

from __future__ import annotations

import re

import pytest
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri
from websockets.utils import accept_key

from dataplane.upstreams.opening import Answer, Opening, OpeningFailed

URL = "http://far.example:8080/v1/realtime?model=a%20b&x="
EVENT = b"\x81\x02{}"
GOOD = {
    "good": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}",
    "in any case": "upgrade: WebSocket|connection: UPGRADE|SEC-WEBSOCKET-ACCEPT: {accept}",
    "a connection that lists more": "Upgrade: websocket|Connection: keep-alive, Upgrade|Sec-WebSocket-Accept: {accept}",
    "two fields": "Upgrade: websocket|Connection: keep-alive|Connection: Upgrade|Sec-WebSocket-Accept: {accept}",
    "blanks": "Upgrade:websocket|Connection: Upgrade  |Sec-WebSocket-Accept:   {accept} ",
    "a subprotocol": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}|Sec-WebSocket-Protocol: b",
}
BAD = {
    "no upgrade": "Connection: Upgrade|Sec-WebSocket-Accept: {accept}",
    "another upgrade": "Upgrade: h2c|Connection: Upgrade|Sec-WebSocket-Accept: {accept}",
    "two upgrades": "Upgrade: websocket, h2c|Connection: Upgrade|Sec-WebSocket-Accept: {accept}",
    "no connection": "Upgrade: websocket|Sec-WebSocket-Accept: {accept}",
    "another connection": "Upgrade: websocket|Connection: close|Sec-WebSocket-Accept: {accept}",
    "no accept": "Upgrade: websocket|Connection: Upgrade",
    "a wrong accept": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: AAAA{accept}",
    "two": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}|Sec-WebSocket-Accept: {accept}",
    "an extension": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}"
    "|Sec-WebSocket-Extensions: permessage-deflate",
    "another subprotocol": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}"
    "|Sec-WebSocket-Protocol: c",
    "two subprotocols": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}"
    "|Sec-WebSocket-Protocol: a, b",
    "subprotocols in two fields": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}"
    "|Sec-WebSocket-Protocol: a|Sec-WebSocket-Protocol: b",
    "no colon": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}|what",
    "a folded line": "Upgrade: websocket|Connection: Upgrade|Sec-WebSocket-Accept: {accept}|X: a| b",
}


def key_of(request: bytes) -> str:
    found = re.search(rb"Sec-WebSocket-Key: (\S+)\r\n", request)
    assert found
    return found[1].decode()


def switching(lines: str, key: str, version: str = "1.1") -> bytes:
    head = lines.format(accept=accept_key(key)).split("|")
    return "\r\n".join([f"HTTP/{version} 101 Switching Protocols", *head, "", ""]).encode()


def answer(opening: Opening, pieces: list[bytes]) -> Answer | None:
    for piece in pieces:
        if (found := opening.receive(piece)) is not None:
            return found
    return None


def taken_by_websockets(lines: str) -> bool:
    client = ClientProtocol(parse_uri("ws://far.example"), subprotocols=[Subprotocol("a"), Subprotocol("b")])
    client.send_request(client.connect())
    client.receive_data(switching(lines, client.key))
    return client.handshake_exc is None


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_that_is_taken(name: str) -> None:
    """Whole, with an event behind it, and byte by byte."""
    assert taken_by_websockets(GOOD[name])
    opening = Opening(URL, [], ["a", "b"])
    data = switching(GOOD[name], key_of(opening.request()))
    found = answer(opening, [data + EVENT])
    assert found is not None
    assert (found.status, found.rest) == (101, EVENT)
    assert len(found.headers) == GOOD[name].count("|") + 1
    for cut in range(1, len(data)):
        opening = Opening(URL, [], ["a", "b"])
        data = switching(GOOD[name], key_of(opening.request()))
        found = answer(opening, [data[:cut], data[cut:] + EVENT])
        assert found is not None
        assert (found.status, found.rest) == (101, EVENT)


@pytest.mark.parametrize("name", BAD)
def test_an_answer_that_is_not_taken(name: str) -> None:
    assert not taken_by_websockets(BAD[name])
    opening = Opening(URL, [], ["a", "b"])
    with pytest.raises(OpeningFailed):
        opening.receive(switching(BAD[name], key_of(opening.request())) + EVENT)


def test_nothing_that_was_not_offered_is_taken() -> None:
    opening = Opening(URL, [])
    with pytest.raises(OpeningFailed, match="Sec-WebSocket-Protocol"):
        opening.receive(switching(GOOD["a subprotocol"], key_of(opening.request())))


def test_http_1_0_has_no_101() -> None:
    opening = Opening(URL, [])
    with pytest.raises(OpeningFailed, match="101"):
        opening.receive(switching(GOOD["good"], key_of(opening.request()), "1.0"))


def test_the_request_is_one_that_websockets_takes() -> None:
    server = ServerProtocol(subprotocols=[Subprotocol("b")])
    asked = Opening(URL, [("Authorization", "Bearer k"), ("x-text", "\udce9")], ["a", "b"]).request()
    assert b"\r\nx-text: \xe9\r\n" in asked
    server.receive_data(asked)
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.path == "/v1/realtime?model=a%20b&x="
    fields: Headers = request.headers
    assert (fields["Host"], fields["Authorization"]) == ("far.example:8080", "Bearer k")
    assert "Sec-WebSocket-Extensions" not in fields
    response = server.accept(request)
    assert isinstance(response, Response)
    assert (response.status_code, response.headers["Sec-WebSocket-Protocol"]) == (101, "b")


def test_a_host_that_needs_no_port_and_one_in_brackets() -> None:
    assert b"\r\nHost: far.example\r\n" in Opening("https://far.example/v1", []).request()
    assert b"\r\nHost: [::1]:81\r\n" in Opening("http://[::1]:81/v1", []).request()


def test_no_two_have_the_same_key() -> None:
    assert len({key_of(Opening(URL, []).request()) for _ in range(100)}) == 100
