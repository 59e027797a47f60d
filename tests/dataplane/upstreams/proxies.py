"""An HTTP proxy that makes tunnels (CONNECT), on loopback: names lead where a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from dataplane.upstreams.egress import EgressProxy, egress_proxy

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Proxy:
    port: int = 0
    names: dict[str, int] = field(default_factory=dict)
    """Ports on loopback, by the authorities that are asked for."""
    heads: list[str] = field(default_factory=list)
    """Of the requests that came."""
    script: Script | None = None
    """Instead of what a proxy does."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def asked(self) -> list[str]:
        """The authorities that were asked for."""
        return [head.split(" ")[1] for head in self.heads]

    def egress(self, user: str = "", password: str = "", direct: tuple[str, ...] = ()) -> EgressProxy:
        return egress_proxy(f"http://{user}{user and '@'}127.0.0.1:{self.port}", password).sparing(direct)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await (self.script or self._tunnel)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        port = self.names.get(self.asked[-1])
        if port is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nnope")
            return
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 double\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back))
                group.create_task(_pump(there, writer))
        finally:
            back.close()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxying(script: Script | None = None) -> AsyncIterator[Proxy]:
    proxy = Proxy(script=script)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.stop()


def saying(answer: bytes) -> Script:
    """Answers this, and hears the other side out."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await reader.read()

    return script
