"""Which connections serve again, and what becomes of those that their server closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dataplane.errors import Refusal
from dataplane.upstreams import connection as connections
from dataplane.upstreams import pool as pools
from dataplane.upstreams.pool import Pool
from dataplane.upstreams.target import BY_NAME, Reach, parted
from tests.dataplane.certificates import certificate
from tests.dataplane.upstreams.answers import CHUNKED, OK, SIZED
from tests.dataplane.upstreams.far import HELLO, Far, answering, asked, body_of, pieces, pooled, said, serving


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with pooled() as pool:
        yield pool


@pytest.mark.parametrize(
    "answer",
    [HELLO, OK + CHUNKED + b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n", b"HTTP/1.1 103 E\r\n\r\n" + HELLO],
    ids=["sized", "chunked", "interim"],
)
async def test_requests_in_a_row_use_one_connection(pool: Pool, answer: bytes) -> None:
    async with serving(answering(answer)) as server:
        for _ in range(20):
            assert await said(pool, server.url) == b"hello"
            assert await said(pool, server.url, "GET", None) == b"hello"
            assert await said(pool, server.url, "PUT", pieces(b"a", b"b")) == b"hello"
            assert await said(pool, server.url, body=b"x" * 300_000) == b"hello"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", OK + b"Content-Length: 5\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
    ],
)
async def test_answers_without_a_body(pool: Pool, method: str, answer: bytes) -> None:
    async with serving(answering(answer)) as server:
        for _ in range(3):
            assert await said(pool, server.url, method, None) == b""
        (await asked(pool, server.url, method, None)).close()
        assert server.connections == 1


async def test_over_tls(tmp_path: Path) -> None:
    server_tls, client_tls = certificate(tmp_path, "localhost")
    async with pooled(client_tls) as pool, serving(answering(HELLO), server_tls) as server:
        for _ in range(5):
            assert await said(pool, server.url) == b"hello"
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\n" + SIZED,
        b"HTTP/1.0 200 OK\r\n" + SIZED,
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + SIZED,
        HELLO + b"x",
        HELLO + HELLO,
        HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        OK + CHUNKED + b"5\r\nhello\r\n0\r\n\r\n5\r\n",
    ],
)
async def test_some_answers_are_a_connections_last(pool: Pool, answer: bytes) -> None:
    """And what came behind one is nobody's."""
    ended: list[int] = []

    async def script(far: Far) -> None:
        await far.request()
        await far.says(answer)
        await far.ended()
        ended.append(far.number)

    async with serving(script) as server:
        for _ in range(3):
            assert await said(pool, server.url) == b"hello"
        async with asyncio.timeout(5):
            while len(ended) < 3:
                await asyncio.sleep(0.001)


async def test_an_answer_that_ends_with_the_connection(pool: Pool) -> None:
    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + b"\r\nhel")
        await far.says(b"lo")

    async with serving(script) as server:
        for _ in range(3):
            assert await said(pool, server.url) == b"hello"
        assert server.connections == 3


async def test_an_answer_that_was_not_read(pool: Pool) -> None:
    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + b"Content-Length: 6\r\n\r\nhello")
        await far.ended()

    async with serving(script) as server:
        for _ in range(3):
            (await asked(pool, server.url)).close()
        assert server.connections == 3


@pytest.mark.parametrize("unasked", [HELLO, b"\r\n", b"x"])
async def test_bytes_that_nobody_asked_for(pool: Pool, unasked: bytes) -> None:
    """They come to an idle connection, which ends: the next request gets its own answer."""
    idle, gone = asyncio.Event(), asyncio.Event()

    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO.replace(b"hello", b"from%d" % far.number))
        if far.number == 1:
            await idle.wait()
            await far.says(unasked)
            await far.ended()
            gone.set()
        else:
            await far.ended()

    async with serving(script) as server:
        assert await said(pool, server.url) == b"from1"
        idle.set()
        async with asyncio.timeout(5):
            await gone.wait()
        assert await said(pool, server.url) == b"from2"


async def test_bytes_behind_an_answer_that_waits_to_be_read(pool: Pool) -> None:
    asked_for = asyncio.Event()

    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO)
        await asked_for.wait()
        await far.says(HELLO.replace(b"hello", b"other"))
        await far.ended()

    async with serving(script) as server:
        response = await asked(pool, server.url)
        asked_for.set()
        assert response._connection is not None
        async with asyncio.timeout(5):
            while not response._connection._spoiled:
                await asyncio.sleep(0.001)
        assert await body_of(response) == b"hello"
        assert await said(pool, server.url) == b"hello"
        assert server.connections == 2


