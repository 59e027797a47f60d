"""A client that holds turns of every kind, by a script drawn from a seed."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Protocol

import aiohttp

Event = dict[str, object]
PIECE = base64.b64encode(bytes(4800)).decode()
"""100 ms of silence at 24 kHz."""
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "The weather somewhere.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}
USAGES = ("", "null-usage", "no-details", "total-only", "zero-usage", "no-usage", "empty-usage", "odd-usage")
"""What a provider says of a turn: all that it used, or less than that."""
TRANSCRIBERS = ("whisper-1", "gpt-4o-mini-transcribe")
CHAT_MODELS = ("gpt-5", "gpt-5-mini")
CHATS = (*USAGES, "crlf", "drop", "cache-write:1")
SAID = {"role": "user", "content": "Hello"}


async def complete(http: aiohttp.ClientSession, rng: Random, *, streamed: bool) -> bool:
    """One chat completion, to its end or until it breaks off; whether it was whole."""
    scenario = rng.choice(CHATS)
    body: Event = {
        "model": rng.choice(CHAT_MODELS),
        "messages": [SAID] * rng.randint(1, 3),
        "stream": streamed,
        "metadata": {"scenario": scenario},
    }
    if rng.random() < 0.5:
        body["reasoning_effort"] = "low"
    if streamed and rng.random() < 0.5:
        body["stream_options"] = {"include_usage": True}
    with suppress(aiohttp.ClientPayloadError):
        async with asyncio.timeout(60), http.post("/v1/chat/completions", json=body) as reply:
            assert reply.status == 200
            await reply.read()
            assert scenario != "drop", "it was not whole"
    return scenario != "drop"


class Socket(Protocol):
    """A client's WebSocket."""

    async def send(self, message: str) -> None: ...

    async def recv(self) -> str | bytes: ...


class Talker:
    """One session. `turns` counts responses that were begun here and have ended."""

    def __init__(self, socket: Socket, rng: Random) -> None:
        self._socket, self._rng = socket, rng
        self._transcribes = False
        self.turns = 0

    async def hold(self, kind: str) -> None:
        """One turn (or a few) of a kind, to its end."""
        await KINDS[kind](self)

    async def text(self) -> None:
        await self.say("Tell me " + "something " * self._rng.randint(1, 30))
        await self.respond(self._rng.choice(USAGES))

    async def audio(self) -> None:
        late = self._rng.choice(("", "transcript-late", "transcript-fails"))
        await self._configure(turn_detection=None)
        await self.append(self._rng.randint(1, 8))
        await self._send("input_audio_buffer.commit")
        await self.respond(late, extra=0 if late == "transcript-fails" else 1)

    async def vad(self) -> None:
        await self._configure(turn_detection={"type": "server_vad", "create_response": True})
        await self.append(5)
        await self._until(done=1, transcripts=1)
        await self._configure(turn_detection=None)

    async def tool(self) -> None:
        await self._send("session.update", session={"type": "realtime", "tools": [TOOL]})
        await self.say("What is the weather?")
        call = await self.respond("")
        if call:
            output = {"type": "function_call_output", "call_id": call, "output": '{"sky":"blue"}'}
            await self._send("conversation.item.create", item=output)
            await self.respond("")
        await self._send("session.update", session={"type": "realtime", "tools": []})

    async def cancelled(self) -> None:
        await self.say("Sing a long song")
        await self._create("wait")
        await self._event("response.created")
        await self._send("response.cancel")
        await self._until(done=1)

    async def twice(self) -> None:
        await self.say("Say it again")
        await self._create("done-twice")
        await self._until(done=2)
        self.turns -= 1

    async def odd(self) -> None:
        await self.say("Say what nobody knows")
        await self.respond("unknown-events")

    async def failed(self) -> None:
        await self.say("Fail")
        await self.respond("fail," + self._rng.choice(USAGES))

    async def incomplete(self) -> None:
        await self.say("Stop early")
        await self.respond("incomplete," + self._rng.choice(USAGES))

    async def interrupted(self) -> None:
        await self.say("Never mind")
        await self.respond("interrupted")

    async def concurrent(self) -> None:
        await self.say("Two things at once")
        await self._create("slow:2")
        beside = self._rng.randint(1, 3)
        for _ in range(beside):
            await self._create("slow:1", conversation="none", input=[])
        await self._until(done=1 + beside)

    async def begin(self, scenario: str) -> None:
        """Let a turn begin, and leave it alone."""
        await self.say("I will be gone")
        await self._create(scenario)
        await self._event("response.created")

    # -- small things ------------------------------------------------------------------------------------------

    async def say(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        await self._send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    async def _configure(self, *, turn_detection: object) -> None:
        model = self._rng.choice(TRANSCRIBERS)
        audio = {"input": {"turn_detection": turn_detection, "transcription": {"model": model}}}
        await self._send("session.update", session={"type": "realtime", "audio": audio})
        await self._event("session.updated")

    async def append(self, pieces: int) -> None:
        for _ in range(pieces):
            await self._send("input_audio_buffer.append", audio=PIECE)

    async def _create(self, scenario: str, **response: object) -> None:
        scenario = ",".join(part for part in (scenario, "delta-bytes:600") if part).replace(",,", ",")
        await self._send("response.create", response={"metadata": {"scenario": scenario}, **response})

    async def respond(self, scenario: str, *, extra: int = 0) -> str:
        """Ask for a response and wait for its end; the id of the call that it made, if it made one."""
        await self._create(scenario)
        return await self._until(done=1, transcripts=extra)

    async def _until(self, *, done: int, transcripts: int = 0) -> str:
        """Read until so many responses and transcripts are over; the id of the last call that was made."""
        call = ""
        while done > 0 or transcripts > 0:
            event = await self._receive()
            kind = event["type"]
            if kind == "response.done":
                done -= 1
                self.turns += 1
                call = _call(event) or call
            elif kind == "conversation.item.input_audio_transcription.completed":
                transcripts -= 1
        return call

    async def _event(self, kind: str) -> None:
        while (event := await self._receive())["type"] != kind:
            assert event["type"] != "error", event

    async def _receive(self) -> Event:
        async with asyncio.timeout(60):
            event = json.loads(await self._socket.recv())
        assert event["type"] != "error", event
        assert isinstance(event, dict)
        return event

    async def _send(self, kind: str, **fields: object) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))


def _call(event: Event) -> str:
    response = event["response"]
    assert isinstance(response, dict)
    return next((item["call_id"] for item in response["output"] if item["type"] == "function_call"), "")


KINDS: dict[str, Callable[[Talker], Awaitable[None]]] = {
    name: getattr(Talker, name)
    for name in (
        "text",
        "audio",
        "vad",
        "tool",
        "cancelled",
        "failed",
        "incomplete",
        "interrupted",
        "concurrent",
        "twice",
        "odd",
    )
}
