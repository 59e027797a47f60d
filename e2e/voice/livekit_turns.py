"""LiveKit Agents' realtime plugin: livekit_turns.py openai|xai URL MODEL TEXT… says what came of each turn, as JSON.

The caller's key is in KEY.
"""

import asyncio
import importlib
import json
import os
import sys

import aiohttp


async def main(plugin: str, url: str, model: str, *texts: str) -> None:
    async with aiohttp.ClientSession() as http:
        realtime = importlib.import_module(f"livekit.plugins.{plugin}").realtime
        options = {"model": model, "base_url": url, "api_key": os.environ["KEY"], "http_session": http}
        session = realtime.RealtimeModel(**options).session()
        errors: list[str] = []
        session.on("error", lambda event: errors.append(str(event.error)))
        turns = [await turn(session, text) for text in texts]
        await session.aclose()
        print(json.dumps({"turns": turns, "errors": errors}))


async def turn(session, text: str) -> dict[str, object]:
    context = session.chat_ctx.copy()
    context.add_message(role="user", content=text)
    await session.update_chat_ctx(context)
    said, samples = "", 0
    async for message in (await session.generate_reply()).message_stream:
        said += "".join([piece async for piece in message.text_stream])
        samples += sum([len(frame.data) async for frame in message.audio_stream])
    return {"said": said, "samples": samples}


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 30))
