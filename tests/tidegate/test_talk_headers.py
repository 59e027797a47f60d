"""`tidegate talk`: what it sends besides the key, and that none of it is repeated or shown to anybody else."""

from __future__ import annotations

from http import HTTPStatus

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.tidegate.files import UPSTREAM_KEY
from tests.tidegate.processes import run

KEY = {"TIDEGATE_KEY": UPSTREAM_KEY}


class Door:
    """A server that lets everybody in and says goodbye, unless it is told to answer something else."""

    def __init__(self, status: HTTPStatus | None = None, body: str = "", location: str = "") -> None:
        self.status, self.body, self.location = status, body, location
        self.asked: list[Request] = []

    def url(self, path: str = "") -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    async def __aenter__(self) -> Door:
        self._server = await serve(self._serve, "127.0.0.1", 0, process_request=self._answer)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        await socket.close(1001, "Enough.")

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        self.asked.append(request)
        if self.status is None:
            return None
        response = connection.respond(self.status, self.body)
        if self.location:
            response.headers["Location"] = self.location
        return response


async def test_headers_and_a_query_are_sent_besides_the_key() -> None:
    async with Door() as door:
        url = door.url("?gw_key=in-the-query")
        more = ("--header", "X-Gateway-Key: of alice", "-H", "x-two:a: b", "--text", "Hello")
        done = await run("talk", url, "--model", "gpt-realtime", *more, **KEY)
    assert "the session was ended: Enough (close code 1001)" in done.err
    (request,) = door.asked
    assert request.path == "/v1/realtime?gw_key=in-the-query&model=gpt-realtime"
    assert request.headers.get_all("x-gateway-key") == ["of alice"]
    assert request.headers.get_all("x-two") == ["a: b"]
    assert request.headers.get_all("authorization") == [f"Bearer {UPSTREAM_KEY}"]


async def test_a_header_that_says_who_asks_takes_the_place_of_the_key() -> None:
    async with Door() as door:
        await run("talk", door.url(), "--header", "Authorization: Token other", "--text", "Hello", **KEY)
    (request,) = door.asked
    assert request.headers.get_all("authorization") == ["Token other"]


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("secret-of-alice", "write 'NAME: VALUE'"),
        (": secret-of-alice", "write 'NAME: VALUE'"),
        ("x gateway key: secret-of-alice", "write 'NAME: VALUE'"),
        ("x-gateway-key: secret-of-alice\r\nx-two: 2", "the value of x-gateway-key is none: it must be one line."),
        ("Host: secret-of-alice", "--header host: the handshake says that itself."),
        ("Sec-WebSocket-Protocol: secret-of-alice", "the handshake says that itself."),
    ],
)
async def test_a_header_that_is_none_is_not_repeated(header: str, hint: str) -> None:
    async with Door() as door:
        done = await run("talk", door.url(), "--header", header, "--text", "Hello")
    assert done.code == 2
    assert hint in done.err
    assert "secret-of-alice" not in done.out + done.err
    assert not door.asked


@pytest.mark.parametrize("url", ["ftp://127.0.0.1?key=secret-of-alice", "ws://127.0.0.1:0?key=secret-of-alice"])
async def test_an_address_that_is_none_is_shown_without_its_query(url: str) -> None:
    done = await run("talk", url, "--text", "Hello")
    assert done.code == 2
    assert "secret-of-alice" not in done.out + done.err


async def test_a_key_that_is_no_header_is_not_repeated() -> None:
    async with Door() as door:
        done = await run("talk", door.url(), "--text", "Hello", TIDEGATE_KEY="secret-of-alice\nx")
    assert done.code == 2
    assert "authorization" in done.err
    assert "secret-of-alice" not in done.out + done.err


async def test_what_is_shown_to_one_is_shown_to_no_other() -> None:
    async with Door() as other, Door(HTTPStatus.TEMPORARY_REDIRECT, location=other.url("/v1/realtime")) as door:
        done = await run("talk", door.url(), "--header", "x-gateway-key: of alice", "--text", "Hello")
    assert done.code == 1
    assert "refused with 307" in done.err
    assert not other.asked


@pytest.mark.parametrize(
    ("message", "shown", "hint"),
    [
        ("No API key was sent. Send it in the header x-gateway-key.", (), " The option --header does.\n"),
        ("No API key was sent. Send it in the query parameter gw_key.", (), " Write it into the address.\n"),
        ("No API key was sent.", (), " Set TIDEGATE_KEY to a key.\n"),
        ("The API key is not known here.", ("--header", "x-gateway-key: x"), " known here.\n"),
    ],
)
async def test_who_is_not_let_in_is_told_how_to_show_a_key(message: str, shown: tuple[str, ...], hint: str) -> None:
    body = orjson.dumps({"error": {"message": message}}).decode()
    async with Door(HTTPStatus.UNAUTHORIZED, body) as door:
        done = await run("talk", door.url(), *shown, "--text", "Hello")
    assert done.code == 1
    assert done.err.endswith(hint)