async def test_a_request_that_was_not_sent_to_its_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop has all of it, and the server takes none: it has answered at once."""
    monkeypatch.setattr("dataplane.upstreams.send._LARGE", 100_000_000)

    async def script(far: Far) -> None:
        await far.head()
        far.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await far.says(HELLO)
        await asyncio.Event().wait()

    async with serving(script) as server:
        for number in (1, 2):
            assert await said(pool, server.url, body=b"x" * 30_000_000) == b"hello"
            assert server.connections == number


# What is stale.


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("pause", [0, 1, 3, 0.005])
async def test_a_server_that_closes_behind_each_answer(pool: Pool, pause: float, reset: bool) -> None:
    """Without a word, at once or a moment later: whether the close is seen before the next request or after."""

    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO)
        for _ in range(int(pause)):
            await asyncio.sleep(0)
        await asyncio.sleep(pause % 1)
        if reset:
            far.reset()

    async with serving(script) as server:
        for number in range(60):
            assert await said(pool, server.url) == b"hello"
            await asyncio.sleep(0.001 * (number % 10))
        async with asyncio.timeout(5):
            assert {await each for each in asyncio.as_completed([said(pool, server.url) for _ in range(8)])} == {
                b"hello"
            }


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("size", [2, 60_000, 5_000_000])
async def test_a_close_that_crosses_the_request(pool: Pool, size: int, reset: bool) -> None:
    """The server closes as soon as it sees a byte of the second request, and answers nothing: it is sent again."""
    bodies: list[bytes] = []

    async def script(far: Far) -> None:
        bodies.append((await far.request())[1])
        await far.says(HELLO)
        if far.number == 1:
            await far.reader.readexactly(1)
            if reset:
                far.reset()
        else:
            await far.ended()

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"
        assert await said(pool, server.url, body=b"x" * size) == b"hello"
        assert server.connections == 2
        assert bodies == [b"hi", b"x" * size]


async def test_all_idle_connections_are_stale(pool: Pool) -> None:
    """One request, one other connection: the second try does not take the next stale one."""
    together = asyncio.Event()

    async def script(far: Far) -> None:
        await far.request()
        if far.number == 5:
            together.set()
        await together.wait()
        await far.says(HELLO)
        if far.number <= 5:
            await far.reader.readexactly(1)
        else:
            await far.ended()

    async with serving(script) as server:
        await asyncio.gather(*(said(pool, server.url) for _ in range(5)))
        assert await said(pool, server.url) == b"hello"
        assert server.connections == 6


async def test_it_is_tried_once_more_and_no_oftener(pool: Pool) -> None:
    async def script(far: Far) -> None:
        if far.number == 1:
            await far.request()
            await far.says(HELLO)
        await far.head()

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"
        assert await refusal(pool, server.url) == "upstream_unreachable"
        assert server.connections == 2


async def test_a_fresh_connection_that_is_closed_is_no_stale_one(pool: Pool) -> None:
    async def script(far: Far) -> None:
        await far.request()

    async with serving(script) as server:
        assert await refusal(pool, server.url) == "upstream_unreachable"
        assert server.connections == 1


@pytest.mark.parametrize("said_before", [b"H", b"HTTP/1.1 103 E\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
async def test_a_server_that_began_to_answer_is_not_asked_again(pool: Pool, said_before: bytes) -> None:
    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO)
        await far.request()
        await far.says(said_before)

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"
        assert await refusal(pool, server.url) == "upstream_unreachable"
        assert server.connections == 1


async def test_a_server_that_may_have_worked_is_not_asked_again(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had the request for longer than a close needs to get here."""
    monkeypatch.setattr(connections, "_CROSSING_S", 0.0)

    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO)
        await far.request()
        await asyncio.sleep(0.01)

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"
        assert await refusal(pool, server.url) == "upstream_unreachable"
        assert server.connections == 1


