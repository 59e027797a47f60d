"""What each field of a guardrail does to live traffic: rows of test_every_field."""

from __future__ import annotations

import asyncio
import json

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.integration.calls import Call, Objects, Seen, Talk
from tests.integration.rows import POLICY, Row, policies, status

FIELD = f"{POLICY}.guardrails[]"
OK, BLOCKED = (200, ""), (400, "guardrail_blocked")
CHAT, SESSION = ("chat",), ("realtime",)
HEARD = "Ask ada@example.com of Bluebird"
CALL = Call(said=HEARD)
KEY = {"secretRef": {"name": "upstream"}}


def guarded(action: str = "Block", directions: tuple[str, ...] = ("Input",), **fields: object) -> Objects:
    """Under one guardrail, which looks for a word unless it says otherwise."""
    looks = {"keywords", "regex", "pii", "webhook", "openAIModeration"} & fields.keys()
    word = {} if looks else {"keywords": {"words": ["bluebird"]}}
    return policies({"guardrails": [{"name": "one", "directions": directions, "action": action, **word, **fields}]})


def keywords(*words: str, **fields: object) -> Objects:
    return guarded(keywords={"words": words, **fields})


def patterns(pattern: str, name: str = "bird") -> Objects:
    return guarded(regex={"patterns": [{"name": name, "pattern": pattern}]})


def webhook(path: str, on_failure: str = "Closed", **fields: object) -> Objects:
    return guarded(webhook={"url": f"$URL/_judge/{path}", **fields}, onFailure=on_failure)


def moderation(**fields: object) -> Objects:
    return guarded(openAIModeration={"auth": KEY, "url": "$URL/v1", **fields})


def message(seen: Seen) -> str:
    return seen.message.rpartition(": ")[2]


def prompt(seen: Seen) -> object:
    """What the provider was told."""
    return [each["content"] for each in json.loads(seen.received[-1].body)["messages"]]


def shown(seen: Seen) -> object:
    return seen.shown


def credential(seen: Seen) -> object:
    """That the judge was shown."""
    judged = [each for each in seen.received if "/_judge" in each.path or each.path.endswith("/moderations")]
    return [value for each in judged for name, value in each.headers if name.lower() == "authorization"]


def says(text: str, modality: str = "text") -> Talk:
    """Say it, ask for an answer, and listen to the end: what came of the turn."""

    async def talk(socket: ClientConnection) -> str:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await socket.send(json.dumps({"type": "response.create", "response": {"output_modalities": [modality]}}))
        return await heard(socket)

    return talk


async def heard(socket: ClientConnection) -> str:
    """Errors and kinds of what is said, up to the end of a turn, and the close code if that ends it."""
    found: list[str] = []
    try:
        async with asyncio.timeout(10):
            while (event := json.loads(await socket.recv()))["type"] != "response.done":
                if event["type"] == "error":
                    found.append(event["error"]["code"])
                    if len([each for each in found if each == "guardrail_blocked"]) == 2:  # the item, and its answer
                        return " ".join(found)
                elif event["type"] in ("response.output_audio.delta", "response.output_audio_transcript.done"):
                    kind = event["type"].rpartition("_")[2]
                    found += [] if kind in found else [kind]
    except ConnectionClosed as closed:
        return " ".join([*found, str(closed.rcvd.code if closed.rcvd else None)])
    return " ".join([*found, event["response"]["status"]])


ASKED = Call(talk=says("Tell me of Bluebird"))
SPOKEN = Call(talk=says("Tell me of Bluebird", "audio"))

