"""Three turns of a realtime session: written, spoken, and one for which the model calls a function."""

from __future__ import annotations

import array
import math
from collections.abc import Callable

import orjson

from tidegate.client import AUDIO_DELTAS, DELTAS, PCM_RATE, Client, Event, calls, field, text_at
from tidegate.exits import Exit, Stop
from tidegate.tokens import shown, tokens

Show = Callable[..., None]
"""`show(who, text)` begins a line; with `who` None the text continues it."""

WEATHER: Event = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city, now.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
OPENING: Event = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "instructions": "Be brief and friendly.",
        "output_modalities": ["text"],
        "audio": {
            "input": {"turn_detection": None, "transcription": {"model": "gpt-4o-mini-transcribe"}},
            "output": {"voice": "marin"},
        },
    },
}
_TONE_S = 1.2
_TONE_HZ = 440
_BYTES_PER_S = PCM_RATE * 2


class Conversation:
    """Holds the turns, showing them as they go."""

    def __init__(self, client: Client, show: Show) -> None:
        self._client = client
        self._show = show

    async def hold(self) -> None:
        """All three turns. Raises Closed, Stop."""
        await self._client.send(OPENING)
        await self._written()
        await self._spoken()
        await self._with_tool()

    async def _written(self) -> None:
        await self._say("Hello! Who am I talking with?")
        await self._client.respond()
        await self._answer()

    async def _spoken(self) -> None:
        self._show("you", f"(speaks for {_TONE_S:g} s)")
        await self._client.speak(tone(_TONE_S))
        await self._client.respond(output_modalities=["audio"])
        await self._answer()

    async def _with_tool(self) -> None:
        await self._say("What is the weather in Lisbon?")
        await self._client.respond(tools=[WEATHER])
        for call_id, name, arguments in calls(await self._answer()):
            output = get_weather(arguments)
            self._show("function", f"{name}({arguments}) returns {output!r}")
            await self._client.answer_call(call_id, output)
        await self._client.respond()
        await self._answer()

    async def _say(self, text: str) -> None:
        self._show("you", text)
        await self._client.say(text)

    async def _answer(self) -> Event:
        """Show events until the answer is whole; the event that says so. Raises Closed, Stop."""
        audio = 0
        speaking = False
        while True:
            event = await self._client.receive()
            kind = event.get("type")
            if kind in DELTAS:
                self._show(None if speaking else "model", text_at(event, "delta"))
                speaking = True
            elif kind in AUDIO_DELTAS:
                audio += len(text_at(event, "delta")) * 3 // 4
            elif kind == "conversation.item.input_audio_transcription.completed":
                self._show("heard", text_at(event, "transcript"))
                speaking = False
            elif kind == "error":
                raise Stop(Exit.FAILED, f"the demo's session failed: {text_at(event, 'error', 'message')}")
            elif kind == "response.done":
                self._finished(event, audio)
                return event

    def _finished(self, done: Event, audio: int) -> None:
        status = text_at(done, "response", "status")
        if status != "completed":
            raise Stop(Exit.FAILED, f"the demo's turn is {status}, not completed")
        for _, name, arguments in calls(done):
            self._show("model", f"calls {name}({arguments})")
        heard = f"{audio / _BYTES_PER_S:.1f} s of audio; " if audio else ""
        self._show("", heard + shown(tokens(field(done, "response", "usage"))))


def get_weather(arguments: str) -> str:
    """The function that the model may call; it is run here, at the client."""
    city = text_at(orjson.loads(arguments), "city")
    return f"22 °C and sunny in {city}"


def tone(seconds: float) -> bytes:
    """A sine as 16-bit mono PCM at 24 kHz."""
    step = 2 * math.pi * _TONE_HZ / PCM_RATE
    samples = array.array("h", (int(8000 * math.sin(step * n)) for n in range(int(seconds * PCM_RATE))))
    return samples.tobytes()
