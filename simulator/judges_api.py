"""Who judges texts: OpenAI's moderation, and a webhook as Tidegate asks one (docs/guardrails-webhook.md): thin I/O."""

import asyncio
import re

from aiohttp import web

from simulator import moderation
from simulator.errors import missing, of_status
from simulator.http_api import authorised_json, json_body
from simulator.shapes import Json, text
from simulator.state import STATE


def moderation_routes() -> list[web.RouteDef]:
    return [web.post("/v1/moderations", _moderations)]


def webhook_routes() -> list[web.RouteDef]:
    """`POST /_judge/word=WORD/action=block/delay=0/status=200`, all of it optional, and nobody needs a key: finds the
    word in any case, blocks or masks it, after so many seconds."""
    return [web.post("/_judge{options:(/.*)?}", _judge)]


async def _moderations(request: web.Request) -> web.Response:
    body = await authorised_json(request)
    if not (texts := moderation.inputs(body.get("input"))):
        raise missing("input")
    model = text(body.get("model")) or "omni-moderation-latest"
    number = next(request.app[STATE].numbers)
    results = [moderation.result(each) for each in texts]
    return web.json_response({"id": f"modr-{number:06d}", "model": model, "results": results})


async def _judge(request: web.Request) -> web.Response:
    said = text((await json_body(request)).get("text"))
    asked = dict(each.split("=", 1) for each in request.match_info["options"].split("/") if "=" in each)
    await asyncio.sleep(float(asked.get("delay", "0")))
    if (status := int(asked.get("status", "200"))) != 200:
        raise of_status(status)
    word = asked.get("word", "bluebird")
    masked, count = re.subn(re.escape(word), "[…]", said, flags=re.IGNORECASE)
    answer: Json = {"action": asked.get("action", "block") if count else "pass"}
    if count:
        answer["rule"] = word
    if answer["action"] == "mask":
        answer["text"] = masked
    return web.json_response(answer)
