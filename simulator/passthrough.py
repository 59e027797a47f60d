"""Paths that show what a relay did to them: an echo over HTTP and WebSocket, and a big download.

They need no key, so that a run with and one without a relay differ in nothing else.
"""

import orjson
from aiohttp import WSMsgType, web

from simulator.errors import invalid
from simulator.state import RECEIVED, STATE

_BLOCK = bytes(range(256)) * 256  # 64 KiB
_MAX_MESSAGE = 64 * 1024 * 1024
_CLOSE_S = 2.0  # how long to wait for the other side's CLOSE


def routes() -> list[web.RouteDef]:
    """What is served here."""
    return [
        web.get("/v1/echo/ws", _echo_socket),
        web.get("/v1/bytes/{count}", _download),
        web.route("*", "/v1/echo", _echo),
        web.route("*", "/v1/echo/{tail:.*}", _echo),
    ]


async def _echo(request: web.Request) -> web.StreamResponse:
    """Stream the body back as it comes; `?headers=1`: the headers, as a JSON list of pairs, instead.

    The header `x-seen` holds the same list either way.
    """
    received = request[RECEIVED]
    seen = orjson.dumps(received.headers)
    if request.query.get("headers"):
        received.keep(await request.read())
        return web.Response(body=seen, content_type="application/json")
    response = web.StreamResponse(headers={"x-seen": seen.decode("ascii", "backslashreplace")})
    response.headers["Content-Type"] = request.headers.get("Content-Type", "application/octet-stream")
    response.content_length = request.content_length if request.method != "HEAD" else None
    await response.prepare(request)
    async for data in request.content.iter_any():
        received.keep(data)
        await response.write(data)
    return response


async def _download(request: web.Request) -> web.StreamResponse:
    """So many bytes: 0, 1, … 255, 0, 1, …"""
    wanted = request.match_info["count"]
    if not wanted.isdecimal():
        raise invalid("count", "expected a whole number of bytes.")
    left = int(wanted)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = left
    await response.prepare(request)
    while left > 0 and request.method != "HEAD":
        await response.write(_BLOCK[:left])
        left -= len(_BLOCK)
    return response


async def _echo_socket(request: web.Request) -> web.WebSocketResponse:
    """Send every message back as it came; takes the first subprotocol offered, and compression if offered."""
    offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    socket = web.WebSocketResponse(
        max_msg_size=_MAX_MESSAGE,
        protocols=[name for name in offered if name],
        autoclose=False,
        timeout=_CLOSE_S,
    )
    await socket.prepare(request)
    state = request.app[STATE]
    state.sessions += 1
    try:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        await socket.close(code=socket.close_code or 1000)
    finally:
        state.sessions -= 1
    return socket
