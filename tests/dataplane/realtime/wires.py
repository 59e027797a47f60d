"""WebSocket peers of which a test says every byte, and a check that a session leaves nothing behind."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import json
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from dataplane.metering.prices import Cost
from dataplane.metering.usage import Usage
from dataplane.realtime import frames, relay
from dataplane.realtime.legs import Leg
from dataplane.realtime.live import LiveSession
from dataplane.server import AddressPolicy, Gateway, Limits
from dataplane.table import PolicySet, SessionLimits, Table, Timeouts
from dataplane.tracing import Handshake, Timing
from tests.dataplane.rig import BEARER, REQUIRED, SECRETS, Remembering, Rig, backend, provider, table

PATH = "/v1/realtime?model=gpt-realtime"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x11\x22\x33\x44"
CREATED = b'{"type":"session.created","event_id":"e1","session":{"id":"sess_1","model":"gpt-realtime"}}'
UPGRADE = {
    "Host": "gateway",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
PATIENCE = 10.0


def handshake(path: str = PATH, headers: Mapping[str, str | None] | None = None, *, method: str = "GET") -> bytes:
    """A client's request; a header of None is left out."""
    fields = {**UPGRADE, **BEARER, **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def switching(request: bytes, *more: str, status: str = "101 Switching Protocols") -> bytes:
    """The upstream's 101 to a request."""
    key = next(line[18:].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    lines = [f"HTTP/1.1 {status}", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode()


def close_frame(code: int = 1000, reason: str = "", key: bytes | None = None) -> bytes:
    return frames.frame(frames.CLOSE, code.to_bytes(2, "big") + reason.encode(), key)


@dataclass
class Answered:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    @property
    def error(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)["error"]
        assert set(found) == {"message", "type", "param", "code"}
        return found

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


gc.freeze()  # what was imported lives on: collecting the garbage of each session then takes no time
_PEERS: list[Peer] = []
"""Those of the test at hand."""


class Peer:
    """One end of a connection. As a client it masks its frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, masks: bool) -> None:
        self.reader, self.writer = reader, writer
        self.key = MASK if masks else None
        self.request = b""
        self.wrote = self.got = 0
        """Bytes that were sent, and bytes that were read as frames: behind the handshake."""
        _PEERS.append(self)

    def write(self, data: bytes) -> None:
        self.wrote += len(data)
        self.writer.write(data)

    def send(self, payload: bytes, opcode: int = frames.TEXT) -> None:
        self.write(frames.frame(opcode, payload, self.key))

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.write(close_frame(code, reason, self.key))

    def sleep(self) -> None:
        """Read nothing from now on, as a process that was stopped does; the kernel goes on."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def reset(self) -> None:
        """Vanish: the other end gets a TCP reset."""
        sock: socket.socket | None = self.writer.get_extra_info("socket")  # a closed TLS transport has none
        if sock is None or sock.fileno() < 0:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def answer(self) -> Answered:
        """The gateway's answer to the handshake."""
        first, *lines = (await self.head()).decode().split("\r\n")
        fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines if line)]
        found = Answered(int(first.split(" ")[1]), fields)
        if found.status != 101:
            found.body = await self.reader.readexactly(int(found.get("content-length") or 0))
        return found

    async def frame(self) -> tuple[int, bytes] | None:
        """The next frame's opcode and payload; None where the connection is gone."""
        try:
            async with asyncio.timeout(PATIENCE):
                first, second = await self.reader.readexactly(2)
                length = second & 0x7F
                if length >= 126:
                    length = int.from_bytes(await self.reader.readexactly(2 if length == 126 else 8), "big")
                key = await self.reader.readexactly(4) if second & 0x80 else b"\0\0\0\0"
                payload = await self.reader.readexactly(length)
                self.got += 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0) + length
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return first & 0x0F, frames.unmasked(payload, key)

    async def event(self) -> dict[str, object]:
        found = await self.frame()
        assert found is not None, "the connection is gone"
        assert found[0] == frames.TEXT, found
        event: dict[str, object] = json.loads(found[1])
        return event

    async def closed(self) -> tuple[int, str]:
        """Read to the Close frame: its code and reason; 1006 where there is none, 1005 where it is empty."""
        while (found := await self.frame()) is not None:
            if found[0] == frames.CLOSE:
                payload = found[1]
                return (int.from_bytes(payload[:2], "big"), payload[2:].decode()) if payload else (1005, "")
        return 1006, ""

    async def answering(self) -> list[tuple[int, bytes]]:
        """Answer every Ping until the connection is gone, or the other end says Close; the other frames."""
        others: list[tuple[int, bytes]] = []
        async with asyncio.timeout(PATIENCE):
            while (found := await self.frame()) is not None:
                if found[0] == frames.PING:
                    self.send(found[1], frames.PONG)
                else:
                    others.append(found)
                if found[0] == frames.CLOSE:
                    break
        return others

    async def gone(self) -> None:
        """Read until the connection is gone."""
        while await self.frame() is not None:
            pass


@dataclass(frozen=True)
class Tls:
    """Contexts for the legs that are encrypted; of each one for the server and one for the client."""

    front: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
    back: tuple[ssl.SSLContext, ssl.SSLContext] | None = None


PLAIN = Tls()


class Tracer:
    """Remembers what it is told; a handshake's reference is its session's id."""

    def __init__(self) -> None:
        self.handshakes: list[Handshake] = []
        self.turns: list[tuple[Usage, Timing, object]] = []

    def handshake(self, done: Handshake) -> object:
        self.handshakes.append(done)
        return done.session

    def turn(
        self, usage: Usage, cost: Cost, timing: Timing, handshake: object | None = None, *, traceparent: str = ""
    ) -> None:
        self.turns.append((usage, timing, handshake))


