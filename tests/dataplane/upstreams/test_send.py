"""One request upstream and the answer to it, over sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from dataplane.errors import Refusal
from dataplane.table import Timeouts
from dataplane.upstreams.connection import Lost
from dataplane.upstreams.pool import Pool
from tests.dataplane.upstreams.answers import CHUNKED, OK
from tests.dataplane.upstreams.far import HELLO, Far, asked, body_of, pieces, pooled, said, serving

MIB = 1024 * 1024
LARGE = bytes(range(256)) * (3 * MIB // 256)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with pooled() as pool:
        yield pool


async def refused(pool: Pool, url: str, timeouts: Timeouts | None = None, body: object = b"hi") -> Refusal:
    with pytest.raises(Refusal) as refused:
        await asked(pool, url, body=body, timeouts=timeouts)  # type: ignore[arg-type]
    return refused.value


@pytest.mark.parametrize(
    ("method", "body", "length", "sent"),
    [
        ("GET", None, None, b"\r\n"),
        ("POST", None, None, b"content-length: 0\r\n\r\n"),
        ("DELETE", None, None, b"content-length: 0\r\n\r\n"),
        ("POST", [b"hello"], 5, b"content-length: 5\r\n\r\nhello"),
        ("POST", [b"he", b"llo"], 5, b"content-length: 5\r\n\r\nhello"),
        ("POST", [], 0, b"content-length: 0\r\n\r\n"),
        ("POST", [b"he", b"llo"], None, b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        ("POST", [], None, b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ],
)
async def test_what_is_sent(pool: Pool, method: str, body: list[bytes] | None, length: int | None, sent: bytes) -> None:
    requests: list[bytes] = []

    async def script(far: Far) -> None:
        requests.append(b"".join(await far.request()))
        await far.says(HELLO)

    async with serving(script) as server:
        fields = [("x-a", "1"), ("x-b", "café"), ("x-a", "2")] + (
            [] if length is None else [("content-length", f"{length}")]
        )
        data = None if body is None else pieces(*body)
        assert await body_of(await asked(pool, server.url, method, data, fields)) == b"hello"
        host = server.url.removeprefix("http://")
    head = f"{method} /v1/x HTTP/1.1\r\nhost: {host}\r\nx-a: 1\r\nx-b: café\r\nx-a: 2\r\n".encode()
    assert requests == [head + sent]


async def test_a_small_request_is_one_packet(pool: Pool) -> None:
    async def script(far: Far) -> None:
        assert (await far.reader.read(65536)).endswith(b"content-length: 2\r\n\r\nhi")
        await far.says(HELLO)

    async with serving(script) as server:
        assert await said(pool, server.url) == b"hello"


@pytest.mark.parametrize("body", [LARGE, None])
async def test_large_bodies_both_ways(pool: Pool, body: bytes | None) -> None:
    async def script(far: Far) -> None:
        _, data = await far.request()
        if body is None:
            assert data.count(LARGE[:MIB]) == 3
        await far.says(OK + b"Content-Length: %d\r\n\r\n" % len(LARGE) + LARGE)

    async with serving(script) as server:
        data = pieces(*[LARGE[:MIB]] * 3) if body is None else body
        fields = [("content-length", str(3 * MIB))] if body is None else []
        assert await body_of(await asked(pool, server.url, body=data, fields=fields)) == LARGE


async def test_pieces_come_as_they_are_sent(pool: Pool) -> None:
    more = asyncio.Event()

    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + CHUNKED)
        for number in range(3):
            await more.wait()
            more.clear()
            await far.says(b"1\r\n%d\r\n" % number)
        await far.says(b"0\r\n\r\n")

    async with serving(script) as server:
        response = await asked(pool, server.url)
        assert not response.arrived
        more.set()
        async for piece in response:
            assert piece in (b"0", b"1", b"2")
            more.set()
        assert response.arrived


async def test_pieces_that_are_waited_for_are_passed_on_first(pool: Pool) -> None:
    """Until that is refused; the last piece is always the reader's."""
    more = asyncio.Event()

    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + CHUNKED)
        for number in range(4):
            await more.wait()
            more.clear()
            await far.says(b"1\r\n%d\r\n" % number)
        await far.says(b"0\r\n\r\n")

    passed: list[bytes] = []

    def pass_on(taken: Callable[[], bytes]) -> bool:
        if len(passed) == 2:
            return False
        passed.append(taken())
        more.set()
        return True

    async with serving(script) as server:
        response = await asked(pool, server.url)
        response.pass_on = pass_on
        more.set()
        assert await anext(response) == b"2"
        assert passed == [b"0", b"1"]
        passed.clear()
        more.set()
        rest = [piece async for piece in response]
        assert b"".join(passed + rest) == b"3"
        assert response.over