ROWS = [
    Row(f"{FIELD}.keywords.words[] {FIELD}.action", keywords("robin"), keywords("bluebird"), status,
        OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.keywords.wholeWords", keywords("bird"), keywords("bird", wholeWords=False), status,
        OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.keywords.ignoreCase", keywords("bluebird", ignoreCase=False), keywords("bluebird"), status,
        OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.regex.patterns[].pattern", patterns("r.b.n"), patterns("[Bb]l..bird"), status,
        OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.regex.patterns[].name", patterns("Bluebird"), patterns("Bluebird", "blue"), message,
        "bird", "blue", CHAT, CALL),
    Row(f"{FIELD}.pii.kinds[]", guarded(pii={"kinds": ["Card"]}), guarded(pii={"kinds": ["Email"]}), status,
        OK, BLOCKED, CHAT, CALL),
    Row("pii of all kinds", guarded(pii={"kinds": ["Card"]}), guarded(pii={}), status, OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.name", guarded(), guarded(name="two"), lambda seen: seen.message.split(": ")[1],
        "one", "two", CHAT, CALL),
    Row(f"{FIELD}.reason", guarded(), guarded(reason="not here"), message, "keywords", "not here", CHAT, CALL),
    Row(f"{FIELD}.directions[]", guarded(directions=("Input",), keywords={"words": ["simulated"]}),
        guarded(directions=("Output",), keywords={"words": ["simulated"]}), status, OK, BLOCKED, CHAT,
        Call(said="Ask me?")),
    Row("a mask", guarded("Flag", pii={}), guarded("Mask", pii={}), prompt, [HEARD],
        ["Ask [EMAIL] of Bluebird"], CHAT, CALL),
    Row(f"{FIELD}.mode", guarded(mode="Shadow"), guarded(mode="Enforce"), status, OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.optional", guarded(optional=True), guarded(), status, OK, BLOCKED, CHAT, CALL),
    Row("an optional one that is asked for", guarded(keywords={"words": ["robin"]}, optional=True),
        guarded(optional=True), status, OK, BLOCKED, CHAT, Call(said=HEARD, query="guardrails=one")),
    Row(f"{FIELD}.onBlock", guarded(), guarded(onBlock="RefuseTurn"), shown,
        "guardrail_blocked 1011", "guardrail_blocked guardrail_blocked", SESSION, ASKED),
    Row(f"{FIELD}.audio", guarded(directions=("Output",), audio="Pass"), guarded(directions=("Output",), audio="Hold"),
        lambda seen: "delta" in seen.shown or "audio.delta" in seen.shown, True, False, SESSION, SPOKEN),
    Row(f"{FIELD}.webhook.url", webhook("word=robin"), webhook("word=bluebird"), status, OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.webhook.auth.secretRef.name", webhook("", auth=KEY),
        webhook("", auth={"secretRef": {"name": "upstream-two"}}), credential,
        ["Bearer sk-simulator"], ["Bearer sk-two"], CHAT, CALL),
    Row(f"{FIELD}.webhook.auth.secretRef.key", webhook("", auth=KEY),
        webhook("", auth={"secretRef": {"name": "upstream", "key": "other"}}), credential,
        ["Bearer sk-simulator"], ["Bearer sk-other"], CHAT, CALL),
    Row(f"{FIELD}.webhook.timeout", webhook("word=robin/delay=0.5", timeout="30s"),
        webhook("word=robin/delay=0.5", timeout="50ms"), status, OK, BLOCKED, CHAT, CALL),
    Row(f"{FIELD}.webhook.retries", webhook("status=500", retries=0), webhook("status=500", retries=3),
        lambda seen: len(seen.received), 1, 4, CHAT, CALL),
    Row(f"{FIELD}.onFailure", webhook("status=500"), webhook("status=500", "Open"), status, BLOCKED, OK, CHAT, CALL),
    Row(f"{FIELD}.openAIModeration.url", moderation(url="$URL/v2"), moderation(), status, BLOCKED, OK, CHAT, CALL),
    Row(f"{FIELD}.openAIModeration.auth.secretRef.name", moderation(),
        moderation(auth={"secretRef": {"name": "upstream-two"}}), credential,
        ["Bearer sk-simulator"], ["Bearer sk-two"], CHAT, CALL),
    Row(f"{FIELD}.openAIModeration.auth.secretRef.key", moderation(),
        moderation(auth={"secretRef": {"name": "upstream", "key": "other"}}), credential,
        ["Bearer sk-simulator"], ["Bearer sk-other"], CHAT, CALL),
    Row(f"{FIELD}.openAIModeration.model", moderation(), moderation(model="mine"),
        lambda seen: [json.loads(each.body)["model"] for each in seen.received if "moderations" in each.path],
        ["omni-moderation-latest"], ["mine"], CHAT, CALL),
    Row(f"{FIELD}.openAIModeration.categories[]", moderation(categories=["violence"]),
        moderation(categories=["harassment"]), status, OK, BLOCKED, CHAT, Call(said="You idiot")),
    Row(f"{FIELD}.openAIModeration.timeout", moderation(url="http://$HOLE", timeout="50ms"), moderation(timeout="30s"),
        status, BLOCKED, OK, CHAT, CALL),
]  # fmt: skip