async def dial(rig: Rig, *, tls: ssl.SSLContext | None = None, limit: int = 2**16) -> Peer:
    name = "localhost" if tls else None
    port = rig.gateway.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name, limit=limit)
    return Peer(reader, writer, masks=True)


async def ask(rig: Rig, path: str = PATH, headers: Mapping[str, str | None] | None = None) -> Answered:
    """What the gateway answers to a handshake that it should refuse, or not."""
    client = await dial(rig)
    try:
        client.write(handshake(path, headers))
        return await client.answer()
    finally:
        client.reset()


@dataclass
class Upstream:
    """A server that answers nothing by itself."""

    url: str
    arrivals: asyncio.Queue[Peer] = field(default_factory=asyncio.Queue)

    async def arrival(self) -> Peer:
        """The gateway's next connection."""
        async with asyncio.timeout(PATIENCE):
            return await self.arrivals.get()

    async def opened(self, *, glued: bytes = frames.frame(frames.TEXT, CREATED)) -> Peer:
        """The gateway's next connection, after 101 and `glued`, which are one write."""
        peer = await self.arrival()
        peer.request = await peer.head()
        peer.write(switching(peer.request) + glued)
        return peer


@asynccontextmanager
async def upstreams(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    it = Upstream("")

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        it.arrivals.put_nowait(Peer(reader, writer, masks=False))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    it.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield it
    finally:
        server.close()
        while _PEERS:
            _PEERS.pop().reset()


@asynccontextmanager
async def gateway(
    served: Table,
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
    upstream_tls: ssl.SSLContext | None = None,
    tracer: Tracer | None = None,
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Rig]:
    meter = Remembering()
    it = Gateway(
        meter=meter,
        tracer=tracer,
        limits=limits,
        addresses=AddressPolicy(allow_loopback=True),
        upstream_tls=upstream_tls,
        rand=lambda: 0.0,
        now=now,
        clock=clock,
    )
    it.load(served, SECRETS)
    await it.start("127.0.0.1", 0, ssl=tls)
    with patch.object(relay, "LINGER", 0.1), patch.object(relay, "SETTLE", 0.6):
        try:
            yield Rig(it, meter)
        finally:
            await it.stop()


@dataclass
class Pair:
    """A gateway between a client and an upstream that are scripted."""

    rig: Rig
    upstream: Upstream
    tls: Tls = PLAIN
    tracer: Tracer = field(default_factory=Tracer)

    async def dial(self, *, limit: int = 2**16) -> Peer:
        """A client's connection, on which nothing was said yet."""
        return await dial(self.rig, tls=self.tls.front[1] if self.tls.front else None, limit=limit)

    async def session(self, *, path: str = PATH, limit: int = 2**16) -> tuple[Peer, Peer]:
        """A session after `session.created`: client and upstream."""
        client = await self.dial(limit=limit)
        client.write(handshake(path))
        far = await self.upstream.opened()
        assert (await client.answer()).status == 101
        client.wrote, far.wrote = 0, len(frames.frame(frames.TEXT, CREATED))
        assert (await client.event())["type"] == "session.created"
        return client, far

    def live(self) -> LiveSession:
        """The one session."""
        assert self.rig.gateway._sessions is not None
        (entry,) = self.rig.gateway._sessions._entries.values()
        return entry.live


@asynccontextmanager
async def pair(
    limits: Limits | None = None,
    *,
    timeouts: Timeouts | None = None,
    session: SessionLimits | None = None,
    policies: PolicySet = REQUIRED,
    tls: Tls = PLAIN,
) -> AsyncIterator[Pair]:
    policies = policies.model_copy(update={"session": (session,)}) if session else policies
    server, trusting = tls.back or (None, None)
    tracer = Tracer()
    async with upstreams(tls=server) as upstream:
        served = backend(provider(upstream.url), timeouts=timeouts or Timeouts())
        front = tls.front[0] if tls.front else None
        async with gateway(
            table(served, policies), limits=limits, tls=front, upstream_tls=trusting, tracer=tracer
        ) as rig:
            yield Pair(rig, upstream, tls, tracer)


def _timers() -> list[object]:
    """Timers of sessions that are still set (known on asyncio's own loop only)."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", [])
    owners = [getattr(timer._callback, "__self__", None) for timer in scheduled if not timer.cancelled()]
    return [owner for owner in owners if isinstance(owner, Leg | LiveSession)]


def _files() -> int:
    """Open files and sockets of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def until(true: object, what: str) -> None:
    """Wait until a condition (a callable) holds."""
    assert callable(true)
    try:
        async with asyncio.timeout(PATIENCE):
            while not true():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}") from None


@asynccontextmanager
async def calm(rig: Rig) -> AsyncIterator[None]:
    """What happens inside leaves no task, socket, timer or session behind, and no open session in the meter."""
    loop = asyncio.get_running_loop()
    complaints: list[object] = []
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    tasks, files = asyncio.all_tasks(), _files()
    try:
        yield
        sessions = rig.gateway._sessions
        assert sessions is not None
        await until(lambda: not sessions._entries, f"sessions end: {rig.gateway.sessions()}")
        for peer in _PEERS:
            if peer.key is None:
                await peer.gone()  # the gateway leaves its upstreams by itself
            peer.reset()
        await until(lambda: not asyncio.all_tasks() - tasks, "tasks end")
        await until(lambda: _files() <= files, "sockets are closed")
        assert _timers() == []
        assert rig.meter.opened == len(rig.meter.closed)
        assert not any(rig.meter.active.values())
        gc.collect()
        assert complaints == []
    finally:
        loop.set_exception_handler(before)
        while _PEERS:
            _PEERS.pop().reset()
