"""The realtime relay between any WebSocket client and server, reading no message: `python unread.py UPSTREAM_PORT`.

What is left of it then is what Autobahn can test: frames, control frames, closes, and the order of the two
directions. It runs in the product's own Python, and prints the port that it listens on.
"""

from __future__ import annotations

import asyncio
import sys

from dataplane.metering.usage import ANONYMOUS
from dataplane.process.pace import Pace
from dataplane.process.room import Room
from dataplane.realtime.actions import Ended
from dataplane.realtime.effects import Admit, Logged, Metered, Progress, Released, Unmetered
from dataplane.realtime.live import LiveSession
from dataplane.realtime.session import Session
from dataplane.realtime.terms import Terms
from dataplane.services import Limits
from dataplane.table import SessionLimits

TERMS = Terms(
    id="unread",
    route="e2e/unread",
    backend="e2e/unread",
    caller=ANONYMOUS,
    provider="echo",
    provider_kind="custom",
    public_model="any",
    upstream_model="any",
)
LIMITS = SessionLimits(max_message=64 * 1024 * 1024, max_fragments=128 * 1024)
"""Case 9.3.1 has 65,537 fragments."""
END = b"\r\n\r\n"
ANSWERS_S = 5.0


class Nobody:
    """Takes what a session reports."""

    def metered(self, live: LiveSession, effect: Metered) -> None: ...

    def unmetered(self, live: LiveSession, effect: Unmetered) -> None: ...

    def logged(self, live: LiveSession, effect: Logged) -> None: ...

    def progressed(self, live: LiveSession, effect: Progress) -> None: ...

    def asked(self, live: LiveSession, effect: Admit) -> None: ...

    def released(self, live: LiveSession, effect: Released) -> None: ...

    def carried(self, live: LiveSession) -> None: ...

    def ended(self, live: LiveSession, effect: Ended) -> None: ...


class Head(asyncio.Protocol):
    """Takes a handshake's head, and what a server says behind it; a client waits for the answer."""

    def __init__(self) -> None:
        self.whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if END in self._data and not self.whole.done():
            self.whole.set_result(None)

    def taken(self) -> tuple[bytes, bytes]:
        """The head, and what came behind it."""
        head, end, rest = self._data.partition(END)
        return head + end, rest


class Front(Head):
    """A client's handshake: passed on without extensions, and then both connections are the relay's."""

    def __init__(self, port: int, tasks: set[asyncio.Task[None]]) -> None:
        super().__init__()
        self._port, self._tasks = port, tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        task = asyncio.create_task(self._join(transport))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, client: asyncio.Transport) -> None:
        async with asyncio.timeout(ANSWERS_S):
            await self.whole
            loop = asyncio.get_running_loop()
            upstream, answer = await loop.create_connection(Head, "127.0.0.1", self._port)
            upstream.write(_without_extensions(self.taken()[0]))
            await answer.whole
        live = LiveSession(Session(TERMS), Nobody(), LIMITS, Limits(), Room(), Pace(), reads=False)
        head, first = answer.taken()
        upstream.set_protocol(live.upstream)
        live.upstream.connection_made(upstream)
        client.write(head)
        leg = live.attach()
        client.set_protocol(leg)
        leg.connection_made(client)
        if first:
            live.upstream.data_received(first)


def _without_extensions(head: bytes) -> bytes:
    lines = head.removesuffix(END).split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"sec-websocket-extensions:")]
    return b"\r\n".join(kept) + END


async def main() -> None:
    tasks: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(int(sys.argv[1]), tasks), "127.0.0.1", 0)
    print(f"listens on {server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
