"""`tidegate talk`: a realtime session in a terminal, or at the end of a pipe.

Answers go to stdout, everything about them (usage, errors) to stderr, so that a script reads answers alone.
"""

from __future__ import annotations

import asyncio
import wave
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TypeVar

import orjson
import typer

from tidegate.client import DELTAS, PCM_RATE, SILENCE_S, Client, Closed, Event, address, field, session, text_at
from tidegate.exits import Exit, Stop
from tidegate.headers import parsed
from tidegate.terminal import Lines, prompt
from tidegate.tokens import shown, tokens

T = TypeVar("T")

OPENING: Event = {
    "type": "session.update",
    "session": {"type": "realtime", "output_modalities": ["text"], "audio": {"input": {"turn_detection": None}}},
}
"""Answers as text, and no turn until it is asked for: a file is sent whole."""


def run(
    url: str, model: str, key: str, headers: Sequence[str], texts: Sequence[str], voice: Path | None, *, raw: bool
) -> Exit:
    """Hold the session until there is no more to say. Raises Stop."""
    fields = [_field(each) for each in headers]
    spoken = read_voice(voice) if voice else b""
    return asyncio.run(_talk(address(url, model), key, fields, texts, spoken, raw=raw))


def _field(text: str) -> tuple[str, str]:
    name, value = parsed(text)
    if name in ("host", "connection", "upgrade") or name.startswith("sec-websocket-"):
        raise Stop(Exit.USAGE, f"--header {name}: the handshake says that itself.")
    return name, value


async def _talk(
    url: str, key: str, headers: Sequence[tuple[str, str]], texts: Sequence[str], spoken: bytes, *, raw: bool
) -> Exit:
    async with session(url, key, headers) as client:
        talk = Talk(client, raw=raw)
        try:
            await talk.hold(texts, spoken)
        except Closed as closed:
            raise Stop(Exit.FAILED, f"{closed}.") from None
        finally:
            talk.report()
    return Exit.FAILED if talk.failed else Exit.OK


class Talk:
    """One session: what is said, what is answered, what it used."""

    def __init__(self, client: Client, *, raw: bool = False) -> None:
        self._client = client
        self._raw = raw
        self._answered = asyncio.Event()
        self._heard = asyncio.Event()
        self._used: Counter[str] = Counter()
        self._midline = False
        self._asked = 0
        self.turns = 0
        self.failed = False

    @property
    def _question(self) -> str:
        """The id of the event that asks for the answer that is waited for."""
        return f"turn_{self._asked}"

    async def hold(self, texts: Sequence[str], spoken: bytes) -> None:
        """Say all of it, or without any what stdin says, line by line. Raises Closed, Stop."""
        reader = asyncio.create_task(self._read())
        try:
            await self._client.send(OPENING)
            if spoken:
                await self._client.speak(spoken)
                await self._answer(reader)
            for text in texts:
                await self._say(text, reader)
            if not texts and not spoken:
                await self._from_stdin(reader)
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _from_stdin(self, reader: asyncio.Task[None]) -> None:
        lines = Lines()
        prompt("Type a line; Ctrl-D ends the session.\n")
        while True:
            prompt()
            line = await _unless_closed(lines.next(), reader)
            if line is None:
                prompt("\n")
                return
            if line.strip():
                await self._say(line.strip(), reader)

    async def _say(self, text: str, reader: asyncio.Task[None]) -> None:
        await self._client.say(text)
        await self._answer(reader)

    async def _answer(self, reader: asyncio.Task[None]) -> None:
        """Ask for an answer and wait until it is whole."""
        self._answered.clear()
        self._asked += 1
        await self._client.send({"type": "response.create", "event_id": self._question})
        while not self._answered.is_set():
            self._heard.clear()
            try:
                async with asyncio.timeout(SILENCE_S):
                    await _unless_closed(self._heard.wait(), reader)
            except TimeoutError:
                raise Stop(Exit.FAILED, f"no event came for {SILENCE_S:g} s; the session is given up.") from None

    async def _read(self) -> None:
        while True:
            event = await self._client.receive()
            if self._raw:
                typer.echo(orjson.dumps(event))
            self._take(event)
            self._heard.set()

    def _take(self, event: Event) -> None:
        kind = event.get("type")
        if kind in DELTAS and not self._raw:
            typer.echo(event.get("delta", ""), nl=False)
            self._midline = True
        elif kind == "error":
            self._fail(event)
        elif kind == "response.done":
            self._finish(event)
        elif kind == "conversation.item.input_audio_transcription.completed":
            self._note(f"heard: {text_at(event, 'transcript')}")
            self._add(field(event, "usage"))

    def _fail(self, event: Event) -> None:
        """Behind a guardrail's error comes what else there is of the turn: the refusal of the question, the end of the
        answer, or of the session."""
        guardrail = text_at(event, "error", "type") == "guardrail_error"
        if not guardrail or text_at(event, "error", "event_id") == self._question:
            self._answered.set()
        message = text_at(event, "error", "message") or orjson.dumps(event).decode()
        self._complain(f"error: {message}")

    def _finish(self, event: Event) -> None:
        self._end_line()
        self.turns += 1
        status = text_at(event, "response", "status")
        if status != "completed":
            why = text_at(event, "response", "status_details", "error", "message")
            why = why or text_at(event, "response", "status_details", "reason")
            self._complain(f"the answer ended as {status}" + (f": {why}" if why else ""))
        self._note(f"usage: {shown(self._add(field(event, 'response', 'usage')))}")
        self._answered.set()

    def _add(self, usage: object) -> Counter[str]:
        used = tokens(usage)
        self._used += used
        return used

    def _complain(self, text: str) -> None:
        self.failed = True
        self._note(text)

    def _note(self, text: str) -> None:
        self._end_line()
        typer.secho(text, err=True, dim=True)

    def _end_line(self) -> None:
        if self._midline:
            typer.echo()
        self._midline = False

    def report(self) -> None:
        """The last line: what the session used."""
        if self.turns > 1:
            self._note(f"in all {self.turns} turns: {shown(self._used)}")


async def _unless_closed(waiting: Coroutine[object, object, T], reader: asyncio.Task[None]) -> T:
    """The result of `waiting`, unless the session ends before. Raises Closed."""
    task = asyncio.ensure_future(waiting)
    try:
        await asyncio.wait({task, reader}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await reader
        return task.result()
    finally:
        task.cancel()


def read_voice(path: Path) -> bytes:
    """A recording as 16-bit mono PCM at 24 kHz: a WAV file of that kind, or anything else taken as it is.

    Raises Stop."""
    convert = f"Convert it: ffmpeg -i {path} -ac 1 -ar {PCM_RATE} -sample_fmt s16 voice.wav"
    try:
        if path.suffix.lower() != ".wav":
            return path.read_bytes()
        with wave.open(str(path)) as recording:
            kind = (recording.getnchannels(), recording.getsampwidth(), recording.getframerate())
            if kind != (1, 2, PCM_RATE):
                raise Stop(Exit.FAILED, f"{path} is not 16-bit mono at {PCM_RATE} Hz. {convert}")
            return bytes(recording.readframes(recording.getnframes()))
    except OSError as error:
        raise Stop(Exit.FAILED, f"{path}: {error.strerror}.") from None
    except (wave.Error, EOFError) as error:
        raise Stop(Exit.FAILED, f"{path} cannot be read as WAV: {error}. {convert}") from None
