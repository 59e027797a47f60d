"""A client's connection to the port, with a handler of the test's behind it: on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import cast

import pytest
import uvloop

from dataplane.errors import Refusal
from dataplane.http.client import Answer, ClientGone, Writer, body, chunks, refuse, while_connected
from dataplane.http.connection import Connection, Front
from dataplane.http.listener import places
from dataplane.http.message import Request
from dataplane.http.port import Port
from dataplane.process.files import Files
from dataplane.process.room import Room
from dataplane.services import Limits
from tests.dataplane.certificates import certificate
from tests.dataplane.realtime.wires import until

MIB = 1024 * 1024
MUCH = 64 * MIB
"""More than the kernel holds on the way."""
GET = b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[Request], Awaitable[Answer]]


def on_both_loops(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    @pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    @wraps(test)
    def run(make_loop: Callable[[], asyncio.AbstractEventLoop], **arguments: object) -> None:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(test(**arguments))

    its = inspect.signature(test).parameters.values()
    first = inspect.Parameter("make_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    vars(run)["__signature__"] = inspect.Signature([first, *its])  # what pytest reads
    return cast("Callable[..., None]", run)


@asynccontextmanager
async def dialled(port: Port) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    try:
        async with asyncio.timeout(20):
            yield reader, writer
    finally:
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def serving(
    serve: Serve, limits: Limits | None = None, *, refused: list[str] | None = None
) -> AsyncIterator[Port]:
    """`refused` gets the codes of what was no request."""
    codes = [] if refused is None else refused

    async def served(request: Request) -> Answer:
        return await serve(request)

    port = Port(served, limits or Limits(), Files(), lambda refusal: codes.append(refusal.code))
    port.start(await places("127.0.0.1"), 0, None)
    try:
        yield port
    finally:
        await port.stop(0)
        async with asyncio.timeout(5):
            await port.closed()


async def say(request: Request, data: bytes) -> Answer:
    return await Writer(request, Limits(), 200, [], length=len(data)).end(data)


async def echo(request: Request) -> Answer:
    """The target and the body."""
    return await say(request, request.head.target.encode() + await body(request, Limits(), Room()))


async def one(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next answer: its head and its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    return head, await reader.readexactly(int(length.partition(b":")[2]))


@on_both_loops
async def test_one_connection_serves_one_request_after_the_other() -> None:
    async with serving(echo) as port, dialled(port) as (reader, writer):
        for number in range(50):
            writer.write(POST % 5 + b"%05d" % number)
            head, said = await one(reader)
            assert b"connection" not in head.lower()
            assert said == b"/%05d" % number
            assert port.connections == 1


@pytest.mark.parametrize("count", [3, 5000])
@on_both_loops
async def test_what_is_asked_at_once_is_answered_in_order(count: int) -> None:
    asked = b"".join(GET % b"/%d" % number for number in range(count))
    async with serving(echo) as port, dialled(port) as (reader, writer):
        writer.write(asked + LAST)
        said = [(await one(reader))[1] for _ in range(count + 1)]
        assert said == [b"/%d" % number for number in range(count)] + [b"/last"]
        assert await reader.read() == b""


@on_both_loops
async def test_the_next_request_waits_for_its_turn() -> None:
    seen: list[str] = []
    first = asyncio.Event()

    async def serve(request: Request) -> Answer:
        seen.append(request.head.target)
        if len(seen) == 1:
            await first.wait()
        return await echo(request)

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(POST % 1 + b"x" + GET % b"/two")
        await until(lambda: seen, "the first is there")
        writer.write(LAST)
        await asyncio.sleep(0.02)
        assert seen == ["/"]
        assert port.requests == 1
        first.set()
        assert [(await one(reader))[1] for _ in range(3)] == [b"/x", b"/two", b"/last"]


@pytest.mark.parametrize("kind", ["bodies", "heads"])
@on_both_loops
async def test_who_asks_too_much_ahead_is_held_back(kind: str) -> None:
    go_on = asyncio.Event()

    async def serve(request: Request) -> Answer:
        await go_on.wait()
        return await echo(request)

    large = MIB if kind == "bodies" else 30_000
    next_one = POST % large if kind == "bodies" else GET[:-2] % b"/" + b"X: "
    next_one += b"x" * large + (b"" if kind == "bodies" else b"\r\n\r\n")
    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(GET % b"/" + next_one * (MUCH // large))
        assert await settled(writer.transport.get_write_buffer_size) > MUCH // 2
        go_on.set()
        assert (await one(reader))[1] == b"/"
        for _ in range(MUCH // large):
            assert len((await one(reader))[1]) == (MIB + 1 if kind == "bodies" else 1)


class Wire(asyncio.Transport):
    """Of a client whose every write is one read."""

    reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None: ...


async def test_who_asks_ahead_in_parts_is_held_back() -> None:
    """Every read ends in the middle of a body, so that none of them ends with a whole request."""
    go_on, said = asyncio.Event(), list[bytes]()

    async def serve(request: Request) -> Answer:
        await go_on.wait()
        said.append(await body(request, Limits(), Room()))
        return Answer(200, keep_alive=True)

    front = Front(serve, Limits(), lambda _: None, lambda: True)
    connection, wire = Connection(front), Wire()
    connection.connection_made(wire)
    connection.data_received(POST % 0 + POST % 4)
    count = 1
    while wire.reading and count < 10_000:
        connection.data_received(b"%04d" % count + POST % 4)
        count += 1
    assert 100 < count < 10_000
    connection.data_received(b"last")
    go_on.set()
    await until(lambda: len(said) == count + 1, "all are served")
    assert said == [b"", *(b"%04d" % number for number in range(1, count)), b"last"]
    connection.connection_lost(None)


async def settled(size: Callable[[], int]) -> int:
    """The size once it no longer changes."""
    before = -1
    while (now := size()) != before:
        before = now
        await asyncio.sleep(0.1)
    return now


@on_both_loops
async def test_a_body_that_is_not_read_is_held_back() -> None:
    go_on = asyncio.Event()

    async def serve(request: Request) -> Answer:
        await go_on.wait()
        return await say(request, b"%d" % sum([len(piece) async for piece in chunks(request, Limits())]))

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(POST % MUCH + b"x" * MUCH)
        assert await settled(writer.transport.get_write_buffer_size) > MUCH // 2
        go_on.set()
        assert (await one(reader))[1] == b"%d" % MUCH


@on_both_loops
async def test_an_answer_that_is_not_taken_is_held_back() -> None:
    written = 0

    async def serve(request: Request) -> Answer:
        nonlocal written
        writer = Writer(request, Limits(), 200, [], length=MUCH)
        for _ in range(MUCH // MIB):
            await writer.write(b"x" * MIB)
            written += 1
        return await writer.end()

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(GET % b"/")
        assert await settled(lambda: written) < MUCH // MIB // 2
        assert len((await one(reader))[1]) == MUCH


@pytest.mark.parametrize("at_once", [True, False])
@on_both_loops
async def test_who_takes_nothing_is_cut_off(at_once: bool) -> None:
    left = asyncio.Event()
    limits = Limits(client_idle=0.1)

    async def serve(request: Request) -> Answer:
        writer = Writer(request, limits, 200, [], length=MUCH)
        try:
            if not at_once:
                for _ in range(MUCH // MIB):
                    await writer.write(b"x" * MIB)
            return await writer.end(b"x" * MUCH if at_once else b"")
        except ClientGone:
            left.set()
            raise

    async with serving(serve, limits) as port, dialled(port) as (_, writer):
        cast("asyncio.Transport", writer.transport).pause_reading()
        writer.write(GET % b"/")
        await left.wait()
        await until(lambda: port.connections == 0, "the connection is gone")


@on_both_loops
async def test_100_continue_is_sent_when_the_body_is_wanted() -> None:
    wanted = asyncio.Event()

    async def serve(request: Request) -> Answer:
        await wanted.wait()
        return await echo(request)

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write((POST % 2).replace(b"Host", b"Expect: 100-continue\r\nHost"))
        await until(lambda: port.requests, "it is there")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.readexactly(1)
        wanted.set()
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await one(reader))[1] == b"/hi"


@on_both_loops
async def test_chunks_and_trailers() -> None:
    async with serving(echo) as port, dialled(port) as (reader, writer):
        for piece in (CHUNKED, b"3\r\nabc\r\n", b"2;x=y\r\nde\r\n", b"0\r\nX-Trailer: y\r\n\r\n" + LAST):
            writer.write(piece)
            await asyncio.sleep(0.005)
        assert (await one(reader))[1] == b"/abcde"
        assert (await one(reader))[1] == b"/last"


@pytest.mark.parametrize(
    ("version", "fields", "keeps"), [(b"1.0", b"", False), (b"1.0", b"Connection: keep-alive\r\n", True)]
)
@on_both_loops
async def test_http_1_0(version: bytes, fields: bytes, keeps: bool) -> None:
    async with serving(echo) as port, dialled(port) as (reader, writer):
        writer.write(b"GET / HTTP/%b\r\n%b\r\n" % (version, fields))
        head, said = await one(reader)
        assert said == b"/"
        assert (b"Connection: keep-alive" in head, b"Connection: close" in head) == (keeps, not keeps)
        if not keeps:
            assert await reader.read() == b""


@pytest.mark.parametrize("length", [None, 3])
@on_both_loops
async def test_head_has_no_body(length: int | None) -> None:
    async def serve(request: Request) -> Answer:
        writer = Writer(request, Limits(), 200, [], length=length)
        await writer.write(b"abc")
        return await writer.end()

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        for _ in range(2):
            head = await reader.readuntil(b"\r\n\r\n")
            assert (b"Content-Length: 3" in head) == (length == 3)
            assert b"chunked" not in head


@on_both_loops
async def test_who_sends_no_more_gets_an_answer_of_ours() -> None:
    async def serve(request: Request) -> Answer:
        await until(lambda: request.connection.gone, "its end is seen")
        return await refuse(request, Limits(), Refusal("unknown_host", "Nobody."), "id")

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(GET % b"/")
        writer.write_eof()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 404")
        assert answer.endswith(b"}}")


@on_both_loops
async def test_who_sends_no_more_gets_all_answers_of_ours() -> None:
    async with serving(echo) as port, dialled(port) as (reader, writer):
        writer.write(GET % b"/one" + POST % 2 + b"hi" + GET % b"/two")
        writer.write_eof()
        assert [(await one(reader))[1] for _ in range(3)] == [b"/one", b"/hi", b"/two"]
        assert await reader.read() == b""


@on_both_loops
async def test_nothing_is_answered_behind_the_last_answer() -> None:
    asked: list[str] = []
    refused: list[str] = []

    async def serve(request: Request) -> Answer:
        asked.append(request.head.target)
        return await echo(request)

    async with serving(serve, Limits(linger=0.1), refused=refused) as port, dialled(port) as (reader, writer):
        writer.write(LAST + GET % b"/more")
        assert (await one(reader))[1] == b"/last"
        with suppress(ConnectionError):
            writer.write(GET % b"/still")
            await writer.drain()
            assert await reader.read() == b""
        await until(lambda: port.connections == 0, "it is closed")
    assert (asked, refused) == (["/last"], [])


@on_both_loops
async def test_who_sends_no_more_has_left_as_far_as_providers_go() -> None:
    left = asyncio.Event()

    async def serve(request: Request) -> Answer:
        try:
            with while_connected(request):
                await asyncio.Future()
        except ClientGone:
            left.set()
            raise
        raise AssertionError

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(GET % b"/")
        await until(lambda: port.requests, "it is there")
        writer.write_eof()
        await left.wait()
        assert await reader.read() == b""


@on_both_loops
async def test_who_leaves_in_the_middle_of_a_body_is_gone() -> None:
    left = asyncio.Event()

    async def serve(request: Request) -> Answer:
        with pytest.raises(ClientGone):
            await body(request, Limits(), Room())
        left.set()
        raise ClientGone

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(POST % 5 + b"abc")
        writer.write_eof()
        await left.wait()
        assert await reader.read() == b""


@on_both_loops
async def test_an_early_answer_reaches_who_is_still_sending() -> None:
    async def serve(request: Request) -> Answer:
        return await refuse(request, Limits(), Refusal("unknown_host", "Nobody."), "id")

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(POST % (8 * MIB) + b"x" * MIB)
        head, said = await one(reader)
        assert b"Connection: close" in head
        assert said.endswith(b"}}")
        for _ in range(7):
            writer.write(b"x" * MIB)
            await writer.drain()
        assert await reader.read() == b""


@on_both_loops
async def test_who_goes_on_for_too_long_after_an_early_answer_is_closed() -> None:
    async def serve(request: Request) -> Answer:
        return await say(request, b"no")

    async with serving(serve, Limits(linger=0.1)) as port, dialled(port) as (reader, writer):
        writer.write(POST % MUCH)
        assert (await one(reader))[1] == b"no"
        while port.connections:
            with suppress(ConnectionError):
                writer.write(b"x" * 100)
            await asyncio.sleep(0.01)


@on_both_loops
async def test_a_request_and_then_none_at_all() -> None:
    refused: list[str] = []
    async with serving(echo, refused=refused) as port, dialled(port) as (reader, writer):
        writer.write(GET % b"/" + b"sk-secret\r\n\r\n" + GET % b"/")
        assert (await one(reader))[1] == b"/"
        head, said = await one(reader)
        assert head.startswith(b"HTTP/1.1 400 Invalid header\r\n")
        assert b"Connection: close" in head
        assert b"secret" not in said
        assert await reader.read() == b""
    assert refused == ["invalid_header"]


@on_both_loops
async def test_a_body_that_breaks_off_is_told_to_its_reader() -> None:
    async def serve(request: Request) -> Answer:
        with pytest.raises(Refusal) as caught:
            await body(request, Limits(), Room())
        return await refuse(request, Limits(), caught.value, "id")

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(CHUNKED + b"3\r\nabc\r\n")
        await until(lambda: port.requests, "it is under way")
        writer.write(b"zz\r\n")
        assert (await one(reader))[0].startswith(b"HTTP/1.1 400 ")
        assert await reader.read() == b""


@on_both_loops
async def test_a_body_that_stops_coming() -> None:
    limits = Limits(client_idle=0.05)

    async def serve(request: Request) -> Answer:
        with pytest.raises(Refusal) as caught:
            await body(request, limits, Room())
        return await refuse(request, limits, caught.value, "id")

    async with serving(serve, limits) as port, dialled(port) as (reader, writer):
        writer.write(POST % 5 + b"abc")
        assert (await one(reader))[0].startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("before", [b"", b"\r\n", GET % b"/", b"GET / HT", GET % b"/" + b"GET / HT"])
@on_both_loops
async def test_who_is_idle_or_slow_is_closed(before: bytes) -> None:
    """On a new connection, between requests, and in the middle of a head."""
    async with (
        serving(echo, Limits(keep_alive=0.1, head_time=0.05)) as port,
        dialled(port) as (reader, writer),
    ):
        writer.write(before)
        assert (await reader.read()).count(b"HTTP/1.1") == before.count(b"\r\n\r\n")
        await until(lambda: port.connections == 0, "the connection is gone")


@on_both_loops
async def test_a_handler_that_fails_costs_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(_: Request) -> Answer:
        raise RuntimeError("never mind")

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(GET % b"/")
        assert await reader.read() == b""
    assert "a request failed outside its stages" in caplog.text


@on_both_loops
async def test_an_answer_that_only_the_end_delimits_and_that_has_none() -> None:
    """It must not look as if it were whole."""

    async def serve(request: Request) -> Answer:
        await Writer(request, Limits(), 200, []).write(b"part")
        raise ClientGone

    async with serving(serve) as port, dialled(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()


@on_both_loops
async def test_over_tls(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path, "localhost")

    async def serve(request: Request) -> Answer:
        return await echo(request)

    port = Port(serve, Limits(), Files(), lambda _: None)
    port.start(await places("127.0.0.1"), 0, server)
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("localhost", port.number, ssl=trusting, family=2)
        for _ in range(2):
            writer.write(POST % MIB + b"x" * MIB + GET % b"/two")
            assert len((await one(reader))[1]) == MIB + 1
            assert (await one(reader))[1] == b"/two"
        writer.write(LAST)
        assert (await one(reader))[1] == b"/last"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    await port.stop(0)
    await port.closed()