async def test_what_passing_on_raises_is_the_readers(pool: Pool) -> None:
    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + CHUNKED)
        await asked_for.wait()
        await far.says(b"1\r\na\r\n")
        await far.ended()

    asked_for = asyncio.Event()

    def pass_on(taken: Callable[[], bytes]) -> bool:
        raise ValueError(taken())

    async with serving(script) as server:
        response = await asked(pool, server.url)
        response.pass_on = pass_on
        asyncio.get_running_loop().call_soon(asked_for.set)
        with pytest.raises(ValueError, match="a"):
            await anext(response)
        response.close()


# What goes wrong.


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"", "upstream_unreachable", "127.0.0.1 closed the connection without an answer."),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n", "upstream_unreachable", "without an answer."),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "upstream_unreachable", "without an answer."),
        (b"SSH-2.0-x\r\n\r\n", "upstream_protocol_error", "127.0.0.1 answered something that is not HTTP/1.1."),
        (b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "upstream_protocol_error", "answered 101,"),
        (OK + b"X: " + b"x" * 70_000, "upstream_protocol_error", "more than 65536 bytes."),
        (OK + b"Transfer-Encoding: gzip\r\n\r\n", "upstream_protocol_error", "coding other than chunked."),
        (OK + b"Content-Length: 5\r\n" + CHUNKED, "upstream_protocol_error", "not HTTP/1.1."),
    ],
)
async def test_answers_that_are_none(pool: Pool, answer: bytes, code: str, words: str) -> None:
    async def script(far: Far) -> None:
        await far.request()
        await far.says(answer)

    async with serving(script) as server:
        refusal = await refused(pool, server.url)
        assert refusal.code == code
        assert words in refusal.message
        assert server.connections == 1


async def test_a_reset_instead_of_an_answer(pool: Pool) -> None:
    async def script(far: Far) -> None:
        await far.request()
        far.reset()

    async with serving(script) as server:
        refusal = await refused(pool, server.url)
    assert refusal.code == "upstream_unreachable"
    assert "broke the connection off (ConnectionResetError)" in refusal.message


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 6\r\n\r\nhello",
        OK + CHUNKED + b"5\r\nhello\r\n",
        OK + CHUNKED + b"5\r\nhello\r\nZZ\r\n",
        OK + CHUNKED + b"5\r\nhelloworld\r\n0\r\n\r\n",
    ],
)
async def test_a_body_that_breaks_off(pool: Pool, answer: bytes) -> None:
    """What came is given out, and then it is said that something is missing."""

    async def script(far: Far) -> None:
        await far.request()
        await far.says(answer)

    async with serving(script) as server:
        response = await asked(pool, server.url)
        assert await anext(response) == b"hello"
        with pytest.raises(Lost):
            await anext(response)
        response.close()


async def test_a_long_body_that_breaks_off(pool: Pool) -> None:
    """More of it than is held at once."""

    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + CHUNKED + b"493e0\r\n" + b"x" * 300_000 + b"!!")

    async with serving(script) as server:
        response = await asked(pool, server.url)
        size = 0
        with pytest.raises(Lost):  # noqa: PT012  (how many pieces there are is not the point)
            async for piece in response:
                size += len(piece)
        assert size == 300_000
        response.close()