async def test_a_streamed_body_is_not_sent_twice(pool: Pool) -> None:
    """It is not kept. One that came whole with its first piece is in memory, and is."""

    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO)
        await far.reader.readexactly(1)

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"
        assert await refusal(pool, server.url, pieces(b"a", b"b")) == "upstream_unreachable"
        assert server.connections == 1
        assert await said(pool, server.url) == b"hello"
        response = await asked(pool, server.url, "POST", pieces(b"ab"), [("content-length", "2")])
        assert await body_of(response) == b"hello"
        assert server.connections == 3


async def test_a_connection_that_closes_while_the_client_has_sent_nothing(pool: Pool) -> None:
    """Nothing was sent on it, so another one is taken."""
    waits, closed = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        waits.set()
        await closed.wait()
        await asyncio.sleep(0.01)
        yield b"a"
        yield b"b"

    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO)
        if far.number == 1:
            await waits.wait()
            far.writer.close()
            await far.writer.wait_closed()
            closed.set()
        await far.ended()

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"
        assert await said(pool, server.url, body=body()) == b"hello"
        assert server.connections == 2


async def refusal(pool: Pool, url: str, body: bytes | AsyncIterator[bytes] = b"hi") -> str:
    with pytest.raises(Refusal) as refused:
        await asked(pool, url, body=body)
    return refused.value.code


# Who waits, and for how long.


async def together(pool: Pool, url: str, count: int) -> None:
    """So many requests at once, each on a connection of its own."""
    responses = await asyncio.gather(*(asked(pool, url) for _ in range(count)))
    for response in responses:
        assert await body_of(response) == b"hello"


async def test_idle_connections_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_IDLE_S", 0.02)
    ended = asyncio.Event()

    async def script(far: Far) -> None:
        await far.request()
        await far.says(HELLO)
        await far.ended()
        ended.set()

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"
        async with asyncio.timeout(5):
            await ended.wait()
        assert pool.idle(parted(server.url)[0]) is None


async def test_a_bounded_number_of_them_waits(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_IDLE_MOST", 2)
    async with serving(answering(HELLO)) as server:
        await together(pool, server.url, 5)
        assert len(pool._idle[parted(server.url)[0]]) == 2
        await together(pool, server.url, 2)
        assert server.connections == 5


async def test_none_waits_while_descriptors_are_short(pool: Pool) -> None:
    async with serving(answering(HELLO)) as server:
        pool._files.short = True
        for _ in range(2):
            assert await said(pool, server.url) == b"hello"
        assert server.connections == 2


async def test_the_newest_is_taken_first(pool: Pool) -> None:
    async def script(far: Far) -> None:
        while True:
            await far.request()
            await far.says(OK + b"Content-Length: 1\r\n\r\n%d" % far.number)

    async with serving(script) as server:
        responses = await asyncio.gather(*(asked(pool, server.url) for _ in range(3)))
        order = [await body_of(response) for response in responses]
        for _ in range(3):
            assert await said(pool, server.url) == order[-1]


async def test_servers_do_not_share_connections(pool: Pool) -> None:
    async with serving(answering(HELLO)) as one, serving(answering(HELLO)) as other:
        for _ in range(2):
            await said(pool, one.url)
            await said(pool, other.url)
            await said(pool, one.url.replace("127.0.0.1", "localhost"))
        assert (one.connections, other.connections) == (2, 1)


async def test_closing(pool: Pool) -> None:
    """What is idle and what is under way ends; twice is no harm."""
    async with serving(answering(HELLO, OK + b"Content-Length: 9\r\n\r\nhello")) as server:
        await together(pool, server.url, 3)
        response = await asked(pool, server.url)
        async with asyncio.timeout(5):
            await pool.close()
            await pool.close()
        with pytest.raises(connections.Lost):
            assert await body_of(response)
        response.close()


async def test_what_one_backend_may_reach_is_no_way_for_another(pool: Pool) -> None:
    """A connection to an address that the networks of one Backend allow waits for that one's requests only; and one
    to an endpoint is not used once the Service has others."""
    async with serving(answering(HELLO)) as server:
        address = server.url.removeprefix("http://")
        for reach in (
            BY_NAME,
            Reach(("127.0.0.0/8",)),
            Reach(("127.0.0.0/8", "10.0.0.0/8")),
            Reach(endpoints=(address,)),
            Reach(endpoints=("127.0.0.1:1", address)),
        ):
            before = server.connections
            for _ in range(2):
                response = await asked(pool, server.url, reach=reach)
                assert await body_of(response) == b"hello"
            assert server.connections == before + 1
