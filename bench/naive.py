"""The relay that one writes first: aiohttp on both legs, every message parsed. What Tidegate is measured against."""

from __future__ import annotations

import argparse
import asyncio
import json

import aiohttp
import uvloop
from aiohttp import web


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="ws://host:port")
    options = parser.parse_args()
    usage = {"input": 0, "output": 0}
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))  # the default stops at 100 sessions

    async def pump(
        source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
        sink: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    ) -> None:
        async for message in source:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            if event.get("type") == "response.done":
                used = event["response"]["usage"]
                usage["input"] += used["input_tokens"]
                usage["output"] += used["output_tokens"]
            await sink.send_str(message.data)
        await sink.close()

    async def relay(request: web.Request) -> web.WebSocketResponse:
        client = web.WebSocketResponse(max_msg_size=0)
        await client.prepare(request)
        async with session.ws_connect(options.upstream + request.path_qs, max_msg_size=0) as upstream:
            await asyncio.gather(pump(client, upstream), pump(upstream, client))
        return client

    app = web.Application()
    app.router.add_get("/v1/realtime", relay)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port, backlog=4096).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


uvloop.run(main())