async def test_a_long_body_whose_connection_is_closed_here(pool: Pool) -> None:
    """While nothing is read from it."""

    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + b"Content-Length: 100000000\r\n\r\n" + b"x" * 30_000_000)

    async with serving(script) as server:
        response = await asked(pool, server.url)
        [connection] = pool._all
        async with asyncio.timeout(5):
            while not connection._paused:
                await asyncio.sleep(0.001)
            await pool.close()
        assert await anext(response)
        with pytest.raises(Lost):
            await anext(response)
        response.close()


async def test_a_reset_ends_no_body_that_ends_with_the_connection(pool: Pool) -> None:
    seen = asyncio.Event()

    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + b"\r\nhello")
        await seen.wait()
        far.reset()

    async with serving(script) as server:
        response = await asked(pool, server.url)
        assert await anext(response) == b"hello"
        seen.set()
        with pytest.raises(Lost):
            await anext(response)
        response.close()


# Time.


@pytest.mark.parametrize("body", [b"hi", b"x" * 300_000, None])
async def test_no_answer_in_time(pool: Pool, body: bytes | None) -> None:
    """Of a streamed body, the time begins with its last piece."""
    ended = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"a"
        await asyncio.sleep(0.1)
        yield b"b"

    async def script(far: Far) -> None:
        _, sent = await far.request()
        if body is None:
            assert sent.endswith(b"1\r\nb\r\n0\r\n\r\n")
        await far.ended()
        ended.set()

    async with serving(script) as server:
        refusal = await refused(pool, server.url, Timeouts(response=0.05), slow() if body is None else body)
        assert refusal.code == "upstream_timeout"
        assert "127.0.0.1 did not answer within 0.05 s." in refusal.message
        async with asyncio.timeout(5):
            await ended.wait()


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_upstream_that_takes_nothing(pool: Pool, streamed: bool) -> None:
    async def script(far: Far) -> None:
        far.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with serving(script) as server:
        body = pieces(*[b"x" * MIB] * 30) if streamed else b"x" * (30 * MIB)
        assert (await refused(pool, server.url, Timeouts(response=0.1), body)).code == "upstream_timeout"


async def test_a_body_that_stops_coming(pool: Pool) -> None:
    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + b"Content-Length: 6\r\n\r\nhello")
        await far.ended()

    async with serving(script) as server:
        response = await asked(pool, server.url, timeouts=Timeouts(idle=0.05))
        assert await anext(response) == b"hello"
        with pytest.raises(Lost):
            await anext(response)
        response.close()


async def test_who_takes_long_to_read_loses_nothing(pool: Pool) -> None:
    """The time runs while the upstream is waited for, not while the client is."""

    async def script(far: Far) -> None:
        await far.request()
        await far.says(OK + CHUNKED + b"5\r\nhello\r\n")
        await far.says(b"0\r\n\r\n")

    async with serving(script) as server:
        response = await asked(pool, server.url, timeouts=Timeouts(idle=0.03))
        assert await anext(response) == b"hello"
        await asyncio.sleep(0.1)
        assert await body_of(response) == b""


# Both directions at once.


async def test_an_early_answer(pool: Pool) -> None:
    """It is passed on before the body has come, and the connection is its last."""
    never = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await never.wait()

    async def script(far: Far) -> None:
        await far.head()
        await far.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nhello")
        await far.ended()

    async with serving(script) as server:
        for number in (1, 2):
            response = await asked(pool, server.url, body=body())
            assert response.status == 413
            assert await body_of(response) == b"hello"
            assert server.connections == number


