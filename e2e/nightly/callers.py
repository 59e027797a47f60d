"""Clients that come, talk for a while in one way or another, and go as clients do: politely, in mid-turn, or by
falling silent."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from random import Random

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from e2e.processes import CLIENT_KEY

PIECE = base64.b64encode(bytes(4800)).decode()
"""100 ms of silence at 24 kHz."""
LINES = ("", "", "", "", "fragments:300", "ping:200", "no-close-reply", "drip:300")
"""How the provider's connection is."""
USAGES = ("", "", "null-usage", "no-details", "total-only", "zero-usage")
TRANSCRIPTION = {"model": "gpt-4o-mini-transcribe"}
TURN_S, CLOSES_S = 15.0, 3.0
TURNS = 5

Event = dict[str, object]


async def visit(host: str, rng: Random, outcomes: Counter[str]) -> None:
    """A session, or now and then a chat completion; what came of it is counted."""
    what, doing = ("chat", chat(host, rng)) if rng.random() < 0.15 else ("session", session(host, rng))
    outcomes[f"{what} {await _outcome(doing)}"] += 1


async def _outcome(doing: Coroutine[None, None, None]) -> str:
    try:
        await doing
    except TimeoutError:
        return "without an answer"
    except (InvalidHandshake, InvalidMessage):
        return "refused"
    except (ConnectionClosed, OSError, asyncio.IncompleteReadError):
        return "cut off"
    return "whole"


async def session(host: str, rng: Random) -> None:
    """One session of some turns."""
    line = rng.choice(LINES)
    url = f"ws://{host}/v1/realtime?model=gpt-realtime" + (f"&scenario={line}" if line else "")
    headers = {"Authorization": f"Bearer {CLIENT_KEY}"}
    async with connect(
        url, additional_headers=headers, max_size=None, ping_interval=None, open_timeout=TURN_S, close_timeout=CLOSES_S
    ) as socket:
        talk = Talk(socket, rng)
        for _ in range(rng.randint(1, TURNS)):
            await rng.choice(KINDS)(talk)
            await asyncio.sleep(rng.random())
        await rng.choice(ENDS)(talk)


async def chat(host: str, rng: Random) -> None:
    """One chat completion, over a connection of its own."""
    body: Event = {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "Hello"}] * rng.randint(1, 3),
        "stream": rng.random() < 0.5,
        "metadata": {"scenario": rng.choice(("", "no-usage", "crlf"))},
    }
    payload = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {CLIENT_KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
    name, _, port = host.partition(":")
    reader, writer = await asyncio.open_connection(name, int(port))
    try:
        writer.write(head.encode() + payload)
        async with asyncio.timeout(TURN_S):
            answer = await reader.read(-1)
        if not answer.startswith(b"HTTP/1.1 200") or not answer.rstrip().endswith((b"}", b"0", b"[DONE]")):
            raise ConnectionResetError("the answer is not whole")
    finally:
        writer.transport.abort()


class Talk:
    """What can be done in a session."""

    def __init__(self, socket: ClientConnection, rng: Random) -> None:
        self._socket, self._rng = socket, rng

    # -- turns -------------------------------------------------------------------------------------------------

    async def text(self) -> None:
        await self._say("something " * self._rng.randint(1, 30))
        await self._create(self._rng.choice(USAGES))
        await self._done()

    async def audio(self) -> None:
        await self._listen(None)
        await self._append(self._rng.randint(1, 8))
        await self._send("input_audio_buffer.commit")
        await self._create(self._rng.choice(("", "transcript-late", "transcript-fails")))
        await self._done()

    async def voice(self) -> None:
        await self._listen({"type": "server_vad", "create_response": True})
        await self._append(8)
        await self._done()
        await self._listen(None)

    async def cancelled(self) -> None:
        await self._create("slow:100")
        await self._event("response.created")
        await self._send("response.cancel")
        await self._done()

    async def odd(self) -> None:
        await self._create(self._rng.choice(("fail", "incomplete", "interrupted", "reasoning")))
        await self._done()

    async def beside(self) -> None:
        count = self._rng.randint(2, 3)
        for number in range(count):
            await self._create("slow:5", **({"conversation": "none", "input": []} if number else {}))
        await self._done(count)

    # -- ends --------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        await self._socket.close(1000, "goodbye")

    async def vanish(self) -> None:
        self._socket.transport.abort()

    async def vanish_in_a_turn(self) -> None:
        await self._create("slow:100")
        await self._event("response.created")
        self._socket.transport.abort()

    async def close_in_a_turn(self) -> None:
        await self._create("slow:100")
        await self._event("response.created")
        await self.close()

    # -- small things ------------------------------------------------------------------------------------------

    async def _say(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        await self._send("conversation.item.create", item={"type": "message", "role": "user", "content": content})

    async def _listen(self, turn_detection: object) -> None:
        audio = {"input": {"turn_detection": turn_detection, "transcription": TRANSCRIPTION}}
        await self._send("session.update", session={"type": "realtime", "audio": audio})
        await self._event("session.updated")

    async def _append(self, pieces: int) -> None:
        for _ in range(pieces):
            await self._send("input_audio_buffer.append", audio=PIECE)

    async def _create(self, scenario: str, **response: object) -> None:
        response["metadata"] = {"scenario": f"{scenario},delta-bytes:600" if scenario else "delta-bytes:600"}
        await self._send("response.create", response=response)

    async def _done(self, count: int = 1) -> None:
        for _ in range(count):
            await self._event("response.done")

    async def _event(self, kind: str) -> None:
        """Read up to the next event of this type. Raises TimeoutError, ConnectionClosed."""
        async with asyncio.timeout(TURN_S):
            while _type(await self._socket.recv()) != kind:
                pass

    async def _send(self, kind: str, **fields: object) -> None:
        async with asyncio.timeout(TURN_S):
            await self._socket.send(json.dumps({"type": kind, **fields}))


Act = Callable[[Talk], Awaitable[None]]
KINDS: tuple[Act, ...] = (Talk.text, Talk.audio, Talk.voice, Talk.cancelled, Talk.odd, Talk.beside)
ENDS: tuple[Act, ...] = (Talk.close, Talk.close, Talk.vanish, Talk.vanish_in_a_turn, Talk.close_in_a_turn)


def _type(message: str | bytes) -> object:
    """The event's type; None of what was garbled on its way."""
    try:
        event = json.loads(message)
    except ValueError:
        return None
    return event.get("type") if isinstance(event, dict) else None
