"""The relay that one writes first: aiohttp on both legs, every message parsed. What Tidegate is measured against."""

from __future__ import annotations

import argparse
import asyncio
import json

import aiohttp
import uvloop
from aiohttp import web

USED = {"input": 0, "output": 0}


def count(usage: dict[str, int], sent: str, received: str) -> None:
    USED["input"] += usage[sent]
    USED["output"] += usage[received]


async def pump(
    source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    sink: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
) -> None:
    async for message in source:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue
        event = json.loads(message.data)
        if event.get("type") == "response.done":
            count(event["response"]["usage"], "input_tokens", "output_tokens")
        await sink.send_str(message.data)
    await sink.close()


async def realtime(request: web.Request, session: aiohttp.ClientSession, upstream: str) -> web.WebSocketResponse:
    client = web.WebSocketResponse(max_msg_size=0)
    await client.prepare(request)
    async with session.ws_connect(upstream + request.path_qs, max_msg_size=0) as there:
        await asyncio.gather(pump(client, there), pump(there, client))
    return client


async def chat(request: web.Request, session: aiohttp.ClientSession, upstream: str) -> web.StreamResponse:
    asked = await request.json()
    async with session.post(upstream + request.path_qs, json=asked) as answer:
        if not asked.get("stream"):
            reply = await answer.json()
            count(reply["usage"], "prompt_tokens", "completion_tokens")
            return web.json_response(reply)
        client = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await client.prepare(request)
        async for line in answer.content:
            if line.startswith(b"data: {") and (usage := json.loads(line[6:]).get("usage")):
                count(usage, "prompt_tokens", "completion_tokens")
            await client.write(line)
        return client


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="http://host:port")
    options = parser.parse_args()
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))  # the default stops at 100 sessions
    app = web.Application()
    app.router.add_get("/v1/realtime", lambda request: realtime(request, session, options.upstream))
    app.router.add_post("/v1/chat/completions", lambda request: chat(request, session, options.upstream))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port, backlog=4096).start()
    await asyncio.Event().wait()


uvloop.run(main())