@pytest.mark.parametrize("size", [60_000, 30_000_000])
async def test_an_early_answer_to_a_body_in_memory(pool: Pool, size: int) -> None:
    """And the server reads no more of it."""

    async def script(far: Far) -> None:
        await far.head()
        far.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await far.says(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nhello")
        await asyncio.Event().wait()

    async with serving(script) as server:
        response = await asked(pool, server.url, body=b"x" * size)
        assert response.status == 413
        assert await body_of(response) == b"hello"


async def test_an_answer_that_begins_before_the_request_ends(pool: Pool) -> None:
    """Each piece is sent when the answer to the one before has come."""
    echoed = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"%d" % number
            await echoed.wait()
            echoed.clear()

    async def script(far: Far) -> None:
        while True:
            await far.head()
            await far.says(OK + CHUNKED)
            while (size := await far.reader.readuntil(b"\r\n")) != b"0\r\n":
                await far.says(size + await far.reader.readexactly(3))
            await far.reader.readexactly(2)
            await far.says(b"0\r\n\r\n")

    async with serving(script) as server:
        for _ in range(2):
            seen = []
            async for piece in await asked(pool, server.url, body=body()):
                seen.append(piece)
                echoed.set()
            assert seen == [b"0", b"1", b"2", b"3", b"4"]
        assert server.connections == 1


async def test_a_body_that_fails(pool: Pool) -> None:
    """Whoever waits is told why, and the upstream sees no end of it."""
    seen = bytearray()
    ended = asyncio.Event()

    async def body(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"a"
        raise Refusal("request_timeout", "Nothing of the body came.")

    async def script(far: Far) -> None:
        while data := await far.reader.read(65536):
            seen.extend(data)
        ended.set()

    async with serving(script) as server:
        for count in (0, 1, 3):
            assert (await refused(pool, server.url, body=body(count))).code == "request_timeout"
        async with asyncio.timeout(5):
            await ended.wait()
    assert b"\r\n0\r\n" not in seen


async def test_a_body_that_fails_behind_an_early_answer(pool: Pool) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"a"
        await answered.wait()
        raise Refusal("request_timeout", "Nothing of the body came.")

    async def script(far: Far) -> None:
        await far.head()
        await far.says(OK + b"Content-Length: 6\r\n\r\nhello")
        await far.ended()

    answered = asyncio.Event()
    async with serving(script) as server:
        response = await asked(pool, server.url, body=body())
        assert await anext(response) == b"hello"
        answered.set()
        with pytest.raises(Lost):
            await anext(response)
        response.close()


async def test_an_answer_is_read_no_faster_than_it_is_taken(pool: Pool) -> None:
    progress = [0]

    async def script(far: Far) -> None:
        await far.request()
        far.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        await far.says(OK + b"\r\n")
        for _ in range(60):
            await far.says(LARGE[:MIB])
            progress[0] += 1

    async with serving(script) as server:
        response = await asked(pool, server.url)
        await stalled(progress)
        assert progress[0] < 20
        assert len(await body_of(response)) == 60 * MIB


async def test_a_body_is_asked_for_no_faster_than_it_is_sent(pool: Pool) -> None:
    progress, read = [0], asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(60):
            progress[0] += 1
            yield LARGE[:MIB]

    async def script(far: Far) -> None:
        far.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await read.wait()
        far.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await far.head()
        await far.reader.readexactly(60 * MIB)
        await far.says(HELLO)

    async with serving(script) as server:
        fields = [("content-length", str(60 * MIB))]
        asking = asyncio.create_task(asked(pool, server.url, body=body(), fields=fields))
        await stalled(progress)
        assert progress[0] < 20
        read.set()
        assert await body_of(await asking) == b"hello"


async def stalled(progress: list[int]) -> None:
    """Wait until it goes no further."""
    async with asyncio.timeout(10):
        before = -1
        while before != progress[0] or not progress[0]:
            before = progress[0]
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("kind", ["small", "large", "streamed"])
async def test_cancelled_at_any_point(pool: Pool, kind: str) -> None:
    """Nothing is left of it, which the fixture looks for, and the next request gets an answer of its own."""

    async def script(far: Far) -> None:
        while True:
            _, data = await far.request()
            await far.says(OK + CHUNKED + b"5\r\nhello\r\n")
            await far.says(b"%x\r\n%b\r\n" % (len(data), data))
            await far.says(b"0\r\n\r\n")

    def body(number: int) -> bytes | AsyncIterator[bytes]:
        name = b"%05d" % number
        return pieces(name, name) if kind == "streamed" else name * (100_000 if kind == "large" else 1)

    async with serving(script) as server:
        for turns in range(40):
            task = asyncio.create_task(said(pool, server.url, body=body(turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            assert await said(pool, server.url, body=b"%d" % turns) == b"hello%d" % turns
            await asyncio.wait([task])
