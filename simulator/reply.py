"""One answer on its way to the client, billed as it is sent, or as it is lost: I/O."""

import asyncio
from collections.abc import Iterator

import orjson
from aiohttp import web

from simulator.scenarios import Options
from simulator.shapes import Json
from simulator.state import STATE


class Reply:
    """Of a turn of this `kind`, by its id and model; `billed` is what it costs."""

    def __init__(
        self, request: web.Request, kind: str, turn: str, model: str, billed: Json | None, options: Options
    ) -> None:
        self._request, self._options = request, options
        self._kind, self._turn, self._model, self._cost = kind, turn, model, billed
        self._billed = False

    async def json(self, reply: Json, status: str, sent: Json | None) -> web.StreamResponse:
        """The whole of it; `sent` is the usage in it."""
        await asyncio.sleep(self._options.pace())
        payload = orjson.dumps(reply)
        if "drop" in self._options:
            headers = {"Content-Length": str(len(payload))}
            response = await self._begin("application/json", headers)
            return await self._drop(response, [payload[: len(payload) // 2]])
        self._bill(status, sent)
        return web.Response(body=payload, content_type="application/json", headers=limits())

    async def stream(self, events: list[bytes], last: int, status: str, sent: Json | None) -> web.StreamResponse:
        """All events; the usage is in the last ones, of which there are so many."""
        response = await self._begin("text/event-stream; charset=utf-8", {"Cache-Control": "no-cache"})
        if "drop" in self._options:
            return await self._drop(response, events[: len(events) // 2])
        try:
            await self._write(response, events[:-last])
            self._bill(status, sent)  # before the event that holds the usage, or would
            await self._write(response, events[-last:])
        finally:
            self._bill("abandoned", None)
        return response

    async def _begin(self, content_type: str, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={**limits(), **headers, "Content-Type": content_type})
        await response.prepare(self._request)
        return response

    async def _write(self, response: web.StreamResponse, events: list[bytes]) -> None:
        for event in events:
            await asyncio.sleep(self._options.pace())
            for part in _parts(event, self._options):
                await response.write(part)

    async def _drop(self, response: web.StreamResponse, events: list[bytes]) -> web.StreamResponse:
        self._bill("dropped", None)
        await self._write(response, events)
        if self._request.transport:
            self._request.transport.close()
        return response

    def _bill(self, status: str, sent: Json | None) -> None:
        """Once: the first word holds."""
        if not self._billed:
            self._billed = True
            ledger = self._request.app[STATE].ledger
            model, cost = self._model, self._cost
            ledger.record(self._kind, self._turn, session=None, model=model, status=status, usage=sent, billed=cost)


def sse(data: bytes, options: Options, name: str = "") -> bytes:
    """An event, of a name if it has one."""
    line = f"event: {name}\n".encode() if name else b""
    if "crlf" in options:
        return b": keep-alive\r\n\r\n" + line.replace(b"\n", b"\r\n") + b"data: " + data + b"\r\n\r\n"
    return line + b"data: " + data + b"\n\n"


def _parts(event: bytes, options: Options) -> Iterator[bytes]:
    size = int(options.get("odd-bytes", 0)) or len(event)
    return (event[start : start + size] for start in range(0, len(event), size))


def limits(remaining: int = 9_999) -> dict[str, str]:
    """The rate-limit headers that every answer has."""
    return {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": str(remaining),
        "x-ratelimit-reset-requests": "1s" if not remaining else "6ms",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "1",
    }
